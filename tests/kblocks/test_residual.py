"""Residual units and shortcuts, against NumPy and counts made by hand."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops

from kblocks import compose, residual
from kblocks.style import RELU, RELU_BN, Style, linear
from tests.support.numpy_layers import Numpy, avg_pool, max_pool, relu, sigmoid
from tests.support.weights import randomise

PLAIN = [residual.basic, residual.bottleneck]
PREACT = [residual.preact_basic, residual.preact_bottleneck]
CONVOLUTIONAL = [*PLAIN, *PREACT]
PYRAMID = [residual.pyramid_basic, residual.pyramid_bottleneck]
UNITS = [*CONVOLUTIONAL, *PYRAMID, residual.separable]
SYMMETRIC = replace(RELU_BN, padding="symmetric")


def unit_model(unit, channels, filters, size=8, **options):
    x = keras.Input((size, size, channels))
    return keras.Model(x, unit(x, filters, name="u", **options))


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("unit", "channels", "filters", "options", "weights", "norms"),
    [
        (residual.bottleneck, 64, 256, {}, 4096 + 36864 + 16384 + 16384, 64 + 64 + 256 + 256),
        (residual.bottleneck, 256, 256, {}, 16384 + 36864 + 16384, 64 + 64 + 256),
        (residual.bottleneck, 256, 512, {"stride": 2}, 32768 + 147456 + 65536 + 131072, 128 + 128 + 512 + 512),
        # ResNeXt-50 32×4d, first unit: the 3×3 convolution is 128 wide in 32 groups of 4.
        (
            residual.bottleneck,
            64,
            256,
            {"groups": 32, "ratio": 1 / 2},
            8192 + 9 * 4 * 128 + 32768 + 16384,
            128 + 128 + 256 + 256,
        ),
        (residual.basic, 64, 64, {}, 36864 + 36864, 64 + 64),
        (residual.basic, 64, 128, {"stride": 2}, 73728 + 147456 + 8192, 128 + 128 + 128),
        (residual.basic, 16, 32, {"stride": 2, "shortcut": residual.padded}, 4608 + 9216, 32 + 32),
        (residual.preact_basic, 64, 64, {}, 36864 + 36864, 64 + 64),
        (residual.preact_basic, 64, 128, {"stride": 2}, 73728 + 147456 + 8192, 64 + 128),
        (residual.preact_bottleneck, 64, 256, {}, 4096 + 36864 + 16384 + 16384, 64 + 64 + 64),
        (residual.pyramid_basic, 16, 18, {"stride": 2}, 9 * 16 * 18 + 9 * 18 * 18, 16 + 18 + 18),
        (residual.pyramid_bottleneck, 64, 72, {}, 64 * 18 + 9 * 18 * 18 + 18 * 72, 64 + 18 + 18 + 72),
        # Xception's middle flow, its entry and its exit.
        (residual.separable, 728, 728, {}, 3 * (9 * 728 + 728 * 728), 3 * 728),
        (residual.separable, 64, 128, {"stride": 2, "depth": 2}, 576 + 8192 + 1152 + 16384 + 8192, 3 * 128),
        (
            residual.separable,
            728,
            1024,
            {"stride": 2, "depth": 2, "widen_last": True},
            6552 + 728 * 728 + 6552 + 728 * 1024 + 728 * 1024,
            728 + 1024 + 1024,
        ),
    ],
)
def test_parameters(unit, channels, filters, options, weights, norms):
    model = unit_model(unit, channels, filters, **options)
    assert trainable(model) == weights + 2 * norms
    assert model.count_params() == weights + 4 * norms


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("filters", [3, 4, 6, 12])
def test_padded_is_slicing_and_zero_padding(filters, stride, numbers, evaluate):
    x = keras.Input((9, 8, 3))
    model = keras.Model(x, residual.padded(x, filters, stride=stride, name="p"))
    data = numbers(2, 9, 8, 3)
    expected = np.pad(data[:, ::stride, ::stride], [(0, 0)] * 3 + [(0, filters - 3)])
    y = evaluate(model, data)
    np.testing.assert_array_equal(y, expected)
    assert not model.weights


def test_padded_holds_zeros_beside_infinity(evaluate):
    x = keras.Input((None, None, 1))
    y = evaluate(keras.Model(x, residual.padded(x, 2, name="p")), np.full((1, 2, 2, 1), np.inf, "float32"))
    np.testing.assert_array_equal(y[..., 1], 0)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("filters", [3, 5])
def test_pooled_is_a_mean_and_zero_padding(filters, padding, numbers, evaluate):
    x = keras.Input((7, 6, 3))
    model = keras.Model(x, residual.pooled(x, filters, stride=2, style=Style(padding=padding), name="p"))
    data = numbers(2, 7, 6, 3)
    # The last row of an odd size is alone in its windows.
    full = np.concatenate([data, data[:, -1:]], axis=1)
    expected = np.pad(full.reshape(2, 4, 2, 3, 2, 3).mean((2, 4)), [(0, 0)] * 3 + [(0, filters - 3)])
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-5, atol=1e-6)
    assert residual.pooled(x, 3, name="q") is x


def test_pooled_omits_an_incomplete_window_where_convolutions_do():
    x = keras.Input((7, 6, 3))
    assert residual.pooled(x, 5, stride=2, style=Style(padding="floor")).shape == (None, 3, 3, 5)


@pytest.mark.parametrize("shortcut", [residual.padded, residual.pooled])
@pytest.mark.parametrize("filters", [16, 31])
def test_zero_padding_refuses_to_drop_channels(shortcut, filters):
    with pytest.raises(ValueError, match=f"`filters` must be at least the channels of `x`; got {filters} and 32"):
        shortcut(keras.Input((8, 8, 32)), filters)


def test_projection_is_a_dense_layer_at_every_second_pixel(numbers, evaluate, scramble):
    x = keras.Input((9, 8, 3))
    model = scramble(keras.Model(x, residual.projection(x, 5, stride=2, name="p")))
    data = numbers(2, 9, 8, 3)
    kernel = ops.convert_to_numpy(model.get_layer("p").kernel)[0, 0]
    gamma, beta, mean, variance = (ops.convert_to_numpy(w) for w in model.get_layer("p_norm").weights)
    expected = (data[:, ::2, ::2] @ kernel - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-5)

    model = keras.Model(x, residual.linear_projection(x, 5, stride=2, name="p"))
    kernel = ops.convert_to_numpy(model.get_layer("p").kernel)[0, 0]
    np.testing.assert_allclose(evaluate(model, data), data[:, ::2, ::2] @ kernel, rtol=1e-4, atol=1e-5)

    model = scramble(keras.Model(x, residual.linear_projection(x, 5, stride=2, use_bias=True, name="p")))
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(evaluate(model, data), data[:, ::2, ::2] @ kernel[0, 0] + bias, rtol=1e-4, atol=1e-5)


def silence(model, *names):
    """Sets the weights of layers to zero, so that the residual vanishes."""
    for name in names:
        layer = model.get_layer(name)
        layer.set_weights([np.zeros(weight.shape) for weight in layer.weights])
    return model


@pytest.mark.parametrize(("unit", "last"), [(residual.basic, "u_conv2"), (residual.bottleneck, "u_conv3")])
def test_without_its_residual_a_unit_is_its_activation(unit, last, numbers, evaluate):
    model = silence(unit_model(unit, 8, 8), last)
    data = numbers(2, 8, 8, 8)
    np.testing.assert_allclose(evaluate(model, data), np.maximum(data, 0), atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("unit", "last"), [(residual.preact_basic, "u_conv2"), (residual.preact_bottleneck, "u_conv3")]
)
def test_without_its_residual_a_preact_unit_is_its_input(unit, last, stride, numbers, evaluate):
    model = silence(unit_model(unit, 8, 8, stride=stride), last)
    data = numbers(2, 8, 8, 8)
    np.testing.assert_array_equal(evaluate(model, data), data[:, ::stride, ::stride])


@pytest.mark.parametrize(("unit", "last"), zip(PREACT, ["u_conv2", "u_conv3"], strict=True))
def test_a_preact_shortcut_starts_at_the_common_preactivation(unit, last, numbers, evaluate, scramble):
    model = silence(scramble(unit_model(unit, 4, 8, stride=2)), last)
    data = numbers(2, 8, 8, 4)
    gamma, beta, mean, variance = (ops.convert_to_numpy(w) for w in model.get_layer("u_norm").weights)
    common = np.maximum((data - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0)
    kernel = ops.convert_to_numpy(model.get_layer("u_shortcut").kernel)[0, 0]
    np.testing.assert_allclose(evaluate(model, data), common[:, ::2, ::2] @ kernel, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", PLAIN)
def test_a_plain_unit_adds_and_then_activates(unit, numbers, evaluate):
    model = unit_model(unit, 4, 8, stride=2)
    last = "u_conv2_norm" if unit is residual.basic else "u_conv3_norm"
    parts = keras.Model(model.input, [model.get_layer(n).output for n in (last, "u_shortcut_norm")])
    data = numbers(2, 8, 8, 4)
    branch, shortcut = evaluate(parts, data)
    assert (branch + shortcut).min() < 0
    np.testing.assert_allclose(evaluate(model, data), np.maximum(branch + shortcut, 0), rtol=1e-4, atol=1e-5)


def order(model):
    """The branch's layers in the order of the data, read from the graph and not from the names."""
    kinds = {"Conv2D": "conv", "SeparableConv2D": "sep", "BatchNormalization": "norm", "Activation": "act"}
    layer, found = model.get_layer("u_add" if "u_add" in [x.name for x in model.layers] else "u_out"), []
    tensor = layer.input[1]
    while not isinstance(tensor._keras_history.operation, layers.InputLayer):
        operation = tensor._keras_history.operation
        size = f"{operation.kernel_size[0]}" if hasattr(operation, "kernel_size") else ""
        found.append(kinds.get(type(operation).__name__, "pool") + size)
        tensor = operation.input
    return " ".join(reversed(found))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (residual.basic, "conv3 norm act conv3 norm"),
        (residual.bottleneck, "conv1 norm act conv3 norm act conv1 norm"),
        (residual.preact_basic, "norm act conv3 norm act conv3"),
        (residual.preact_bottleneck, "norm act conv1 norm act conv3 norm act conv1"),
        (residual.pyramid_basic, "norm conv3 norm act conv3 norm"),
        (residual.pyramid_bottleneck, "norm conv1 norm act conv3 norm act conv1 norm"),
        (residual.separable, "act sep3 norm act sep3 norm act sep3 norm"),
        (partial(residual.separable, stride=2, depth=2), "act sep3 norm act sep3 norm pool"),
        (partial(residual.separable, depth=2, activate_first=False), "sep3 norm act sep3 norm"),
    ],
)
def test_the_order_of_the_branch(unit, expected):
    assert order(unit_model(unit, 8, 8)) == expected


