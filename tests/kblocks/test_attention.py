"""Attention by factors, against NumPy, PyTorch and the counts of the papers."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import attention, mobile, residual, style
from kblocks.style import RELU_BN, SWISH_BN
from tests.support.numpy_layers import Numpy, avg_pool, conv, relu, sigmoid
from tests.support.torch_networks import assert_parity_in_order, library

UNITS = [residual.basic, residual.bottleneck, residual.preact_basic, residual.preact_bottleneck]


def model_of(channels=6, **options):
    x = keras.Input((5, 4, channels))
    return keras.Model(x, attention.squeeze_excite(x, name="se", **options))


@pytest.mark.parametrize(
    ("options", "act", "gate"),
    [
        ({}, relu, sigmoid),
        ({"gate": style.hard_sigmoid}, relu, lambda x: np.clip(x / 6 + 0.5, 0, 1)),
        ({"style": SWISH_BN}, lambda x: x * sigmoid(x), sigmoid),
        ({"style": SWISH_BN, "activation": style.tanh}, np.tanh, sigmoid),
    ],
    ids=["paper", "hard gate", "swish", "tanh"],
)
def test_each_channel_gets_a_factor_of_the_whole_image(options, act, gate, numbers, evaluate):
    model = model_of(ratio=1 / 2, **options)
    w1, b1, w2, b2 = weights = [2 * numbers(*w.shape, seed=i) for i, w in enumerate(model.get_weights())]
    model.set_weights(weights)
    data = numbers(3, 5, 4, 6) + numbers(3, 1, 1, 6, seed=9)
    hidden = data.mean((1, 2)) @ w1[0, 0] + b1
    factors = gate(act(hidden) @ w2[0, 0] + b2)
    assert hidden.min() < 0 < hidden.max()
    assert factors.min() < 0.3 < 0.7 < factors.max()
    np.testing.assert_allclose(evaluate(model, data), data * factors[:, None, None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "ratio", "divisor", "width"),
    [(256, 1 / 16, 1, 16), (96, 1 / 4 / 6, 1, 4), (240, 1 / 4 / 6, 1, 10), (72, 1 / 4, 8, 24), (16, 1 / 4, 8, 8)],
)
def test_the_width_in_between(channels, ratio, divisor, width):
    model = model_of(channels, ratio=ratio, divisor=divisor)
    assert [model.get_layer(name).filters for name in ("se_reduce", "se_expand")] == [width, channels]
    # Equation 5 of the paper, 2 C² / r, and the two biases.
    assert model.count_params() == 2 * channels * width + width + channels


def test_initialiser_and_regulariser_reach_both_convolutions():
    plain = replace(RELU_BN, initializer="ones", regularizer={"class_name": "L2", "config": {"l2": 0.5}})
    assert sum(float(loss) for loss in model_of(ratio=1 / 2, style=plain).losses) == pytest.approx(0.5 * 2 * 6 * 3)


def test_a_residual_unit_takes_it():
    x = keras.Input((8, 8, 32))
    unit = partial(residual.bottleneck, attention=partial(attention.squeeze_excite, ratio=1 / 8))
    model = keras.Model(x, unit(x, 32, name="u"))
    assert model.get_layer("u_add").input[1] is model.get_layer("u_attention_out").output
    more = model.count_params() - keras.Model(x, residual.bottleneck(x, 32)).count_params()
    assert more == 2 * 32 * 4 + 4 + 32


@pytest.mark.parametrize(
    "unit",
    [*UNITS, residual.separable, mobile.inverted_residual, mobile.fused_inverted_residual],
)
def test_a_units_style_reaches_it(unit):
    x = keras.Input((8, 8, 32))
    plain = replace(SWISH_BN, initializer="ones", regularizer={"class_name": "L2", "config": {"l2": 0.5}})
    model = keras.Model(x, unit(x, 32, attention=attention.squeeze_excite, style=plain, name="u"))
    for name in ("u_attention_reduce", "u_attention_expand"):
        layer = model.get_layer(name)
        assert (keras.ops.convert_to_numpy(layer.kernel) == 1).all()
        assert layer.kernel_regularizer is not None
    assert model.get_layer("u_attention_reduce").activation.__name__ == "silu"


def test_it_adds_no_normalisation():
    assert not [layer for layer in model_of().layers if isinstance(layer, layers.BatchNormalization)]


@pytest.mark.parametrize("ratio", [0, -0.25, "half", True, None, float("nan")])
def test_no_ratio(ratio):
    with pytest.raises(ValueError, match=rf"`ratio` must be a positive number; got {ratio!r}"):
        model_of(ratio=ratio)


def test_no_divisor_and_no_gate():
    with pytest.raises(ValueError, match="`divisor` must be a positive integer; got 0"):
        model_of(divisor=0)
    with pytest.raises(TypeError, match=r"`gate` must be a function .* got 'sigmoid'"):
        model_of(gate="sigmoid")


def applied(attention, *, shape=(9, 7, 6), **options):
    x = keras.Input(shape)
    return keras.Model(x, attention(x, name="a", **options))


@pytest.mark.parametrize(
    ("channels", "size"), [(1, 1), (4, 1), (16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)]
)
def test_the_kernel_of_eca_grows_with_the_channels(channels, size):
    """|(log2(C) + 1) / 2|_odd, equation 12 of the paper with γ = 2 and b = 1."""
    assert applied(attention.eca, shape=(4, 4, channels)).count_params() == size


def test_eca_mixes_neighbouring_channels(numbers, evaluate, scramble):
    model = scramble(applied(attention.eca, kernel_size=3, shape=(None, None, 6)))
    (kernel,) = model.get_weights()
    kernel = kernel * 3
    model.set_weights([kernel])
    data = numbers(2, 9, 7, 6) + numbers(2, 1, 1, 6, seed=1)
    means = np.pad(data.mean((1, 2)), ((0, 0), (1, 1)))
    factors = sigmoid(sum(means[:, i : i + 6] * kernel[i, 0, 0] for i in range(3)))
    np.testing.assert_allclose(evaluate(model, data), data * factors[:, None, None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [64, 256])
def test_eca_is_that_of_timm(channels, numbers, evaluate):
    module = library("timm").layers.EcaModule(channels)
    import torch

    model = applied(attention.eca, shape=(5, 4, channels))
    model.set_weights([module.conv.weight.detach().numpy().transpose(2, 1, 0)])
    data = numbers(2, 5, 4, channels)
    with torch.no_grad():
        expected = module(torch.from_numpy(data.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 7, 6), (None, None, 6)])
def test_cbam_in_numpy(shape, numbers, evaluate, scramble):
    model = scramble(applied(attention.cbam, ratio=1 / 2, kernel_size=3, shape=shape))
    net = Numpy(model, "a_")
    data = numbers(3, 9, 7, 6)
    w1, b1 = net.weights("channel_reduce")
    w2, b2 = net.weights("channel_expand")
    hidden = [relu(v @ w1[0, 0] + b1) @ w2[0, 0] + b2 for v in (data.mean((1, 2)), data.max((1, 2)))]
    z = data * sigmoid(sum(hidden))[:, None, None]
    pools = np.stack([z.max(-1), z.mean(-1)], axis=-1)
    factors = sigmoid(net.norm(conv(pools, net.weights("spatial_conv")[0]), "spatial_conv_norm"))
    assert factors.std() > 0.01
    np.testing.assert_allclose(evaluate(model, data), z * factors, rtol=1e-4, atol=1e-5)


def test_cbam_is_that_of_pytorchcv():
    blocks = library("pytorchcv.models.cbamresnet")
    torch = library("torch")
    net = torch.nn.Sequential(blocks.CbamBlock(32), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    x = keras.Input((9, 9, 32))
    y = layers.Permute((3, 1, 2))(layers.AveragePooling2D(5, strides=4)(attention.cbam(x)))
    net[1] = torch.nn.AvgPool2d(5, 4)
    assert_parity_in_order(keras.Model(x, layers.Flatten()(y)), net)


def gathered(net, data, extent, depthwise):
    """The neighbourhood of each factor in one number for each channel."""
    if extent is None and not depthwise:
        return data.mean((1, 2), keepdims=True)
    if extent is None:
        return net.norm(
            np.einsum("bhwc,hwco->bco", data, net.weights("gather1")[0]).reshape(-1, 1, 1, 6), "gather1_norm"
        )
    if not depthwise:
        return avg_pool(data, 2 * extent - 1, extent)
    y = net.depthwise_norm(data, "gather1", 2)
    return y if extent == 2 else net.depthwise_norm(relu(y), "gather2", 2)


@pytest.mark.parametrize("ratio", [None, 1 / 2])
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("extent", [None, 2, 4])
def test_gather_excite_in_numpy(extent, depthwise, ratio, numbers, evaluate, scramble):
    model = scramble(applied(attention.gather_excite, extent=extent, depthwise=depthwise, ratio=ratio))
    net = Numpy(model, "a_")
    data = numbers(2, 9, 7, 6) + numbers(2, 1, 1, 6, seed=1)
    y = gathered(net, data, extent, depthwise)
    if ratio:
        y = net.conv(relu(net.conv(y, "reduce")), "expand")
    factors = sigmoid(y)
    if extent:
        factors = factors.repeat(extent, 1).repeat(extent, 2)[:, :9, :7]
    assert factors.std() > 0.01
    np.testing.assert_allclose(evaluate(model, data), data * factors, rtol=1e-4, atol=1e-5)


def test_gather_excite_takes_images_of_any_size_where_it_can(numbers, evaluate):
    model = applied(attention.gather_excite, shape=(None, None, 6))
    assert model.count_params() == 0
    data = numbers(2, 5, 4, 6)
    np.testing.assert_allclose(evaluate(model, data), data * sigmoid(data.mean((1, 2), keepdims=True)), rtol=1e-4)
    for options in ({"extent": 2}, {"depthwise": True}):
        with pytest.raises(ValueError, match=r"`x` must have known sizes; got shape \(None, None, 7, 6\)"):
            applied(attention.gather_excite, shape=(None, 7, 6), **options)


@pytest.mark.parametrize("extent", [0, 1, 3, 2.0, "2", True])
def test_an_extent_is_a_power_of_two(extent):
    with pytest.raises(ValueError, match=rf"`extent` must be a power of two above 1, or None; got {extent!r}"):
        applied(attention.gather_excite, extent=extent)


@pytest.mark.parametrize("function", [attention.eca, attention.cbam, attention.gather_excite])
def test_a_unit_takes_each(function):
    x = keras.Input((8, 8, 32))
    model = keras.Model(x, residual.basic(x, 32, attention=function, name="u"))
    assert model.get_layer("u_add").input[1] is model.get_layer("u_attention_out").output
    with pytest.raises(TypeError, match=r"`gate` must be a function .* got 'sigmoid'"):
        function(x, gate="sigmoid")
