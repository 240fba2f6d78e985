"""Convolutions, recomputed with NumPy from the layers' own weights."""

from dataclasses import replace
from functools import partial
from math import ceil

import keras
import numpy as np
import pytest
from keras import ops

from kblocks import conv, mlp
from kblocks.style import RELU, RELU_BN, Style, activation, linear, relu
from tests.support import numpy_layers

SYMMETRIC = replace(RELU_BN, padding="symmetric")
VALID = replace(RELU_BN, padding="valid")


def model_of(scramble, function, *arguments, channels=4, **options):
    x = keras.Input((9, 7, channels))
    model = scramble(keras.Model(x, function(x, *arguments, name="probe", **options)))
    weights = [ops.convert_to_numpy(weight) for weight in model.get_layer("probe").weights]
    return model, weights


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
def test_conv(kernel_size, stride, numbers, evaluate, scramble):
    model, (kernel,) = model_of(scramble, conv.conv, 6, kernel_size, stride=stride)
    data = numbers(2, 9, 7, 4)
    expected = numpy_layers.conv(data, kernel, stride)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("sides", [(1, 3), (5, 1), (3, 2)])
def test_conv_of_rows_and_columns(sides, stride, dilation, numbers, evaluate, scramble):
    model, (kernel,) = model_of(scramble, conv.conv, 6, sides, stride=stride, dilation=dilation)
    assert kernel.shape == (*sides, 4, 6)
    data = numbers(2, 9, 7, 4)
    expected = numpy_layers.conv(data, kernel, stride, dilation=dilation)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sides", [(1, 3), (5, 3), [3, 1]])
def test_rows_and_columns_padded_symmetrically_and_not_at_all(sides, numbers, evaluate, scramble):
    # At even sizes, where "same" is not symmetric.
    x = keras.Input((8, 6, 4))
    data = numbers(2, 8, 6, 4)
    for style in (SYMMETRIC, VALID):
        model = scramble(keras.Model(x, conv.conv(x, 6, sides, stride=2, style=style, name="probe")))
        kernel = ops.convert_to_numpy(model.get_layer("probe").kernel)
        expected = numpy_layers.conv(data, kernel, 2, padding=style.padding)
        np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("sides", "image"), [((1, 9), (3, 9)), ((9, 1), (9, 3)), ((1, 9), (None, 9))])
def test_a_row_needs_width_and_a_column_height(sides, image):
    conv.conv(keras.Input((*image, 4)), 6, sides, style=VALID)
    with pytest.raises(ValueError, match=f"`x` must be at least {sides[1]}×{sides[0]} for a window of "):
        conv.conv(keras.Input((3, 3, 4)), 6, sides[::-1], style=VALID)


@pytest.mark.parametrize("order", ["conv_norm", "conv_norm_act", "norm_act_conv"])
def test_orders_take_rows_and_columns(order, scramble):
    _, (kernel,) = model_of(scramble, getattr(conv, order), 6, (1, 7))
    assert kernel.shape == (1, 7, 4, 6)


