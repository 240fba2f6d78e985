"""Images as the tasks take them: normalised, padded, cropped and flipped at random."""

from typing import Any

import numpy as np
from keras import Input, Model, layers, ops

PAD = 4


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of uint8 images, from 0 to 1, float32."""
    values = np.arange(256) / 255
    histograms = [
        np.bincount(images[..., c].reshape(-1), minlength=256) / images[..., c].size for c in range(images.shape[-1])
    ]
    mean = np.array([h @ values for h in histograms])
    variance = np.array([h @ (values - m) ** 2 for h, m in zip(histograms, mean, strict=True)])
    # An image set of one colour has no spread to divide by.
    return mean.astype("float32"), np.sqrt(np.maximum(variance, 1e-6)).astype("float32")


def frame(images: np.ndarray, pad: int, colour: np.ndarray) -> np.ndarray:
    """Images with a frame of `pad` pixels of one colour."""
    n, height, width, channels = images.shape
    framed = np.empty((n, height + 2 * pad, width + 2 * pad, channels), np.uint8)
    framed[:] = colour
    framed[:, pad : pad + height, pad : pad + width] = images
    return framed


def crop_and_flip(framed: Any, rows: Any, uniform: Any, shape: tuple[int, int, int], *, ops: Any = ops) -> Any:
    """A random window of `shape` of each framed image, mirrored with probability one half: one gather for all of it.

    Args:
        framed: `(images, H, W, channels)`.
        rows: `(examples,)`, which images.
        uniform: `(examples, 3)`, from 0 to 1: row, column, mirror.
        shape: `(height, width, channels)` of the window.
        ops: `keras.ops`, or what takes its place.

    Returns:
        `(examples, height, width, channels)`.
    """
    _, full_height, full_width, channels = framed.shape
    height, width, _ = shape
    top = ops.cast(uniform[:, 0] * (full_height - height + 1), "int32")
    left = ops.cast(uniform[:, 1] * (full_width - width + 1), "int32")
    across = ops.arange(width, dtype="int32")[None]
    across = ops.where(uniform[:, 2:] < 0.5, across, width - 1 - across) + left[:, None]
    down = ops.arange(height, dtype="int32")[None] + top[:, None]
    line = ops.cast(rows, "int32")[:, None] * full_height + down
    return ops.take(ops.reshape(framed, (-1, channels)), line[:, :, None] * full_width + across[:, None, :], axis=0)


def normalise(x: Any, mean: np.ndarray, std: np.ndarray) -> Any:
    """`(x / 255 − mean) / std`, as one multiplication and one addition."""
    return ops.subtract(ops.multiply(ops.cast(x, "float32"), 1 / (255 * std)), mean / std)


def normalised(model: Model, mean: np.ndarray, std: np.ndarray) -> Model:
    """A model that takes images of 0 to 255 and normalises them first; the weights are shared with `model`."""
    inputs = [Input(x.shape[1:], name=x.name) for x in model.inputs]
    layer = layers.Normalization(mean=255 * mean, variance=(255 * std) ** 2, dtype="float32", name="normalise")
    prepared = [layer(x) for x in inputs]
    return Model(inputs, model(prepared if len(prepared) > 1 else prepared[0]), name=f"{model.name}_complete")
