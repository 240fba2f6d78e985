"""Decoders, recomputed with NumPy from the layers' own weights, and for sizes of all kinds."""

from functools import partial

import keras
import numpy as np
import pytest

from kblocks import conv, decoder, head, residual
from kblocks.style import RELU_BN
from tests.support import numpy_layers
from tests.support.numpy_layers import Numpy, relu


def twice(x, interpolation="nearest"):
    """An image of twice the size."""
    for axis in (1, 2):
        n = x.shape[axis]
        own = np.repeat(np.arange(n), 2)
        other = np.clip(own + np.tile([-1, 1], n), 0, n - 1)
        x = x.take(own, axis) if interpolation == "nearest" else 0.75 * x.take(own, axis) + 0.25 * x.take(other, axis)
    return x


def fit(x, like):
    return x[:, : like.shape[1], : like.shape[2]]


def model_of(function, scramble, *shapes):
    inputs = [keras.Input(shape) for shape in shapes]
    y = function(inputs if len(inputs) > 1 else inputs[0], name="probe")
    return scramble(keras.Model(inputs if len(inputs) > 1 else inputs[0], y))


SIZES = [((8, 12), (4, 6), (2, 3)), ((7, 13), (4, 7), (2, 4))]


def data_of(sizes, numbers):
    return [numbers(2, *size, 2 + i, seed=i) for i, size in enumerate(sizes)]


def layer(net, x, name):
    return relu(net.conv_norm(x, name))


