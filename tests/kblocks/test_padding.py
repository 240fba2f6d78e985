"""The padding "floor", against NumPy and against what keras.applications does before a window of stride 2."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers, ops

from kblocks import conv, pool, residual
from kblocks.style import RELU_BN

FLOOR = replace(RELU_BN, padding="floor")


def floor_windows(x, size, stride):
    """Windows that begin where those of "same" do at sizes that the stride divides, one for each whole step."""
    before, after = max(size - stride, 0) // 2, size
    x = np.pad(x, [(0, 0), (before, after), (before, after), (0, 0)])
    steps = [n // stride for n in (x.shape[1] - before - after, x.shape[2] - before - after)]
    found = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return found[:, : steps[0], : steps[1]]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("sizes", [(8, 12), (9, 8), (7, 11)])
@pytest.mark.parametrize(
    ("kernel_size", "stride"), [(3, 1), (3, 2), (5, 2), (2, 2), (4, 2), (7, 4), (5, 3), (1, 2), (2, 3), (1, 4)]
)
def test_conv(kernel_size, stride, sizes, known, numbers, evaluate, scramble):
    x = keras.Input((*(sizes if known else (None, None)), 4))
    y = conv.conv(x, 6, kernel_size, stride=stride, style=FLOOR, name="probe")
    model = scramble(keras.Model(x, y))
    kernel = ops.convert_to_numpy(model.get_layer("probe").kernel)
    data = numbers(2, *sizes, 4)
    expected = np.einsum("bhwcij,ijco->bhwo", floor_windows(data, kernel_size, stride), kernel)
    assert expected.shape[1:3] == tuple(n // stride for n in sizes)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [8, 9])
def test_a_padding_of_one_at_the_end_in_stock_layers(size, numbers, evaluate):
    x = keras.Input((size, size, 4))
    ours = keras.Model(x, conv.depthwise_conv(x, 3, stride=2, style=FLOOR))
    padded = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    theirs = keras.Model(x, layers.DepthwiseConv2D(3, strides=2, padding="valid", use_bias=False)(padded))
    theirs.set_weights(ours.get_weights())
    data = numbers(2, size, size, 4)
    np.testing.assert_allclose(evaluate(ours, data), evaluate(theirs, data), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "stride", "padded"), [((8, 6), 2, False), ((8, 7), 2, True), ((None, 8), 2, True), ((None, 7), 1, False)]
)
def test_a_layer_only_where_keras_has_no_word_for_it(sizes, stride, padded):
    x = keras.Input((*sizes, 4))
    model = keras.Model(x, conv.conv(x, 6, 3, stride=stride, style=FLOOR, name="probe"))
    assert [layer.name for layer in model.layers[1:]] == ["probe_pad", "probe"] if padded else ["probe"]
    assert model.get_layer("probe").padding == ("valid" if padded else "same")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "unit",
    [residual.basic, residual.bottleneck, residual.preact_basic, residual.preact_bottleneck, residual.separable],
)
@pytest.mark.parametrize("options", [{}, {"shortcut": residual.padded}], ids=["", "padded"])
def test_both_ways_through_a_residual_unit(unit, options, known, numbers, evaluate):
    x = keras.Input((7, 13, 4) if known else (None, None, 4))
    model = keras.Model(x, unit(x, 8, stride=2, style=FLOOR, **options))
    assert evaluate(model, numbers(2, 7, 13, 4)).shape == (2, 3, 6, 8)


def test_pooling_leaves_out_what_is_over(numbers, evaluate):
    x = keras.Input((7, 8, 3))
    data = numbers(2, 7, 8, 3)
    y = evaluate(keras.Model(x, pool.max_pool(x, 2, stride=2, style=FLOOR)), data)
    np.testing.assert_array_equal(y, data[:, :6].reshape(2, 3, 2, 4, 2, 3).max((2, 4)))


@pytest.mark.parametrize("shape", [(1, 8, 4), (8, 1, 4), (None, 1, 4)])
def test_an_image_smaller_than_the_stride_is_refused(shape):
    with pytest.raises(ValueError, match=r"`x` must be at least 2×2 for a window of 3×3 at a stride of 2; got"):
        conv.conv(keras.Input(shape), 6, 3, stride=2, style=FLOOR)
