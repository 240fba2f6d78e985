"""The images: MNIST and CIFAR-10 by tensorflow-datasets, an `.npz` file, or generated digits; uint8, in memory."""

import contextlib
import http.client
import os
import threading
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import glyphs, quiet
from benchmarks.console import UsageError, say

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
SIZES = {"mnist": (60_000, 10_000), "cifar10": (50_000, 10_000)}
ORIGINS = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
}
CONNECT_SECONDS = 10.0


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


def load(dataset: str, source: str, data_dir: str | None = None) -> Dataset:
    """Reads a data set.

    Args:
        dataset: `"mnist"` or `"cifar10"`; of the `.npz` and the generated digits it gives the shape alone.
        source: `"tfds"`, `"npz:PATH"` or `"generated"`.
        data_dir: the folder of tensorflow-datasets; `None` for `TFDS_DATA_DIR` or the library's own.

    Returns:
        The data.

    Raises:
        UsageError: the data can't be had or read; the text says what to do.
    """
    if source == "generated":
        return generated(dataset)
    if source.startswith("npz:"):
        return from_npz(source.removeprefix("npz:"))
    return from_tfds(dataset, data_dir)


def load_or_generate(dataset: str, data_dir: str | None = None) -> Dataset:
    """As `load` from tensorflow-datasets; where that can't be, says so in a line and generates digits."""
    try:
        return from_tfds(dataset, data_dir)
    except UsageError as error:
        say(f"{error}\nGoing on with generated digits, which are not {dataset}.")
        return generated(dataset)


def generated(dataset: str) -> Dataset:
    """Digits drawn by `benchmarks.glyphs`, as many and of the shape of `dataset`."""
    shape = SHAPES[dataset]
    train, test = SIZES[dataset]
    x_train, y_train = glyphs.digits(train, shape, seed=0)
    x_test, y_test = glyphs.digits(test, shape, seed=1)
    name = "generated_" + "x".join(map(str, shape))
    return Dataset(name, "generated", x_train, y_train.astype("int32"), x_test, y_test.astype("int32"), 10)


def from_npz(path: str) -> Dataset:
    """Reads the arrays `x_train`, `y_train`, `x_test` and `y_test` of an `.npz` file.

    Args:
        path: images are uint8, `(images, height, width)` or `(images, height, width, channels)`; labels are whole
            numbers from 0, none of them left out, `(images,)` or `(images, 1)`.

    Returns:
        The data.

    Raises:
        UsageError: there is no such file, it is corrupt, or an array is missing or misshapen.
    """
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
        raise UsageError(f"{path} can't be read as an .npz file: {_first_line(error)}") from None
    for split in ("train", "test"):
        arrays[f"x_{split}"] = _images(path, f"x_{split}", arrays[f"x_{split}"])
        arrays[f"y_{split}"] = _labels(path, f"y_{split}", arrays[f"y_{split}"], len(arrays[f"x_{split}"]))
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        shapes = f"{arrays['x_train'].shape[1:]} and {arrays['x_test'].shape[1:]}"
        raise UsageError(f"{path}: x_train and x_test must hold images of one shape; got {shapes}")
    classes, held = int(arrays["y_train"].max()) + 1, len(np.unique(arrays["y_train"]))
    if held < classes:
        raise UsageError(f"{path}: y_train must hold every class from 0 to its largest; got {held:,} of {classes:,}")
    if arrays["y_test"].max() >= classes:
        raise UsageError(
            f"{path}: y_test must be below {classes}, the classes of y_train; got {arrays['y_test'].max()}"
        )
    return Dataset(Path(path).name, f"npz:{path}", **arrays, classes=max(classes, 2))


def _images(path: str, name: str, x: np.ndarray) -> np.ndarray:
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or 0 in x.shape:
        raise UsageError(
            f"{path}: {name} must be uint8, (images, height, width) or (images, height, width, channels); "
            f"got {x.dtype} of shape {x.shape}"
        )
    return x if x.ndim == 4 else x[..., np.newaxis]