def pyramid_of(sizes):
    return [(*size, 2 + i) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("sizes", SIZES)
def test_unet(sizes, numbers, evaluate, scramble):
    model = model_of(partial(decoder.unet, filters=(3, 5)), scramble, *pyramid_of(sizes))
    data = data_of(sizes, numbers)
    net = Numpy(model, "probe_")
    y = data[2]
    for i in (2, 1):
        (kernel,) = net.weights(f"level{i}_up")
        up = np.einsum("bhwc,ijoc->bhiwjo", y, kernel)
        up = up.reshape(len(y), 2 * y.shape[1], 2 * y.shape[2], -1)
        y = np.concatenate([data[i - 1], fit(up, data[i - 1])], axis=-1)
        y = relu(net.conv_norm(layer(net, y, f"level{i}_conv1"), f"level{i}_conv2"))
    np.testing.assert_allclose(evaluate(model, *data), y, rtol=1e-3, atol=1e-3)


def test_unet_of_other_units(numbers, evaluate):
    inputs = [keras.Input(shape) for shape in pyramid_of(SIZES[1])]
    y = decoder.unet(inputs, (3, 5), unit=residual.basic, upsample=conv.upsample, name="probe")
    model = keras.Model(inputs, y)
    assert model.output_shape == (None, 7, 13, 3)
    assert model.layers[-1].name == "probe_level1_out"
    assert model.get_layer("probe_level2_up_act").output.shape == (None, 4, 8, 5)
    assert model.get_layer("probe_level1_shortcut").output.shape == (None, 7, 13, 3)


@pytest.mark.parametrize("sizes", SIZES)
def test_fpn(sizes, numbers, evaluate, scramble):
    model = model_of(partial(decoder.fpn, filters=4), scramble, *pyramid_of(sizes))
    data = data_of(sizes, numbers)
    net, y, expected = Numpy(model, "probe_"), 0, []
    for i in (3, 2, 1):
        lateral = net.conv(data[i - 1], f"level{i}_lateral")
        y = lateral if i == 3 else lateral + fit(twice(y), lateral)
        expected.append(net.conv(y, f"level{i}_out"))
    for found, wanted in zip(evaluate(model, *data), expected[::-1], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sizes", SIZES)
def test_semantic_fpn(sizes, numbers, evaluate, scramble):
    model = model_of(partial(decoder.semantic_fpn, filters=4), scramble, *pyramid_of(sizes))
    data = data_of(sizes, numbers)
    net = Numpy(model, "probe_")
    first = layer(net, data[0], "level1_conv1")
    second = fit(twice(layer(net, data[1], "level2_conv1"), "bilinear"), data[0])
    third = fit(twice(layer(net, data[2], "level3_conv1"), "bilinear"), data[1])
    third = fit(twice(layer(net, third, "level3_conv2"), "bilinear"), data[0])
    np.testing.assert_allclose(evaluate(model, *data), first + second + third, rtol=1e-3, atol=1e-3)


def pooled_pyramid(net, x, dilations):
    """ASPP."""
    found = [layer(net, x, "aspp_conv1")]
    for i, dilation in enumerate(dilations, 2):
        (kernel,) = net.weights(f"aspp_conv{i}")
        y = net.norm(numpy_layers.conv(x, kernel, dilation=dilation), f"aspp_conv{i}_norm")
        found.append(relu(y))
    mean = layer(net, x.mean((1, 2), keepdims=True), "aspp_mean_conv")
    found.append(np.broadcast_to(mean, found[0].shape))
    return relu(net.conv_norm(np.concatenate(found, axis=-1), "aspp_project"))


@pytest.mark.parametrize("known", [True, False])
def test_deeplab_v3(known, numbers, evaluate, scramble):
    shape = (9, 7, 4) if known else (None, None, 4)
    options = {"filters": 6, "dilations": (2, 3, 20), "dropout": 0.5}
    model = model_of(partial(decoder.deeplab_v3, **options), scramble, shape)
    data, net = numbers(2, 9, 7, 4), Numpy(model, "probe_")
    y = layer(net, pooled_pyramid(net, data, (2, 3, 20)), "conv")
    np.testing.assert_allclose(evaluate(model, data), y, rtol=1e-3, atol=1e-3)
    assert model.get_layer("probe_dropout").rate == 0.5


def test_deeplab_v3_plus(numbers, evaluate, scramble):
    options = {"filters": 6, "low_filters": 2, "factor": 2, "dilations": (2,)}
    model = model_of(partial(decoder.deeplab_v3_plus, **options), scramble, (7, 12, 3), (4, 6, 5))
    low, x = numbers(2, 7, 12, 3), numbers(2, 4, 6, 5, seed=1)
    net = Numpy(model, "probe_")
    up = fit(twice(pooled_pyramid(net, x, (2,)), "bilinear"), low)
    y = np.concatenate([up, layer(net, low, "low")], axis=-1)
    y = layer(net, layer(net, y, "fuse_conv1"), "fuse_conv2")
    np.testing.assert_allclose(evaluate(model, low, x), y, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("factor", "size", "names"),
    [
        (1, (None, None), ["probe"]),
        (1, (6, 6), ["probe_conv", "probe"]),
        (2, (None, None), ["probe_conv", "probe"]),
        (2, (14, 12), ["probe_conv", "probe"]),
        (2, (13, 12), ["probe_conv", "probe_up", "probe"]),
    ],
)
def test_pixel_logits(factor, size, names, numbers, evaluate, scramble):
    options = {"classes": 3, "factor": factor, "image_size": size}
    model = model_of(partial(head.pixel_logits, **options), scramble, (7, 6, 4))
    assert [each.name for each in model.layers[1:]] == names
    data = numbers(2, 7, 6, 4)
    y = Numpy(model).conv(data, names[0])
    y = twice(y, "bilinear") if factor == 2 else y
    y = y[:, : size[0], : size[1]]
    assert model.output_shape[1:] == y.shape[1:]
    np.testing.assert_allclose(evaluate(model, data), y, rtol=1e-4, atol=1e-4)


X = keras.Input((8, 8, 4))
HALF = keras.Input((4, 4, 4))
BAD = [
    (lambda: decoder.unet([X], ()), ValueError, "`features` must hold at least 2 images; got 1"),
    (lambda: decoder.unet(X, (8,)), TypeError, "`features` must be a list or tuple of tensors"),
    (lambda: decoder.unet([X, HALF], (8, 4)), ValueError, "`filters` must hold 1 numbers for 2 features; got"),
    (lambda: decoder.unet([X, HALF], 8), ValueError, "`filters` must hold 1 numbers for 2 features; got 8"),
    (lambda: decoder.unet([X, X[:, :3, :3]], (8,)), ValueError, "`tensors` must have equal shapes but for axis -1"),
    (lambda: decoder.unet([X, HALF], (8,), unit=abs), TypeError, "`unit` must be a function"),
    (lambda: decoder.unet([X, HALF], (8,), upsample=abs), TypeError, "`upsample` must be a function"),
    (lambda: decoder.double_conv(X, 8, drop_path=0.1), ValueError, "`drop_path` must be 0, .*; got 0.1"),
    (lambda: decoder.fpn([]), ValueError, "`features` must hold at least one tensor"),
    (lambda: decoder.aspp(X, 8, dilations=(2, 0)), ValueError, "`dilations` must be a positive integer; got 0"),
    (lambda: decoder.deeplab_v3(X, dropout=1), ValueError, "`dropout` must be at least 0 and below 1; got 1"),
    (lambda: decoder.deeplab_v3_plus([X]), ValueError, "`features` must hold at least 2 images; got 1"),
    (lambda: decoder.deeplab_v3_plus([X, X, X]), ValueError, "`features` must hold 2 images; got 3"),
    (lambda: head.pixel_logits(X, 3, image_size=(9, 8)), ValueError, "`image_size` must be at most 8×8; got 9×8"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_padding_does_not_matter_at_stride_1():
    from dataclasses import replace

    for padding in ("symmetric", "floor"):
        y = decoder.aspp(X, 8, dilations=(2,), style=replace(RELU_BN, padding=padding))
        assert y.shape == (None, 8, 8, 8)