def strides(model):
    return {
        layer.name: layer.strides[0]
        for layer in model.layers
        if isinstance(layer, layers.Conv2D) and layer.strides != (1, 1)
    }


@pytest.mark.parametrize(
    ("unit", "options", "expected"),
    [
        (residual.basic, {}, "u_conv1"),
        (residual.bottleneck, {}, "u_conv2"),
        (residual.bottleneck, {"stride_first": True}, "u_conv1"),
        (residual.preact_basic, {}, "u_conv1"),
        (residual.preact_bottleneck, {}, "u_conv2"),
        (partial(residual.pyramid_basic, shortcut=residual.projection), {}, "u_conv1"),
        (partial(residual.pyramid_bottleneck, shortcut=residual.projection), {}, "u_conv2"),
    ],
)
def test_which_convolution_takes_the_stride(unit, options, expected):
    assert strides(unit_model(unit, 4, 8, stride=2, **options)) == {expected: 2, "u_shortcut": 2}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    ("channels", "stride", "called"),
    [(8, 1, False), (8, 2, None), (4, 1, True), (4, 2, True)],
)
def test_a_shortcut_is_called_only_where_the_shape_changes(unit, channels, stride, called):
    calls = []

    def shortcut(x, filters, **arguments):
        calls.append((filters, arguments))
        return residual.projection(x, filters, **arguments)

    unit_model(unit, channels, 8, stride=stride, shortcut=shortcut)
    expected = (8, {"stride": stride, "style": RELU_BN, "name": "u_shortcut"})
    # A pre-activation unit that keeps its width subsamples its input.
    assert calls == ([expected] if (unit not in PREACT if called is None else called) else [])


