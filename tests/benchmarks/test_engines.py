"""The engines of the backend in use: the same training as Keras's own, every example once an epoch, a warm-up without
a trace, and the same steps however they are cut into runs.

What an engine trains on is read off its losses: a loss that is the sum of 2^row tells which rows were in the batch.
"""

import dataclasses
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import layers, ops

import architectures
import kblocks as kb
from benchmarks import engines, tasks
from benchmarks.cli import options
from benchmarks.engines.base import has_convolution
from benchmarks.tasks import Classification, Pairs, Synthetic, Task, Triplets, recipes
from benchmarks.terminal.errors import UsageError

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.skipif(
    BACKEND not in ("tensorflow", "jax", "torch"), reason=f"there is no engine for {BACKEND}"
)
STREAM = pytest.param("stream", marks=pytest.mark.skipif(find_spec("tensorflow") is None, reason="it needs TensorFlow"))
DRAWING = ("resident", STREAM)
# Uncompiled, JAX runs one small operation after the other, which takes minutes.
JIT = "on" if BACKEND == "jax" else "off"
INPUTS = (*DRAWING, "fit")


class Marks(Task):
    """Rows that leave their mark: the loss of a batch is the sum of 2^row, exact up to 24 rows."""

    metric = ""
    randoms = 0
    keras_loss = keras.losses.MeanAbsoluteError(reduction="sum")

    def __init__(self, count):
        self.count = count
        self.train = {"marks": np.float32(2) ** np.arange(count, dtype="float32")}

    def draw(self, train, rows, uniform, *, ops=ops):
        marks = ops.take(train["marks"], rows, axis=0)
        return [marks[:, None]], marks

    def prepare(self, inputs):
        return list(inputs)

    def complete(self, model):
        return model

    def loss(self, outputs, targets):
        return ops.sum(targets) + 0 * ops.sum(outputs[0])

    def score(self, model, batch_size):
        return 0.0


class Dice(Marks):
    """The loss of a batch is the sum of its random numbers."""

    randoms = 2

    def draw(self, train, rows, uniform, *, ops=ops):
        return [uniform], uniform[:, 0] + uniform[:, 1]


def engine_of(model, work, *, kind="resident", jit=JIT, optimizer=None, **plan):
    """An engine with SGD where no optimiser is given."""
    return engines.create(
        model, optimizer or keras.optimizers.SGD(0.0), work, engines.Plan(input=kind, jit=jit, **plan)
    )


def marking(count, batch_size, *, work=Marks, **options):
    """An engine that tells which rows it took, or which random numbers."""
    x = keras.Input((max(1, work.randoms),), dtype="float32")
    model = keras.Model(x, layers.Dense(1, kernel_initializer="zeros", dtype="float32")(x))
    return engine_of(model, work(count), batch_size=batch_size, **options)


def rows(mark):
    """The rows whose marks add up to a loss."""
    assert mark == int(mark)
    return {row for row in range(24) if int(mark) >> row & 1}


@pytest.mark.parametrize(("count", "batch_size"), [(20, 4), (21, 4), (23, 8), (12, 12), (6, 1), (15, 8)])
@pytest.mark.parametrize("jit", ["on", "off"])
@pytest.mark.parametrize("kind", DRAWING)
def test_an_epoch_takes_every_example_once(count, batch_size, jit, kind):
    engine = marking(count, batch_size, jit=jit, kind=kind)
    engine.warm_up()
    steps = count // batch_size
    epochs = []
    for _ in range(3):
        batches = [rows(engine.run(1)) for _ in range(steps)]
        assert [len(batch) for batch in batches] == [batch_size] * steps
        assert len(set.union(*batches)) == steps * batch_size
        epochs.append(batches)
    if steps > 1:
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


@pytest.mark.parametrize("kind", DRAWING)
def test_what_an_epoch_leaves_out_changes(kind):
    engine = marking(23, 8, kind=kind)
    left_out = [frozenset(set(range(23)) - rows(engine.run(1)) - rows(engine.run(1))) for _ in range(8)]
    assert {len(rest) for rest in left_out} == {7}
    assert len(set(left_out)) > 4


