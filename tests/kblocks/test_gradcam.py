"""`kblocks.graph.gradcam`, against closed forms."""

import keras
import numpy as np
import pytest
from keras import layers

import architectures
from kblocks.graph import gradcam
from tests.support.models import predict
from tests.support.weights import images, randomise


def pooled(dropout=0.0):
    """Features, their mean, a dense layer: the weights of a class are the gradient of its score by the mean."""
    x = keras.Input((8, 8, 3), name="image")
    y = layers.ReLU(name="features")(layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2, name="conv")(x)))
    z = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(y))
    return randomise(keras.Model(x, layers.Dense(5, name="logits")(z)))


X = images((8, 8, 3), count=3)


def cam(model, classes):
    """Class activation maps, Zhou et al. 2016, which Grad-CAM generalises."""
    maps = predict(keras.Model(model.input, model.get_layer("features").output), X)
    kernel = model.get_layer("logits").get_weights()[0]
    heat = np.maximum(np.einsum("bhwk,kb->bhw", maps, kernel[:, classes]), 0)
    most = heat.max(axis=(1, 2), keepdims=True)
    return np.where(most > 0, heat / np.where(most > 0, most, 1), 0)


@pytest.mark.parametrize("dropout", [0.0, 0.9])
@pytest.mark.parametrize("classes", [None, 2, [4, 0, 1]])
def test_behind_a_mean_it_is_the_class_activation_map(classes, dropout):
    model = pooled(dropout)
    before = model.get_weights()
    chosen = predict(model, X).argmax(axis=1) if classes is None else np.broadcast_to(classes, (3,))
    np.testing.assert_allclose(gradcam(model, X, classes), cam(model, chosen), rtol=1e-3, atol=1e-4)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_by_name_and_by_stride():
    model = pooled()
    for at in ("features", 2):
        np.testing.assert_allclose(gradcam(model, X, 1, at=at), gradcam(model, X, 1), rtol=1e-5, atol=1e-6)


def test_a_nested_network_with_another_input():
    inner = pooled()
    base = keras.Model(inner.input, inner.get_layer("features").output, name="base")
    x, facts = keras.Input((8, 8, 3), name="x"), keras.Input((2,), name="facts")
    y = layers.GlobalAveragePooling2D()(base(x, training=False))
    model = keras.Model({"x": x, "facts": facts}, layers.Dense(5)(layers.Concatenate()([y, facts])))
    model.layers[-1].set_weights(
        [np.concatenate([inner.get_layer("logits").get_weights()[0], np.ones((2, 5))]), np.ones(5)]
    )
    given = {"x": X, "facts": np.ones((3, 2), "float32")}
    np.testing.assert_allclose(gradcam(model, given, 3), cam(inner, np.array([3, 3, 3])), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("arch", ["resnet_tiny", "googlenet_tiny", "mobilenet_v3_tiny", "convnext_toy"])
def test_architectures(arch):
    model = architectures.create(arch, input_shape=(32, 32, 3))
    heat = gradcam(randomise(model), images((32, 32, 3)))
    assert heat.shape[0] == 2
    assert heat.min() >= 0
    assert heat.max() <= 1


def test_what_has_no_scores_or_features():
    with pytest.raises(ValueError, match="`model` must return one vector of scores for each image"):
        gradcam(architectures.create("resnet_tiny", classes=0), X)
    x = keras.Input((8,))
    with pytest.raises(ValueError, match="`model` must compute an image from its input"):
        gradcam(keras.Model(x, layers.Dense(3)(x)), np.ones((1, 8), "float32"))


@pytest.mark.parametrize("classes", [5, -1, [1, 2], 1.5, "cat"])
def test_no_class(classes):
    with pytest.raises(ValueError, match="`classes` must be below 5, one for all or one for each of 3 images; got"):
        gradcam(pooled(), X, classes)