@pytest.mark.parametrize("unit", UNITS)
def test_attention_sees_the_residual_alone(unit, numbers, evaluate):
    def mute(x, *, style, name):
        return layers.Rescaling(0.0, name=name)(x)

    model = unit_model(unit, 8, 8, attention=mute)
    data = numbers(2, 8, 8, 8)
    expected = np.maximum(data, 0) if unit in PLAIN else data
    np.testing.assert_allclose(evaluate(model, data), expected, atol=1e-6)
    assert "u_attention" in [layer.name for layer in model.layers]


def test_attention_inside_sees_the_wide_convolution(numbers, evaluate):
    seen = []

    def double(x, *, style, name):
        seen.append(x.shape)
        return layers.Rescaling(2.0, name=name)(x)

    model = randomise(unit_model(residual.bottleneck, 8, 8, ratio=1 / 2, attention=double, attend_inside=True))
    assert seen == [(None, 8, 8, 4)]
    net, data = Numpy(model, "u_"), numbers(2, 8, 8, 8)
    y = relu(net.conv_norm(relu(net.conv_norm(data, "conv1")), "conv2"))
    expected = relu(data + net.conv_norm(2 * y, "conv3"))
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("unit", UNITS)
def test_drop_path_leaves_out_the_residual_of_whole_images(unit, numbers, evaluate):
    keras.utils.set_random_seed(0)
    # Without a norm and an activation an image's output tells whether its residual was kept.
    style = Style(norm=None, activation=linear)
    model = unit_model(unit, 8, 8, drop_path=0.5, style=style)
    data = numbers(64, 8, 8, 8)
    residuals = evaluate(model, data) - data
    y = evaluate(model, data, training=True) - data
    dropped = np.abs(y).max((1, 2, 3)) == 0
    assert 10 < dropped.sum() < 54
    np.testing.assert_allclose(y[~dropped], 2 * residuals[~dropped], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("unit", UNITS)
def test_no_drop_path_adds_no_layer(unit):
    assert not [layer for layer in unit_model(unit, 8, 8).layers if isinstance(layer, layers.Dropout)]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("rate", [1.0, -0.1, True])
def test_a_wrong_rate_is_refused_by_its_own_name(unit, rate):
    with pytest.raises(ValueError, match=f"`drop_path` must be at least 0 and below 1; got {rate}"):
        unit_model(unit, 8, 8, drop_path=rate)


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_a_unit(unit):
    x = keras.Input((8, 8, 4))
    y = compose.stage(x, unit, 8, 2, stride=2, drop_paths=(0.0, 0.1), style=RELU, name="s")
    assert y.shape == (None, 4, 4, 8)


@pytest.mark.parametrize("unit", [residual.bottleneck, residual.preact_bottleneck, residual.pyramid_bottleneck])
@pytest.mark.parametrize("ratio", [0, 1 / 3, -1 / 4, 0.01])
def test_a_ratio_that_makes_no_whole_width_is_refused(unit, ratio):
    with pytest.raises(ValueError, match=rf"`filters · ratio` must be a positive whole number; got 8 · {ratio}"):
        unit_model(unit, 8, 8, ratio=ratio)


@pytest.mark.parametrize(("filters", "ratio", "width"), [(12, 1 / 3, 4), (64, 0.3125, 20), (10, 1.5, 15)])
def test_a_ratio_that_rounding_leaves_whole_is_taken(filters, ratio, width):
    model = unit_model(residual.bottleneck, 8, filters, ratio=ratio)
    assert model.get_layer("u_conv2").filters == width


@pytest.mark.parametrize("unit", CONVOLUTIONAL)
def test_groups_that_do_not_divide_are_refused(unit):
    with pytest.raises(ValueError, match=r"`(filters|channels of x)` must be divisible by `groups`; got \d+ and 3"):
        unit_model(unit, 8, 8, groups=3)


def test_groups_reach_both_convolutions_of_a_basic_unit():
    model = unit_model(partial(residual.basic, groups=4), 8, 8)
    assert [model.get_layer(f"u_conv{i}").groups for i in (1, 2)] == [4, 4]


def test_a_shortcut_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"`tensors` must have equal shapes; got \(None, 8, 8, 4\), \(None, 4, 4, 8\)"):
        unit_model(residual.basic, 4, 8, stride=2, shortcut=lambda x, filters, **options: x)