@pytest.mark.parametrize("kind", DRAWING)
def test_the_order_follows_the_seed(kind):
    one, same, other = (marking(20, 4, seed=seed, kind=kind) for seed in (5, 5, 6))
    orders = [[engine.run(1) for _ in range(10)] for engine in (one, same, other)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("block", [1, 3, 64])
@pytest.mark.parametrize("runs", [(15,), (7, 8), (4, 1, 10)])
@pytest.mark.parametrize("work", [Marks, Dice])
@pytest.mark.parametrize("kind", DRAWING)
def test_runs_take_the_same_steps_however_they_are_cut(block, runs, work, kind):
    each = marking(21, 4, work=work, kind=kind)
    steps = [each.run(1) for _ in range(15)]
    engine = marking(21, 4, work=work, block=block, kind=kind)
    assert 1 <= engine.block <= block
    engine.warm_up()
    at = 0
    for count in runs:
        assert engine.run(count) == pytest.approx(np.mean(steps[at : at + count]), rel=1e-6)
        at += count


@pytest.mark.parametrize("kind", DRAWING)
def test_random_numbers_are_uniform_and_new_in_every_step(kind):
    engine = marking(24, 8, work=Dice, kind=kind)
    sums = np.array([engine.run(1) for _ in range(120)])
    assert len(set(sums.tolist())) == 120
    # Of 16 uniform numbers: 8 ± 1.155.
    assert abs(sums.mean() - 8) < 5 * 1.155 / 120**0.5
    assert 0.8 < sums.std() < 1.5
    other = marking(24, 8, work=Dice, seed=1, kind=kind)
    assert not set(sums.tolist()) & {other.run(1) for _ in range(120)}


def values(variables):
    """Every variable's value as NumPy's, whatever its type."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def batches_of(count, batch_size, steps, seed, kind):
    """The rows of each step, as the engine takes them."""
    if kind == "fit":
        return [range(at, at + batch_size) for at in range(0, steps * batch_size, batch_size)]
    engine = marking(count, batch_size, seed=seed, kind=kind)
    return [sorted(rows(engine.run(1))) for _ in range(steps)]


def agree(model, images, optimizer, steps, *, rtol, jit=JIT, kind="resident"):
    """Trains a copy by Keras's `train_on_batch` on the same batches, and compares losses and every variable."""
    batch_size, seed = 5, 3
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    work = Classification(images, augment=False)
    make = keras.optimizers.get
    engine = engine_of(model, work, kind=kind, batch_size=batch_size, seed=seed, jit=jit, optimizer=make(optimizer))
    engine.warm_up()
    losses = [engine.run(1) for _ in range(min(steps, 7))]
    if steps > 7:
        losses += [engine.run(steps - 7)] * (steps - 7)
    engine.sync()

    twin.compile(make(optimizer), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    (x,) = (ops.convert_to_numpy(x) for x in work.prepare([images.x_train]))
    expected = []
    for batch in batches_of(work.count, batch_size, steps, seed, kind):
        twin.reset_metrics()
        expected.append(twin.train_on_batch(x[batch], images.y_train[batch]))
    if steps > 7:
        expected[7:] = [np.mean(expected[7:])] * (steps - 7)
    np.testing.assert_allclose(losses, expected, rtol=rtol)
    assert len(set(losses[:7])) == min(steps, 7)
    for variable, other in zip(model.variables, twin.variables, strict=True):
        a, b = values([variable, other])
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=variable.path)
    assert int(engine._optimizer.iterations) == steps


SGD = {"class_name": "SGD", "config": {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-3}}
ADAM = {"class_name": "Adam", "config": {"learning_rate": 2e-3}}


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize(("arch", "jit"), [("lenet_tiny", "off"), ("mlp_tiny", "off"), ("mlp_tiny", "on")])
@pytest.mark.parametrize("kind", DRAWING)
def test_training_agrees_with_keras(small, arch, jit, optimizer, kind):
    keras.utils.set_random_seed(1)
    agree(architectures.create(arch), small(23), optimizer, 20, rtol=1e-5, jit=jit, kind=kind)


@pytest.mark.parametrize("kind", DRAWING)
def test_a_step_with_batch_normalisation_agrees_with_keras(small, kind):
    keras.utils.set_random_seed(1)
    model = architectures.create("resnet_tiny")
    before = values(model.non_trainable_variables)
    agree(model, small(23, (16, 16, 3)), SGD, 1, rtol=1e-4, kind=kind)
    assert all(np.any(a != b) for a, b in zip(before, values(model.non_trainable_variables), strict=True))


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has float64 only with jax_enable_x64")
def test_steps_with_batch_normalisation_agree_with_keras(small):
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(1)
    agree(architectures.create("resnet_tiny"), small(23, (16, 16, 3)), SGD, 20, rtol=1e-5)


def trained(images, arch="mlp_tiny", steps=20, batch_size=7, jit=JIT, seed=0, augment=False, kind="resident", **spec):
    """The loss and the weights after some steps from weights that the seed gives."""
    keras.utils.set_random_seed(seed)
    model = architectures.create(arch, **spec)
    work = tasks.for_model(model, images, augment=augment)
    optimizer = recipes.optimizer("sgd", 0.05, {"momentum": 0.9}, steps=40, warmup=0.2)
    engine = engine_of(model, work, kind=kind, batch_size=batch_size, seed=seed, jit=jit, optimizer=optimizer)
    engine.warm_up()
    loss = engine.run(steps)
    engine.sync()
    return loss, values(model.variables)


def test_with_and_without_xla_training_is_the_same(small):
    images = small(50)
    (loss, weights), (other_loss, other_weights) = (trained(images, jit=jit) for jit in ("on", "off"))
    assert loss == pytest.approx(other_loss, rel=1e-5)
    for a, b in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("spec", [{"arch": "mlp_tiny", "dropout": 0.5}, {"arch": "lenet_tiny"}], ids=["mlp", "lenet"])
def test_equal_seeds_give_equal_weights_and_others_do_not(small, kind, spec):
    images = small(50)
    (loss, weights), (same_loss, same), (other_loss, _) = (
        trained(images, kind=kind, seed=seed, **spec) for seed in (1, 1, 2)
    )
    assert loss == same_loss != other_loss
    for a, b in zip(weights, same, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("arch", ["resnet_tiny", "siamese_tiny"])
@pytest.mark.parametrize("kind", DRAWING)
def test_two_runs_are_one(small, arch, kind):
    augment = arch == "resnet_tiny"
    images = small(50, architectures.variant(arch).input_shapes[0])
    ends = []
    for runs in ((11,), (4, 7)):
        keras.utils.set_random_seed(0)
        model = architectures.create(arch)
        work = tasks.for_model(model, images, augment=augment)
        engine = engine_of(model, work, kind=kind, batch_size=8, optimizer=keras.optimizers.SGD(1e-3))
        engine.warm_up()
        losses = [engine.run(count) for count in runs]
        engine.sync()
        ends.append((np.dot(losses, runs), values(model.trainable_variables)))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4)
    for a, b in zip(ends[0][1], ends[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "bfloat16"])
def test_the_warm_up_leaves_no_trace(small, kind, policy):
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 1))
    y = layers.BatchNormalization()(layers.Dropout(0.5, seed=1)(layers.Conv2D(3, 3)(x)))
    model = keras.Model(x, layers.Dense(10, dtype="float32", name="logits")(layers.Flatten()(y)))
    name = "sgd" if policy == "bfloat16" else "adam"  # see below
    optimizer, fresh = (recipes.optimizer(name, 0.1, {}, steps=20, warmup=0.1) for _ in range(2))
    fresh.build(model.trainable_variables)
    variables = model.variables
    paths = [variable.path for variable in variables]
    assert any("seed" in path for path in paths)
    assert any("moving_variance" in path for path in paths)
    before, slots = values(variables), values(fresh.variables)
    work = Classification(small(30, (8, 8, 1)), augment=False)
    engine = engine_of(model, work, kind=kind, batch_size=5, optimizer=optimizer)
    assert engine.warm_up() > 0
    engine.sync()
    for path, a, b in zip(paths, before, values(variables), strict=True):
        assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes()), path
    for variable, a, b in zip(fresh.variables, slots, values(optimizer.variables), strict=True):
        assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes()), variable.path
    # Steps do leave one, everywhere.
    engine.run(3)
    engine.sync()
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    assert int(inner.iterations) == 3
    assert all(np.any(a != b) for a, b in zip(before, values(variables), strict=True))


