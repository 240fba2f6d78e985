"""Inception modules, alone and as residuals: the widths of the papers, the order of the branches, and NumPy."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import inception, inception_resnet, residual, stem
from kblocks.compose import stage
from kblocks.style import RELU, SWISH_BN
from tests.support.numpy_layers import Numpy, avg_pool, max_pool, relu
from tests.support.weights import randomise

# Szegedy et al. 2014, Table 1: input channels, the module's widths, output channels.
TABLE = {
    "3a": (192, (64, (96, 128), (16, 32), 32), 256),
    "3b": (256, (128, (128, 192), (32, 96), 64), 480),
    "4a": (480, (192, (96, 208), (16, 48), 64), 512),
    "4e": (528, (256, (160, 320), (32, 128), 128), 832),
    "5b": (832, (384, (192, 384), (48, 128), 128), 1024),
}


@pytest.mark.parametrize(("channels", "widths", "out"), TABLE.values(), ids=TABLE)
def test_v1_has_the_widths_of_the_table(channels, widths, out):
    x = keras.Input((7, 7, channels))
    model = keras.Model(x, inception.v1(x, *widths, style=RELU))
    b1, (r3, b3), (r5, b5), pool = widths
    kernels = channels * (b1 + r3 + r5 + pool) + 9 * r3 * b3 + 25 * r5 * b5
    assert model.output_shape == (None, 7, 7, out)
    assert model.count_params() == kernels + (b1 + r3 + b3 + r5 + b5 + pool)


def test_v1_row_3a_has_the_parameters_of_the_table():
    x = keras.Input((28, 28, 192))
    model = keras.Model(x, inception.v1(x, *TABLE["3a"][1], style=RELU))
    assert model.count_params() == 163_696  # The table says 159 K, in units of 1,024.


@pytest.mark.parametrize(
    ("function", "widths", "order"),
    [
        (inception.naive, (1, 2, 3), ["i_1x1_act", "i_3x3_act", "i_5x5_act", "i_pool"]),
        (inception.v1, (1, (2, 3), (2, 4), 5), ["i_1x1_act", "i_3x3_act", "i_5x5_act", "i_pool_project_act"]),
    ],
    ids=["naive", "v1"],
)
def test_branches_stand_side_by_side_in_the_order_of_the_name(function, widths, order, numbers, evaluate, scramble):
    x = keras.Input((6, 5, 4))
    model = scramble(keras.Model(x, function(x, *widths, name="i")))
    parts = keras.Model(x, [model.get_layer(name).output for name in order])
    data = numbers(2, 6, 5, 4)
    np.testing.assert_allclose(evaluate(model, data), np.concatenate(evaluate(parts, data), -1), rtol=1e-5)
    assert isinstance(model.get_layer("i_out"), layers.Concatenate)


def test_every_branch_has_its_window():
    x = keras.Input((6, 5, 4))
    model = keras.Model(x, inception.v1(x, 1, (2, 3), (2, 4), 5, name="i"))
    windows = {name: model.get_layer(f"i_{name}").kernel_size for name in ("1x1", "3x3_reduce", "3x3", "5x5")}
    assert windows == {"1x1": (1, 1), "3x3_reduce": (1, 1), "3x3": (3, 3), "5x5": (5, 5)}
    assert model.get_layer("i_pool").pool_size == (3, 3)
    # The projection comes after the pooling, the reductions before the larger windows.
    assert model.get_layer("i_pool_project").input is model.get_layer("i_pool").output
    assert model.get_layer("i_5x5").input is model.get_layer("i_5x5_reduce_act").output


@pytest.mark.parametrize("argument", ["b3", "b5"])
@pytest.mark.parametrize("value", [8, (8,), (8, 8, 8), "ab", None])
def test_v1_wants_pairs(argument, value):
    arguments = {"b1": 4, "b3": (4, 4), "b5": (4, 4), "pool": 4} | {argument: value}
    with pytest.raises(ValueError, match=rf"`{argument}` must be a pair of widths \(reduction, out\); got "):
        inception.v1(keras.Input((8, 8, 3)), **arguments)


# What the networks' authors published in code: the channels that go into each block, its kernels `(rows, columns, in,
# out)`, and the channels that come out.
PUBLISHED = {
    "v3_a, first": (
        partial(inception.v3_a, pool=32), 192,
        [(1, 1, 192, 64), (1, 1, 192, 48), (5, 5, 48, 64), (1, 1, 192, 64), (3, 3, 64, 96), (3, 3, 96, 96),
         (1, 1, 192, 32)], 256),
    "v3_a": (
        inception.v3_a, 288,
        [(1, 1, 288, 64), (1, 1, 288, 48), (5, 5, 48, 64), (1, 1, 288, 64), (3, 3, 64, 96), (3, 3, 96, 96),
         (1, 1, 288, 64)], 288),
    "v3_b": (
        inception.v3_b, 288,
        [(3, 3, 288, 384), (1, 1, 288, 64), (3, 3, 64, 96), (3, 3, 96, 96)], 768),
    "v3_c, first": (
        partial(inception.v3_c, inner=128), 768,
        [(1, 1, 768, 192), (1, 1, 768, 128), (1, 7, 128, 128), (7, 1, 128, 192), (1, 1, 768, 128), (7, 1, 128, 128),
         (1, 7, 128, 128), (7, 1, 128, 128), (1, 7, 128, 192), (1, 1, 768, 192)], 768),
    "v3_c": (
        inception.v3_c, 768,
        [(1, 1, 768, 192), (1, 1, 768, 192), (1, 7, 192, 192), (7, 1, 192, 192), (1, 1, 768, 192), (7, 1, 192, 192),
         (1, 7, 192, 192), (7, 1, 192, 192), (1, 7, 192, 192), (1, 1, 768, 192)], 768),
    "v3_d": (
        inception.v3_d, 768,
        [(1, 1, 768, 192), (3, 3, 192, 320), (1, 1, 768, 192), (1, 7, 192, 192), (7, 1, 192, 192), (3, 3, 192, 192)],
        1280),
    "v3_e": (
        inception.v3_e, 1280,
        [(1, 1, 1280, 320), (1, 1, 1280, 384), (1, 3, 384, 384), (3, 1, 384, 384), (1, 1, 1280, 448), (3, 3, 448, 384),
         (1, 3, 384, 384), (3, 1, 384, 384), (1, 1, 1280, 192)], 2048),
    "v4_a": (
        inception.v4_a, 384,
        [(1, 1, 384, 96), (1, 1, 384, 64), (3, 3, 64, 96), (1, 1, 384, 64), (3, 3, 64, 96), (3, 3, 96, 96),
         (1, 1, 384, 96)], 384),
    "v4_b": (
        inception.v4_b, 384,
        [(3, 3, 384, 384), (1, 1, 384, 192), (3, 3, 192, 224), (3, 3, 224, 256)], 1024),
    "v4_c": (
        inception.v4_c, 1024,
        [(1, 1, 1024, 384), (1, 1, 1024, 192), (1, 7, 192, 224), (7, 1, 224, 256), (1, 1, 1024, 192), (7, 1, 192, 192),
         (1, 7, 192, 224), (7, 1, 224, 224), (1, 7, 224, 256), (1, 1, 1024, 128)], 1024),
    "v4_d": (
        inception.v4_d, 1024,
        [(1, 1, 1024, 192), (3, 3, 192, 192), (1, 1, 1024, 256), (1, 7, 256, 256), (7, 1, 256, 320), (3, 3, 320, 320)],
        1536),
    "v4_e": (
        inception.v4_e, 1536,
        [(1, 1, 1536, 256), (1, 1, 1536, 384), (1, 3, 384, 256), (3, 1, 384, 256), (1, 1, 1536, 384), (3, 1, 384, 448),
         (1, 3, 448, 512), (1, 3, 512, 256), (3, 1, 512, 256), (1, 1, 1536, 256)], 1536),
    "block35": (
        partial(inception_resnet.block35, filters=320), 320,
        [(1, 1, 320, 32), (1, 1, 320, 32), (3, 3, 32, 32), (1, 1, 320, 32), (3, 3, 32, 48), (3, 3, 48, 64),
         (1, 1, 128, 320)], 320),
    "block17": (
        partial(inception_resnet.block17, filters=1088), 1088,
        [(1, 1, 1088, 192), (1, 1, 1088, 128), (1, 7, 128, 160), (7, 1, 160, 192), (1, 1, 384, 1088)], 1088),
    "block8": (
        partial(inception_resnet.block8, filters=2080), 2080,
        [(1, 1, 2080, 192), (1, 1, 2080, 192), (1, 3, 192, 224), (3, 1, 224, 256), (1, 1, 448, 2080)], 2080),
    "reduction_a": (
        inception_resnet.reduction_a, 320,
        [(3, 3, 320, 384), (1, 1, 320, 256), (3, 3, 256, 256), (3, 3, 256, 384)], 1088),
    "reduction_b": (
        inception_resnet.reduction_b, 1088,
        [(1, 1, 1088, 256), (3, 3, 256, 384), (1, 1, 1088, 256), (3, 3, 256, 288), (1, 1, 1088, 256),
         (3, 3, 256, 288), (3, 3, 288, 320)], 2080),
    "stem": (
        partial(stem.inception_v3, filters=192), 3,
        [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64), (1, 1, 64, 80), (3, 3, 80, 192)], 192),
    "stem of v4": (
        partial(stem.inception_v4, filters=384), 3,
        [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64), (3, 3, 64, 96), (1, 1, 160, 64), (3, 3, 64, 96),
         (1, 1, 160, 64), (1, 7, 64, 64), (7, 1, 64, 64), (3, 3, 64, 96), (3, 3, 192, 192)], 384),
    "stem of Inception-ResNet-v1": (
        partial(stem.inception_resnet_v1, filters=256), 3,
        [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64), (1, 1, 64, 80), (3, 3, 80, 192), (3, 3, 192, 256)], 256),
}  # fmt: skip


@pytest.mark.parametrize(("block", "channels", "kernels", "out"), PUBLISHED.values(), ids=PUBLISHED)
def test_defaults_are_the_published_widths(block, channels, kernels, out):
    x = keras.Input((None, None, channels))
    model = keras.Model(x, block(x))
    found = [tuple(layer.kernel.shape) for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert sorted(found) == sorted(kernels)
    assert model.output_shape[-1] == out


@pytest.mark.parametrize(
    ("block", "scale"),
    [(inception_resnet.block35, 0.17), (inception_resnet.block17, 0.1), (inception_resnet.block8, 0.2)],
)
def test_scales_are_the_published_ones(block, scale):
    x = keras.Input((5, 5, 4))
    assert keras.Model(x, block(x, 4, name="u")).get_layer("u_scale").scale == scale


class Block(Numpy):
    """A block's layers: convolutions with their normalisations and activations."""

    def __init__(self, model):
        """Takes a model whose layers begin with `u_`, and gives it random weights."""
        super().__init__(randomise(model), "u_")

    def conv(self, x, name, sides=(1, 1), stride=1, padding="same"):
        """`max(norm(W ∗ x), 0)`, or `W ∗ x + b` where there is a bias, with a kernel of those sides."""
        kernel, *bias = self.weights(name)
        assert kernel.shape[:2] == sides
        y = super().conv(x, name, stride, padding)
        return y if bias else relu(self.norm(y, f"{name}_norm"))