ATROUS = [*CONVOLUTIONAL, partial(residual.bottleneck, stride_first=True)]


def atrous_id(unit):
    return unit.func.__name__ + "_stride_first" if isinstance(unit, partial) else unit.__name__


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("channels", [4, 8])
@pytest.mark.parametrize("unit", ATROUS, ids=atrous_id)
def test_a_dilated_stage_holds_the_strided_one(unit, channels, size, numbers, evaluate, scramble):
    x = keras.Input((size, size, channels))

    def stage(dilation):
        dilated = partial(unit, dilation=dilation)
        return keras.Model(x, compose.stage(x, dilated, 8, 2, stride=2, style=SYMMETRIC, name="s"))

    strided, dilated = stage(1), stage(2)
    # At the size of the strided one both would be equal for want of a second pixel.
    assert (strided.output_shape[1], dilated.output_shape[1]) == (-(-size // 2), size)
    scramble(dilated)
    for layer in strided.layers:
        layer.set_weights(dilated.get_layer(layer.name).get_weights() if layer.weights else [])
    assert strided.count_params() == dilated.count_params()
    data = numbers(2, size, size, channels)
    fine, coarse = evaluate(dilated, data), evaluate(strided, data)
    scale = np.abs(coarse).max()
    np.testing.assert_allclose(fine[:, ::2, ::2], coarse, rtol=0, atol=1e-5 * scale)
    assert np.abs(fine[:, 1::2, ::2][:, : size // 2] - coarse[:, : size // 2]).max() > 1e-2 * scale


@pytest.mark.parametrize("unit", ATROUS, ids=atrous_id)
def test_each_phase_of_a_dilated_unit_is_a_unit(unit, numbers, evaluate, scramble):
    plain, dilated = unit_model(unit, 8, 8, size=3), unit_model(unit, 8, 8, size=9, dilation=3)
    scramble(plain)
    dilated.set_weights(plain.get_weights())
    data = numbers(2, 9, 9, 8)
    y = evaluate(dilated, data)
    for i in range(3):
        np.testing.assert_allclose(y[:, i::3, ::3], evaluate(plain, data[:, i::3, ::3]), rtol=1e-4, atol=1e-2)


def test_a_dilated_separable_stage_contains_the_strided_one(numbers, evaluate, scramble):
    """Of 9 pixels the padding is the same at both ends, with the stride as with the dilation."""

    def stage(dilation):
        x = keras.Input((9, 9, 4))
        return keras.Model(
            x, compose.stage(x, partial(residual.separable, dilation=dilation), 8, 2, stride=2, name="s")
        )

    strided, dilated = stage(1), stage(2)
    assert (strided.output_shape[1], dilated.output_shape[1]) == (5, 9)
    scramble(strided)
    dilated.set_weights(strided.get_weights())
    data = numbers(2, 9, 9, 4)
    fine, coarse = evaluate(dilated, data), evaluate(strided, data)
    np.testing.assert_allclose(fine[:, ::2, ::2], coarse, rtol=0, atol=1e-5 * np.abs(coarse).max())


def test_a_pooling_is_not_dilated():
    with pytest.raises(ValueError, match="`dilation` must be equal to `stride`, the stride of a pooling; got 4 and 2"):
        unit_model(residual.separable, 8, 8, stride=2, dilation=4)


@pytest.mark.parametrize("unit", CONVOLUTIONAL)
def test_a_dilation_that_the_stride_does_not_divide_is_refused(unit):
    with pytest.raises(ValueError, match="`dilation` must be divisible by `stride`; got 3 and 2"):
        unit_model(unit, 8, 8, stride=2, dilation=3)


@pytest.mark.parametrize(("use_bias", "biased"), [(None, []), (False, []), (True, ["u_conv3"])])
def test_only_the_last_convolution_of_a_preact_unit_has_a_bias(use_bias, biased):
    model = unit_model(residual.preact_bottleneck, 4, 8, use_bias=use_bias)
    assert [x.name for x in model.layers if isinstance(x, layers.Conv2D) and x.use_bias] == biased
    model = unit_model(residual.preact_bottleneck, 4, 8, use_bias=use_bias, style=RELU)
    found = [x.name for x in model.layers if isinstance(x, layers.Conv2D) and x.use_bias]
    assert ("u_conv3" in found) is (use_bias is not False)
    assert {"u_conv1", "u_conv2", "u_shortcut"} <= set(found)


@pytest.mark.parametrize(("widen_last", "widths"), [(False, [6, 6, 6]), (True, [4, 4, 6])])
def test_where_a_separable_unit_widens(widen_last, widths):
    model = unit_model(residual.separable, 4, 6, widen_last=widen_last)
    assert [model.get_layer(f"u_conv{i}").filters for i in (1, 2, 3)] == widths


def test_a_separable_unit_in_numpy(numbers, evaluate):
    model = unit_model(residual.separable, 4, 6, size=7, stride=2, depth=2, activate_first=False, widen_last=True)
    randomise(model)
    data = numbers(2, 7, 7, 4)

    net = Numpy(model, "u_")
    y = data
    for i in (1, 2):
        y = net.separable_norm(y if i == 1 else relu(y), f"conv{i}")
    # At an odd size "same" pads both sides alike, and below any value.
    y = max_pool(y, 3, 2)
    shortcut = net.conv_norm(data, "shortcut", 2)
    assert y.min() < 0
    assert model.get_layer("u_conv1").output.shape[-1] == 4
    np.testing.assert_allclose(evaluate(model, data), shortcut + y, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("filters", "stride"), [(4, 1), (6, 2)])
def test_a_highway_unit_in_numpy(filters, stride, numbers, evaluate, scramble):
    model = scramble(unit_model(residual.highway, 4, filters, size=7, stride=stride))
    net, data = Numpy(model, "u_"), numbers(2, 7, 7, 4)
    gate = sigmoid(net.conv(data, "gate", stride))
    shortcut = net.conv_norm(data, "shortcut", stride) if stride == 2 else data
    expected = gate * relu(net.conv_norm(data, "conv", stride)) + (1 - gate) * shortcut
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-5)
    assert model.layers[-1].name == "u_out"


def test_a_highway_unit_begins_near_its_input(numbers, evaluate):
    model = unit_model(residual.highway, 4, 4, gate_bias=-30.0)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.get_layer("u_gate").bias), np.full(4, -30, "float32"))
    data = numbers(2, 8, 8, 4)
    np.testing.assert_allclose(evaluate(model, data), data, atol=1e-6)


def test_a_pooled_projection_in_numpy(numbers, evaluate, scramble):
    for size, stride, style in ((8, 2, SYMMETRIC), (8, 2, RELU_BN), (7, 2, SYMMETRIC), (7, 1, RELU_BN)):
        x = keras.Input((size, size, 3))
        model = scramble(keras.Model(x, residual.pooled_projection(x, 5, stride=stride, style=style, name="p")))
        data = numbers(2, size, size, 3)
        expected = Numpy(model).conv_norm(avg_pool(data, stride, stride), "p_conv")
        np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [8, 7, None])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_shifted_projection_in_numpy(size, stride, numbers, evaluate, scramble):
    x = keras.Input((size, size, 3))
    model = scramble(keras.Model(x, residual.shifted_projection(x, 6, stride=stride, name="p")))
    data = numbers(2, size or 8, size or 8, 3)
    shifted = np.pad(data, ((0, 0), (1, 0), (1, 0), (0, 0)))[:, :-1, :-1]
    net = Numpy(model)
    y = [net.conv(z[:, ::stride, ::stride], f"p_conv{i}") for i, z in enumerate((data, shifted), 1)]
    np.testing.assert_allclose(evaluate(model, data), net.norm(np.concatenate(y, -1), "p_out"), rtol=1e-4, atol=1e-5)