@pytest.mark.parametrize("kind", DRAWING)
def test_the_warm_up_does_not_change_what_follows(small, kind):
    images = small(50)
    ends = []
    for warm in (False, True):
        keras.utils.set_random_seed(0)
        x = keras.Input((28, 28, 1))
        # Without a seed of its own, dropout draws on some backends from a generator that is no part of the model.
        y = layers.Dropout(0.5, seed=7)(layers.Dense(16, "relu")(layers.Flatten()(x)))
        model = keras.Model(x, layers.Dense(10)(y))
        work = Classification(images, augment=False)
        engine = engine_of(model, work, kind=kind, batch_size=8, optimizer=keras.optimizers.Adam())
        if warm:
            engine.warm_up()
        ends.append([engine.run(1) for _ in range(8)])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("jit", ["on", "off"])
def test_every_step_drops_out_anew(jit):
    x = keras.Input((1,))
    y = layers.Dropout(0.5, noise_shape=(None, 64), seed=7)(layers.Dense(64, kernel_initializer="random_normal")(x))
    model = keras.Model(x, layers.Dense(1)(y))

    class Fixed(Marks):
        """One batch again and again, whose loss tells what was dropped."""

        def loss(self, outputs, targets):
            return ops.sum(outputs[0])

    model.set_weights([np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(model.weights)])
    engines_of_one_model = []
    for runs in ((1,) * 6, (6,)):
        twin = keras.models.clone_model(model)
        twin.set_weights(model.get_weights())
        engine = engine_of(twin, Fixed(4), batch_size=4, jit=jit)
        engine.warm_up()
        engines_of_one_model.append([engine.run(count) for count in runs])
    singles, (together,) = engines_of_one_model
    assert len(set(singles)) == 6
    # Inside of one run too.
    assert together == pytest.approx(np.mean(singles), rel=1e-5)


