"""A data set in memory."""

from dataclasses import dataclass

import numpy as np

SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
SIZES = {"mnist": (60_000, 10_000), "cifar10": (50_000, 10_000)}


@dataclass(frozen=True)
class Dataset:
    """Images and labels, in memory.

    Attributes:
        name: what outputs call it; only the real sets are called `mnist` and `cifar10`.
        source: `"tfds"`, `"npz:PATH"` or `"generated"`.
        x_train: `(images, height, width, channels)`, uint8.
        y_train: `(images,)`, int32.
        x_test: as `x_train`.
        y_test: as `y_train`.
        classes: labels are 0 to `classes − 1`.
    """

    name: str
    source: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return self.x_train.shape[1:]
