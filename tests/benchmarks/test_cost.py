"""Arithmetic and bytes of a step, compared with counts made by hand."""

import itertools

import keras
import pytest
from keras import layers, ops

import architectures
from benchmarks.measure.cost import step_cost
from kblocks import tower
from kblocks.graph import profile

BATCH = 8


def least_bytes(*arguments):
    return step_cost(*arguments).bytes


def two_layers(dtype=None):
    """A convolution from 9×7×4 to 7×5×6 and, after a ReLU and a pooling to 3×2×6, a dense layer to 10."""
    x = keras.Input((9, 7, 4))
    y = layers.Conv2D(6, 3, dtype=dtype)(x)
    y = layers.BatchNormalization(dtype=dtype)(y)
    y = layers.MaxPooling2D(2, dtype=dtype)(layers.ReLU(dtype=dtype)(y))
    return keras.Model(x, layers.Dense(10, dtype=dtype)(layers.Flatten(dtype=dtype)(y)))


CONV = 9 * 7 * 4 + 7 * 5 * 6, 3 * 3 * 4 * 6 + 6  # values of an example in and out, weights
DENSE = 36 + 10, 36 * 10 + 10


# Nobody asks for the gradient of the images.
@pytest.mark.parametrize(("mode", "conv", "dense"), [("training", 2, 3), ("inference", 1, 1)])
@pytest.mark.parametrize("batch_size", [1, BATCH])
def test_two_layers(mode, conv, dense, batch_size):
    found = step_cost(two_layers(), batch_size, mode)
    values = [batch_size * activations + weights for activations, weights in (CONV, DENSE)]
    assert found.bytes == 4 * (conv * values[0] + dense * values[1])
    assert found.flops == 2 * batch_size * (conv * (7 * 5 * 6) * (3 * 3 * 4) + dense * 36 * 10)


def test_the_gradient_passes_a_layer_that_is_not_trained():
    x = keras.Input((4,))
    frozen = layers.Dense(5, trainable=False)
    found = step_cost(keras.Model(x, layers.Dense(7)(frozen(layers.Dense(6)(x)))), 1, "training")
    assert found.flops == 2 * (2 * 4 * 6 + 2 * 6 * 5 + 3 * 5 * 7)
    # Before the first layer that is trained there is nobody to pass it to.
    found = step_cost(keras.Model(x, layers.Dense(7)(frozen_at_the_start(x))), 1, "training")
    assert found.flops == 2 * (4 * 5 + 2 * 5 * 7)


def frozen_at_the_start(x):
    return layers.Dense(5, trainable=False)(x)


@pytest.mark.parametrize("arch", ["siamese_tiny", "resnet_tiny", "convnext_toy", "nasnet_tiny", "shared_dense_tiny"])
def test_the_forward_pass_is_that_of_the_profile(arch):
    model = architectures.create(arch)
    assert step_cost(model, BATCH, "inference").flops == 2 * BATCH * profile(model).macs


def test_forward_and_backward_pass_agree_with_xla():
    """Of products alone, whose operands XLA can't simplify."""
    jax = pytest.importorskip("jax")
    sizes = (96, 64, 48, 16)

    def loss(weights, x):
        for w in weights:
            x = x @ w
        return x.sum() + (x * x).sum()

    shapes = [jax.ShapeDtypeStruct(pair, "float32") for pair in itertools.pairwise(sizes)]
    step = jax.jit(jax.grad(loss)).lower(shapes, jax.ShapeDtypeStruct((BATCH, sizes[0]), "float32")).compile()
    x = y = keras.Input(sizes[:1])
    for size in sizes[1:]:
        y = layers.Dense(size, use_bias=False)(y)
    assert step_cost(keras.Model(x, y), BATCH, "training").flops == pytest.approx(
        _counted(step.cost_analysis()), rel=0.02
    )


