"""ConvNeXt's blocks against NumPy, term by term of their equations."""

from dataclasses import replace
from math import erf, sqrt

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import compose, convnext, stem
from kblocks.style import GELU_LN, RELU_BN, tanh
from tests.support.numpy_layers import depthwise, layer_norm
from tests.support.weights import randomise


def weights(model, name):
    return model.get_layer(name).get_weights()


def gelu(x):
    return x * (1 + np.vectorize(erf)(x / sqrt(2))) / 2


def patches(x, kernel, bias):
    """A convolution of windows side by side is a dense layer on each of them."""
    size, (b, h, w, c) = kernel.shape[0], x.shape
    x = x[:, : h // size * size, : w // size * size]
    x = x.reshape(b, h // size, size, w // size, size, c)
    return np.einsum("bhiwjc,ijco->bhwo", x, kernel) + bias


def residual(model, x, name="b"):
    kernel, bias = weights(model, f"{name}_conv")
    y = layer_norm(depthwise(x, kernel) + bias, *weights(model, f"{name}_conv_norm"))
    kernel, bias = weights(model, f"{name}_dense1")
    y = gelu(y @ kernel + bias)
    kernel, bias = weights(model, f"{name}_dense2")
    return weights(model, f"{name}_scale_gamma")[0] * (y @ kernel + bias)


@pytest.mark.parametrize(("kernel_size", "expansion"), [(7, 4), (3, 2)])
def test_block(kernel_size, expansion, numbers, evaluate):
    x = keras.Input((9, 8, 5))
    block = convnext.block(x, 5, kernel_size=kernel_size, expansion=expansion, name="b")
    model = randomise(keras.Model(x, block))
    assert model.get_layer("b_conv").kernel_size == (kernel_size, kernel_size)
    assert model.get_layer("b_dense1").units == 5 * expansion
    data = numbers(2, 9, 8, 5)
    np.testing.assert_allclose(evaluate(model, data), data + residual(model, data), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("filters", "stride", "shape"), [(6, 2, (9, 8, 5)), (5, 2, (6, 7, 5)), (6, 1, (5, 4, 5))])
def test_block_downsamples_where_the_shape_changes(filters, stride, shape, numbers, evaluate):
    x = keras.Input(shape)
    model = randomise(keras.Model(x, convnext.block(x, filters, stride=stride, name="b")))
    data = numbers(2, *shape)
    small = patches(layer_norm(data, *weights(model, "b_downsample_norm")), *weights(model, "b_downsample"))
    assert small.shape == (2, shape[0] // stride, shape[1] // stride, filters)
    np.testing.assert_allclose(evaluate(model, data), small + residual(model, small), rtol=1e-4, atol=1e-4)


def response_norm(x, gamma, beta):
    norms = np.sqrt((x**2).sum((1, 2), keepdims=True))
    return x + gamma * x * norms / (norms.mean(-1, keepdims=True) + 1e-6) + beta


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_response_norm(scale, numbers, evaluate):
    x = keras.Input((5, 7, 6))
    model = keras.Model(x, convnext.response_norm(x, name="r"))
    data = scale * numbers(3, 5, 7, 6) * np.arange(1, 7, dtype="float32")
    np.testing.assert_array_equal(evaluate(model, data), data)
    gamma, beta = numbers(6, seed=1), scale * numbers(6, seed=2)
    model.get_layer("r_scale_gamma").set_weights([gamma.reshape(1, 6)])
    model.get_layer("r_beta").set_weights([beta.reshape(1, 6)])
    expected = response_norm(data, gamma, beta)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_response_norm_of_nothing(evaluate, gradients):
    x = keras.Input((4, 4, 3))
    model = randomise(keras.Model(x, convnext.response_norm(x, name="r")))
    data = np.zeros((2, 4, 4, 3), "float32")
    (beta,) = weights(model, "r_beta")
    np.testing.assert_array_equal(evaluate(model, data), np.broadcast_to(beta, data.shape))
    _, (by_input,) = gradients(model, data)
    assert np.isfinite(by_input).all()


def test_response_norm_of_large_values_in_half_precision(evaluate):
    keras.config.set_dtype_policy("mixed_float16")
    x = keras.Input((16, 16, 3))
    model = randomise(keras.Model(x, convnext.response_norm(x, name="r")))
    data = np.random.default_rng(0).normal(0, 100, (2, 16, 16, 3)).astype("float32")
    expected = response_norm(data, weights(model, "r_scale_gamma")[0].reshape(3), weights(model, "r_beta")[0][0])
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-2, atol=1)


def test_block_of_version_2(numbers, evaluate):
    x = keras.Input((9, 8, 5))
    model = randomise(keras.Model(x, convnext.block(x, 5, layer_scale=None, normalize_response=True, name="b")))
    data = numbers(2, 9, 8, 5)
    kernel, bias = weights(model, "b_conv")
    y = layer_norm(depthwise(data, kernel) + bias, *weights(model, "b_conv_norm"))
    kernel, bias = weights(model, "b_dense1")
    gamma, beta = (weights(model, f"b_response_{part}")[0].reshape(20) for part in ("scale_gamma", "beta"))
    y = response_norm(gelu(y @ kernel + bias), gamma, beta)
    kernel, bias = weights(model, "b_dense2")
    np.testing.assert_allclose(evaluate(model, data), data + y @ kernel + bias, rtol=1e-3, atol=1e-3)


def test_downsample(numbers, evaluate):
    x = keras.Input((7, 9, 4))
    model = randomise(keras.Model(x, convnext.downsample(x, 6, stride=3, name="d")))
    data = numbers(2, 7, 9, 4)
    expected = patches(layer_norm(data, *weights(model, "d_norm")), *weights(model, "d"))
    assert expected.shape == (2, 2, 3, 6)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [2, 4])
def test_patchify(size, numbers, evaluate):
    x = keras.Input((9, 8, 3))
    model = randomise(keras.Model(x, stem.patchify(x, 5, size=size, name="s")))
    data = numbers(2, 9, 8, 3)
    expected = layer_norm(patches(data, *weights(model, "s_conv")), *weights(model, "s_out"))
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_patchify_without_a_normalisation_is_one_layer(numbers, evaluate):
    x = keras.Input((8, 8, 3))
    model = randomise(keras.Model(x, stem.patchify(x, 5, style=replace(GELU_LN, norm=None), name="s")))
    assert [layer.name for layer in model.layers[1:]] == ["s_out"]
    data = numbers(2, 8, 8, 3)
    np.testing.assert_allclose(evaluate(model, data), patches(data, *weights(model, "s_out")), rtol=1e-4, atol=1e-4)


def test_a_new_block_is_next_to_the_identity(numbers, evaluate):
    x = keras.Input((8, 8, 4))
    data = numbers(2, 8, 8, 4)
    for initial, low, high in ((1e-6, 0, 1e-4), (0.5, 0.01, 10), (None, 0.01, 20)):
        model = keras.Model(x, convnext.block(x, 4, layer_scale=initial, name="b"))
        change = np.abs(evaluate(model, data) - data).max()
        assert low < change < high
        assert ("b_scale_gamma" in [layer.name for layer in model.layers]) == (initial is not None)


def test_drop_path_leaves_out_the_whole_residual(numbers, evaluate):
    keras.utils.set_random_seed(0)
    x = keras.Input((5, 5, 4))
    model = randomise(keras.Model(x, convnext.block(x, 4, drop_path=0.5, name="b")))
    data = numbers(64, 5, 5, 4)
    full = evaluate(model, data) - data
    share = evaluate(model, data, training=True) - data
    gone = (np.abs(share) < 1e-6).all((1, 2, 3))
    assert 10 < gone.sum() < 54
    np.testing.assert_allclose(share[~gone], 2 * full[~gone], rtol=1e-3, atol=1e-4)


def test_the_style_is_read_everywhere():
    style = replace(RELU_BN, activation=tanh, initializer="he_uniform", regularizer="l2")
    x = keras.Input((8, 8, 4))
    model = keras.Model(x, convnext.block(stem.patchify(x, 4, size=2, style=style), 8, stride=2, style=style, name="b"))
    kinds = [type(layer) for layer in model.layers]
    assert kinds.count(layers.BatchNormalization) == 3
    assert layers.LayerNormalization not in kinds
    assert [x.name for x in model.layers if getattr(x, "activation", None) is keras.activations.tanh] == ["b_dense1"]
    kernels = [x for x in model.layers if isinstance(x, layers.Conv2D | layers.Dense) and "gamma" not in x.name]
    depthwise = [x for x in model.layers if isinstance(x, layers.DepthwiseConv2D)]
    assert (len(kernels), len(depthwise)) == (4, 1)
    for found in [layer.kernel_initializer for layer in kernels] + [layer.depthwise_initializer for layer in depthwise]:
        assert isinstance(found, keras.initializers.HeUniform)
    for found in [layer.kernel_regularizer for layer in kernels] + [layer.depthwise_regularizer for layer in depthwise]:
        assert isinstance(found, keras.regularizers.L2)
    assert all(layer.use_bias for layer in kernels + depthwise)


def test_blocks_make_a_stage():
    x = keras.Input((8, 8, 4))
    model = keras.Model(x, compose.stage(x, convnext.block, 8, 3, stride=2, style=GELU_LN, name="stage1"))
    assert model.output_shape == (None, 4, 4, 8)
    assert [layer.name for layer in model.layers if layer.name.endswith("downsample")] == ["stage1_unit1_downsample"]


def test_what_is_too_small_is_refused():
    x = keras.Input((3, 1, 4))
    message = "`x` must be at least 2×2 for a window of 2×2 without padding; got 3×1"
    for call in (convnext.downsample, convnext.block):
        with pytest.raises(ValueError, match=message):
            call(x, 8, stride=2)
    with pytest.raises(ValueError, match="at least 4×4 for a window of 4×4 without padding; got 3×1"):
        stem.patchify(x, 8)
    with pytest.raises(ValueError, match="`expansion` must be a positive integer; got 0"):
        convnext.block(x, 4, expansion=0)
    with pytest.raises(ValueError, match=r"`drop_path` must be at least 0 and below 1; got 1\.0"):
        convnext.block(x, 4, drop_path=1.0)