def v3_a(net, x):
    double = net.conv(net.conv(net.conv(x, "double_reduce"), "double1", (3, 3)), "double2", (3, 3))
    five = net.conv(net.conv(x, "5x5_reduce"), "5x5", (5, 5))
    return [net.conv(x, "1x1"), five, double, net.conv(avg_pool(x, 3), "pool_project")]


def v3_b(net, x):
    double = net.conv(net.conv(x, "double_reduce"), "double1", (3, 3))
    return [
        net.conv(x, "3x3", (3, 3), 2, padding="valid"),
        net.conv(double, "double2", (3, 3), 2, padding="valid"),
        max_pool(x, 3, 2, padding="valid"),
    ]


def v3_c(net, x):
    rows = net.conv(net.conv(net.conv(x, "rows_reduce"), "rows1", (1, 5)), "rows2", (5, 1))
    double = net.conv(net.conv(net.conv(x, "double_reduce"), "double1", (5, 1)), "double2", (1, 5))
    double = net.conv(net.conv(double, "double3", (5, 1)), "double4", (1, 5))
    return [net.conv(x, "1x1"), rows, double, net.conv(avg_pool(x, 3), "pool_project")]


def v3_d(net, x):
    rows = net.conv(net.conv(net.conv(x, "rows_reduce"), "rows1", (1, 5)), "rows2", (5, 1))
    return [
        net.conv(net.conv(x, "3x3_reduce"), "3x3", (3, 3), 2, padding="valid"),
        net.conv(rows, "rows_3x3", (3, 3), 2, padding="valid"),
        max_pool(x, 3, 2, padding="valid"),
    ]


