"""Images from an `.npz` file."""

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from benchmarks.data.dataset import Array, Dataset
from benchmarks.terminal.errors import UsageError, first_line

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def from_npz(path: str) -> Dataset:
    """Reads the arrays `x_train`, `y_train`, `x_test` and `y_test` of an `.npz` file.

    Args:
        path: `~` is the home folder. Images are uint8, `(images, height, width)` or `(images, height, width,
            channels)`; labels are integers, `(images,)` or `(images, 1)`, and every one from 0 to the largest is there.

    Returns:
        The data.

    Raises:
        UsageError: there is no such file, it is corrupt, or an array is missing or has a wrong type, shape or value.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise UsageError(f"there is no file {path}")
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path} is no .npz file, or only a part of one")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ARRAYS if name not in archive.files]
            if missing:
                raise UsageError(f"{path} must hold the arrays {', '.join(ARRAYS)}; missing: {', '.join(missing)}")
            arrays = {name: archive[name] for name in ARRAYS}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} can't be read as an .npz file: {first_line(error)}") from None
    for split in ("train", "test"):
        arrays[f"x_{split}"] = _images(path, f"x_{split}", arrays[f"x_{split}"])
        arrays[f"y_{split}"] = _labels(path, f"y_{split}", arrays[f"y_{split}"], len(arrays[f"x_{split}"]))
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        shapes = f"{arrays['x_train'].shape[1:]} and {arrays['x_test'].shape[1:]}"
        raise UsageError(f"{path}: x_train and x_test must hold images of one shape; got {shapes}")
    classes, found = int(arrays["y_train"].max()) + 1, len(np.unique(arrays["y_train"]))
    if found < classes:
        raise UsageError(f"{path}: y_train must hold every class from 0 to its largest; got {found:,} of {classes:,}")
    if arrays["y_test"].max() >= classes:
        raise UsageError(
            f"{path}: y_test must be below {classes}, the classes of y_train; got {arrays['y_test'].max()}"
        )
    return Dataset(Path(path).name, f"npz:{path}", **arrays, classes=max(classes, 2))


def _images(path: str, name: str, x: Array) -> Array:
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or 0 in x.shape:
        raise UsageError(
            f"{path}: {name} must be uint8, (images, height, width) or (images, height, width, channels); "
            f"got {x.dtype} of shape {x.shape}"
        )
    return x if x.ndim == 4 else x[..., np.newaxis]


def _labels(path: str, name: str, y: Array, count: int) -> Array:
    if y.dtype.kind not in "iu" or y.shape not in ((count,), (count, 1)):
        raise UsageError(f"{path}: {name} must be {count} whole numbers; got {y.dtype} of shape {y.shape}")
    if y.min() < 0:
        raise UsageError(f"{path}: {name} must not be negative; got {y.min()}")
    if y.max() >= 2**31:
        raise UsageError(f"{path}: {name} must be below 2^31; got {y.max()}")
    return y.reshape(count).astype("int32")
