"""The mixers' units against NumPy, term by term of their equations."""

from math import erf, sqrt

import keras
import numpy as np
import pytest

from kblocks import compose, mixer, stem
from kblocks.style import GELU_BN, RELU_BN
from tests.support.numpy_layers import batch_norm, conv, depthwise, layer_norm
from tests.support.weights import randomise


def weights(model, name):
    return model.get_layer(name).get_weights()


def gelu(x):
    return x * (1 + np.vectorize(erf)(x / sqrt(2))) / 2


def mlp(model, x, name):
    (kernel1, bias1), (kernel2, bias2) = (weights(model, f"{name}_dense{i}") for i in (1, 2))
    return gelu(x @ kernel1 + bias1) @ kernel2 + bias2


def test_mlp_mixer(numbers, evaluate):
    x = keras.Input((5, 8))
    model = randomise(keras.Model(x, mixer.mlp_mixer(x, 8, token_expansion=1.5, expansion=2, name="m")))
    assert (model.get_layer("m_token_dense1").units, model.get_layer("m_channel_dense1").units) == (12, 16)
    data = numbers(3, 5, 8)
    y = layer_norm(data, *weights(model, "m_token_norm")).transpose(0, 2, 1)
    y = data + mlp(model, y, "m_token").transpose(0, 2, 1)
    expected = y + mlp(model, layer_norm(y, *weights(model, "m_channel_norm")), "m_channel")
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_dropout_is_where_it_belongs():
    x = keras.Input((5, 8))
    model = keras.Model(x, mixer.mlp_mixer(x, 8, dropout=0.1, drop_path=0.3, name="m"))
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    dropouts = [f"m_{part}_dropout{i}" for part in ("token", "channel") for i in (1, 2)]
    assert rates == {**dict.fromkeys(dropouts, 0.1), "m_token_drop_path": 0.3, "m_channel_drop_path": 0.3}


@pytest.mark.parametrize(("filters", "stride", "kernel_size"), [(4, 1, 3), (6, 1, 4), (6, 2, 5)])
def test_conv_mixer(filters, stride, kernel_size, numbers, evaluate):
    x = keras.Input((9, 8, 4))
    y = mixer.conv_mixer(x, filters, stride=stride, kernel_size=kernel_size, name="m")
    model = randomise(keras.Model(x, y))
    data = numbers(2, 9, 8, 4)
    kernel, bias = weights(model, "m_conv1")
    y = batch_norm(gelu(depthwise(data, kernel, stride) + bias), *weights(model, "m_conv1_norm"))
    kernel, bias = weights(model, "m_conv2")
    expected = gelu((y if stride > 1 else data + y) @ kernel[0, 0] + bias)
    found = evaluate(model, data)
    np.testing.assert_allclose(found, batch_norm(expected, *weights(model, "m_out")), rtol=1e-4, atol=1e-4)


def test_the_stem(numbers, evaluate):
    x = keras.Input((9, 8, 3))
    model = randomise(keras.Model(x, stem.convmixer(x, 6, size=2, style=GELU_BN, name="s")))
    data = numbers(2, 9, 8, 3)
    kernel, bias = weights(model, "s_conv")
    expected = batch_norm(gelu(conv(data[:, :8], kernel, 2) + bias), *weights(model, "s_out"))
    assert expected.shape == (2, 4, 4, 6)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_units_make_a_stage():
    x = keras.Input((8, 8, 4))
    model = keras.Model(x, compose.stage(x, mixer.conv_mixer, 8, 3, stride=2, style=RELU_BN, name="stage1"))
    assert model.output_shape == (None, 4, 4, 8)
    x = keras.Input((5, 8))
    assert compose.stage(x, mixer.mlp_mixer, 8, 2, drop_paths=[0.0, 0.1]).shape == (None, 5, 8)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"`stride` must be 1 for tokens, whose number stays; got 2"):
        mixer.mlp_mixer(keras.Input((7, 8)), 8, stride=2)
    with pytest.raises(ValueError, match=r"`filters` must be the channels of tokens; got 4 for shape \(None, 7, 8\)"):
        mixer.mlp_mixer(keras.Input((7, 8)), 4)
    with pytest.raises(ValueError, match=r"`x` must have rank 3 \(batch, tokens, channels\); got rank 4"):
        mixer.mlp_mixer(keras.Input((7, 7, 8)), 8)
    with pytest.raises(ValueError, match=r"`token_expansion` must be a positive number; got 0"):
        mixer.mlp_mixer(keras.Input((7, 8)), 8, token_expansion=0)