def v3_e(net, x):
    split = net.conv(x, "split_reduce")
    double = net.conv(net.conv(x, "double_reduce"), "double_3x3", (3, 3))
    return [
        net.conv(x, "1x1"),
        *(net.conv(split, "split_1x3", (1, 3)), net.conv(split, "split_3x1", (3, 1))),
        *(net.conv(double, "double_1x3", (1, 3)), net.conv(double, "double_3x1", (3, 1))),
        net.conv(avg_pool(x, 3), "pool_project"),
    ]


def v4_a(net, x):
    double = net.conv(net.conv(net.conv(x, "double_reduce"), "double1", (3, 3)), "double2", (3, 3))
    three = net.conv(net.conv(x, "3x3_reduce"), "3x3", (3, 3))
    return [net.conv(x, "1x1"), three, double, net.conv(avg_pool(x, 3), "pool_project")]


def v4_e(net, x):
    split = net.conv(x, "split_reduce")
    double = net.conv(net.conv(net.conv(x, "double_reduce"), "double1", (3, 1)), "double2", (1, 3))
    return [
        net.conv(x, "1x1"),
        *(net.conv(split, "split_1x3", (1, 3)), net.conv(split, "split_3x1", (3, 1))),
        *(net.conv(double, "double_1x3", (1, 3)), net.conv(double, "double_3x1", (3, 1))),
        net.conv(avg_pool(x, 3), "pool_project"),
    ]


