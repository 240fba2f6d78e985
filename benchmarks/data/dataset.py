"""A data set in memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data.catalogue import Row

Array = NDArray[Any]
Split = tuple[Array, Array]
"""Images and labels."""


@dataclass(frozen=True)
class Dataset:
    """Images and labels.

    Attributes:
        name: as records show it; only the real data sets have the name of a row of the catalogue.
        source: `"tfds"`, `"keras"`, `"npz:PATH"` or `"generated"`.
        x_train: `(images, height, width, channels)`, uint8.
        y_train: `(images,)`, int32.
        x_test: as `x_train`.
        y_test: as `y_train`.
        classes: number of classes; labels are 0 to `classes − 1`.
    """

    name: str
    source: str
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    classes: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels


def of_row(row: Row, source: str, train: Split, test: Split) -> Dataset:
    """The data set of a row of the catalogue.

    Args:
        row: of the catalogue.
        source: `"tfds"` or `"keras"`.
        train: `(images, height, width[, channels])` and `(images,)` or `(images, 1)`.
        test: as `train`.

    Returns:
        The data set.

    Raises:
        ValueError: images or labels do not fit the row.
    """
    return Dataset(row.name, source, *_checked(row, *train), *_checked(row, *test), classes=row.classes)


def _checked(row: Row, x: Array, y: Array) -> Split:
    if x.ndim == 3:
        x = x[..., np.newaxis]
    if x.dtype != np.uint8 or x.shape[1:] != row.shape or len(x) == 0:
        raise ValueError(f"images must be uint8, (images, {', '.join(map(str, row.shape))}); got {x.dtype} {x.shape}")
    if y.shape not in ((len(x),), (len(x), 1)):
        raise ValueError(f"labels must be one for each of {len(x)} images; got an array of shape {y.shape}")
    if y.min() < 0 or y.max() >= row.classes:
        raise ValueError(f"labels must be from 0 to {row.classes - 1}; got {y.min()} to {y.max()}")
    return np.ascontiguousarray(x), y.reshape(len(x)).astype("int32")
