"""Residual units and shortcuts, against NumPy and counts made by hand."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops

from kblocks import compose, residual
from kblocks.style import RELU, RELU_BN, Style, linear

UNITS = [residual.basic, residual.bottleneck, residual.preact_basic, residual.preact_bottleneck]
PLAIN = [residual.basic, residual.bottleneck]
PREACT = [residual.preact_basic, residual.preact_bottleneck]


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


@pytest.mark.parametrize("filters", [16, 31])
def test_padded_refuses_to_drop_channels(filters):
    with pytest.raises(ValueError, match=f"`filters` must be at least the channels of `x`; got {filters} and 32"):
        residual.padded(keras.Input((8, 8, 32)), filters)


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


@pytest.mark.parametrize(
    ("unit", "last"), [(residual.preact_basic, "u_conv2"), (residual.preact_bottleneck, "u_conv3")]
)
def test_without_its_residual_a_preact_unit_is_its_input(unit, last, numbers, evaluate):
    model = silence(unit_model(unit, 8, 8), last)
    data = numbers(2, 8, 8, 8)
    np.testing.assert_array_equal(evaluate(model, data), data)


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
    kinds = {"Conv2D": "conv", "BatchNormalization": "norm", "Activation": "act"}
    layer, found = model.get_layer("u_add" if "u_add" in [x.name for x in model.layers] else "u_out"), []
    tensor = layer.input[1]
    while not isinstance(tensor._keras_history.operation, layers.InputLayer):
        operation = tensor._keras_history.operation
        size = f"{operation.kernel_size[0]}" if isinstance(operation, layers.Conv2D) else ""
        found.append(kinds[type(operation).__name__] + size)
        tensor = operation.input
    return " ".join(reversed(found))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (residual.basic, "conv3 norm act conv3 norm"),
        (residual.bottleneck, "conv1 norm act conv3 norm act conv1 norm"),
        (residual.preact_basic, "norm act conv3 norm act conv3"),
        (residual.preact_bottleneck, "norm act conv1 norm act conv3 norm act conv1"),
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
    ],
)
def test_which_convolution_takes_the_stride(unit, options, expected):
    assert strides(unit_model(unit, 8, 8, stride=2, **options)) == {expected: 2, "u_shortcut": 2}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("channels", "stride", "called"), [(8, 1, False), (8, 2, True), (4, 1, True)])
def test_a_shortcut_is_called_only_where_the_shape_changes(unit, channels, stride, called):
    calls = []

    def shortcut(x, filters, **arguments):
        calls.append((filters, arguments))
        return residual.projection(x, filters, **arguments)

    unit_model(unit, channels, 8, stride=stride, shortcut=shortcut)
    expected = (8, {"stride": stride, "style": RELU_BN, "name": "u_shortcut"})
    assert calls == ([expected] if called else [])


@pytest.mark.parametrize("unit", UNITS)
def test_attention_sees_the_residual_alone(unit, numbers, evaluate):
    def mute(x, *, name):
        return layers.Rescaling(0.0, name=name)(x)

    model = unit_model(unit, 8, 8, attention=mute)
    data = numbers(2, 8, 8, 8)
    expected = data if unit in PREACT else np.maximum(data, 0)
    np.testing.assert_allclose(evaluate(model, data), expected, atol=1e-6)
    assert "u_attention" in [layer.name for layer in model.layers]


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


@pytest.mark.parametrize("unit", [residual.bottleneck, residual.preact_bottleneck])
@pytest.mark.parametrize("ratio", [0, 1 / 3, -1 / 4, 0.01])
def test_a_ratio_that_makes_no_whole_width_is_refused(unit, ratio):
    with pytest.raises(ValueError, match=rf"`filters · ratio` must be a positive whole number; got 8 · {ratio}"):
        unit_model(unit, 8, 8, ratio=ratio)


@pytest.mark.parametrize(("filters", "ratio", "width"), [(12, 1 / 3, 4), (64, 0.3125, 20), (10, 1.5, 15)])
def test_a_ratio_that_rounding_leaves_whole_is_taken(filters, ratio, width):
    model = unit_model(residual.bottleneck, 8, filters, ratio=ratio)
    assert model.get_layer("u_conv2").filters == width


@pytest.mark.parametrize("unit", UNITS)
def test_groups_that_do_not_divide_are_refused(unit):
    with pytest.raises(ValueError, match=r"`(filters|channels of x)` must be divisible by `groups`; got \d+ and 3"):
        unit_model(unit, 8, 8, groups=3)


def test_groups_reach_both_convolutions_of_a_basic_unit():
    model = unit_model(partial(residual.basic, groups=4), 8, 8)
    assert [model.get_layer(f"u_conv{i}").groups for i in (1, 2)] == [4, 4]


def test_a_shortcut_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"`tensors` must have equal shapes; got \(None, 8, 8, 4\), \(None, 4, 4, 8\)"):
        unit_model(residual.basic, 4, 8, stride=2, shortcut=lambda x, filters, **options: x)