def reduction_b(net, x):
    double = net.conv(net.conv(x, "double_reduce"), "double1", (3, 3))
    return [
        net.conv(net.conv(x, "3x3_reduce"), "3x3", (3, 3), 2, padding="valid"),
        net.conv(net.conv(x, "more_reduce"), "more", (3, 3), 2, padding="valid"),
        net.conv(double, "double2", (3, 3), 2, padding="valid"),
        max_pool(x, 3, 2, padding="valid"),
    ]


TRIPLE = {"double": (2, 3, 4)}
MODULES = {
    "v3_a": (partial(inception.v3_a, b1=2, b5=(3, 4), pool=5, **TRIPLE), v3_a),
    "v3_b": (partial(inception.v3_b, b3=5, **TRIPLE), v3_b),
    "v3_c": (partial(inception.v3_c, inner=2, out=3, n=5), v3_c),
    "v3_d": (partial(inception.v3_d, b3=(2, 3), rows=4, n=5), v3_d),
    "v3_e": (partial(inception.v3_e, b1=2, split=(3, 4), pool=5, **TRIPLE), v3_e),
    "v4_a": (partial(inception.v4_a, b1=2, b3=(3, 4), pool=5, **TRIPLE), v4_a),
    "v4_c": (partial(inception.v4_c, b1=2, rows=(2, 3, 4), double=(2, 3, 4, 5, 6), pool=3, n=5), v3_c),
    "v4_d": (partial(inception.v4_d, b3=(2, 3), rows=(2, 3, 4), n=5), v3_d),
    "v4_e": (partial(inception.v4_e, b1=2, split=(3, 4), double=(2, 3, 4, 5), pool=5), v4_e),
    "reduction_b": (partial(inception_resnet.reduction_b, b3=(2, 3), more=(3, 5), **TRIPLE), reduction_b),
}


