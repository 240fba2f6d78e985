"""Every row that keras.applications has too computes what that network computes, from the same weights.

The weights and the moving statistics are random: zeros and ones would hide a swapped branch.
"""

import inspect
from itertools import takewhile

import keras
import numpy as np
import pytest

import architectures
from tests.architectures.daily import SLOW


def constructor(arch):
    """The name of Keras's function."""
    make = architectures.variant(arch).keras
    return getattr(make, "func", make).__name__


ROWS = [arch for arch in architectures.names() if architectures.variant(arch).keras is not None]
# One row for each function of keras.applications, some of which make several by a width or a switch.
CONSTRUCTORS = list({constructor(arch): arch for arch in reversed(ROWS)}.values())[::-1]
# What is compared every day at further sizes and numbers of channels too.
QUICK = {"mobilenet", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"}
TOLERANCE = 1e-4


def maker(arch):
    """Keras's function and the arguments that it takes without being told."""
    row = architectures.variant(arch)
    accepted = inspect.signature(getattr(row.keras, "func", row.keras)).parameters

    def make(**arguments):
        # Preprocessing is compared by itself: both networks take what it gives.
        if "include_preprocessing" in accepted:
            arguments["include_preprocessing"] = False
        return without_preparation(row.keras(weights=None, **arguments))

    return make


def without_preparation(model):
    """The network behind the layers that prepare its images, which some have whatever one says."""
    prepares = keras.layers.Rescaling | keras.layers.Normalization
    first = list(takewhile(lambda layer: isinstance(layer, prepares), model.layers[1:]))
    return keras.Model(first[-1].output, model.output, name=model.name) if first else model


def images(shape, count=2, seed=1):
    """Random images, each of another colour."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, *shape)) + 2 * rng.normal(size=(count, 1, 1, shape[-1]))).astype("float32")


def scramble(model, shape, seed=0):
    """Random weights and random moving statistics, none of them at the value it begins with."""
    rng = np.random.default_rng(seed)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    # Without a normalisation the signal must not fade behind the activations, nor drown in the biases.
    gain, shift = (1, 0.2) if norms else (np.sqrt(2), 0.02)
    for weight in model.weights:
        if weight.name == "gamma":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "bias"):
            weight.assign(rng.normal(0, shift, weight.shape))
        elif "kernel" in weight.name:
            weight.assign(rng.normal(0, gain / np.sqrt(np.prod(weight.shape[:-1])), weight.shape))
        elif weight.trainable:
            # Factors in a layer of their own, which begin so near zero that what they scale would not be seen.
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    # Statistics near those of some images, so that the signal neither fades nor grows with the depth, but not at them.
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(images(shape, count=8 if max(shape) < 128 else 2, seed=seed), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        deviation = np.sqrt(keras.ops.convert_to_numpy(norm.moving_variance)) + 1e-3
        norm.moving_mean.assign_add(deviation * rng.normal(0, 0.3, deviation.shape))
        norm.moving_variance.assign(deviation**2 * rng.uniform(0.7, 1.4, deviation.shape))


def compare(ours, theirs, shape):
    """Asserts that two networks give the same for images that they tell apart."""
    x = images(shape)
    expected = keras.ops.convert_to_numpy(theirs(x, training=False))
    found = keras.ops.convert_to_numpy(ours(x, training=False))
    scale = np.abs(expected).max()
    assert np.isfinite(scale)
    assert expected.std(axis=0).max() > 0.01 * scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale)


def small(arch, channels=3):
    """The smallest square image that both sides take, or nearly so."""
    return (*((75, 75) if "inception" in arch or arch == "xception" else (64, 64)), channels)


@pytest.mark.parametrize("arch", [pytest.param(x, marks=pytest.mark.slow) if x in SLOW else x for x in ROWS])
def test_logits_and_features(arch):
    make, shape = maker(arch), small(arch)
    theirs = make(input_shape=shape, classes=7, classifier_activation=None)
    scramble(theirs, shape)
    ours = architectures.create(arch, input_shape=shape, classes=7)
    architectures.port_from_keras(ours, theirs)
    compare(ours, theirs, shape)
    # The same network without its head, from the network with it.
    headless = make(input_shape=shape, include_top=False)
    scramble(headless, shape, seed=2)
    features = architectures.create(arch, input_shape=shape, classes=0)
    architectures.port_from_keras(features, headless)
    compare(features, headless, shape)


def rows(arches, daily):
    return [arch if arch in daily else pytest.param(arch, marks=pytest.mark.slow) for arch in arches]


def test_each_function_of_keras_has_a_row():
    apps = keras.applications
    functions = {name for name in dir(apps) if inspect.isfunction(getattr(apps, name))}
    assert {constructor(arch) for arch in ROWS} == functions
    assert len(CONSTRUCTORS) == len(functions) >= 40


@pytest.mark.parametrize("arch", rows(CONSTRUCTORS, QUICK))
def test_logits_at_the_default_size(arch):
    shape = architectures.variant(arch).input_shape
    theirs = maker(arch)(classifier_activation=None)
    assert theirs.input_shape[1:] in (shape, (None, None, 3))
    scramble(theirs, shape)
    ours = architectures.create(arch)
    architectures.port_from_keras(ours, theirs)
    compare(ours, theirs, shape)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("arch", rows(CONSTRUCTORS, QUICK))
def test_features_of_other_sizes_and_channels(arch, channels):
    # Sides that no stride divides, each another.
    shape = (107, 90, channels)
    theirs = maker(arch)(input_shape=shape, include_top=False)
    scramble(theirs, shape)
    ours = architectures.create(arch, input_shape=shape, classes=0)
    architectures.port_from_keras(ours, theirs)
    compare(ours, theirs, shape)
