"""Heads: logits in float32, without a softmax."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers, ops

from kblocks import head
from kblocks.style import RELU, RELU_BN, SWISH_BN


def weights_of(model, name):
    return [ops.convert_to_numpy(weight) for weight in model.get_layer(name).weights]


@pytest.mark.parametrize(
    ("pooling", "reduce"),
    [
        ("avg", lambda x: x.mean((1, 2))),
        ("max", lambda x: x.max((1, 2))),
        ("flatten", lambda x: x.reshape(len(x), -1)),
    ],
)
def test_classifier_is_a_dense_layer_on_the_pooled_image(pooling, reduce, numbers, evaluate, scramble):
    x = keras.Input((5, 4, 3))
    model = scramble(keras.Model(x, head.classifier(x, 10, pooling=pooling, name="head")))
    kernel, bias = weights_of(model, "head_logits")
    data = numbers(2, 5, 4, 3)
    np.testing.assert_allclose(evaluate(model, data), reduce(data) @ kernel + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8,), ["head_logits"]),
        ((5, 8), ["head_pool", "head_logits"]),
        ((5, 5, 8), ["head_pool", "head_logits"]),
    ],
)
def test_classifier_at_every_rank(shape, expected):
    x = keras.Input(shape)
    model = keras.Model(x, head.classifier(x, 10, name="head"))
    assert [layer.name for layer in model.layers[1:]] == expected
    assert model.output_shape == (None, 10)


def test_classifier_drops_features_between_pool_and_logits(evaluate):
    keras.utils.set_random_seed(0)
    x = keras.Input((2, 2, 8))
    model = keras.Model(x, head.classifier(x, 1, dropout=0.5, name="head"))
    assert [layer.name for layer in model.layers[1:]] == ["head_pool", "head_dropout", "head_logits"]
    model.get_layer("head_logits").set_weights([np.ones((8, 1)), np.zeros(1)])
    ones = np.ones((100, 2, 2, 8), "float32")
    np.testing.assert_allclose(evaluate(model, ones), 8)
    dropped = evaluate(model, ones, training=True)
    assert set(np.unique(dropped)) <= set(range(0, 17, 2))
    assert len(np.unique(dropped)) > 3


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("function", [head.classifier, head.auxiliary])
def test_logits_are_float32_and_not_merely_cast(policy, function, evaluate):
    keras.config.set_dtype_policy(policy)
    x = keras.Input((8, 8, 4))
    model = keras.Model(x, function(x, 2, name="head"))
    layer = model.get_layer("head_logits")
    assert layer.compute_dtype == layer.variable_dtype == "float32"
    assert model.output.dtype == "float32"
    # 1 + 2⁻¹² is no number in half precision.
    layer.set_weights([np.zeros(layer.kernel.shape), np.full(2, 1 + 2**-12)])
    np.testing.assert_array_equal(evaluate(model, np.ones((1, 8, 8, 4), "float32")), np.float32(1 + 2**-12))


@pytest.mark.parametrize("function", [head.classifier, head.logits, head.auxiliary])
def test_there_is_no_softmax(function):
    x = keras.Input((8,) if function is head.logits else (8, 8, 4))
    model = keras.Model(x, function(x, 3))
    assert model.layers[-1].activation is keras.activations.linear
    assert not [layer for layer in model.layers if isinstance(layer, layers.Softmax)]


@pytest.mark.parametrize("function", [head.classifier, head.logits])
def test_the_regulariser_reaches_the_logits(function):
    x = keras.Input((8,))
    style = replace(RELU, regularizer={"class_name": "L2", "config": {"l2": 0.5}})
    model = keras.Model(x, function(x, 3, style=style))
    (kernel,) = (ops.convert_to_numpy(w) for w in model.weights if len(w.shape) == 2)
    assert [float(loss) for loss in model.losses] == pytest.approx([0.5 * (kernel**2).sum()])
    assert not keras.Model(x, function(x, 3)).losses


def test_auxiliary_is_that_of_the_paper():
    x = keras.Input((14, 14, 512))
    model = keras.Model(x, head.auxiliary(x, 1000, style=RELU, name="aux"))
    shapes = [(layer.name, layer.output.shape[1:]) for layer in model.layers[1:]]
    assert shapes == [
        ("aux_pool", (4, 4, 512)),
        ("aux_conv", (4, 4, 128)),
        ("aux_flatten", (2048,)),
        ("aux_dense", (1024,)),
        ("aux_dropout", (1024,)),
        ("aux_logits", (1000,)),
    ]
    assert model.get_layer("aux_dropout").rate == 0.7
    weights = 512 * 128 + 128 + 2048 * 1024 + 1024 + 1024 * 1000 + 1000
    assert model.count_params() == weights


def test_auxiliary_takes_the_mean_of_five_by_five_pixels(numbers, evaluate):
    x = keras.Input((8, 9, 4))
    model = keras.Model(x, head.auxiliary(x, 3, name="aux"))
    data = numbers(2, 8, 9, 4)
    pooled = evaluate(keras.Model(x, model.get_layer("aux_pool").output), data)
    expected = [[data[:, i : i + 5, j : j + 5].mean((1, 2)) for j in (0, 3)] for i in (0, 3)]
    np.testing.assert_allclose(pooled, np.moveaxis(np.array(expected), 2, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "left"), [(1, 1), (4, 1), (5, 1), (7, 1), (8, 2)])
def test_auxiliary_at_small_sizes(size, left):
    x = keras.Input((size, size, 4))
    model = keras.Model(x, head.auxiliary(x, 3, name="aux"))
    assert model.get_layer("aux_pool").output.shape == (None, left, left, 4)


def test_auxiliary_reads_its_style():
    x = keras.Input((8, 8, 4))
    style = replace(SWISH_BN, regularizer={"class_name": "L2", "config": {"l2": 1.0}})
    model = keras.Model(x, head.auxiliary(x, 3, style=style, name="aux"))
    assert len(model.losses) == 3
    assert model.get_layer("aux_dense").activation.__name__ == "silu"
    assert "aux_conv_norm" in [layer.name for layer in model.layers]


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((8, 8, 4), {"pooling": "mean"}, "`pooling` must be one of 'avg', 'max', 'flatten'; got 'mean'"),
        ((8, 8, 4), {"dropout": 1}, "`dropout` must be at least 0 and below 1; got 1"),
        ((None, 8, 4), {"pooling": "flatten"}, r"`x` must have known sizes to be flattened; got shape \(None, None"),
        ((2, 8, 8, 4), {}, r"`x` must have rank 2, 3 or 4 to be pooled; got shape \(None, 2, 8, 8, 4\)"),
    ],
)
def test_classifier_refuses(shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        head.classifier(keras.Input(shape), 10, **arguments)


@pytest.mark.parametrize("shape", [(8, 4), (8, 8, 4)])
def test_logits_want_a_vector(shape):
    with pytest.raises(ValueError, match=r"`x` must have rank 2 \(batch, features\); got rank"):
        head.logits(keras.Input(shape), 10)


def test_auxiliary_refuses_a_rate():
    with pytest.raises(ValueError, match=r"`dropout` must be at least 0 and below 1; got 1\.5"):
        head.auxiliary(keras.Input((8, 8, 4)), 10, dropout=1.5, style=RELU_BN)


@pytest.mark.parametrize(
    ("activation", "function"), [("relu", lambda x: np.maximum(x, 0)), (None, lambda x: x), ("tanh", np.tanh)]
)
def test_conv_classifier_is_the_mean_of_class_maps(activation, function, numbers, evaluate, scramble):
    x = keras.Input((5, 4, 3))
    model = scramble(keras.Model(x, head.conv_classifier(x, 7, activation=activation, dropout=0.9, name="head")))
    kernel, bias = weights_of(model, "head_logits_conv")
    data = numbers(2, 5, 4, 3)
    expected = function(data @ kernel[0, 0] + bias).mean((1, 2))
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-5)
    assert [layer.name for layer in model.layers[1:]] == ["head_dropout", "head_logits_conv", "head_logits"]


def test_logits_without_a_bias(numbers, evaluate):
    x = keras.Input((6,))
    model = keras.Model(x, head.logits(x, 3, use_bias=False, name="logits"))
    (kernel,) = weights_of(model, "logits")
    data = numbers(2, 6)
    np.testing.assert_allclose(evaluate(model, data), data @ kernel, rtol=1e-4, atol=1e-5)