def test_a_shifted_projection_has_two_equal_halves():
    with pytest.raises(ValueError, match="`filters` must be divisible by `2`; got 5 and 2"):
        residual.shifted_projection(keras.Input((8, 8, 3)), 5)


@pytest.mark.parametrize(("channels", "stride"), [(6, 1), (4, 2)])
def test_shake_shake_is_half_of_two_basic_units(channels, stride, numbers, evaluate, scramble):
    model = scramble(unit_model(residual.shake_shake, channels, 6, stride=stride, style=SYMMETRIC))
    data = numbers(2, 8, 8, channels)
    halves = []
    for branch in ("branch1", "branch2"):
        net = Numpy(model, f"u_{branch}_")
        halves.append(net.conv_norm(relu(net.conv_norm(data, "conv1", stride, "symmetric")), "conv2") / 2)
    x = data
    if stride == 2:
        shortcut = keras.Model(model.input, model.get_layer("u_shortcut_out").output)
        x = evaluate(shortcut, data)
    np.testing.assert_allclose(evaluate(model, data), relu(x + sum(halves)), rtol=1e-4, atol=1e-4)


def test_dropout_stands_before_the_second_convolution(evaluate):
    model = unit_model(residual.preact_basic, 16, 16, dropout=0.3)
    layer = model.get_layer("u_dropout")
    assert layer.rate == 0.3
    assert layer.input is model.get_layer("u_conv1_act").output
    assert model.get_layer("u_conv2").input is layer.output
    assert "u_dropout" not in [each.name for each in unit_model(residual.preact_basic, 16, 16).layers]
    with pytest.raises(ValueError, match="`dropout` must be at least 0 and below 1; got 1"):
        unit_model(residual.preact_basic, 16, 16, dropout=1)


