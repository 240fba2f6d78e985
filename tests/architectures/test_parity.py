"""Every row that keras.applications has too computes what that network computes, from the same weights.

The weights and the moving statistics are random: zeros and ones would hide a swapped branch.
"""

import inspect
from itertools import takewhile

import keras
import numpy as np
import pytest

import architectures
from tests.support.marks import daily
from tests.support.models import predict
from tests.support.weights import images, scramble


def constructor(arch):
    """The name of Keras's function."""
    make = architectures.variant(arch).keras
    return getattr(make, "func", make).__name__


ROWS = [arch for arch in architectures.names() if architectures.variant(arch).keras is not None]
# One row for each function of keras.applications, some of which make several by a width or a switch.
CONSTRUCTORS = list({constructor(arch): arch for arch in reversed(ROWS)}.values())[::-1]
# What is compared every day at further sizes and numbers of channels too.
QUICK = {"mobilenet", "efficientnet_b0"}
# And at a small size.
SMALL = QUICK | {"mobilenet_025", "mobilenet_v2_035", "mobilenet_v3_small", "resnet50"}
TOLERANCE = 1e-4


def maker(arch):
    """Keras's function and the arguments that it takes without being told."""
    if constructor(arch) == "NASNetMobile" and keras.backend.backend() == "torch":
        pytest.skip("keras.applications has no NASNetMobile on PyTorch")
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


def compare(ours, theirs, shape):
    """Asserts that two networks give the same for images that they tell apart."""
    x = images(shape)
    expected = predict(theirs, x)
    found = predict(ours, x)
    scale = np.abs(expected).max()
    assert np.isfinite(scale)
    assert expected.std(axis=0).max() > 0.01 * scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale)


def small(arch, channels=3):
    """The smallest square image that both sides take, or nearly so."""
    return (*((75, 75) if "inception" in arch or arch == "xception" else (64, 64)), channels)


@pytest.mark.parametrize("arch", daily(ROWS, SMALL))
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


def test_each_function_of_keras_has_a_row():
    apps = keras.applications
    functions = {name for name in dir(apps) if inspect.isfunction(getattr(apps, name))}
    assert {constructor(arch) for arch in ROWS} == functions
    assert len(CONSTRUCTORS) == len(functions) >= 40


@pytest.mark.parametrize("arch", daily(CONSTRUCTORS, QUICK))
def test_logits_at_the_default_size(arch):
    shape = architectures.variant(arch).input_shape
    theirs = maker(arch)(classifier_activation=None)
    assert theirs.input_shape[1:] in (shape, (None, None, 3))
    scramble(theirs, shape)
    ours = architectures.create(arch)
    architectures.port_from_keras(ours, theirs)
    compare(ours, theirs, shape)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("arch", daily(CONSTRUCTORS, QUICK))
def test_features_of_other_sizes_and_channels(arch, channels):
    # Sides that no stride divides, each another.
    shape = (107, 90, channels)
    theirs = maker(arch)(input_shape=shape, include_top=False)
    scramble(theirs, shape)
    ours = architectures.create(arch, input_shape=shape, classes=0)
    architectures.port_from_keras(ours, theirs)
    compare(ours, theirs, shape)
