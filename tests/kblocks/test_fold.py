"""`kblocks.graph.fold`: the same outputs in inference, with fewer layers."""

import keras
import numpy as np
import pytest
from keras import layers

import architectures
from kblocks.graph import fold
from tests.support.models import predict
from tests.support.weights import images, randomise, scramble

NORM, DROP = layers.BatchNormalization, layers.Dropout


def kinds(model):
    return [type(layer).__name__ for layer in model.layers if not isinstance(layer, layers.InputLayer)]


def equal(model, *x, tolerance=1e-5):
    """Folds a model, and compares both."""
    before = [weight.copy() for weight in model.get_weights()]
    folded = fold(model)
    found, expected = (keras.tree.flatten(predict(each, *x)) for each in (folded, model))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    return folded


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "make"),
    [
        ((9, 4), lambda **o: layers.Conv1D(6, 3, **o)),
        ((9, 7, 4), lambda **o: layers.Conv2D(6, 3, strides=2, **o)),
        ((9, 7, 4), lambda **o: layers.Conv2D(6, 3, groups=2, padding="same", **o)),
        ((5, 4, 3, 2), lambda **o: layers.Conv3D(6, 2, **o)),
        ((9, 4), lambda **o: layers.DepthwiseConv1D(3, depth_multiplier=2, **o)),
        ((9, 7, 4), lambda **o: layers.DepthwiseConv2D(3, depth_multiplier=3, **o)),
        ((9, 4), lambda **o: layers.SeparableConv1D(6, 3, **o)),
        ((9, 7, 4), lambda **o: layers.SeparableConv2D(6, 3, depth_multiplier=2, **o)),
        ((9, 4), lambda **o: layers.Conv1DTranspose(6, 3, strides=2, **o)),
        ((9, 7, 4), lambda **o: layers.Conv2DTranspose(6, 3, padding="same", **o)),
        ((3, 3, 3, 4), lambda **o: layers.Conv3DTranspose(6, 2, **o)),
        ((8,), lambda **o: layers.Dense(5, **o)),
        ((3, 8), lambda **o: layers.Dense(5, **o)),
    ],
)
@pytest.mark.parametrize("norm", [{}, {"scale": False}, {"center": False}, {"epsilon": 0.1}], ids=str)
def test_each_product_takes_the_normalisation_in(shape, make, use_bias, norm):
    x = keras.Input(shape)
    model = randomise(keras.Model(x, NORM(**norm)(make(use_bias=use_bias)(x))), seed=1)
    data = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    assert len(kinds(equal(model, data))) == 1


@pytest.mark.parametrize(
    "layer",
    [
        DROP(0.5),
        layers.SpatialDropout2D(0.5),
        layers.GaussianNoise(1.0),
        layers.Identity(),
        layers.Activation("linear"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_only_training_needs_is_left_out(layer):
    x = keras.Input((4, 4, 2))
    model = keras.Model(x, layers.ReLU()(layer(layers.Conv2D(2, 1)(x))))
    assert kinds(equal(model, images((4, 4, 2)))) == ["Conv2D", "ReLU"]


def shared_conv(x):
    conv = layers.Conv2D(2, 1)
    return layers.Add()([NORM()(conv(x)), NORM()(conv(layers.ReLU()(x)))])


def shared_norm(x):
    norm = NORM()
    return layers.Add()([norm(layers.Conv2D(2, 1)(x)), norm(layers.Conv2D(2, 1)(x))])


def read_twice(x):
    y = layers.Conv2D(2, 1)(x)
    return layers.Add()([NORM()(y), y])


STAYS = {
    "an activation between": lambda x: NORM()(layers.ReLU()(layers.Conv2D(2, 1)(x))),
    "an activation of the convolution's": lambda x: NORM()(layers.Conv2D(2, 1, activation="relu")(x)),
    "a shared convolution": shared_conv,
    "a shared normalisation": shared_norm,
    "a convolution that others read": read_twice,
    "before the convolution": lambda x: layers.Conv2D(2, 1)(NORM()(x)),
    "along another axis": lambda x: NORM(axis=1)(layers.Conv2D(2, 1)(x)),
    "after a sum": lambda x: NORM()(layers.Add()([x, layers.ReLU()(x)])),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_can_not_be_folded_stays(case):
    x = keras.Input((4, 4, 2))
    model = randomise(keras.Model(x, STAYS[case](x)))
    assert kinds(equal(model, images((4, 4, 2)))).count("BatchNormalization") == kinds(model).count(
        "BatchNormalization"
    )


def test_an_output_before_the_normalisation_stays():
    x = keras.Input((4, 4, 2))
    y = layers.Conv2D(2, 1)(x)
    model = randomise(keras.Model(x, [y, NORM()(y)]))
    assert kinds(equal(model, images((4, 4, 2)))) == ["Conv2D", "BatchNormalization"]


def test_within_nested_models():
    inner = keras.Input((8, 8, 2))
    tower = randomise(keras.Model(inner, DROP(0.5)(NORM()(layers.Conv2D(3, 3)(inner))), name="tower"))
    x = keras.Input((8, 8, 2))
    once = equal(keras.Model(x, layers.ReLU()(tower(x))), images((8, 8, 2)))
    assert kinds(once.get_layer("tower")) == ["Conv2D"]
    pair = [keras.Input((8, 8, 2)), keras.Input((8, 8, 2))]
    twice = equal(keras.Model(pair, layers.Subtract()([tower(t) for t in pair])), images((8, 8, 2)), images((8, 8, 2)))
    assert sum(isinstance(layer, keras.Model) for layer in twice.layers) == 1
    assert len(twice.weights) <= len(tower.weights)


def test_sequential():
    model = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(3, 3), NORM(), layers.ReLU(), layers.Flatten()])
    assert kinds(equal(randomise(model), images((4, 4, 2)))) == ["Conv2D", "ReLU", "Flatten"]


# In post-activation order no normalisation is left; in pre-activation order those of the units' beginnings are.
@pytest.mark.parametrize(
    ("arch", "left"),
    [
        ("resnet_tiny", 0),
        ("mobilenet_v2_tiny", 0),
        ("efficientnet_tiny", 0),
        ("inception_tiny", 0),
        ("densenet_tiny", None),
    ],
)
def test_architectures(arch, left):
    model = architectures.create(arch)
    scramble(model, model.input_shape[1:])
    folded = equal(model, images(model.input_shape[1:]))
    count = kinds(folded).count("BatchNormalization")
    assert count < kinds(model).count("BatchNormalization")
    assert left is None or count == left


@pytest.mark.parametrize("make", [keras.applications.ResNet50, keras.applications.MobileNetV3Small])
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has float64 only with jax_enable_x64")
def test_networks_of_keras(make):
    # In float32 a deep network's own rounding hides whether the fold is exact.
    keras.config.set_dtype_policy("float64")
    model = make(weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None)
    scramble(model, (64, 64, 3))
    folded = equal(model, images((64, 64, 3)).astype("float64"))
    assert kinds(folded).count("BatchNormalization") == 0
    assert len(folded.layers) < 0.8 * len(model.layers)


def test_it_is_saved_and_loaded(tmp_path):
    model = architectures.create("resnet_tiny")
    scramble(model, model.input_shape[1:])
    folded = fold(model)
    folded.save(tmp_path / "folded.keras")
    x = images(model.input_shape[1:])
    np.testing.assert_array_equal(predict(keras.saving.load_model(tmp_path / "folded.keras"), x), predict(folded, x))


def test_what_has_no_graph():
    with pytest.raises(TypeError, match=r"`model` must be a functional or Sequential keras.Model; got 3"):
        fold(3)
