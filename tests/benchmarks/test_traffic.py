"""The least traffic of a step against counts made by hand."""

import keras
import pytest
from keras import layers, ops

import architectures
from benchmarks.traffic import least_bytes
from kblocks import tower

BATCH = 8


def two_layers(dtype=None):
    """A convolution from 9×7×4 to 7×5×6 and, after a ReLU and a pooling to 3×2×6, a dense layer to 10."""
    x = keras.Input((9, 7, 4))
    y = layers.Conv2D(6, 3, dtype=dtype)(x)
    y = layers.BatchNormalization(dtype=dtype)(y)
    y = layers.MaxPooling2D(2, dtype=dtype)(layers.ReLU(dtype=dtype)(y))
    return keras.Model(x, layers.Dense(10, dtype=dtype)(layers.Flatten(dtype=dtype)(y)))


CONV = 9 * 7 * 4 + 7 * 5 * 6, 3 * 3 * 4 * 6 + 6  # values of an example in and out, weights
DENSE = 36 + 10, 36 * 10 + 10


@pytest.mark.parametrize(("mode", "passes"), [("training", 3), ("inference", 1)])
@pytest.mark.parametrize("batch_size", [1, BATCH])
def test_two_layers(mode, passes, batch_size):
    values = sum(batch_size * activations + weights for activations, weights in (CONV, DENSE))
    assert least_bytes(two_layers(), batch_size, mode) == passes * 4 * values


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_float16"])
def test_half_precision_halves_it(policy):
    assert 2 * least_bytes(two_layers(policy), BATCH, "training") == least_bytes(two_layers(), BATCH, "training")


def test_under_a_mixed_policy_each_array_has_its_layers_compute_dtype():
    x = keras.Input((5,))
    # As heads end: the product before in half precision, the last in float32.
    last = keras.Model(x, layers.Dense(3, dtype="float32")(layers.Dense(4, dtype="mixed_float16")(x)))
    assert least_bytes(last, 1, "inference") == 2 * (5 + 24 + 4) + 4 * (4 + 15 + 3)


def test_a_shared_layer_counts_once_a_call():
    x, layer = keras.Input((8,)), layers.Dense(8)
    assert least_bytes(keras.Model(x, layer(layer(x))), BATCH, "inference") == 4 * 2 * (BATCH * 16 + 72)


def test_calls_in_another_graph_do_not_count_and_the_model_stays_as_it_was():
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
def test_a_tower_counts_once_a_call_and_on_joined_inputs_reads_its_weights_once(joint_norm):
    shared = tower.as_model(lambda x, name: layers.Dense(4, name=name)(x), (6,))
    x = [keras.Input((6,)), keras.Input((6,))]
    pair = tower.siamese(x, shared, merge=tower.abs_difference, joint_norm=joint_norm)
    weights = 28 if joint_norm else 2 * 28
    expected = 4 * (2 * BATCH * (6 + 4) + weights + BATCH * (4 + 1) + 5)
    assert least_bytes(keras.Model(x, layers.Dense(1)(pair)), BATCH, "inference") == expected


def test_attention_reads_each_tensor_once_and_keeps_its_scores_to_itself():
    x, y = keras.Input((5, 8)), keras.Input((6, 8))
    weights = 4 * (8 * 8 + 8)
    to_itself = keras.Model(x, layers.MultiHeadAttention(2, 4)(x, x))
    assert least_bytes(to_itself, BATCH, "inference") == 4 * (BATCH * (40 + 40) + weights)
    to_another = keras.Model([x, y], layers.MultiHeadAttention(2, 4)(x, value=y))
    assert least_bytes(to_another, BATCH, "inference") == 4 * (BATCH * (40 + 48 + 40) + weights)


def test_what_stands_between_products_moves_nothing():
    x = keras.Input((4, 4, 3))
    y = layers.Add()([layers.ReLU()(x), ops.square(x)])
    assert least_bytes(keras.Model(x, layers.GlobalAveragePooling2D()(y)), BATCH, "training") == 0


def test_sequential():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(5), layers.ReLU(), layers.Dense(3)])
    assert least_bytes(model, BATCH, "inference") == 4 * (BATCH * (8 + 5 + 5 + 3) + 45 + 18)


def test_the_network_of_the_tutorials():
    weights, activations = 784 * 64 + 64 + 64 * 10 + 10, 784 + 64 + 64 + 10
    model = architectures.create("mlp_784_64_10")
    assert least_bytes(model, 32, "training") == 3 * 4 * (weights + 32 * activations)


def test_what_cannot_be_counted_is_told():
    with pytest.raises(ValueError, match=r"`mode` must be one of training, inference; got 'serving'"):
        least_bytes(two_layers(), BATCH, "serving")
    x = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"known sizes; got \(None, None, 3\)"):
        least_bytes(keras.Model(x, layers.Conv2D(2, 3)(x)), BATCH, "training")