@pytest.mark.parametrize(("block", "branches"), MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("size", [(9, 8), (8, 7)])
def test_modules_in_numpy(block, branches, size, numbers, evaluate):
    x = keras.Input((*size, 6))
    net = Block(keras.Model(x, block(x, name="u")))
    data = numbers(2, *size, 6)
    found = evaluate(net.model, data)
    np.testing.assert_allclose(found, np.concatenate(branches(net, data), -1), rtol=1e-4, atol=1e-5)
    assert isinstance(net.model.get_layer("u_out"), layers.Concatenate)


def block35(net, x, stride):
    double = net.conv(net.conv(x, "double_reduce"), "double1", (3, 3))
    return [
        net.conv(x, "1x1", stride=stride),
        net.conv(net.conv(x, "3x3_reduce"), "3x3", (3, 3), stride),
        net.conv(double, "double2", (3, 3), stride),
    ]


def block17(net, x, stride):
    rows = net.conv(net.conv(x, "rows_reduce"), "rows1", (1, 5))
    return [net.conv(x, "1x1", stride=stride), net.conv(rows, "rows2", (5, 1), stride)]


UNITS = {
    "block35": (partial(inception_resnet.block35, b1=2, b3=(3, 4), **TRIPLE), block35),
    "block17": (partial(inception_resnet.block17, b1=2, rows=(3, 4, 5), n=5), block17),
}


@pytest.mark.parametrize(("unit", "branches"), UNITS.values(), ids=UNITS)
@pytest.mark.parametrize(("scale", "act"), [(0.25, True), (-1.5, False), (1.0, True)])
def test_units_in_numpy(unit, branches, scale, act, numbers, evaluate):
    x = keras.Input((9, 7, 6))
    net = Block(keras.Model(x, unit(x, 6, scale=scale, act=act, name="u")))
    data = numbers(2, 9, 7, 6)
    y = data + scale * net.conv(np.concatenate(branches(net, data, 1), -1), "project")
    assert y.min() < -0.5
    np.testing.assert_allclose(evaluate(net.model, data), np.maximum(y, 0) if act else y, rtol=1e-4, atol=1e-5)
    assert isinstance(net.model.get_layer("u_out"), layers.Activation if act else layers.Add)


@pytest.mark.parametrize(("unit", "branches"), UNITS.values(), ids=UNITS)
@pytest.mark.parametrize(("filters", "stride"), [(4, 1), (6, 2)])
def test_units_that_change_the_shape(unit, branches, filters, stride, numbers, evaluate):
    # At odd sizes "same" pads both sides alike.
    x = keras.Input((9, 7, 6))
    net = Block(keras.Model(x, unit(x, filters, stride=stride, shortcut=residual.linear_projection, name="u")))
    data = numbers(2, 9, 7, 6)
    scale = net.model.get_layer("u_scale").scale
    y = net.conv(np.concatenate(branches(net, data, stride), -1), "project")
    shortcut = data[:, ::stride, ::stride] @ net.model.get_layer("u_shortcut").get_weights()[0][0, 0]
    np.testing.assert_allclose(evaluate(net.model, data), np.maximum(shortcut + scale * y, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", [inception_resnet.block35, inception_resnet.block17, inception_resnet.block8])
def test_units_in_a_stage(unit):
    x = keras.Input((9, 7, 6))
    model = keras.Model(x, stage(x, unit, 8, 2, stride=2, drop_paths=(0.0, 0.5), name="s"))
    assert model.output_shape == (None, 5, 4, 8)
    names = [layer.name for layer in model.layers]
    assert "s_unit1_shortcut" in names
    assert "s_unit2_shortcut" not in names
    dropped = model.get_layer("s_unit2_drop_path")
    assert (dropped.rate, dropped.noise_shape) == (0.5, (None, 1, 1, 1))
    assert dropped.input is model.get_layer("s_unit2_scale").output


@pytest.mark.parametrize("block", [inception.v3_a, inception.v3_b, inception.v3_c, inception.v3_d, inception.v3_e])
def test_the_style_is_used(block):
    x = keras.Input((9, 7, 6))
    model = keras.Model(x, block(x, style=replace(SWISH_BN, initializer="zeros", padding="symmetric")))
    convs = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    acts = [layer for layer in model.layers if isinstance(layer, layers.Activation)]
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(convs) == len(acts) == len(norms)
    assert {layer.activation.__name__ for layer in acts} == {"silu"}
    assert {type(layer.kernel_initializer).__name__ for layer in convs} == {"Zeros"}
    # Without padding all the same.
    assert {layer.padding for layer in convs if layer.strides == (2, 2)} <= {"valid"}


@pytest.mark.parametrize(
    ("block", "argument", "count"),
    [
        (inception.naive, "b3", 1),
        (inception.v3_a, "b1", 1),
        (inception.v3_a, "b5", 2),
        (inception.v3_a, "double", 3),
        (inception.v3_a, "pool", 1),
        (inception.v3_b, "b3", 1),
        (inception.v3_b, "double", 3),
        (inception.v3_c, "inner", 1),
        (inception.v3_c, "out", 1),
        (inception.v3_c, "n", 1),
        (inception.v3_d, "b3", 2),
        (inception.v3_d, "rows", 1),
        (inception.v3_d, "n", 1),
        (inception.v3_e, "b1", 1),
        (inception.v3_e, "split", 2),
        (inception.v3_e, "double", 3),
        (inception.v3_e, "pool", 1),
        (inception.v4_a, "b3", 2),
        (inception.v4_c, "rows", 3),
        (inception.v4_c, "double", 5),
        (inception.v4_d, "rows", 3),
        (inception.v4_e, "double", 4),
        (inception_resnet.block35, "b1", 1),
        (inception_resnet.block35, "b3", 2),
        (inception_resnet.block35, "double", 3),
        (inception_resnet.block17, "b1", 1),
        (inception_resnet.block17, "rows", 3),
        (inception_resnet.block8, "n", 1),
        (inception_resnet.reduction_b, "b3", 2),
        (inception_resnet.reduction_b, "more", 2),
        (inception_resnet.reduction_b, "double", 3),
    ],
)
def test_wrong_widths_are_refused(block, argument, count):
    x = keras.Input((9, 9, 8))
    block = partial(inception.naive, b1=2, b3=2, b5=2) if block is inception.naive else block
    block = partial(block, filters=8) if "block" in getattr(block, "func", block).__name__ else block
    forms = {
        2: r"a pair of widths \(reduction, out\)",
        3: r"three widths \(reduction, middle, out\)",
        4: r"four widths \(reduction, two middle, out\)",
        5: r"five widths \(reduction, three middle, out\)",
    }
    if count > 1:
        for value in (8, (8,) * (count - 1), (8,) * (count + 1), "a" * count):
            with pytest.raises(ValueError, match=rf"`{argument}` must be {forms[count]}; got "):
                block(x, **{argument: value})
    for bad in (0, -1, 2.5, True, "8"):
        for i in range(count):
            value = [4] * count
            value[i] = bad
            with pytest.raises(ValueError, match=rf"`{argument}` must be a positive integer; got {bad!r}"):
                block(x, **{argument: value if count > 1 else bad})


@pytest.mark.parametrize("scale", ["0.1", None, True])
def test_a_scale_is_a_number(scale):
    with pytest.raises(TypeError, match="`scale` must be a number; got "):
        inception_resnet.block35(keras.Input((9, 9, 8)), 8, scale=scale)


def test_a_rate_out_of_range():
    with pytest.raises(ValueError, match="`drop_path` must be at least 0 and below 1; got 1"):
        inception_resnet.block17(keras.Input((9, 9, 8)), 8, drop_path=1.0)


REDUCTIONS = [inception.v3_b, inception.v3_d, inception_resnet.reduction_a, inception_resnet.reduction_b]


@pytest.mark.parametrize("block", REDUCTIONS)
def test_reductions_take_three_pixels_or_more(block):
    assert block(keras.Input((3, 4, 8))).shape[1:3] == (1, 1)
    with pytest.raises(ValueError, match="`x` must be at least 3×3 for a window of 3×3 without padding; got 3×2"):
        block(keras.Input((3, 2, 8)))


@pytest.mark.parametrize("size", [75, 76, 299])
def test_stem_sizes(size):
    x = keras.Input((size, size, 3))
    model = keras.Model(x, stem.inception_v3(x, 24, name="u"))
    found = [
        model.get_layer(f"u_{name}").output.shape[1] for name in ("conv1", "conv2", "conv3", "pool", "conv5", "out")
    ]
    # A window of 3×3 without padding takes two pixels, and of a stride of 2 it leaves every second one.
    first = (size - 3) // 2 + 1
    second = (first - 2 - 3) // 2 + 1
    assert found == [first, first - 2, first - 2, second, second - 2, (second - 2 - 3) // 2 + 1]
    if size == 299:
        assert found == [149, 147, 147, 73, 71, 35]


def test_stem_in_numpy(numbers, evaluate):
    x = keras.Input((75, 76, 3))
    net = Block(keras.Model(x, stem.inception_v3(x, 12, name="u")))
    data = numbers(1, 75, 76, 3)
    y = net.conv(net.conv(data, "conv1", (3, 3), 2, padding="valid"), "conv2", (3, 3), padding="valid")
    y = max_pool(net.conv(y, "conv3", (3, 3)), 3, 2, padding="valid")
    y = net.conv(net.conv(y, "conv4"), "conv5", (3, 3), padding="valid")
    y = max_pool(y, 3, 2, padding="valid")
    np.testing.assert_allclose(evaluate(net.model, data), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(74, 75, 3), (None, 32, 3)])
def test_stem_refuses_small_images(shape):
    with pytest.raises(ValueError, match=r"at least 75×75 for the stem `inception_v3`; got .* kblocks.stem.cifar"):
        stem.inception_v3(keras.Input(shape), 24)


def test_stem_wants_a_multiple_of_twelve():
    with pytest.raises(ValueError, match="`filters` must be divisible by `12`; got 64 and 12"):
        stem.inception_v3(keras.Input((75, 75, 3)), 64)


@pytest.mark.parametrize("convs", [[], "3x3", None])
def test_a_branch_without_convolutions_is_refused(convs):
    with pytest.raises(ValueError, match=r"`convs` must be a list or tuple of rows .*; got "):
        inception.branch(keras.Input((8, 8, 3)), convs)
