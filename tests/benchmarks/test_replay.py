"""A graph that is replayed call by call computes what the model computes; the fused normalisation what Keras's does."""

from functools import partial

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the fused kernel is TensorFlow's", allow_module_level=True)

from benchmarks.engines import fused_norm  # noqa: E402 - it imports TensorFlow
from benchmarks.engines.replay import replay  # noqa: E402
from tests.support.networks import TINY  # noqa: E402


def own(operation, *args, **kwargs):
    """Each operation's own call, in inference."""
    return operation(*args, **kwargs)


def randomised(model, seed=0):
    """The model with other weights and moving statistics than the zeros and ones it begins with."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low, high = (0.5, 1.5) if weight.path.endswith(("gamma", "variance")) else (-0.3, 0.3)
        weight.assign(rng.uniform(low, high, weight.shape))
    return model


def inputs_of(model, batch=6, seed=1):
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.standard_normal((batch, *x.shape[1:])), tf.float32) for x in model.inputs]


def outputs_of(model, inputs, **kwargs):
    outputs = model(inputs if len(inputs) > 1 else inputs[0], **kwargs)
    return outputs if isinstance(outputs, list | tuple) else [outputs]


def graph_of_ops():
    """A slice, a split, a shared tower called out of the list's order, keyword arguments, and attention."""
    a, b = keras.Input((6, 4), name="a"), keras.Input((6, 4), name="b")
    x = kb.compose.layer_scale(a, 0.5, name="scale")
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(query=x, value=b, key=a)
    dense = keras.layers.Dense(4, name="dense")
    y = dense(keras.layers.Activation("tanh", name="tanh")(dense(b)))
    halves = keras.ops.split(keras.layers.Concatenate(name="both")([x, y]), 2, axis=-1)
    tower = keras.Sequential([keras.layers.Flatten(name="flat"), keras.layers.Dense(3, name="last")], name="tower")
    pair = kb.tower.siamese(halves, tower, merge=kb.tower.euclidean, name="pair")
    return keras.Model([a, b], [pair, y[:, ::2]], name="ops")


CASES = {
    **{name: partial(architectures.create, name) for name in TINY.values()},
    "auxiliary": partial(
        architectures.create, "googlenet_tiny", auxiliary=True, stages=(((4, (2, 4), (2, 4), 4),),) * 2
    ),
    "joint": partial(architectures.create, "siamese_resnet20"),
    "preact": partial(architectures.create, "resnet164_preact", depths=(1, 1, 1)),
    "ops": graph_of_ops,
}