def _labels(path: str, name: str, y: np.ndarray, count: int) -> np.ndarray:
    if y.dtype.kind not in "iu" or y.shape not in ((count,), (count, 1)):
        raise UsageError(f"{path}: {name} must be {count} whole numbers; got {y.dtype} of shape {y.shape}")
    if y.min() < 0:
        raise UsageError(f"{path}: {name} must not be negative; got {y.min()}")
    if y.max() >= 2**31:
        raise UsageError(f"{path}: {name} must be below 2^31; got {y.max()}")
    return y.reshape(count).astype("int32")


def from_tfds(dataset: str, data_dir: str | None = None) -> Dataset:
    """Reads a data set that tensorflow-datasets has prepared, or has it prepared first.

    Args:
        dataset: `"mnist"` or `"cifar10"`.
        data_dir: the library's folder; `None` for `TFDS_DATA_DIR` or the library's own.

    Returns:
        The data.

    Raises:
        UsageError: the library is missing, the data is not on disk and can't be fetched, or is corrupt.
    """
    try:
        with quiet.start_up():
            import keras
            import tensorflow as tf
            import tensorflow_datasets as tfds

            if keras.backend.backend() != "tensorflow":
                # The images are only read by TensorFlow: it must not take the memory of a GPU that another computes on.
                with contextlib.suppress(RuntimeError):  # too late: its devices are in use already
                    tf.config.set_visible_devices([], "GPU")
            tf.config.list_logical_devices()
    except ImportError as error:
        raise UsageError(
            f"{dataset} needs tensorflow-datasets ({error}): pip install -e '.[bench]', or pass --data=generated"
        ) from None
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    # Reading from the folder itself never asks the network, which `tfds.load` does even for data on disk.
    versions = sorted((root / dataset).glob("*/dataset_info.json"))
    builder = None if versions else _prepare(tfds, dataset, root)
    try:
        builder = builder or tfds.builder_from_directory(versions[-1].parent)
        train, test = (_read(builder, split) for split in ("train", "test"))
    except Exception as error:  # TensorFlow's own errors, of many classes
        where = versions[-1].parent if versions else root / dataset
        raise UsageError(
            f"{dataset} in {where} can't be read (delete the folder to have it fetched anew): {_first_line(error)}"
        ) from None
    return Dataset(dataset, "tfds", *train, *test, classes=10)


def _read(builder, split: str) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((builder.info.splits[split].num_examples, *SHAPES[builder.name]), np.uint8)
    labels = np.empty(len(images), np.int32)
    at = 0
    for x, y in builder.as_dataset(split=split, as_supervised=True).batch(1000).prefetch(2):
        images[at : at + len(y)] = x.numpy()
        labels[at : at + len(y)] = y.numpy()
        at += len(y)
    if at != len(images):
        raise ValueError(f"{at} of {len(images)} images of {split}")
    return images, labels


def _prepare(tfds, dataset: str, root: Path):
    """Fetches and prepares a data set, given up at once where the fetch can't start."""
    remedy = "give its folder by --data_dir or TFDS_DATA_DIR, a file by --data=npz:PATH, or pass --data=generated"
    reason = _unreachable(ORIGINS[dataset])
    if reason:
        raise UsageError(f"{dataset} is not in {root} and can't be fetched ({reason}): {remedy}")
    say(f"Fetching {dataset} into {root} …")
    try:
        builder = tfds.builder(dataset, data_dir=str(root))
        builder.download_and_prepare()
    except Exception as error:  # of the network, the disk, a checksum: of many classes
        raise UsageError(f"{dataset} could not be fetched into {root} ({_first_line(error)}): {remedy}") from None
    return builder


def _unreachable(url: str) -> str:
    """Why `url` can't be fetched, or an empty string; decided within `CONNECT_SECONDS`."""
    answer = [f"no answer within {CONNECT_SECONDS:.0f} s"]

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=CONNECT_SECONDS):
                answer[0] = ""
        except urllib.error.HTTPError as error:
            answer[0] = f"{url} answered {error.code}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            answer[0] = _first_line(getattr(error, "reason", None) or error)

    # A name look-up knows no time-out, so it runs where it can be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return answer[0]


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