@pytest.mark.parametrize("dilation", [2, 3])
def test_conv_dilated(dilation, numbers, evaluate, scramble):
    model, (kernel,) = model_of(scramble, conv.conv, 6, 3, dilation=dilation)
    data = numbers(2, 9, 7, 4)
    expected = numpy_layers.conv(data, kernel, 1, dilation=dilation)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_conv_in_groups(numbers, evaluate, scramble):
    model, (kernel,) = model_of(scramble, conv.conv, 6, 3, groups=2)
    data = numbers(2, 9, 7, 4)
    assert kernel.shape == (3, 3, 2, 6)
    halves = [numpy_layers.conv(data[..., :2], kernel[..., :3]), numpy_layers.conv(data[..., 2:], kernel[..., 3:])]
    np.testing.assert_allclose(evaluate(model, data), np.concatenate(halves, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_conv(stride, numbers, evaluate, scramble):
    model, (kernel,) = model_of(scramble, conv.depthwise_conv, 3, stride=stride, multiplier=2)
    data = numbers(2, 9, 7, 4)
    expected = numpy_layers.depthwise(data, kernel, stride)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_separable_conv(numbers, evaluate, scramble):
    model, (depthwise, pointwise) = model_of(scramble, conv.separable_conv, 6, 3, stride=2, multiplier=2)
    data = numbers(2, 9, 7, 4)
    expected = numpy_layers.depthwise(data, depthwise, 2) @ pointwise[0, 0]
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", ["conv_norm", "conv_norm_act", "norm_act_conv"])
def test_orders(order, numbers, evaluate, scramble):
    model, (kernel,) = model_of(scramble, getattr(conv, order), 6, 3, stride=2)
    data = numbers(2, 9, 7, 4)
    net = numpy_layers.Numpy(model)

    def convolve(x):
        return numpy_layers.conv(x, kernel, 2)

    expected = {
        "conv_norm": lambda: net.norm(convolve(data), "probe_norm"),
        "conv_norm_act": lambda: numpy_layers.relu(net.norm(convolve(data), "probe_norm")),
        "norm_act_conv": lambda: convolve(numpy_layers.relu(net.norm(data, "probe_norm"))),
    }[order]()
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_depthwise_norm_act(numbers, evaluate, scramble):
    model, _ = model_of(scramble, conv.depthwise_norm_act, 3, stride=2)
    data = numbers(2, 9, 7, 4)
    expected = numpy_layers.relu(numpy_layers.Numpy(model).depthwise_norm(data, "probe", 2))
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_separable_norm_act(numbers, evaluate, scramble):
    model, _ = model_of(scramble, conv.separable_norm_act, 6, 3)
    data = numbers(2, 9, 7, 4)
    expected = numpy_layers.relu(numpy_layers.Numpy(model).separable_norm(data, "probe"))
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def own_leaky_relu(x, *, name):
    return keras.layers.LeakyReLU(0.5, name=name)(x)


@pytest.mark.parametrize(
    ("order", "arguments", "leaf"),
    [
        (conv.conv_norm_act, (6, 3), conv.conv),
        (conv.depthwise_norm_act, (3,), conv.depthwise_conv),
        (conv.separable_norm_act, (6, 3), conv.separable_conv),
        (mlp.dense_norm_act, (6,), None),
    ],
)
class TestWithoutNormalisation:
    @pytest.mark.parametrize("function", ["relu", "silu", "tanh"])
    def test_the_layer_carries_the_activation(self, order, arguments, leaf, function, numbers, evaluate, scramble):
        style = replace(RELU, activation=partial(activation, function=function))
        model, _ = model_of(scramble, order, *arguments, style=style)
        assert [layer.name for layer in model.layers[1:]] == ["probe"]
        data = numbers(2, 9, 7, 4)
        linear_model, _ = model_of(scramble, order, *arguments, style=replace(RELU, activation=linear))
        linear_model.set_weights(model.get_weights())
        expected = {"relu": numpy_layers.relu, "silu": lambda y: y / (1 + np.exp(-y)), "tanh": np.tanh}[function]
        np.testing.assert_allclose(evaluate(model, data), expected(evaluate(linear_model, data)), rtol=1e-4, atol=1e-5)

    def test_other_functions_are_layers(self, order, arguments, leaf, numbers, evaluate, scramble):
        model, _ = model_of(scramble, order, *arguments, style=replace(RELU, activation=own_leaky_relu))
        assert [layer.name for layer in model.layers[1:]] == ["probe", "probe_act"]
        data = numbers(2, 9, 7, 4)
        before = evaluate(keras.Model(model.inputs, model.get_layer("probe").output), data)
        np.testing.assert_allclose(evaluate(model, data), np.where(before > 0, before, before / 2), rtol=1e-5)

    def test_with_one_it_does_not(self, order, arguments, leaf, scramble):
        model, _ = model_of(scramble, order, *arguments, style=RELU_BN)
        assert [layer.name for layer in model.layers[1:]] == ["probe", "probe_norm", "probe_act"]
        assert model.get_layer("probe").activation is keras.activations.linear

    def test_it_is_the_style_s(self, order, arguments, leaf):
        if leaf:
            with pytest.raises(TypeError, match=r"`activation` must be set in the style, .*; got 'relu'"):
                order(keras.Input((9, 7, 4)), *arguments, activation="relu")

    def test_nor_does_a_layer_alone(self, order, arguments, leaf, scramble):
        if leaf:
            model, _ = model_of(scramble, leaf, *arguments, style=RELU)
            assert model.get_layer("probe").activation is keras.activations.linear


@pytest.mark.parametrize("order", [conv.conv_norm, conv.norm_act_conv])
def test_other_orders_take_no_activation_either(order):
    with pytest.raises(TypeError, match=r"`activation` must be set in the style, .*; got 'relu'"):
        order(keras.Input((9, 7, 4)), 6, activation="relu")


@pytest.mark.parametrize(
    ("leaf", "arguments"), [(conv.conv, (6,)), (conv.depthwise_conv, ()), (conv.separable_conv, (6,))]
)
class TestLeaves:
    @pytest.mark.parametrize("function", ["nope", relu, keras.activations.relu])
    def test_an_activation_is_a_name(self, leaf, arguments, function):
        with pytest.raises(ValueError, match="`activation` must be a name that keras"):
            leaf(keras.Input((9, 7, 4)), *arguments, activation=function)

    @pytest.mark.parametrize(
        ("name", "error", "message"),
        [
            ("", ValueError, "`name` must not be empty for a single layer; got ''"),
            ("a/b", ValueError, "`name` must not contain '/'; got 'a/b'"),
            (3, TypeError, "`name` must be a string or None; got 3"),
        ],
    )
    def test_wrong_names(self, leaf, arguments, name, error, message):
        with pytest.raises(error, match=message):
            leaf(keras.Input((9, 7, 4)), *arguments, name=name)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_symmetric_padding_pads_both_sides_alike(kernel_size, stride, numbers, evaluate, scramble):
    model, (kernel,) = model_of(scramble, conv.conv, 6, kernel_size, stride=stride, style=SYMMETRIC)
    data = numbers(2, 9, 7, 4)
    expected = numpy_layers.conv(data, kernel, stride, padding="symmetric")
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_symmetric_padding_is_not_same_at_even_sizes():
    # Were it so, the tests above could not tell the two apart.
    x = np.arange(8.0).reshape(1, 8, 1, 1)
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 1
    same = numpy_layers.conv(np.repeat(x, 8, 2), kernel, 2)
    symmetric = numpy_layers.conv(np.repeat(x, 8, 2), kernel, 2, padding="symmetric")
    assert same[0, 0, 0, 0] == 1
    assert symmetric[0, 0, 0, 0] == 0


@pytest.mark.parametrize("size", [8, 9])
def test_symmetric_padding_at_odd_and_even_sizes(size, numbers, evaluate, scramble):
    x = keras.Input((size, size, 3))
    model = scramble(keras.Model(x, conv.conv(x, 4, 3, stride=2, style=SYMMETRIC, name="probe")))
    kernel = ops.convert_to_numpy(model.get_layer("probe").kernel)
    data = numbers(2, size, size, 3)
    expected = numpy_layers.conv(data, kernel, 2, padding="symmetric")
    assert [layer.name for layer in model.layers[1:]] == ["probe_pad", "probe"]
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (1, 2)])
def test_symmetric_padding_adds_no_layer_where_none_is_needed(kernel_size, stride):
    x = keras.Input((9, 7, 3))
    model = keras.Model(x, conv.conv(x, 4, kernel_size, stride=stride, style=SYMMETRIC))
    assert len(model.layers) == 2


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_valid_padding(stride, dilation, numbers, evaluate, scramble):
    options = {"stride": stride, "dilation": dilation, "style": VALID}
    model, (kernel,) = model_of(scramble, conv.conv, 6, 3, **options)
    data = numbers(2, 9, 7, 4)
    expected = numpy_layers.conv(data, kernel, stride, dilation=dilation, padding="valid")
    assert expected.shape[1:3] == tuple(ceil((size - dilation * 2) / stride) for size in (9, 7))
    assert model.output_shape == (None, *expected.shape[1:])
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", [conv.conv, conv.separable_conv, conv.depthwise_conv])
@pytest.mark.parametrize(
    ("style", "use_bias", "expected"),
    [(RELU_BN, None, False), (RELU, None, True), (RELU_BN, True, True), (RELU, False, False)],
)
def test_a_bias_where_no_norm_adds_one(function, style, use_bias, expected):
    x = keras.Input((8, 8, 4))
    sizes = {} if function is conv.depthwise_conv else {"filters": 4}
    model = keras.Model(x, function(x, **sizes, use_bias=use_bias, style=style))
    assert model.layers[-1].use_bias is expected