@pytest.mark.parametrize("case", CASES)
def test_a_replay_computes_what_the_model_computes(case):
    model = randomised(CASES[case]())
    inputs = inputs_of(model)
    calls = []

    def noted(operation, *args, **kwargs):
        calls.append(operation.name)
        return operation(*args, **kwargs)

    for ours, theirs in zip(replay(model, inputs, noted), outputs_of(model, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    assert calls


def test_a_replay_adds_nothing_to_the_model():
    model = architectures.create("resnet_tiny")
    before = model.get_config()
    replay(model, inputs_of(model), own)
    assert model.get_config() == before


def training_step(model, inputs, forward):
    """Outputs, a gradient for each weight and input, and the moving statistics after one call in training."""
    weights = [weight.value for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = forward(inputs)
        rng = np.random.default_rng(5)
        loss = sum(tf.reduce_sum(tf.cast(y, tf.float32) * rng.standard_normal(y.shape)) for y in outputs)
    gradients = tape.gradient(loss, [*weights, *inputs])
    names = [weight.path for weight in model.trainable_weights] + [f"input {i}" for i in range(len(inputs))]
    moving = {weight.path: weight.numpy() for weight in model.non_trainable_weights}
    return outputs, dict(zip(names, gradients, strict=True)), moving


def fused(operation, *args, **kwargs):
    """As the TensorFlow engine calls operations without XLA."""
    if fused_norm.suits(operation, args[0]):
        return fused_norm.batch_norm(operation, args[0], training=True)
    return operation(*args, **kwargs)


@pytest.mark.parametrize("shape", [(6, 5, 7, 3), (2, 1, 1, 8)])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.7, "epsilon": 1e-2}])
def test_the_fused_normalisation_is_that_of_keras(shape, options):
    x = keras.Input(shape[1:])
    model = randomised(keras.Model(x, keras.layers.BatchNormalization(**options)(x)))
    start = [weight.numpy() for weight in model.weights]
    inputs = [tf.constant(np.random.default_rng(0).normal(3.0, 2.0, shape), tf.float32)]
    theirs = training_step(model, inputs, lambda inputs: outputs_of(model, inputs, training=True))
    model.set_weights(start)
    ours = training_step(model, inputs, lambda inputs: replay(model, inputs, fused))
    np.testing.assert_allclose(ours[0][0], theirs[0][0], rtol=1e-4, atol=1e-5)
    for i, tolerance in ((1, 2e-4), (2, 1e-5)):
        for name, value in theirs[i].items():
            np.testing.assert_allclose(ours[i][name], value, rtol=tolerance, atol=tolerance, err_msg=name)
    assert not np.allclose(ours[2][model.non_trainable_weights[1].path], start[3]), (
        "the moving variance must have moved"
    )


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("shape", [(6, 5, 7, 3), (1, 1, 1, 8)])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.7, "epsilon": 1e-2}])
def test_in_inference_too_and_the_statistics_stay(shape, options, jit):
    layer = keras.layers.BatchNormalization(**options)
    layer.build(shape)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.uniform(0.5, 2.0, weight.shape) for weight in layer.weights])
    before = layer.get_weights()
    x = tf.constant(rng.normal(3.0, 2.0, shape), tf.float32)
    ours = tf.function(lambda x: fused_norm.batch_norm(layer, x, training=False), jit_compile=jit)(x)
    np.testing.assert_allclose(ours, layer(x, training=False), rtol=1e-5, atol=1e-5)
    gamma, beta, mean, variance = before
    exact = (x.numpy() - mean) / np.sqrt(variance + options.get("epsilon", 1e-3)) * gamma + beta
    np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5)
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_fused_normalisation_in_a_network_layer_by_layer():
    model = randomised(architectures.create("resnet_tiny"))
    start, inputs = [weight.numpy() for weight in model.weights], inputs_of(model, batch=16)
    theirs = training_step(model, inputs, lambda inputs: outputs_of(model, inputs, training=True))
    model.set_weights(start)
    calls = []

    def noted(operation, *args, **kwargs):
        calls.append(fused_norm.suits(operation, args[0]))
        return fused(operation, *args, **kwargs)

    ours = training_step(model, inputs, lambda inputs: replay(model, inputs, noted))
    assert sum(calls) == sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    np.testing.assert_allclose(ours[0][0], theirs[0][0], rtol=1e-4, atol=1e-4)
    for name, value in theirs[1].items():
        scale = float(tf.reduce_max(tf.abs(value))) + 1e-6
        np.testing.assert_allclose(ours[1][name] / scale, value / scale, atol=1e-4, err_msg=name)
    for name, value in theirs[2].items():
        np.testing.assert_allclose(ours[2][name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization(scale=False),
        keras.layers.BatchNormalization(center=False),
        keras.layers.BatchNormalization(axis=1),
        keras.layers.BatchNormalization(trainable=False),
        keras.layers.BatchNormalization(dtype="float64"),
        keras.layers.LayerNormalization(),
    ],
)
def test_what_the_kernel_does_not_compute_is_left_to_keras(layer):
    x = tf.zeros((2, 4, 4, 3))
    layer(x)
    assert not fused_norm.suits(layer, x)
    assert not fused_norm.suits(keras.layers.BatchNormalization(), tf.zeros((2, 3)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_keeps_float32_statistics(policy):
    layer = keras.layers.BatchNormalization(dtype=policy)
    x = tf.constant(np.random.default_rng(0).normal(3.0, 2.0, (8, 4, 4, 3)), tf.float32)
    layer.build(x.shape)
    y = fused_norm.batch_norm(layer, x, training=True)
    assert y.dtype == layer.compute_dtype
    np.testing.assert_allclose(layer.moving_mean, 0.01 * np.mean(x, (0, 1, 2)), rtol=1e-2)
    layer.set_weights([weight + np.float32([0.5, 1.0, 1.5]) for weight in layer.get_weights()])
    y = fused_norm.batch_norm(layer, x, training=False)
    assert y.dtype == layer.compute_dtype
    np.testing.assert_allclose(
        tf.cast(y, "float32"), tf.cast(layer(x, training=False), "float32"), rtol=0.02, atol=0.02
    )


def test_penalties_of_activities_do_not_pile_up():
    x = keras.Input((4,))
    y = keras.layers.Dense(3, activity_regularizer="l2", kernel_regularizer="l2", name="dense")(x)
    model = keras.Model(x, keras.layers.Activation("tanh", activity_regularizer="l1", name="tanh")(y))
    inputs = [tf.ones((2, 4))]
    model(inputs[0])
    expected = [float(loss) for loss in model.losses]
    for _ in range(3):
        replay(model, inputs, own)
        np.testing.assert_allclose(sorted(map(float, model.losses)), sorted(expected), rtol=1e-6)
