"""Tasks on images: normalisation, padding, random crops and flips."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import Input, Model, layers, ops

from benchmarks.data import Dataset
from benchmarks.data.dataset import Array
from benchmarks.tasks.base import Task, Tensor

PAD = 4


class ImageTask(Task):
    """A task on a data set of images, which are normalised channel by channel.

    Attributes:
        statistics: mean and standard deviation of each channel of the training images, from 0 to 1.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.statistics = channel_statistics(dataset.x_train)
        self.count = len(dataset.x_train)

    def prepare(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """`(x / 255 − mean) / std`, channel by channel."""
        return [normalise(x, *self.statistics) for x in inputs]

    def complete(self, model: Model) -> Model:
        """The model with the normalisation in front: it takes images of 0 to 255."""
        return normalised(model, *self.statistics)


def channel_statistics(images: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel of uint8 images, from 0 to 1, float32."""
    values = np.arange(256) / 255
    histograms = [
        np.bincount(images[..., c].reshape(-1), minlength=256) / images[..., c].size for c in range(images.shape[-1])
    ]
    mean = np.array([h @ values for h in histograms])
    variance = np.array([h @ (values - m) ** 2 for h, m in zip(histograms, mean, strict=True)])
    # The standard deviation of images of one colour is zero, and is divided by.
    return mean.astype("float32"), np.sqrt(np.maximum(variance, 1e-6)).astype("float32")


def pad_with(images: Array, pad: int, colour: Array) -> Array:
    """Images padded by `pad` pixels of one colour on each side."""
    n, height, width, channels = images.shape
    padded = np.empty((n, height + 2 * pad, width + 2 * pad, channels), np.uint8)
    padded[:] = colour
    padded[:, pad : pad + height, pad : pad + width] = images
    return padded


def crop_and_flip(
    padded: Tensor, rows: Tensor, uniform: Tensor, shape: tuple[int, int, int], *, ops: Any = ops
) -> Tensor:
    """A random crop of each padded image, flipped with probability one half: all of it is one gather.

    Args:
        padded: `(images, H, W, channels)`.
        rows: `(examples,)`, which images.
        uniform: `(examples, 3)`, in [0, 1): for row, column and flip.
        shape: `(height, width, channels)` of the crop.
        ops: see `Task.draw`.

    Returns:
        `(examples, height, width, channels)`.
    """
    _, full_height, full_width, channels = padded.shape
    height, width, _ = shape
    top = ops.cast(uniform[:, 0] * (full_height - height + 1), "int32")
    left = ops.cast(uniform[:, 1] * (full_width - width + 1), "int32")
    across = ops.arange(width, dtype="int32")[None]
    across = ops.where(uniform[:, 2:] < 0.5, across, width - 1 - across) + left[:, None]
    down = ops.arange(height, dtype="int32")[None] + top[:, None]
    line = ops.cast(rows, "int32")[:, None] * full_height + down
    return ops.take(ops.reshape(padded, (-1, channels)), line[:, :, None] * full_width + across[:, None, :], axis=0)


def normalise(x: Tensor, mean: Array, std: Array) -> Tensor:
    """`(x / 255 − mean) / std`, as one multiplication and one addition."""
    return ops.subtract(ops.multiply(ops.cast(x, "float32"), 1 / (255 * std)), mean / std)


def normalised(model: Model, mean: Array, std: Array) -> Model:
    """A model that takes images of 0 to 255 and normalises them first; it shares the weights of `model`."""
    inputs = [Input(x.shape[1:], name=x.name) for x in model.inputs]
    layer = layers.Normalization(mean=255 * mean, variance=(255 * std) ** 2, dtype="float32", name="normalise")
    prepared = [layer(x) for x in inputs]
    return Model(inputs, model(prepared if len(prepared) > 1 else prepared[0]), name=f"{model.name}_complete")