def test_a_style_without_norm_is_the_convolution_alone():
    x = keras.Input((8, 8, 4))
    model = keras.Model(x, conv.conv_norm(x, 4, style=Style(norm=None, activation=linear), name="probe"))
    assert [layer.name for layer in model.layers[1:]] == ["probe"]


@pytest.mark.parametrize(
    ("channels", "arguments", "message"),
    [
        (4, {"filters": 10, "groups": 4}, "`filters` must be divisible by `groups`; got 10 and 4"),
        (6, {"filters": 8, "groups": 4}, "`channels of x` must be divisible by `groups`; got 6 and 4"),
        (4, {"filters": 8, "stride": 2, "dilation": 2}, "`stride` must be 1 where `dilation` is above 1; got 2 and 2"),
        (4, {"filters": 8, "kernel_size": 4, "style": SYMMETRIC}, "`kernel_size` must be odd.*; got 4"),
        (4, {"filters": 8, "kernel_size": 9, "style": VALID}, "`x` must be at least 9×9 for .* got 8×8"),
        (4, {"filters": 8, "dilation": 4, "style": VALID}, "`x` must be at least 9×9 for .* got 8×8"),
        (4, {"filters": 8, "kernel_size": (9, 1), "style": VALID}, "at least 9×1 for a window of 9×1 .* got 8×8"),
        (4, {"filters": 8, "kernel_size": (1, 9), "style": VALID}, "at least 1×9 for a window of 1×9 .* got 8×8"),
        (4, {"filters": 8, "kernel_size": (3, 4), "style": SYMMETRIC}, r"must be odd for symmetric .* got \(3, 4\)"),
        (4, {"filters": 8, "kernel_size": (3, 0)}, "`kernel_size` must be a positive integer; got 0"),
        (4, {"filters": 8, "kernel_size": (2.5, 3)}, "`kernel_size` must be a positive integer; got 2.5"),
        (4, {"filters": 8, "kernel_size": (3,)}, r"`kernel_size` must be one side or a pair .* got \(3,\)"),
        (4, {"filters": 8, "kernel_size": (3, 3, 3)}, r"must be one side or a pair \(height, width\); got \(3, 3, 3\)"),
    ],
)
def test_what_cannot_be_is_refused(channels, arguments, message):
    with pytest.raises(ValueError, match=message):
        conv.conv(keras.Input((8, 8, channels)), **arguments)


