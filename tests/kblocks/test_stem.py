"""Stems: the sizes they are for, and what they are made of."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import stem
from kblocks.style import RELU_BN, SWISH_BN, TANH, linear
from tests.support.numpy_layers import conv

STEMS = [stem.cifar, stem.bare, stem.mnist, stem.imagenet, stem.deep, stem.googlenet]


def names(function):
    x = keras.Input((64, 64, 3))
    return [layer.name for layer in keras.Model(x, function(x, 6, name="stem")).layers[1:]]


@pytest.mark.parametrize("function", STEMS)
def test_the_last_layer_is_out(function):
    assert names(function)[-1] == "stem_out"


@pytest.mark.parametrize("function", [f for f in STEMS if f is not stem.bare])
def test_the_activation_of_the_style_is_used(function):
    x = keras.Input((64, 64, 3))
    found = {
        layer.activation.__name__
        for layer in keras.Model(x, function(x, 6, style=SWISH_BN)).layers
        if isinstance(layer, layers.Activation)
    }
    assert found == {"silu"}


def test_googlenet_is_table_1_of_the_paper():
    x = keras.Input((224, 224, 3))
    model = keras.Model(x, stem.googlenet(x, 192, style=TANH, name="s"))
    rows = [
        (name, type(model.get_layer(name)).__name__, model.get_layer(name).output.shape[1:])
        for name in ("s_conv1", "s_pool1", "s_conv2", "s_conv3", "s_out")
    ]
    assert rows == [
        ("s_conv1", "Conv2D", (112, 112, 64)),
        ("s_pool1", "MaxPooling2D", (56, 56, 64)),
        ("s_conv2", "Conv2D", (56, 56, 64)),
        ("s_conv3", "Conv2D", (56, 56, 192)),
        ("s_out", "MaxPooling2D", (28, 28, 192)),
    ]


def test_deep_is_figure_2_of_the_paper():
    x = keras.Input((224, 224, 3))
    model = keras.Model(x, stem.deep(x, 64, name="s"))
    rows = [(model.get_layer(f"s_conv{i}").kernel.shape, model.get_layer(f"s_conv{i}").strides) for i in (1, 2, 3)]
    assert rows == [((3, 3, 3, 32), (2, 2)), ((3, 3, 32, 32), (1, 1)), ((3, 3, 32, 64), (1, 1))]
    assert model.output_shape == (None, 56, 56, 64)
    with pytest.raises(ValueError, match="`filters` must be divisible by `2`; got 5 and 2"):
        stem.deep(x, 5)


def test_imagenet_halves_twice():
    x = keras.Input((224, 224, 3))
    model = keras.Model(x, stem.imagenet(x, 64, name="s"))
    assert model.get_layer("s_conv").kernel.shape == (7, 7, 3, 64)
    assert model.get_layer("s_conv").output.shape == (None, 112, 112, 64)
    assert model.output_shape == (None, 56, 56, 64)
    model = keras.Model(x, stem.imagenet(x, 24, kernel_size=3, name="s"))
    assert model.get_layer("s_conv").kernel.shape == (3, 3, 3, 24)


@pytest.mark.parametrize("size", [64, 65, 66, 67])
@pytest.mark.parametrize(("function", "factor"), [(stem.imagenet, 4), (stem.googlenet, 8)])
def test_symmetric_padding_gives_the_same_sizes(function, factor, size):
    y = function(keras.Input((size, size, 3)), 6, style=replace(RELU_BN, padding="symmetric"))
    assert y.shape[1:3] == (-(-size // factor),) * 2


def test_mnist_pads_two_pixels_of_zeros(numbers, evaluate):
    x = keras.Input((28, 28, 1))
    bare = replace(TANH, activation=linear)
    model = keras.Model(x, stem.mnist(x, 4, style=bare, name="s"))
    # The centre tap alone, so that the output is the padded image itself.
    kernel = np.zeros((3, 3, 1, 4), "float32")
    kernel[1, 1] = 1
    model.get_layer("s_conv").set_weights([kernel, np.zeros(4)])
    data = numbers(2, 28, 28, 1)
    expected = np.repeat(np.pad(data, [(0, 0), (2, 2), (2, 2), (0, 0)]), 4, -1)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-5, atol=1e-6)


def test_bare_is_the_convolution_alone():
    assert names(stem.bare) == ["stem_out"]


@pytest.mark.parametrize(("function", "step"), [(stem.imagenet, 4), (stem.preact, 4), (stem.googlenet, 8)])
@pytest.mark.parametrize("size", [1, 31, 32, 63, 65])
def test_large_steps_round_up(function, step, size):
    assert function(keras.Input((size, 64, 3)), 6).shape == (None, -(-size // step), 64 // step, 6)


def test_googlenet_wants_a_third():
    with pytest.raises(ValueError, match="`filters` must be divisible by `3`; got 64 and 3"):
        stem.googlenet(keras.Input((64, 64, 3)), 64)


@pytest.mark.parametrize("function", STEMS)
def test_a_stem_keeps_images_apart(function, numbers, evaluate, scramble):
    x = keras.Input((64, 64, 3))
    model = scramble(keras.Model(x, function(x, 6)))
    data = numbers(2, 64, 64, 3)
    together, alone = evaluate(model, data), evaluate(model, data[1:])
    np.testing.assert_allclose(together[1:], alone, rtol=1e-4, atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 1e-3


@pytest.mark.parametrize("size", [2, 3])
def test_whitening_is_a_frozen_convolution_and_a_bias(size, numbers, evaluate, scramble):
    x = keras.Input((6, 5, 3))
    model = scramble(keras.Model(x, stem.whitening(x, 8, size=size, name="stem")))
    assert [weight.path for weight in model.trainable_weights] == ["stem_bias_beta/kernel"]
    assert [weight.path for weight in model.non_trainable_weights] == ["stem_conv/kernel"]
    (kernel,), (bias,) = (model.get_layer(name).get_weights() for name in ("stem_conv", "stem_bias_beta"))
    data = numbers(2, 6, 5, 3)
    expected = np.maximum(conv(data, kernel, padding="valid") + bias[0], 0)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-5)


def test_a_saved_whitening_kernel_stays_frozen(tmp_path):
    x = keras.Input((6, 5, 3))
    keras.Model(x, stem.whitening(x, 8, name="stem")).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [weight.path for weight in loaded.trainable_weights] == ["stem_bias_beta/kernel"]
