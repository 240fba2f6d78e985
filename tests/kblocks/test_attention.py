"""Squeeze-and-excite, against NumPy and the counts of its paper."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import attention, mobile, residual, style
from kblocks.style import RELU_BN, SWISH_BN
from tests.support.numpy_layers import relu, sigmoid

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
