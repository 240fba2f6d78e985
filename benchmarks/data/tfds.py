"""Data sets of tensorflow-datasets."""

import http.client
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from benchmarks.data.dataset import SHAPES, Dataset
from benchmarks.terminal import quiet
from benchmarks.terminal.console import say
from benchmarks.terminal.errors import UsageError, first_line

ORIGINS = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
}

CONNECT_SECONDS = 10.0


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
            from benchmarks.backends.tensorflow import for_input

            tf = for_input()
            import tensorflow_datasets as tfds

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
            f"{dataset} in {where} can't be read (delete the folder to have it fetched anew): {first_line(error)}"
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
        raise UsageError(f"{dataset} could not be fetched into {root} ({first_line(error)}): {remedy}") from None
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
            answer[0] = first_line(getattr(error, "reason", None) or error)

    # A name look-up knows no time-out, so it runs where it can be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return answer[0]