def _counted(analysis):
    return (analysis[0] if isinstance(analysis, list) else analysis)["flops"]


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_float16"])
def test_half_precision_halves_the_bytes(policy):
    half, full = (step_cost(two_layers(each), BATCH, "training") for each in (policy, None))
    assert (2 * half.bytes, half.flops) == (full.bytes, full.flops)


def test_a_mixed_policy_uses_the_dtype_of_each_layer():
    x = keras.Input((5,))
    # As heads end: the product before in half precision, the last in float32.
    last = keras.Model(x, layers.Dense(3, dtype="float32")(layers.Dense(4, dtype="mixed_float16")(x)))
    assert least_bytes(last, 1, "inference") == 2 * (5 + 24 + 4) + 4 * (4 + 15 + 3)


def test_a_shared_layer_counts_once_per_call():
    x, layer = keras.Input((8,)), layers.Dense(8)
    assert least_bytes(keras.Model(x, layer(layer(x))), BATCH, "inference") == 4 * 2 * (BATCH * 16 + 72)


def test_calls_in_another_graph_do_not_count():
    layer = layers.Dense(8)
    layer(keras.Input((8,)))
    x = keras.Input((8,))
    model = keras.Model(x, layer(x))
    config, weights = model.get_config(), model.get_weights()
    assert least_bytes(model, BATCH, "inference") == 4 * (BATCH * 16 + 72)
    assert model.get_config() == config
    assert len(layer._inbound_nodes) == 2
    assert all((a == b).all() for a, b in zip(model.get_weights(), weights, strict=True))


@pytest.mark.parametrize("joint_norm", [False, True])
def test_a_tower_counts_once_per_call(joint_norm):
    shared = tower.as_model(lambda x, name: layers.Dense(4, name=name)(x), (6,))
    x = [keras.Input((6,)), keras.Input((6,))]
    pair = tower.siamese(x, shared, merge=tower.abs_difference, joint_norm=joint_norm)
    weights = 28 if joint_norm else 2 * 28
    expected = 4 * (2 * BATCH * (6 + 4) + weights + BATCH * (4 + 1) + 5)
    assert least_bytes(keras.Model(x, layers.Dense(1)(pair)), BATCH, "inference") == expected


def test_attention_reads_each_tensor_once():
    x, y = keras.Input((5, 8)), keras.Input((6, 8))
    weights = 4 * (8 * 8 + 8)
    to_itself = keras.Model(x, layers.MultiHeadAttention(2, 4)(x, x))
    assert least_bytes(to_itself, BATCH, "inference") == 4 * (BATCH * (40 + 40) + weights)
    to_another = keras.Model([x, y], layers.MultiHeadAttention(2, 4)(x, value=y))
    assert least_bytes(to_another, BATCH, "inference") == 4 * (BATCH * (40 + 48 + 40) + weights)


def test_operations_between_products_count_as_fused():
    x = keras.Input((4, 4, 3))
    y = layers.Add()([layers.ReLU()(x), ops.square(x)])
    assert least_bytes(keras.Model(x, layers.GlobalAveragePooling2D()(y)), BATCH, "training") == 0


def test_sequential():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(5), layers.ReLU(), layers.Dense(3)])
    assert least_bytes(model, BATCH, "inference") == 4 * (BATCH * (8 + 5 + 5 + 3) + 45 + 18)


def test_the_network_of_the_tutorials():
    weights, activations = 784 * 64 + 64 + 64 * 10 + 10, 784 + 64 + 64 + 10
    model = architectures.create("mlp_784_64_10")
    assert least_bytes(model, 32, "inference") == 4 * (weights + 32 * activations)
    assert step_cost(model, 32, "training").flops == 2 * 32 * (2 * 784 * 64 + 3 * 64 * 10)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"`mode` must be one of training, inference; got 'serving'"):
        least_bytes(two_layers(), BATCH, "serving")
    x = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"known sizes; got \(None, None, 3\)"):
        least_bytes(keras.Model(x, layers.Conv2D(2, 3)(x)), BATCH, "training")
