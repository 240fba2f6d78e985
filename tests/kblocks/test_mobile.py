"""Units for small devices, against NumPy, the formulas of their papers and widths published elsewhere."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import compose, conv, mobile, stem
from kblocks.graph import profile
from kblocks.style import RELU6_BN, RELU_BN, Style, linear
from tests.support.numpy_layers import Numpy, avg_pool, relu
from tests.support.weights import randomise

RESIDUAL = [mobile.inverted_residual, mobile.fused_inverted_residual]
UNITS = [mobile.depthwise_separable, *RESIDUAL]


def model_of(unit, filters, shape=(9, 8, 4), **options):
    x = keras.Input(shape)
    return keras.Model(x, unit(x, filters, name="u", **options))


@pytest.fixture
def check(numbers, evaluate):
    """Asserts that a model, with weights of both signs, computes what a function of its layers and images does."""

    def compare(model, expected):
        randomise(model)
        data = numbers(2, *model.input_shape[1:])
        y = expected(Numpy(model), data)
        assert y.min() < 0.1 < y.max()
        np.testing.assert_allclose(evaluate(model, data), y, rtol=1e-3, atol=1e-3)

    return compare


@pytest.mark.parametrize("shape", [(9, 8, 4), (8, 7, 3)])
def test_stem(shape, check):
    check(model_of(stem.mobile, 6, shape), lambda net, x: relu(net.conv_norm(x, "u_conv", 2)))


@pytest.mark.parametrize(("stride", "options"), [(1, {}), (2, {"multiplier": 2}), (2, {"kernel_size": 5})])
def test_depthwise_separable(stride, options, check):
    def expected(net, x):
        return relu(net.conv_norm(relu(net.depthwise_norm(x, "u_depthwise", stride)), "u_pointwise"))

    check(model_of(mobile.depthwise_separable, 4, stride=stride, **options), expected)


CASES = [
    {"filters": 4},
    {"filters": 6},
    {"filters": 4, "stride": 2, "kernel_size": 5},
    {"filters": 4, "expansion": 1},
    {"filters": 6, "expansion": 1, "stride": 2},
    {"filters": 4, "expansion": 2.5},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_inverted_residual(options, check):
    def expected(net, x):
        y = x if options.get("expansion") == 1 else relu(net.conv_norm(x, "u_expand"))
        y = relu(net.depthwise_norm(y, "u_depthwise", options.get("stride", 1)))
        y = net.conv_norm(y, "u_project")
        return x + y if x.shape == y.shape else y

    check(model_of(mobile.inverted_residual, **options), expected)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_fused_inverted_residual(options, check):
    def expected(net, x):
        stride = options.get("stride", 1)
        if options.get("expansion") == 1:
            y = relu(net.conv_norm(x, "u_project", stride))
        else:
            y = net.conv_norm(relu(net.conv_norm(x, "u_expand", stride)), "u_project")
        return x + y if x.shape == y.shape else y

    model = model_of(mobile.fused_inverted_residual, **options)
    check(model, expected)
    sides = {layer.name: layer.kernel_size[0] for layer in model.layers if isinstance(layer, layers.Conv2D)}
    side = options.get("kernel_size", 3)
    assert sides == ({"u_project": side} if options.get("expansion") == 1 else {"u_expand": side, "u_project": 1})


@pytest.mark.parametrize(("t", "k", "before", "after"), [(6, 3, 16, 24), (3, 5, 24, 24), (1, 3, 32, 16)])
def test_multiply_adds_of_an_inverted_residual(t, k, before, after):
    # Section 3.3 of MobileNetV2: h · w · d' · t (d' + k² + d''); the first term is the expansion's.
    model = model_of(mobile.inverted_residual, after, (14, 14, before), expansion=t, kernel_size=k)
    assert profile(model).macs == 14 * 14 * before * t * ((before if t > 1 else 0) + k * k + after)


def test_multiply_adds_of_a_depthwise_separable_convolution():
    # Equation 5 of MobileNet: D_K² · M · D_F² + M · N · D_F².
    model = model_of(mobile.depthwise_separable, 64, (14, 14, 32))
    assert profile(model).macs == 9 * 32 * 14**2 + 32 * 64 * 14**2


@pytest.mark.parametrize(
    ("unit", "expansion", "seen"),
    [
        (mobile.inverted_residual, 6, (5, 4, 24)),
        (mobile.inverted_residual, 1, (5, 4, 4)),
        (mobile.fused_inverted_residual, 6, (5, 4, 24)),
        (mobile.fused_inverted_residual, 1, (9, 8, 4)),
    ],
)
def test_attention_sees_what_the_last_convolution_gets(unit, expansion, seen):
    def mark(x, *, style, name):
        return layers.Rescaling(0.5, name=name)(x)

    model = model_of(unit, 4, stride=2, expansion=expansion, attention=mark)
    layer = model.get_layer("u_attention")
    assert layer.input.shape[1:] == seen
    assert model.get_layer("u_project").input is layer.output


@pytest.mark.parametrize("unit", RESIDUAL)
@pytest.mark.parametrize(
    ("channels", "expansion", "divisor", "width"), [(24, 88 / 24, 8, 88), (8, 2.3, 8, 24), (5, 1.3, 1, 7)]
)
def test_the_width_inside(unit, channels, expansion, divisor, width):
    model = model_of(unit, 8, (8, 8, channels), expansion=expansion, divisor=divisor)
    assert model.get_layer("u_expand").filters == width


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("filters", "stride"), [(4, 1), (6, 1), (4, 2)])
def test_the_last_layer_is_out(unit, filters, stride):
    model = model_of(unit, filters, stride=stride)
    assert model.layers[-1].name == "u_out"
    sums = [layer for layer in model.layers if isinstance(layer, layers.Add)]
    assert bool(sums) == (unit in RESIDUAL and (filters, stride) == (4, 1))


@pytest.mark.parametrize("unit", UNITS)
def test_the_style_decides(unit):
    style = replace(RELU6_BN, padding="symmetric", regularizer={"class_name": "L2", "config": {"l2": 0.25}})
    model = model_of(unit, 6, stride=2, style=style)
    found = {layer.activation.__name__ for layer in model.layers if isinstance(layer, layers.Activation)}
    assert found == {"relu6"}
    assert len([layer for layer in model.layers if isinstance(layer, layers.ZeroPadding2D)]) == 1
    kernels = [weight for weight in model.trainable_weights if weight.name == "kernel"]
    assert [weight.regularizer.l2 for weight in kernels] == [0.25] * len(kernels)


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_a_unit(unit):
    x = keras.Input((8, 8, 4))
    y = compose.stage(x, unit, 8, 2, stride=2, style=RELU_BN, name="s")
    assert y.shape == (None, 4, 4, 8)


@pytest.mark.parametrize("unit", RESIDUAL)
def test_drop_path_leaves_out_the_residual_of_whole_images(unit, numbers, evaluate):
    keras.utils.set_random_seed(0)
    model = model_of(unit, 4, drop_path=0.5, style=Style(norm=None, activation=linear))
    data = numbers(64, 9, 8, 4)
    residuals = evaluate(model, data) - data
    y = evaluate(model, data, training=True) - data
    dropped = np.abs(y).max((1, 2, 3)) == 0
    assert 10 < dropped.sum() < 54
    np.testing.assert_allclose(y[~dropped], 2 * residuals[~dropped], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("unit", RESIDUAL)
def test_drop_path_never_leaves_nothing(unit):
    model = model_of(unit, 6, drop_path=0.5)
    assert not [layer for layer in model.layers if isinstance(layer, layers.Dropout)]


@pytest.mark.parametrize("unit", RESIDUAL)
@pytest.mark.parametrize("filters", [4, 6])
@pytest.mark.parametrize("rate", [1.0, -0.1, True])
def test_a_wrong_rate_is_refused_by_its_own_name(unit, filters, rate):
    with pytest.raises(ValueError, match=f"`drop_path` must be at least 0 and below 1; got {rate}"):
        model_of(unit, filters, drop_path=rate)


def test_a_unit_without_a_shortcut_drops_no_path():
    with pytest.raises(ValueError, match=r"`drop_path` must be 0 for a unit without a shortcut; got 0\.1"):
        model_of(mobile.depthwise_separable, 4, drop_path=0.1)


@pytest.mark.parametrize("unit", RESIDUAL)
@pytest.mark.parametrize("expansion", [0, -6, "6", True, None])
def test_no_expansion(unit, expansion):
    with pytest.raises(ValueError, match=rf"`expansion` must be a positive number; got {expansion!r}"):
        model_of(unit, 4, expansion=expansion)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("unit", RESIDUAL)
def test_a_dilated_stage_holds_the_strided_one(unit, kernel_size, numbers, evaluate, scramble):
    """Of 9 pixels the padding is the same at both ends, with the stride as with the dilation."""

    def stage(dilation):
        x = keras.Input((9, 9, 4))
        dilated = partial(unit, kernel_size=kernel_size, expansion=2, dilation=dilation)
        return keras.Model(x, compose.stage(x, dilated, 8, 2, stride=2, name="s"))

    strided, dilated = stage(1), stage(2)
    assert (strided.output_shape[1], dilated.output_shape[1]) == (5, 9)
    scramble(strided)
    dilated.set_weights(strided.get_weights())
    data = numbers(2, 9, 9, 4)
    fine, coarse = evaluate(dilated, data), evaluate(strided, data)
    np.testing.assert_allclose(fine[:, ::2, ::2], coarse, rtol=0, atol=1e-5 * np.abs(coarse).max())


@pytest.mark.parametrize("unit", RESIDUAL)
def test_a_dilation_that_the_stride_does_not_divide_is_refused(unit):
    with pytest.raises(ValueError, match="`dilation` must be divisible by `stride`; got 3 and 2"):
        unit(keras.Input((9, 9, 4)), 8, stride=2, dilation=3)


def shuffled(x, groups):
    return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(x.shape)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("sizes", [(5, 4), (None, 4), (5, None), (None, None)])
def test_shuffle(groups, sizes, numbers, evaluate):
    x = keras.Input((*sizes, 6))
    y = conv.shuffle(x, groups, name="s")
    assert y.shape == (None, *sizes, 6)
    data = numbers(2, 5, 4, 6)
    found = evaluate(keras.Model(x, layers.Identity()(y)), data)
    np.testing.assert_array_equal(found, shuffled(data, groups))
    if groups == 2:
        # The first channel of each group, the second of each, …
        np.testing.assert_array_equal(found, data[..., [0, 3, 1, 4, 2, 5]])


def test_shuffle_wants_groups_of_one_size():
    with pytest.raises(ValueError, match="`channels of x` must be divisible by `groups`; got 6 and 4"):
        conv.shuffle(keras.Input((5, 4, 6)), 4)


def grouped(net, x, name, groups):
    """`norm(W ∗ x)` of a 1×1 convolution in groups."""
    (kernel,) = net.weights(name)
    parts = zip(np.split(x, groups, -1), np.split(kernel[0, 0], groups, -1), strict=True)
    return net.norm(np.concatenate([part @ weights for part, weights in parts], -1), f"{name}_norm")


@pytest.mark.parametrize("group_first", [True, False])
@pytest.mark.parametrize(("filters", "stride"), [(6, 1), (12, 1), (12, 2)])
def test_shuffle_v1(filters, stride, group_first, check):
    def expected(net, x):
        y = relu(grouped(net, x, "u_conv1", 3 if group_first else 1))
        y = net.depthwise_norm(shuffled(y, 3), "u_depthwise", stride)
        y = grouped(net, y, "u_conv2", 3)
        if filters == 6:
            return relu(x + y)
        return relu(np.concatenate([y, avg_pool(x, 3, stride) if stride > 1 else x], -1))

    options = {"groups": 3, "ratio": 6 / filters, "group_first": group_first}
    check(model_of(mobile.shuffle_v1, filters, (9, 7, 6), stride=stride, **options), expected)


@pytest.mark.parametrize(("filters", "stride"), [(6, 1), (10, 1), (6, 2), (10, 2)])
def test_shuffle_v2(filters, stride, check):
    def expected(net, x):
        if filters == 6 and stride == 1:
            kept, y = x[..., :3], x[..., 3:]
        else:
            kept = relu(net.conv_norm(net.depthwise_norm(x, "u_kept_depthwise", stride), "u_kept_conv"))
            y = x
        y = net.depthwise_norm(relu(net.conv_norm(y, "u_conv1")), "u_depthwise", stride)
        return shuffled(np.concatenate([kept, relu(net.conv_norm(y, "u_conv2"))], -1), 2)

    check(model_of(mobile.shuffle_v2, filters, (9, 8, 6), stride=stride), expected)


def ghost(net, x, name, act, filters, stride=1):
    y = net.conv_norm(x, f"{name}_primary", stride)
    y = relu(y) if act else y
    z = net.depthwise_norm(y, f"{name}_cheap")
    return np.concatenate([y, relu(z) if act else z], -1)[..., :filters]


@pytest.mark.parametrize("act", [True, False])
@pytest.mark.parametrize("filters", [5, 6])
@pytest.mark.parametrize("options", [{}, {"kernel_size": 3, "stride": 2}, {"ratio": 3, "cheap_size": 5}], ids=str)
def test_ghost_module(act, filters, options, check):
    model = model_of(mobile.ghost_module, filters, act=act, **options)
    assert model.get_layer("u_primary").filters == -(-filters // options.get("ratio", 2))
    check(model, lambda net, x: ghost(net, x, "u", act, filters, options.get("stride", 1)))


GHOSTS = [{"filters": 4}, {"filters": 6}, {"filters": 4, "stride": 2, "kernel_size": 5}]


@pytest.mark.parametrize("options", GHOSTS, ids=str)
def test_ghost_bottleneck(options, check):
    def expected(net, x):
        stride = options.get("stride", 1)
        y = ghost(net, x, "u_expand", True, 10)
        if stride > 1:
            y = net.depthwise_norm(y, "u_depthwise", stride)
        y = ghost(net, y, "u_project", False, options["filters"])
        if options != {"filters": 4}:
            x = net.conv_norm(net.depthwise_norm(x, "u_shortcut_depthwise", stride), "u_shortcut")
        return x + y

    check(model_of(mobile.ghost_bottleneck, expansion=2.5, **options), expected)


JOINED = [partial(mobile.shuffle_v1, groups=2), mobile.shuffle_v2, mobile.ghost_bottleneck]


@pytest.mark.parametrize("unit", JOINED)
def test_units_of_joined_branches_in_a_stage(unit):
    x = keras.Input((None, None, 4))
    model = keras.Model(x, compose.stage(x, unit, 8, 2, stride=2, style=RELU_BN, name="s"))
    assert model.layers[-1].name == "s_unit2_out"
    assert model.output_shape == (None, None, None, 8)
    x = keras.Input((8, 6, 4))
    assert compose.stage(x, unit, 8, 2, stride=2, style=RELU_BN, name="s").shape == (None, 4, 3, 8)


@pytest.mark.parametrize("unit", [partial(mobile.shuffle_v1, groups=2, ratio=1), mobile.ghost_bottleneck])
def test_drop_path_of_units_of_joined_branches(unit, numbers, evaluate):
    keras.utils.set_random_seed(0)
    x = keras.Input((9, 8, 4))
    model = keras.Model(x, unit(x, 4, drop_path=0.5, style=Style(norm=None, activation=linear), name="u"))
    data = numbers(64, 9, 8, 4)
    residuals = evaluate(model, data) - data
    y = evaluate(model, data, training=True) - data
    dropped = np.abs(y).max((1, 2, 3)) == 0
    assert 10 < dropped.sum() < 54
    np.testing.assert_allclose(y[~dropped], 2 * residuals[~dropped], rtol=1e-3, atol=1e-4)


def test_what_units_of_joined_branches_refuse():
    x = keras.Input((8, 8, 4))
    with pytest.raises(ValueError, match=r"`filters` must be above the channels of `x` where .*; got 4 and 4"):
        mobile.shuffle_v1(x, 4, stride=2, groups=2)
    with pytest.raises(ValueError, match="`filters` must be divisible by `2`; got 5 and 2"):
        mobile.shuffle_v2(x, 5)
    with pytest.raises(ValueError, match=r"`drop_path` must be 0 for a unit without a shortcut; got 0\.1"):
        mobile.shuffle_v2(x, 4, drop_path=0.1)
    with pytest.raises(ValueError, match="`ratio` must be at least 2; got 1"):
        mobile.ghost_module(x, 4, ratio=1)