def test_a_misspelt_option_is_refused():
    with pytest.raises(TypeError, match="strides"):
        conv.conv_norm_act(keras.Input((8, 8, 4)), 8, strides=2)


def depth_of(x, size):
    """Blocks of pixels as channels, row by row."""
    n, height, width, channels = x.shape
    height, width = height // size, width // size
    blocks = x[:, : height * size, : width * size].reshape(n, height, size, width, size, channels)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, height, width, -1)


@pytest.mark.parametrize("shape", [(6, 12), (7, 13), (None, None)])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_space_to_depth(size, shape, numbers, evaluate):
    model = keras.Model(x := keras.Input((*shape, 3)), conv.space_to_depth(x, size, name="probe"))
    assert model.layers[-1].name == "probe"
    for height, width in [(6, 12), (7, 13)] if None in shape else [shape]:
        data = numbers(2, height, width, 3)
        np.testing.assert_array_equal(evaluate(model, data), depth_of(data, size))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_depth_to_space_is_the_inverse(size, numbers, evaluate):
    model = keras.Model(x := keras.Input((4, 3, 2 * size**2)), conv.depth_to_space(x, size, name="probe"))
    assert model.layers[-1].name == "probe"
    data = numbers(2, 4 * size, 3 * size, 2)
    np.testing.assert_array_equal(evaluate(model, depth_of(data, size)), data)


