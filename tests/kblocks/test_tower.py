"""Towers: one set of weights called on several inputs, and what becomes of their outputs."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops

from kblocks import compose, tower
from kblocks.compose import concat
from kblocks.conv import conv_norm_act

SYMMETRIC = [tower.abs_difference, tower.euclidean, tower.cosine, tower.dot]


def dense(x, name, units=4):
    return layers.Dense(units, name=name)(x)


def normed(x, name):
    x = layers.Dense(4, name=f"{name}_dense")(x)
    return layers.BatchNormalization(momentum=0.75, epsilon=1e-3, name=f"{name}_norm")(x)


def inputs(count, *shape):
    return [keras.Input(shape) for _ in range(count)]


def pair(merge, **options):
    """A siamese model on vectors of 6, and its tower."""
    shared = tower.as_model(options.pop("block", dense), (6,), name="shared")
    x = inputs(2, 6)
    return keras.Model(x, tower.siamese(x, shared, merge=merge, name="s", **options)), shared


def test_as_model_calls_its_block_once():
    calls = []

    def block(x, *, name):
        calls.append(name)
        return dense(x, name)

    model = tower.as_model(block, (6,), name="shared")
    y = [model(x) for x in inputs(3, 6)]
    assert calls == ["shared"]
    assert model.name == "shared"
    assert [t.shape for t in y] == [(None, 4)] * 3
    assert model.count_params() == 6 * 4 + 4


@pytest.mark.parametrize(
    ("block", "shape", "message"),
    [
        ("dense", (6,), "`block` must be a function of a tensor; got 'dense'"),
        (dense, 6, "`input_shape` must be a tuple of sizes; got 6"),
        (dense, ("6",), r"`input_shape` must be a tuple of sizes; got \('6',\)"),
    ],
)
def test_as_model_refuses(block, shape, message):
    with pytest.raises(TypeError, match=message):
        tower.as_model(block, shape)


@pytest.mark.parametrize("joint_norm", [False, True])
def test_a_siamese_model_has_the_weights_of_one_tower(joint_norm):
    model, shared = pair(tower.abs_difference, joint_norm=joint_norm)
    y = layers.Dense(1)(model.output)
    assert keras.Model(model.inputs, y).count_params() == (6 * 4 + 4) + (4 + 1)
    assert [id(w) for w in model.weights] == [id(w) for w in shared.weights]


@pytest.mark.parametrize("joint_norm", [False, True])
@pytest.mark.parametrize("merge", SYMMETRIC)
def test_swapping_the_inputs_changes_nothing(merge, joint_norm, numbers, evaluate):
    model, _ = pair(merge, joint_norm=joint_norm)
    a, b = numbers(5, 6), numbers(5, 6, seed=1)
    np.testing.assert_allclose(evaluate(model, a, b), evaluate(model, b, a), rtol=1e-5, atol=1e-6)
    assert np.abs(evaluate(model, a, b) - evaluate(model, a, a)).max() > 1e-2


@pytest.mark.parametrize("joint_norm", [False, True])
def test_inputs_keep_their_order(joint_norm, numbers, evaluate):
    shared = tower.as_model(dense, (6,), name="shared")
    x = inputs(3, 6)
    model = keras.Model(x, tower.siamese(x, shared, merge=concat, joint_norm=joint_norm))
    data = [numbers(5, 6, seed=i) for i in range(3)]
    kernel, bias = (ops.convert_to_numpy(w) for w in shared.weights)
    expected = np.concatenate([a @ kernel + bias for a in data], -1)
    np.testing.assert_allclose(evaluate(model, *data), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("joint_norm", [False, True])
def test_sharing_survives_a_reload(joint_norm, numbers, evaluate, tmp_path):
    model, _ = pair(tower.abs_difference, joint_norm=joint_norm)
    model.save(tmp_path / "pair.keras")
    loaded = keras.saving.load_model(tmp_path / "pair.keras", safe_mode=True)
    assert loaded.count_params() == 6 * 4 + 4
    a, b = numbers(5, 6), numbers(5, 6, seed=1)
    np.testing.assert_allclose(evaluate(loaded, a, b), evaluate(model, a, b), rtol=1e-6)
    # One change of the tower must be seen through both inputs.
    loaded.get_layer("shared").set_weights([np.eye(6, 4), np.zeros(4)])
    np.testing.assert_allclose(evaluate(loaded, a, b), np.abs(a - b)[:, :4], rtol=1e-5, atol=1e-6)


def moving(model):
    layer = model.get_layer("shared_norm")
    return ops.convert_to_numpy(layer.moving_mean), ops.convert_to_numpy(layer.moving_variance)


def test_joint_norm_is_the_tower_on_the_joint_batch(numbers, evaluate):
    model, shared = pair(concat, block=normed, joint_norm=True)
    a, b = numbers(8, 6), 3 + 2 * numbers(8, 6, seed=1)
    kernel, bias = (ops.convert_to_numpy(w) for w in shared.get_layer("shared_dense").weights)
    z = np.concatenate([a, b]) @ kernel + bias
    y = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-3)
    expected = np.concatenate([y[:8], y[8:]], -1)
    np.testing.assert_allclose(evaluate(model, a, b, training=True), expected, rtol=1e-3, atol=1e-3)
    mean, variance = moving(shared)
    np.testing.assert_allclose(mean, 0.25 * z.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, 0.75 + 0.25 * z.var(0), rtol=1e-4)


def test_without_joint_norm_every_call_has_its_own_statistics(numbers, evaluate):
    model, shared = pair(concat, block=normed)
    a, b = numbers(8, 6), 3 + 2 * numbers(8, 6, seed=1)
    kernel, bias = (ops.convert_to_numpy(w) for w in shared.get_layer("shared_dense").weights)
    za, zb = (x @ kernel + bias for x in (a, b))
    expected = np.concatenate([(z - z.mean(0)) / np.sqrt(z.var(0) + 1e-3) for z in (za, zb)], -1)
    np.testing.assert_allclose(evaluate(model, a, b, training=True), expected, rtol=1e-3, atol=1e-3)
    mean, _ = moving(shared)
    np.testing.assert_allclose(mean, 0.75 * 0.25 * za.mean(0) + 0.25 * zb.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("joint_norm", [False, True])
def test_inference_does_not_depend_on_joint_norm(joint_norm, numbers, evaluate, scramble):
    model, shared = pair(concat, block=normed, joint_norm=joint_norm)
    scramble(shared)
    a, b = numbers(5, 6), numbers(5, 6, seed=1)
    expected = np.concatenate([evaluate(shared, a), evaluate(shared, b)], -1)
    np.testing.assert_allclose(evaluate(model, a, b), expected, rtol=1e-4, atol=1e-5)


def test_a_tower_of_images_of_any_size(numbers, evaluate):
    shared = tower.as_model(partial(conv_norm_act, filters=3), (None, None, 1), name="shared")
    x = inputs(2, None, None, 1)
    model = keras.Model(x, tower.siamese(x, shared, merge=compose.add, joint_norm=True))
    assert evaluate(model, numbers(2, 5, 4, 1), numbers(2, 5, 4, 1)).shape == (2, 5, 4, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, t: tower.siamese(x[:2], t, merge=concat),
        lambda x, t: tower.triplet(x, t, distance=tower.euclidean),
        lambda x, t: tower.embed(x, t),
    ],
    ids=["siamese", "triplet", "embed"],
)
def test_a_plain_function_is_no_tower(call):
    with pytest.raises(
        TypeError, match=r"`tower` must be a keras\.Model or layer, so that its weights are shared; got <f"
    ):
        call(inputs(3, 6), dense)
    call(inputs(3, 6), layers.Dense(4))


@pytest.mark.parametrize("joint_norm", [False, True])
def test_inputs_of_other_shapes_are_refused(joint_norm):
    shared = tower.as_model(dense, (6,))
    with pytest.raises(ValueError, match=r"`inputs` must have equal shapes; got \(None, 6\), \(None, 5\)"):
        tower.siamese([*inputs(1, 6), *inputs(1, 5)], shared, merge=concat, joint_norm=joint_norm)


def test_inputs_that_the_tower_does_not_take_are_refused():
    shared = tower.as_model(dense, (6,), name="shared")
    with pytest.raises(ValueError, match=r"shared.*expected shape=\(None, 6\), found shape=\(None, 5\)"):
        tower.siamese(inputs(2, 5), shared, merge=concat)


def test_counts_of_inputs_are_checked():
    shared = tower.as_model(dense, (6,))
    with pytest.raises(ValueError, match="`inputs` must hold at least two tensors; got 1"):
        tower.siamese(inputs(1, 6), shared, merge=concat)
    with pytest.raises(ValueError, match="`inputs` must hold 3 tensors; got 2"):
        tower.triplet(inputs(2, 6), shared, distance=tower.dot)
    with pytest.raises(ValueError, match="`inputs` must hold at least one tensor; got an empty list"):
        tower.embed([], shared)
    with pytest.raises(TypeError, match="`inputs` must be a list or tuple of tensors; got <KerasTensor"):
        tower.siamese(keras.Input((6,)), shared, merge=concat)
    with pytest.raises(TypeError, match="`merge` must be a function of a tensor; got 'concat'"):
        tower.siamese(inputs(2, 6), shared, merge="concat")


def test_a_distance_is_one_number_a_pair():
    inputs = [keras.Input((8,)) for _ in range(3)]
    shared = tower.as_model(lambda x, name: layers.Dense(4, name=name)(x), (8,))
    with pytest.raises(ValueError, match=r"`distance` must give a tensor of shape \(batch, 1\); got \(None, 4\)"):
        tower.triplet(inputs, shared, distance=tower.abs_difference)


def test_joint_batches_are_of_one_tensor():
    x = keras.Input((8,))
    two = keras.Model(x, [layers.Dense(2)(x), layers.Dense(3)(x)], name="two")
    inputs = [keras.Input((8,)) for _ in range(2)]
    assert [len(y) for y in tower.embed(inputs, two)] == [2, 2]
    with pytest.raises(ValueError, match="`tower` must give one tensor for `joint_norm`; two gives 2"):
        tower.embed(inputs, two, joint_norm=True)


@pytest.mark.parametrize("joint_norm", [False, True])
def test_triplet_puts_the_positive_first(joint_norm, numbers, evaluate):
    shared = tower.as_model(dense, (6,), name="shared")
    x = inputs(3, 6)
    y = tower.triplet(x, shared, distance=tower.euclidean, joint_norm=joint_norm, name="t")
    data = [numbers(5, 6, seed=i) for i in range(3)]
    a, p, n = (evaluate(shared, d) for d in data)
    expected = np.stack([np.linalg.norm(a - p, axis=1), np.linalg.norm(a - n, axis=1)], 1)
    np.testing.assert_allclose(evaluate(keras.Model(x, y), *data), expected, rtol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_triplet_keeps_float32(policy, evaluate):
    keras.config.set_dtype_policy(policy)
    identity = layers.Identity(dtype="float32")
    x = inputs(3, 1)
    model = keras.Model(x, tower.triplet(x, identity, distance=tower.euclidean))
    zero, far, further = (np.full((1, 1), v, "float32") for v in (0, 1, 1 + 2**-12))
    np.testing.assert_allclose(evaluate(model, zero, far, further), [[1, 1 + 2**-12]], rtol=1e-6)


def test_fuse_gives_every_input_a_block_of_its_own(numbers, evaluate):
    x = [keras.Input((6,)), keras.Input((3,))]
    model = keras.Model(x, tower.fuse(x, [dense, partial(dense, units=5)], name="f"))
    a, b = numbers(2, 6), numbers(2, 3, seed=1)
    assert [layer.name for layer in model.layers[2:]] == ["f_tower1", "f_tower2", "f_out"]
    expected = np.concatenate([evaluate(model.get_layer("f_tower1"), a), evaluate(model.get_layer("f_tower2"), b)], -1)
    np.testing.assert_allclose(evaluate(model, a, b), expected, rtol=1e-5)
    assert model.count_params() == (6 * 4 + 4) + (3 * 5 + 5)


@pytest.mark.parametrize(
    ("count", "blocks", "error", "message"),
    [
        (2, [dense], ValueError, "`inputs` must hold 1 tensors; got 2"),
        (1, [], ValueError, "`blocks` must hold at least one function; got an empty list"),
        (0, [dense], ValueError, "`inputs` must hold at least one tensor; got an empty list"),
        (1, [3], TypeError, "`blocks` must be a function .* got 3"),
        (2, dense, TypeError, "`blocks` must be a list or tuple of functions; got <function"),
    ],
)
def test_fuse_refuses(count, blocks, error, message):
    with pytest.raises(error, match=message):
        tower.fuse(inputs(count, 6), blocks)


def test_fuse_refuses_outputs_that_cannot_be_merged():
    with pytest.raises(ValueError, match=r"`tensors` must have equal shapes; got \(None, 4\), \(None, 5\)"):
        tower.fuse(inputs(2, 6), [dense, partial(dense, units=5)], merge=compose.add)


def length(x):
    return np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("merge", "formula"),
    [
        (tower.abs_difference, lambda a, b: np.abs(a - b)),
        (tower.euclidean, lambda a, b: length(a - b)),
        (tower.cosine, lambda a, b: (a * b).sum(1, keepdims=True) / (length(a) * length(b))),
        (tower.dot, lambda a, b: (a * b).sum(1, keepdims=True)),
        (concat, lambda a, b: np.concatenate([a, b], 1)),
    ],
)
@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_merges_are_their_formulas(merge, formula, scale, numbers, evaluate):
    x = inputs(2, 8)
    a, b = scale * numbers(5, 8), scale * numbers(5, 8, seed=1)
    y = evaluate(keras.Model(x, merge(x)), a, b)
    expected = formula(a, b)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("merge", SYMMETRIC)
def test_gradients_are_finite_where_inputs_are_equal_or_zero(merge, policy, numbers, gradients):
    keras.config.set_dtype_policy(policy)
    x = inputs(2, 8)
    model = keras.Model(x, merge(x))
    a = numbers(3, 8)
    a[1] = 0
    b = a.copy()
    b[2] = 0
    _, by_input = gradients(model, a, b)
    assert all(np.isfinite(g).all() for g in by_input)


def euclidean_in_numpy(a, b, epsilon):
    """Distances, and their gradients with respect to `a` and `b`."""
    distance = np.sqrt(((a - b) ** 2).sum(1, keepdims=True) + epsilon)
    return distance, (a - b) / distance, (b - a) / distance


def cosine_in_numpy(a, b, epsilon):
    """Cosines, and their gradients with respect to `a` and `b`."""
    p, q = (np.sqrt((x**2).sum(1, keepdims=True) + epsilon) for x in (a, b))
    cosine = (a * b).sum(1, keepdims=True) / (p * q)
    return cosine, b / (p * q) - cosine * a / p**2, a / (p * q) - cosine * b / q**2


@pytest.mark.parametrize("units", [1, 3, 8])
@pytest.mark.parametrize("epsilon", [1e-24, 1e-12, 1e-2, 4.0])
@pytest.mark.parametrize(("merge", "formula"), [(tower.euclidean, euclidean_in_numpy), (tower.cosine, cosine_in_numpy)])
class TestEpsilon:
    def two(self, numbers, units, epsilon):
        """Vectors and differences far above epsilon, of its size, and zero."""
        a, b = numbers(5, units), numbers(5, units, seed=1)
        b[1] = a[1] = 0
        a[2], b[2] = np.sqrt(epsilon) * a[2], np.sqrt(epsilon) * b[2]
        b[3] = 0
        return a, b

    def test_values(self, merge, formula, epsilon, units, numbers, evaluate):
        x = inputs(2, units)
        a, b = self.two(numbers, units, epsilon)
        found = evaluate(keras.Model(x, merge(x, epsilon=epsilon)), a, b)
        expected, *_ = formula(a.astype("float64"), b.astype("float64"), epsilon)
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6 if merge is tower.cosine else 0)

    def test_gradients(self, merge, formula, epsilon, units, numbers, gradients):
        x = inputs(2, units)
        a, b = self.two(numbers, units, epsilon)
        _, found = gradients(keras.Model(x, merge(x, epsilon=epsilon)), a, b)
        slopes = np.random.default_rng(0).uniform(0.5, 1.5, size=(5, 1))
        _, *expected = formula(a.astype("float64"), b.astype("float64"), epsilon)
        for g, e in zip(found, expected, strict=True):
            # Each row by itself: at a small norm the gradients of the cosine are large.
            for row, wanted in zip(g, slopes * e, strict=True):
                np.testing.assert_allclose(row, wanted, rtol=1e-4, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_distance_beyond_half_precision(policy, evaluate):
    keras.config.set_dtype_policy(policy)
    x = inputs(2, 4)
    y = evaluate(keras.Model(x, tower.euclidean(x)), np.full((1, 4), 1024, "float32"), np.zeros((1, 4), "float32"))
    np.testing.assert_allclose(y, [[2048]], rtol=1e-5)


@pytest.mark.parametrize("merge", [tower.euclidean, tower.cosine])
@pytest.mark.parametrize("epsilon", [0, -1e-3, 9e-25, float("nan")])
def test_epsilon_has_a_lower_bound(merge, epsilon):
    with pytest.raises(ValueError, match=f"`epsilon` must be at least 1e-24; got {epsilon}"):
        merge(inputs(2, 8), epsilon=epsilon)


@pytest.mark.parametrize("merge", SYMMETRIC)
def test_merges_take_two_of_one_shape(merge):
    with pytest.raises(ValueError, match="`tensors` must hold 2 tensors; got 3"):
        merge(inputs(3, 8))
    with pytest.raises(ValueError, match=r"`tensors` must have equal shapes; got \(None, 8\), \(None, 7\)"):
        merge([*inputs(1, 8), *inputs(1, 7)])
    with pytest.raises(TypeError, match="`tensors` must be a list or tuple of tensors"):
        merge(keras.Input((8,)))
    if merge is not tower.abs_difference:
        with pytest.raises(ValueError, match=r"`tensors` must have rank 2 \(batch, features\); got rank 3"):
            merge(inputs(2, 8, 8))


def test_the_merge_of_a_siamese_model_is_out():
    model, _ = pair(tower.euclidean)
    assert model.layers[-1].name == "s_out"
    assert "s_out_unit" in [layer.name for layer in model.layers]
