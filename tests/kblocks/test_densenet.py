"""Dense layers, blocks and transitions, against NumPy and the paper's arithmetic."""

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import densenet
from kblocks.style import RELU, RELU_BN, SWISH_BN, Style
from tests.support.numpy_layers import Numpy, relu
from tests.support.weights import randomise


def layer(net, x, name, bottleneck=True):
    y = x
    for i in (1, 2) if bottleneck else (2,):
        y = net.conv(relu(net.norm(y, f"{name}_conv{i}_norm")), f"{name}_conv{i}")
    return np.concatenate([x, y], axis=-1)


def build(block, channels=4, size=6, **options):
    x = keras.Input((size, size, channels))
    return randomise(keras.Model(x, block(x, **options, name="d")))


@pytest.mark.parametrize("expansion", [4, 1, None])
def test_a_layer_in_numpy(expansion, numbers, evaluate):
    model = build(densenet.dense_layer, growth=3, expansion=expansion)
    data = numbers(2, 6, 6, 4)
    expected = layer(Numpy(model), data, "d", bottleneck=expansion is not None)
    assert expected.shape == (2, 6, 6, 7)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)
    convolutions = [(x.kernel_size[0], x.filters) for x in model.layers if isinstance(x, layers.Conv2D)]
    assert convolutions == [(1, 3 * expansion), (3, 3)] if expansion else [(3, 3)]


def test_a_block_in_numpy(numbers, evaluate):
    model = build(densenet.dense_block, depth=3, growth=2, expansion=2)
    net = Numpy(model)
    data = x = numbers(2, 6, 6, 4)
    for i in (1, 2, 3):
        x = layer(net, x, f"d_unit{i}")
    assert x.shape[-1] == 4 + 3 * 2
    np.testing.assert_allclose(evaluate(model, data), x, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(evaluate(model, data)[..., :4], data)


@pytest.mark.parametrize("size", [6, 7])
def test_a_transition_in_numpy(size, numbers, evaluate):
    model = build(densenet.transition, size=size)
    net = Numpy(model)
    data = numbers(2, size, size, 4)
    y = net.conv(relu(net.norm(data, "d_conv_norm")), "d_conv")[:, :6, :6]
    expected = y.reshape(2, 3, 2, 3, 2, 2).mean((2, 4))
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_a_transition_leaves_out_what_fills_no_window(padding):
    x = keras.Input((7, 8, 4))
    assert densenet.transition(x, style=Style(padding=padding)).shape == (None, 3, 4, 2)


@pytest.mark.parametrize(("compression", "channels", "left"), [(1, 5, 5), (0.5, 5, 2), (0.3, 4, 1), (0.29, 100, 29)])
def test_the_compression_rounds_down(compression, channels, left):
    assert densenet.transition(keras.Input((4, 4, channels)), compression=compression).shape == (None, 2, 2, left)


@pytest.mark.parametrize("compression", [0, -1, None])
def test_a_compression_is_a_positive_number(compression):
    with pytest.raises(ValueError, match=f"`compression` must be a positive number; got {compression}"):
        densenet.transition(keras.Input((4, 4, 4)), compression=compression)


@pytest.mark.parametrize("compression", [0.2, 1.25])
def test_a_compression_that_leaves_nothing_or_widens_is_refused(compression):
    message = f"`compression` must leave at least one channel and add none; got {compression} of 4 channels"
    with pytest.raises(ValueError, match=message):
        densenet.transition(keras.Input((4, 4, 4)), compression=compression)


def test_an_image_too_small_for_a_transition_is_refused():
    with pytest.raises(ValueError, match="`x` must be at least 2×2 for a window of 2×2 without padding; got 1×4"):
        densenet.transition(keras.Input((1, 4, 4)))


@pytest.mark.parametrize(
    ("block", "options", "names"),
    [
        (densenet.dense_layer, {"growth": 2}, ["d_dropout1", "d_dropout2"]),
        (densenet.dense_layer, {"growth": 2, "expansion": None}, ["d_dropout2"]),
        (densenet.dense_block, {"depth": 2, "growth": 2, "expansion": None}, ["d_unit1_dropout2", "d_unit2_dropout2"]),
        (densenet.transition, {}, ["d_dropout"]),
    ],
)
def test_dropout_follows_each_convolution(block, options, names):
    model = build(block, dropout=0.2, **options)
    found = {x.name: x for x in model.layers if isinstance(x, layers.Dropout)}
    assert list(found) == names
    assert {x.rate for x in found.values()} == {0.2}
    assert all(isinstance(x.input._keras_history.operation, layers.Conv2D) for x in found.values())
    assert not [x for x in build(block, **options).layers if isinstance(x, layers.Dropout)]
    with pytest.raises(ValueError, match="`dropout` must be at least 0 and below 1; got 1"):
        build(block, dropout=1, **options)


@pytest.mark.parametrize("expansion", [0, 1.5, "4"])
def test_an_expansion_that_is_no_positive_integer_is_refused(expansion):
    with pytest.raises(ValueError, match=f"`expansion` must be a positive integer; got {expansion!r}"):
        densenet.dense_block(keras.Input((4, 4, 4)), 1, 2, expansion=expansion)


@pytest.mark.parametrize(("style", "activation"), [(RELU_BN, "relu"), (SWISH_BN, "silu")])
def test_the_style_reaches_every_layer(style, activation):
    x = keras.Input((4, 4, 4))
    model = keras.Model(x, densenet.transition(densenet.dense_block(x, 2, 2, style=style), style=style))
    found = [layer.get_config()["activation"] for layer in model.layers if isinstance(layer, layers.Activation)]
    assert found == [activation] * 5
    plain = keras.Model(x, densenet.dense_block(x, 2, 2, style=RELU))
    assert all(layer.use_bias for layer in plain.layers if isinstance(layer, layers.Conv2D))
