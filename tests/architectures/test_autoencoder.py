"""Autoencoders: the code, sizes, and that one learns to copy."""

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from tests.support.models import predict


@pytest.mark.parametrize(("arch", "units"), [("autoencoder_mnist", 32), ("autoencoder_cifar", 256)])
def test_the_code_is_all_that_the_decoder_sees(arch, units):
    model = architectures.create(arch)
    assert model.output_shape == model.input_shape
    encoder = kb.graph.features(model, names="code")
    assert encoder.output_shape == (None, units)
    # Keras refuses a model whose outputs need other inputs.
    decoder = keras.Model(encoder.output, model.output)
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(predict(decoder, predict(encoder, x)), predict(model, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(28, 28), (17, 22)])
def test_sizes_that_are_not_divisible(size):
    model = architectures.create("autoencoder_cifar", input_shape=(*size, 1), classes=1)
    assert model.output_shape == (None, *size, 1)


def test_a_code_of_any_size():
    model = architectures.create("autoencoder_tiny", input_shape=(None, None, 3), units=0)
    assert "code" not in [layer.name for layer in model.layers]
    x = np.zeros((1, 8, 12, 3), "float32")
    assert predict(model, x).shape == (1, 8, 12, 3)
    with pytest.raises(ValueError, match="`x` must have known sizes for a code of units"):
        architectures.create("autoencoder_tiny", input_shape=(None, None, 3))


def test_it_learns_to_copy():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = np.zeros((64, 16, 16, 1), "float32")
    for image, (top, left) in zip(x, rng.integers(0, 12, (64, 2)), strict=True):
        image[top : top + 5, left : left + 5] = 1
    model = architectures.create("autoencoder_tiny", input_shape=(16, 16, 1), classes=1, widths=(8, 16), units=16)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.BinaryCrossentropy(from_logits=True))
    before, *_, after = model.fit(x, x, batch_size=16, epochs=20, verbose=0).history["loss"]
    assert after < 0.25 * before
