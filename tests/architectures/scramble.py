"""Random images, and random weights through which a deep network still tells them apart."""

import keras
import numpy as np


def images(shape, count=2, seed=1):
    """Random images, each of another colour."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, *shape)) + 2 * rng.normal(size=(count, 1, 1, shape[-1]))).astype("float32")


def randomise(model, seed=0):
    """Random weights and random moving statistics, none of them at the value it begins with, whatever it computes."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "bias", "moving_mean"):
            weight.assign(rng.normal(0, 0.2, weight.shape))
        elif "kernel" in weight.name:
            # So that the signal neither fades nor grows with the depth, and the biases do not drown it.
            weight.assign(rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape))


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