@pytest.mark.parametrize("unit", PYRAMID)
def test_a_pyramid_unit_in_numpy(unit, numbers, evaluate):
    model = randomise(unit_model(unit, 8, 12, stride=2, style=SYMMETRIC))
    data = numbers(2, 8, 8, 8)

    net = Numpy(model, "u_")
    y = net.norm(data, "norm")
    if unit is residual.pyramid_basic:
        y = net.conv(y, "conv1", 2, "symmetric")
        y = net.conv(relu(net.norm(y, "conv2_norm")), "conv2")
    else:
        y = net.conv(y, "conv1")
        y = net.conv(relu(net.norm(y, "conv2_norm")), "conv2", 2, "symmetric")
        y = net.conv(relu(net.norm(y, "conv3_norm")), "conv3")
    y = net.norm(y, "last_norm")
    y[..., :8] += data.reshape(2, 4, 2, 4, 2, 8).mean((2, 4))
    np.testing.assert_allclose(evaluate(model, data), y, rtol=1e-4, atol=1e-4)


def test_a_basic_unit_without_its_last_activation(numbers, evaluate):
    model = randomise(unit_model(residual.basic, 4, 8, activate_last=False))
    activated = unit_model(residual.basic, 4, 8)
    activated.set_weights(model.get_weights())
    data = numbers(2, 8, 8, 4)
    y = evaluate(model, data)
    assert y.min() < 0
    np.testing.assert_array_equal(evaluate(activated, data), relu(y))