def test_depth_to_space_divides_the_channels():
    with pytest.raises(ValueError, match=r"`channels of x` must be divisible by `size²`; got 6 and 4"):
        conv.depth_to_space(keras.Input((4, 4, 6)))


@pytest.mark.parametrize(("kernel_size", "stride"), [(2, 2), (4, 2), (3, 3), (3, 1), (6, 2)])
def test_transposed(kernel_size, stride, numbers, evaluate, scramble):
    model, (kernel,) = model_of(scramble, conv.transposed, 6, kernel_size, stride=stride)
    data = numbers(2, 9, 7, 4)
    full = np.zeros((2, 9 * stride + kernel_size - stride, 7 * stride + kernel_size - stride, 6))
    for i in range(9):
        for j in range(7):
            at = np.einsum("bc,ijoc->bijo", data[:, i, j], kernel)
            full[:, i * stride : i * stride + kernel_size, j * stride : j * stride + kernel_size] += at
    margin = (kernel_size - stride) // 2
    expected = full[:, margin : margin + 9 * stride, margin : margin + 7 * stride]
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 2), (1, 2), (5, 2), (2, 1)])
def test_transposed_has_one_padding_on_every_backend(kernel_size, stride):
    message = f"`kernel_size` must exceed `stride` by an even number or 0; got {kernel_size} and {stride}"
    with pytest.raises(ValueError, match=message):
        conv.transposed(keras.Input((9, 7, 4)), 6, kernel_size, stride=stride)


def test_transposed_applies_the_activation_itself():
    x = keras.Input((9, 7, 4))
    model = keras.Model(x, conv.transposed_norm_act(x, 6, style=RELU, name="probe"))
    assert [layer.name for layer in model.layers[1:]] == ["probe"]
    assert model.get_layer("probe").activation is keras.activations.relu
    model = keras.Model(x, conv.transposed_norm_act(x, 6, name="probe"))
    assert [layer.name for layer in model.layers[1:]] == ["probe", "probe_norm", "probe_act"]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_upsample_is_a_convolution_of_the_larger_image(interpolation, numbers, evaluate, scramble):
    options = {"factor": 2, "interpolation": interpolation, "style": replace(RELU, activation=linear)}
    model, (kernel, bias) = model_of(scramble, conv.upsample, 6, **options)
    data = numbers(2, 9, 7, 4)
    larger = data.repeat(2, axis=1).repeat(2, axis=2)
    if interpolation == "bilinear":
        # Each pixel's centre is a quarter from that of the pixel it was, three quarters from the next one.
        for axis in (1, 2):
            n = data.shape[axis]
            own = np.repeat(np.arange(n), 2)
            other = np.clip(own + np.tile([-1, 1], n), 0, n - 1)
            data = 0.75 * data.take(own, axis) + 0.25 * data.take(other, axis)
        larger = data
    np.testing.assert_allclose(
        evaluate(model, numbers(2, 9, 7, 4)), numpy_layers.conv(larger, kernel) + bias, rtol=1e-4, atol=1e-4
    )
