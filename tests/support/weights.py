"""Random weights, none of them at its initial value, and random inputs that a deep network tells apart."""

import keras
import numpy as np


def images(shape, count=2, seed=1):
    """Random images, each of another colour."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, *shape)) + 2 * rng.normal(size=(count, 1, 1, shape[-1]))).astype("float32")


def normalisations(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def randomise(model, seed=0):
    """Sets random weights and moving statistics: kernels and shifts of both signs, positive scales. Returns the model.

    No γ of 1 and no β of 0 then hides a mistake. Kernels have a scale at which the signal neither fades nor grows with
    the depth. Shifts are small where nothing is normalised, so that they do not drown it.
    """
    rng = np.random.default_rng(seed)
    shift = 0.2 if normalisations(model) else 0.02
    for weight in model.weights:
        if not keras.backend.is_float_dtype(weight.dtype):
            continue
        if "kernel" in weight.name:
            value = rng.standard_normal(weight.shape, "float32") * np.float32(np.sqrt(2 / np.prod(weight.shape[:-1])))
        elif weight.name in ("beta", "bias", "moving_mean"):
            value = rng.normal(0, shift, weight.shape)
        else:
            value = rng.uniform(0.5, 1.5, weight.shape)
        weight.assign(value)
    return model


def scramble(model, shape, seed=0):
    """`randomise`, with moving statistics near those of random images of the shape, so that no depth is too great."""
    randomise(model, seed)
    rng = np.random.default_rng(seed)
    norms = normalisations(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(images(shape, count=8 if max(shape) < 128 else 2, seed=seed), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        deviation = np.sqrt(keras.ops.convert_to_numpy(norm.moving_variance)) + 1e-3
        norm.moving_mean.assign_add(deviation * rng.normal(0, 0.3, deviation.shape))
        norm.moving_variance.assign(deviation**2 * rng.uniform(0.7, 1.4, deviation.shape))
    return model