@pytest.mark.parametrize(("channels", "stride", "whole"), [(8, 1, True), (4, 1, False), (8, 2, False)])
def test_a_rep_unit_in_numpy(channels, stride, whole, numbers, evaluate):
    model = randomise(unit_model(residual.rep_unit, channels, 8, stride=stride, style=SYMMETRIC))
    data = numbers(2, 8, 8, channels)
    net = Numpy(model, "u_")
    y = net.conv_norm(data, "conv3", stride, "symmetric") + net.conv_norm(data, "conv1", stride)
    if whole:
        y = y + net.norm(data, "norm")
    assert ("u_norm" in [layer.name for layer in model.layers]) == whole
    np.testing.assert_allclose(evaluate(model, data), relu(y), rtol=1e-4, atol=1e-4)


def test_a_rep_unit_drops_its_convolutions(numbers, evaluate):
    keras.utils.set_random_seed(0)
    model = unit_model(residual.rep_unit, 8, 8, drop_path=0.5, style=Style(norm=None, activation=linear))
    data = numbers(64, 8, 8, 8)
    dropped = np.abs(evaluate(model, data, training=True) - data).max((1, 2, 3)) == 0
    assert 10 < dropped.sum() < 54
    changed = unit_model(residual.rep_unit, 8, 4, drop_path=0.5)
    assert not [layer for layer in changed.layers if isinstance(layer, layers.Dropout)]


def test_a_rep_unit_attends_to_the_sum(numbers, evaluate):
    def mute(x, *, style, name):
        return layers.Rescaling(0.0, name=name)(x)

    model = unit_model(residual.rep_unit, 8, 8, attention=mute)
    assert not evaluate(model, numbers(2, 8, 8, 8)).any()


def test_a_stage_of_rep_units():
    x = keras.Input((8, 8, 4))
    y = compose.stage(x, residual.rep_unit, 8, 2, stride=2, drop_paths=(0.0, 0.1), style=RELU, name="s")
    assert y.shape == (None, 4, 4, 8)