@pytest.mark.parametrize(
    ("policy", "kind"),
    [
        ("mixed_bfloat16", "resident"),
        ("mixed_float16", "resident"),
        ("bfloat16", "resident"),
        pytest.param("mixed_float16", *STREAM.values, marks=STREAM.marks),
        ("mixed_float16", "fit"),
    ],
)
def test_lower_precisions_train(small, kind, policy):
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    images = small(64)
    model = architectures.create("lenet_tiny")
    # Adam's second decay, 0.999, is 1 in bfloat16, where it therefore moves nothing.
    name, rate = ("sgd", 0.1) if policy == "bfloat16" else ("adam", 5e-3)
    optimizer = recipes.optimizer(name, rate, {}, steps=200, warmup=0.0)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    work = Classification(images, augment=False)
    engine = engine_of(model, work, kind=kind, batch_size=32, optimizer=optimizer)
    engine.warm_up()
    first = engine.run(4)
    last = [engine.run(20) for _ in range(4)][-1]
    assert np.isfinite([first, last]).all()
    # Random labels are learned by heart.
    assert last < first - 0.1
    engine.sync()
    assert {str(w.dtype) for w in model.trainable_variables[:-2]} == {"bfloat16" if policy == "bfloat16" else "float32"}


@pytest.mark.parametrize("outputs", [1, 3])
def test_networks_of_several_outputs_train(small, outputs):
    keras.utils.set_random_seed(0)
    images = small(30, (32, 32, 3))
    keras.utils.set_random_seed(1)  # one with which no branch of two channels is dead from the start
    model = architectures.create("googlenet_tiny", auxiliary=outputs == 3, dropout=0.0)
    assert len(model.outputs) == outputs
    work = Classification(images, augment=False)
    # The auxiliary heads drop out at random; with these weights they find every class as likely all the same.
    for weight in model.trainable_variables:
        if "auxiliary" in weight.path and "logits" in weight.path:
            weight.assign(np.zeros(weight.shape))
    before = values(model.trainable_variables)
    logits = tasks.base.predict(model, work.prepare([images.x_train]))[0]
    log_sum = np.log(np.exp(logits.astype("float64")).sum(axis=1))
    entropy = np.mean(log_sum - logits[np.arange(30), images.y_train])
    engine = engine_of(model, work, batch_size=30, optimizer=keras.optimizers.Adam(1e-2))
    engine.warm_up()
    assert engine.run(1) == pytest.approx(entropy + 0.3 * (outputs - 1) * np.log(10), rel=1e-4)
    engine.run(5)
    engine.sync()
    after = values(model.trainable_variables)
    stuck = [v.path for v, a, b in zip(model.trainable_variables, before, after, strict=True) if np.array_equal(a, b)]
    assert stuck == []


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "bfloat16"])
def test_penalties_are_in_the_loss(small, kind, policy):
    if kind == "fit" and policy == "bfloat16":
        pytest.skip("Keras's own fit adds no bfloat16 penalty to a float32 loss")
    keras.config.set_dtype_policy(policy)
    losses = []
    images = small(30)
    for penalty in (None, "l2"):
        keras.utils.set_random_seed(0)
        model = architectures.create("mlp_tiny", style=dataclasses.replace(kb.PLAIN, regularizer=penalty))
        kernels = [w for w in model.trainable_variables if w.path.endswith("kernel")]
        # Keras's l2 is 0.01 times the sum of squares.
        squares = sum(0.01 * np.square(w.astype("float64")).sum() for w in values(kernels))
        work = Classification(images, augment=False)
        engine = engine_of(model, work, kind=kind, batch_size=30, optimizer=keras.optimizers.SGD(0.1))
        engine.warm_up()
        losses.append(engine.run(1))
        engine.sync()
    assert len(kernels) == 2
    assert losses[1] - losses[0] == pytest.approx(squares, rel=0.02 if policy == "bfloat16" else 1e-3)


