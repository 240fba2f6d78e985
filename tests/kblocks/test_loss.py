"""Losses against their formulas in NumPy, with gradients, compiled, and in `fit`."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kblocks as kb
from kblocks import loss

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 1])  # 3 has no partner
X = RNG.normal(size=(8, 5)).astype("float32")


def values(function, y_true, y_pred):
    return ops.convert_to_numpy(function(y_true, y_pred))


def log_softmax(z):
    z = z.astype("float64")
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def distances(x):
    return np.sqrt(((x[:, None].astype("float64") - x[None]) ** 2).sum(-1))


def gradient(function, y_true, y_pred):
    """Of the sum of a loss's values, compiled where the backend compiles."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return np.asarray(jax.jit(jax.grad(lambda x: ops.sum(function(y_true, x))))(y_pred))
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(input_signature=[tf.TensorSpec((None, *y_pred.shape[1:]))], jit_compile=False)
        def step(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = ops.sum(function(tf.constant(y_true), x))
            return tape.gradient(total, x)

        return step(tf.constant(y_pred)).numpy()
    x = ops.convert_to_tensor(y_pred).requires_grad_(True)
    ops.sum(function(y_true, x)).backward()
    return x.grad.numpy()


def triplets(d, labels):
    """All `(anchor, positive, negative)` of a batch."""
    n = range(len(labels))
    return [
        (a, p, q) for a in n for p in n for q in n if a != p and labels[a] == labels[p] and labels[a] != labels[q]
    ]  # fmt: skip


@pytest.mark.parametrize("column", [False, True])
def test_contrastive(column):
    d, y = np.abs(X[:, 0]), np.array([0, 1] * 4)
    expected = 0.5 * (y * d**2 + (1 - y) * np.maximum(0.7 - d, 0) ** 2)
    found = values(loss.contrastive(margin=0.7), y[:, None] if column else y, d[:, None] if column else d)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("margin", [0.2, None])
def test_triplet(margin):
    d = np.abs(X[:, :2])
    gap = d[:, 0] - d[:, 1]
    expected = np.log1p(np.exp(gap)) if margin is None else np.maximum(gap + margin, 0)
    assert (expected > 0).sum() > 0
    np.testing.assert_allclose(values(loss.triplet(margin=margin), np.zeros(8), d), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("margin", [0.2, 3.0, None])
@pytest.mark.parametrize("mining", ["batch_hard", "batch_all"])
def test_triplet_margin(mining, margin, squared):
    d = distances(X) ** (2 if squared else 1)
    all_triplets = triplets(d, LABELS)

    def hinge(gap):
        return np.log1p(np.exp(gap)) if margin is None else max(gap + margin, 0)

    if mining == "batch_all":
        losses = [hinge(d[a, p] - d[a, q]) for a, p, q in all_triplets]
        expected = np.mean([each for each in losses if each > 0])
    else:
        anchors = sorted({a for a, _, _ in all_triplets})
        expected = np.mean(
            [
                hinge(
                    max(d[a, p] for i, p, _ in all_triplets if i == a)
                    - min(d[a, q] for i, _, q in all_triplets if i == a)
                )
                for a in anchors
            ]
        )
        assert len(anchors) == 6
    function = loss.triplet_margin(margin=margin, mining=mining, squared=squared)
    found = values(function, LABELS, X)
    assert found.shape == (8,)
    assert found[3] == found[6] == 0
    assert found.mean() == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(values(function, LABELS[:, None].astype("float32"), X), found, rtol=1e-5)


@pytest.mark.parametrize("mining", ["batch_hard", "batch_all"])
def test_triplet_margin_far_from_zero(mining):
    function = loss.triplet_margin(margin=1.0, mining=mining)
    np.testing.assert_allclose(values(function, LABELS, X + 1000), values(function, LABELS, X), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("mining", ["batch_hard", "batch_all"])
@pytest.mark.parametrize("labels", [[0] * 8, list(range(8))])
def test_a_batch_without_triplets_costs_nothing(mining, labels):
    function = loss.triplet_margin(mining=mining)
    assert not values(function, np.array(labels), X).any()
    assert not gradient(function, np.array(labels), X).any()


def supervised_contrastive(x, labels, temperature):
    """One value for each embedding; NaN where it has no positive."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    s = x @ x.T / temperature
    n = len(x)
    found = []
    for i in range(n):
        total = sum(np.exp(s[i, k]) for k in range(n) if k != i)
        terms = [-np.log(np.exp(s[i, j]) / total) for j in range(n) if j != i and labels[i] == labels[j]]
        found.append(np.mean(terms) if terms else np.nan)
    return np.array(found)


def test_nt_xent_of_two_views():
    views = RNG.normal(size=(6, 2, 5)).astype("float32")
    each = supervised_contrastive(views.reshape(12, 5).astype("float64"), np.repeat(np.arange(6), 2), 0.3)
    found = values(loss.nt_xent(temperature=0.3), np.arange(6), views)
    np.testing.assert_allclose(found, each.reshape(6, 2).mean(1), rtol=1e-4)
    # The same embeddings one after another.
    flat = values(loss.nt_xent(temperature=0.3), np.repeat(np.arange(6), 2), views.reshape(12, 5))
    np.testing.assert_allclose(flat, each, rtol=1e-4)


def test_nt_xent_of_classes_is_the_supervised_contrastive_loss():
    each = supervised_contrastive(X.astype("float64"), LABELS, 0.5)
    found = values(loss.nt_xent(temperature=0.5), LABELS, X)
    assert found[3] == found[6] == 0
    assert found.mean() == pytest.approx(np.nanmean(each), rel=1e-4)


@pytest.mark.parametrize("shots", [1, 2])
def test_prototypical(shots):
    labels = np.array([2, 0, 2, 0, 0, 2, 7, 7, 2, 7, 0, 7])
    x = RNG.normal(size=(12, 3)).astype("float32")
    classes = [2, 0, 7]
    rows = {c: np.flatnonzero(labels == c) for c in classes}
    prototypes = np.stack([x[rows[c][:shots]].mean(0) for c in classes]).astype("float64")
    terms = np.zeros(12)
    for c in classes:
        for i in rows[c][shots:]:
            terms[i] = -log_softmax(-((x[i] - prototypes) ** 2).sum(-1))[classes.index(c)]
    queries = 12 - 3 * shots
    found = values(loss.prototypical(shots=shots), labels, x)
    np.testing.assert_allclose(found, terms * 12 / queries, rtol=1e-4, atol=1e-5)


FORMS = ["labels", "column", "floats", "probabilities"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("positions", [(), (4, 3)], ids=["vectors", "pixels"])
@pytest.mark.parametrize("kind", ["focal", "weighted", "gamma 0", "smoothed"])
def test_losses_of_logits(kind, positions, form):
    z = RNG.normal(0, 2, (8, *positions, 5)).astype("float32")
    y = RNG.integers(0, 5, (8, *positions))
    one_hot = np.eye(5)[y]
    if form == "probabilities":
        one_hot = 0.7 * one_hot + 0.3 * np.eye(5)[(y + 1) % 5]
    given = {"labels": y, "column": y[..., None], "floats": y.astype("float32"), "probabilities": one_hot}[form]
    log_p = log_softmax(z)
    alpha = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    function, expected = {
        "focal": (loss.focal(gamma=1.5), -(one_hot * (1 - np.exp(log_p)) ** 1.5 * log_p).sum(-1)),
        "weighted": (loss.focal(alpha=tuple(alpha)), -(one_hot * alpha * (1 - np.exp(log_p)) ** 2 * log_p).sum(-1)),
        "gamma 0": (loss.focal(gamma=0), -(one_hot * log_p).sum(-1)),
        "smoothed": (loss.label_smoothed_crossentropy(rate=0.2), -((0.8 * one_hot + 0.04) * log_p).sum(-1)),
    }[kind]
    np.testing.assert_allclose(values(function, given, z), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("column", [False, True])
def test_losses_of_a_single_logit(column):
    z = RNG.normal(0, 2, (9, 1)).astype("float32")
    y = RNG.integers(0, 2, 9)
    p = 1 / (1 + np.exp(-z[:, 0].astype("float64")))
    right, weight = np.where(y == 1, p, 1 - p), np.where(y == 1, 0.25, 0.75)
    given = y[:, None] if column else y
    found = values(loss.focal(gamma=2.0, alpha=(0.75, 0.25)), given, z)
    np.testing.assert_allclose(found, -weight * (1 - right) ** 2 * np.log(right), rtol=1e-4, atol=1e-6)
    found = values(loss.label_smoothed_crossentropy(rate=0.2), given, z)
    smooth = 0.8 * y + 0.1
    np.testing.assert_allclose(found, -smooth * np.log(p) - (1 - smooth) * np.log(1 - p), rtol=1e-4)


def test_losses_of_logits_agree_with_keras():
    z, y = RNG.normal(0, 2, (8, 5)).astype("float32"), RNG.integers(0, 5, 8)
    one_hot = np.eye(5, dtype="float32")[y]
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction=None)
    found = values(loss.label_smoothed_crossentropy(rate=0.1), y, z)
    np.testing.assert_allclose(found, ops.convert_to_numpy(theirs(one_hot, z)), rtol=1e-4)
    z = z[:, :1]
    theirs = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=0.25, gamma=2.0, from_logits=True, reduction=None
    )
    expected = ops.convert_to_numpy(theirs((y[:, None] > 2).astype("float32"), z))
    found = values(loss.focal(gamma=2.0, alpha=(0.75, 0.25)), y > 2, z)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


EVERY = {
    "contrastive": (loss.contrastive(), np.array([0, 1] * 4), np.abs(X[:, :1])),
    "triplet": (loss.triplet(), np.zeros(8), np.abs(X[:, :2])),
    "triplet_margin": (loss.triplet_margin(), LABELS, X),
    "triplet_margin all": (loss.triplet_margin(mining="batch_all"), LABELS, X),
    "triplet_margin soft": (loss.triplet_margin(margin=None), LABELS, X),
    "triplet_margin squared": (loss.triplet_margin(squared=True), LABELS, X),
    "nt_xent": (loss.nt_xent(), LABELS, X),
    "nt_xent views": (loss.nt_xent(), np.arange(8), RNG.normal(size=(8, 2, 3)).astype("float32")),
    "prototypical": (loss.prototypical(), LABELS, X),
    "focal": (loss.focal(gamma=0.5, alpha=[1.0] * 5), LABELS, X),
    "label_smoothed_crossentropy": (loss.label_smoothed_crossentropy(), LABELS, X),
}
every_loss = pytest.mark.parametrize("name", EVERY)


@every_loss
def test_the_gradient_is_that_of_the_values(name):
    function, y, x = EVERY[name]
    slope = gradient(function, y, x)
    assert np.isfinite(slope).all()
    assert slope.any()
    direction = np.random.default_rng(1).normal(size=x.shape).astype("float32")
    step = 1e-2
    up, down = (values(function, y, x + sign * step * direction).astype("float64").sum() for sign in (1, -1))
    assert (slope * direction).sum() == pytest.approx((up - down) / (2 * step), rel=2e-2, abs=2e-2)


@every_loss
@pytest.mark.parametrize("value", [0.0, 1.0, 60.0])
def test_gradients_are_finite_where_all_are_equal(name, value):
    function, y, x = EVERY[name]
    x = np.full_like(x, value)
    assert np.isfinite(values(function, y, x)).all()
    assert np.isfinite(gradient(function, y, x)).all()
    if name in ("focal", "label_smoothed_crossentropy"):
        # And where one class is certain.
        x[:, 0] = 100
        assert np.isfinite(values(function, y, x)).all()
        assert np.isfinite(gradient(function, y, x)).all()


@every_loss
def test_half_precision_is_computed_in_float32(name):
    function, y, x = EVERY[name]
    found = function(y, ops.cast(x, "float16"))
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(found), values(function, y, x), rtol=0.05, atol=0.05)


@every_loss
@pytest.mark.parametrize("jit", [False, True])
def test_fit_takes_it_and_a_saved_model_loads(name, jit, tmp_path):
    function, y, x = EVERY[name]
    if keras.backend.backend() == "torch" and jit:
        pytest.skip("PyTorch's compiler is not tested here")
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layers.Dense(x.shape[-1], kernel_initializer="identity", name="out")(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss=function, jit_compile=jit)
    history = model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history["loss"]
    assert history[0] == pytest.approx(values(function, y, x).mean(), rel=1e-4)
    if jit:
        return
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras", compile=False).count_params() == model.count_params()
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={function.__name__: function})
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(history[0], rel=1e-4)


def test_it_learns_what_it_should():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (rng.normal(0, 0.3, (60, 4)) + np.eye(3, 4)[y]).astype("float32")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, name="out")(inputs))
    model.compile(keras.optimizers.Adam(0.05), loss=loss.triplet_margin(margin=1.0))
    before, *_, after = model.fit(x, y, batch_size=60, epochs=60, verbose=0).history["loss"]
    assert after < 0.7 * before


BAD = [
    (lambda: loss.contrastive(margin=0), r"`margin` must be a positive number; got 0"),
    (lambda: loss.triplet(margin=-1.0), r"`margin` must be a positive number; got -1\.0"),
    (lambda: loss.triplet_margin(margin=True), r"`margin` must be a positive number; got True"),
    (lambda: loss.triplet_margin(mining="hard"), r"`mining` must be one of 'batch_hard', 'batch_all'; got 'hard'"),
    (lambda: loss.nt_xent(temperature=0.0), r"`temperature` must be a positive number; got 0\.0"),
    (lambda: loss.prototypical(shots=0), r"`shots` must be a positive integer; got 0"),
    (lambda: loss.focal(gamma=-0.5), r"`gamma` must be a number of at least 0; got -0\.5"),
    (lambda: loss.label_smoothed_crossentropy(rate=1.0), r"`rate` must be at least 0 and below 1; got 1\.0"),
    (lambda: loss.contrastive()(LABELS, X), r"`y_pred` must have shape \(batch,\) or \(batch, 1\); got \(8, 5\)"),
    (lambda: loss.contrastive()(X, X[:, 0]), r"`y_true` must have shape \(batch,\) or \(batch, 1\); got \(8, 5\)"),
    (lambda: loss.triplet()(LABELS, X), r"`y_pred` must have shape \(batch, 2\); got \(8, 5\)"),
    (lambda: loss.triplet_margin()(LABELS, X[:, 0]), r"`y_pred` must have rank 2 \(batch, features\); got rank 1"),
    (lambda: loss.nt_xent()(LABELS, X[:, 0]), r"`y_pred` must have shape \(batch, features\) or .*; got \(8,\)"),
    (lambda: loss.prototypical()(X, X), r"`y_true` must have shape \(batch,\) or \(batch, 1\); got \(8, 5\)"),
    (lambda: loss.focal(alpha=(1, 2))(LABELS, X), r"`alpha` must hold a weight for each of 5 classes; got 2 weights"),
    (lambda: loss.focal()(X[:, :3], X), r"`y_true` must have shape \(batch, …\), .*; got \(8, 3\) for \(8, 5\)"),
    (lambda: loss.focal()(LABELS, LABELS), r"`y_pred` must have shape \(batch, …, classes\); got \(8,\)"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_alpha_is_a_sequence():
    with pytest.raises(TypeError, match=r"^`alpha` must hold a weight for each class; got 0\.25"):
        loss.focal(alpha=0.25)


def test_each_loss_has_the_name_of_its_function():
    made = [getattr(loss, name) for name in loss.__all__ if name != "Loss"]
    assert [each().__name__ for each in made] == [each.__name__ for each in made]
    assert kb.loss is loss