def halved(width, activation):
    """A network whose output is of the policy's dtype, as those of keras.applications."""
    x = keras.Input((6,))
    return keras.Model(x, layers.Dense(width, activation=activation)(x))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
@pytest.mark.parametrize(("width", "activation"), [(5, None), (5, "softmax"), (1, None), (1, "sigmoid")])
@pytest.mark.parametrize("mode", ["training", "inference"])
def test_outputs_of_any_dtype_have_a_float32_loss(policy, width, activation, mode):
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model = halved(width, activation)
    work = Synthetic(model, batch_size=16, seed=0)
    optimizer = recipes.optimizer("sgd", 0.0, {}, steps=20, warmup=0.0)
    engine = engine_of(model, work, batch_size=16, mode=mode, optimizer=optimizer)
    engine.warm_up()
    inputs, labels = work.examples(work.count, 0)
    (outputs,) = evaluated(model, inputs)
    if activation:
        outputs = np.log(outputs) if width > 1 else np.log(outputs / (1 - outputs))
    logits = outputs if width > 1 else np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    expected = cross_entropies(logits, labels[:, 0]).mean()
    # An epoch: every example counts once.
    assert engine.run(work.count // 16) == pytest.approx(expected, rel=0.02)


INFERENCE = [
    ("resident", "off"),
    ("resident", "on"),
    pytest.param(*STREAM.values, "off", marks=STREAM.marks),
    pytest.param(*STREAM.values, "on", marks=STREAM.marks),
    ("fit", "off"),
]


def evaluated(model, inputs):
    """The outputs of all examples at once, by Keras's own call."""
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    return [np.array(ops.convert_to_numpy(y), "float64") for y in (outputs if isinstance(outputs, list) else [outputs])]


def cross_entropies(logits, labels):
    """Of each example."""
    logits = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


def without_a_trace(engine, variables, runs):
    """The losses of some runs after the warm-up, none of which may leave a trace in the variables."""
    names = [variable.path for variable in variables]
    before = values(variables)
    engine.warm_up()
    losses = [engine.run(count) for count in runs]
    engine.sync()
    for name, a, b in zip(names, before, values(variables), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    return losses


def regular(shape, classes):
    """A network of convolution, normalisation with statistics of its own, and dropout."""
    x = keras.Input(shape)
    y = layers.BatchNormalization()(layers.Conv2D(4, 3)(x))
    y = layers.Dropout(0.9, seed=1)(layers.Flatten()(layers.Activation("relu")(y)))
    model = keras.Model(x, layers.Dense(classes, dtype="float32")(y))
    rng = np.random.default_rng(2)
    for weight in model.weights:
        low, high = (0.5, 1.5) if weight.path.endswith(("gamma", "variance")) else (-0.5, 0.5)
        weight.assign(rng.uniform(low, high, weight.shape))
    return model


@pytest.mark.parametrize(("kind", "jit"), INFERENCE)
def test_inference_is_the_loss_of_each_batch(small, kind, jit):
    images, batch_size, steps = small(23, (8, 8, 2)), 5, 4
    model, optimizer = regular((8, 8, 2), 10), keras.optimizers.Adam()
    work = Classification(images, augment=False)
    (logits,) = evaluated(model, work.prepare([images.x_train]))
    each = cross_entropies(logits, images.y_train)
    plan = {"kind": kind, "jit": jit, "batch_size": batch_size, "seed": 3}
    batches = batches_of(23, batch_size, 2 * steps, 3, kind)
    if kind == "fit":
        batches[steps:] = batches[:steps]
    expected = [each[list(batch)].mean() for batch in batches]
    variables = [*model.variables, *optimizer.variables]
    engine = engine_of(model, work, mode="inference", optimizer=optimizer, **plan)
    losses = without_a_trace(engine, variables, (1, 1, 2, 4))
    assert len({round(loss, 4) for loss in losses}) == 4
    np.testing.assert_allclose(
        losses, [expected[0], expected[1], np.mean(expected[2:4]), np.mean(expected[4:])], rtol=1e-5
    )


@pytest.mark.parametrize("kind", DRAWING)
def test_inference_of_several_inputs_and_outputs(kind):
    model = architectures.create("shared_dense_tiny")
    assert (len(model.inputs), len(model.outputs)) == (2, 2)
    rng = np.random.default_rng(2)
    model.set_weights([rng.uniform(-1.5, 1.5, weight.shape) for weight in model.weights])
    work = Synthetic(model, batch_size=4, seed=0)
    y = work.train["y"]
    outputs = evaluated(model, work.prepare([work.train["x0"], work.train["x1"]]))
    expected = sum(-np.log(np.where(y[:, i] == 1, p[:, 0], 1 - p[:, 0])).mean() for i, p in enumerate(outputs))
    engine = engine_of(model, work, kind=kind, mode="inference", batch_size=4)
    (loss,) = without_a_trace(engine, model.variables, (work.count // 4,))
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", INPUTS)
def test_inference_of_pairs(small, kind):
    # With weights of zero every logit is zero, and costs as much whatever the pair.
    model = architectures.create("siamese_tiny")
    work = Pairs(small(40))
    model.set_weights([np.zeros(weight.shape) for weight in model.weights])
    engine = engine_of(model, work, kind=kind, mode="inference", batch_size=8)
    (loss,) = without_a_trace(engine, model.variables, (5,))
    assert loss == pytest.approx(np.log(2), rel=1e-5)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_inference_in_lower_precisions(small, kind, policy):
    keras.config.set_dtype_policy(policy)
    images = small(24, (8, 8, 2))
    model = regular((8, 8, 2), 10)
    optimizer = recipes.optimizer("sgd", 0.1, {}, steps=20, warmup=0.0)
    work = Classification(images, augment=False)
    (logits,) = evaluated(model, work.prepare([images.x_train]))
    expected = cross_entropies(logits, images.y_train).mean()
    engine = engine_of(model, work, kind=kind, mode="inference", batch_size=8, optimizer=optimizer)
    (loss,) = without_a_trace(engine, [*model.variables, *optimizer.variables], (3,))
    assert loss == pytest.approx(expected, rel=0.02)


def test_fit_trains_and_learns(small):
    keras.utils.set_random_seed(0)
    model = architectures.create("siamese_tiny")
    work = Pairs(small(64))
    engine = engine_of(model, work, kind="fit", batch_size=16, optimizer=keras.optimizers.Adam(1e-2))
    assert engine.block == 4
    engine.warm_up()
    before = engine.run(4)
    after = [engine.run(10) for _ in range(12)][-1]
    assert after < 0.8 * before
    assert int(engine._model.optimizer.iterations) == 4 + 120


@pytest.mark.parametrize("kind", INPUTS)
def test_triples_train_and_are_learned(small, kind):
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((8, 8, 1)) for _ in range(3)]

    def vector(x, name):
        return layers.Dense(4, name=name)(layers.Flatten()(x))

    shared = kb.tower.as_model(vector, (8, 8, 1), name="tower")
    # Distances are one output, as `fit` needs it.
    if kind == "fit":
        outputs = kb.tower.triplet(inputs, shared, distance=kb.tower.euclidean)
    else:
        outputs = kb.tower.embed(inputs, shared)
    work = Triplets(small(64, (8, 8, 1), classes=3))
    engine = engine_of(
        keras.Model(inputs, outputs), work, kind=kind, batch_size=16, optimizer=keras.optimizers.Adam(1e-2)
    )
    engine.warm_up()
    before = engine.run(4)
    after = [engine.run(10) for _ in range(12)][-1]
    assert after < 0.7 * before


def test_fit_takes_every_example_once_an_epoch():
    engine = marking(20, 4, kind="fit")
    engine.warm_up()
    for runs in ((5,), (2, 3), (1, 1, 1, 1, 1)):
        # The outputs stay 0, so that the loss is the sum of the marks.
        marks = [engine.run(count) * count for count in runs]
        assert sum(marks) == pytest.approx(2**20 - 1, rel=1e-6)


def test_fit_refuses_several_outputs(small):
    model = architectures.create("googlenet_tiny", auxiliary=True)
    with pytest.raises(UsageError, match=r"--input=fit runs networks of one output; googlenet_tiny has 3"):
        engine_of(model, Classification(small(20, (32, 32, 3)), augment=False), kind="fit", batch_size=4)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("batch_size", [0, 21, 1000])
def test_a_batch_larger_than_the_data_is_told(kind, batch_size):
    with pytest.raises(UsageError, match=f"--batch_size must be from 1 to 20, .*; got {batch_size}"):
        marking(20, batch_size, kind=kind)


def test_a_backend_without_an_engine_is_told(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "abacus")
    with pytest.raises(UsageError, match="--input=resident has no engine for KERAS_BACKEND=abacus"):
        marking(20, 4)


def test_the_flag_lists_what_the_engines_run():
    """`--help` lists the inputs without importing Keras."""
    assert {name: name in engines.find(name).inputs for name in options.INPUTS} == dict.fromkeys(options.INPUTS, True)
    assert {*engines.find("resident").inputs, *engines.BY_INPUT} == set(options.INPUTS)
    with pytest.raises(UsageError, match="--input must be one of resident, stream, fit; got 'steram'"):
        engines.find("steram")
    assert options.MODES == engines.MODES


@pytest.mark.parametrize("wrong", [{"mode": "train"}, {"jit": True}])
def test_a_plan_checks_its_words(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"`{name}` must be one of .*; got {value!r}"):
        engines.Plan(batch_size=4, **wrong)


def test_convolutions_are_found_in_models_within_models():
    assert has_convolution(architectures.create("siamese_tiny"))
    assert has_convolution(architectures.create("lenet_tiny"))
    assert not has_convolution(architectures.create("mlp_tiny"))
    assert not has_convolution(architectures.create("shared_dense_tiny"))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the question is TensorFlow's")
def test_on_cpu_xla_is_for_networks_without_convolutions(small, monkeypatch):
    import tensorflow as tf

    images = small(20)

    def jit(arch, devices):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices)
        return engine_of(
            architectures.create(arch), Classification(images, augment=False), batch_size=4, jit="auto"
        ).jit

    assert jit("mlp_tiny", []) is True
    assert jit("lenet_tiny", []) is False
    assert jit("lenet_tiny", ["GPU:0"]) is True


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the block is TensorFlow's")
@pytest.mark.parametrize(("kind", "inner"), [("resident", "_steps"), ("stream", "_step")])
@pytest.mark.parametrize("mode", engines.MODES)
def test_one_trace_serves_every_run(kind, inner, mode):
    engine = marking(21, 4, kind=kind, mode=mode)
    engine.warm_up()
    for count in (1, 3, 5, 11):
        engine.run(count)
    assert engine._block.experimental_get_tracing_count() == 1
    assert getattr(engine, inner).experimental_get_tracing_count() == 1
