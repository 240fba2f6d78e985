"""Data sets of tensorflow-datasets: prepared on disk, or downloaded and prepared."""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import catalogue, network
from benchmarks.data.catalogue import Row
from benchmarks.data.dataset import Dataset, Split, of_row
from benchmarks.terminal import quiet
from benchmarks.terminal.console import say
from benchmarks.terminal.errors import UsageError, first_line

VERSION = re.compile(r"\d+\.\d+\.\d+")


def is_installed() -> bool:
    """Whether the library and TensorFlow, which it reads with, are installed."""
    return all(find_spec(module) for module in ("tensorflow", "tensorflow_datasets"))


def from_tfds(dataset: str, data_dir: str | None = None) -> Dataset:
    """Reads a data set that tensorflow-datasets has prepared; prepares it first if need be.

    Args:
        dataset: a name in the catalogue.
        data_dir: the library's folder, or in it the data set's own or that of one of its versions; `None` for
            `TFDS_DATA_DIR` or the library's own.

    Returns:
        The data, of the newest version.

    Raises:
        UsageError: the library is missing, the data is not on disk and can't be downloaded, or is corrupt.
    """
    row = catalogue.find(dataset)
    tfds = _import(dataset)
    folder = os.path.expanduser(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    root, prepared = locate(dataset, Path(folder).absolute())
    # Reading from the folder itself never uses the network, as `tfds.load` does even for data on disk.
    builder = None if prepared else _prepare(tfds, row, root)
    try:
        builder = builder or tfds.builder_from_directory(prepared)
        return of_row(row, "tfds", *(_read(builder, row, split) for split in ("train", "test")))
    except Exception as error:  # TensorFlow's own errors, of many classes
        raise UsageError(
            f"{dataset} in {prepared or root / dataset} can't be read (delete the folder to download it again): "
            f"{first_line(error)}"
        ) from None


def locate(dataset: str, folder: Path) -> tuple[Path, Path | None]:
    """The library's folder, and in it the newest version of a data set that is prepared, if any.

    Args:
        dataset: a name in the catalogue.
        folder: the library's folder, or in it the data set's own or that of one of its versions.
    """
    if VERSION.fullmatch(folder.name) and folder.parent.name == dataset:
        return folder.parent.parent, folder if (folder / "dataset_info.json").is_file() else None
    if folder.name == dataset and not (folder / dataset).is_dir():
        folder = folder.parent
    versions = [
        info.parent
        for info in (folder / dataset).glob("*/dataset_info.json")
        if VERSION.fullmatch(info.parent.name)  # one that is still being prepared has another name
    ]
    newest = max(versions, key=lambda version: tuple(map(int, version.name.split("."))), default=None)
    return folder, newest


def _import(dataset: str) -> Any:
    try:
        with quiet.start_up():
            from benchmarks.backends.tensorflow import for_input

            tf = for_input()
            import tensorflow_datasets as tfds

            tf.config.list_logical_devices()
    except ImportError as error:
        raise UsageError(
            f"{dataset} needs tensorflow-datasets ({error}): pip install -e '.[bench]', or pass --data=keras or "
            "--data=generated"
        ) from None
    return tfds


def _read(builder: Any, row: Row, split: str) -> Split:
    images = np.empty((builder.info.splits[split].num_examples, *row.shape), np.uint8)
    labels = np.empty(len(images), np.int32)
    at = 0
    for x, y in builder.as_dataset(split=split, as_supervised=True).batch(1000).prefetch(2):
        images[at : at + len(y)] = x.numpy()
        labels[at : at + len(y)] = y.numpy()
        at += len(y)
    if at != len(images):
        raise ValueError(f"{at} of {len(images)} images of {split}")
    return images, labels


def _prepare(tfds: Any, row: Row, root: Path) -> Any:
    """Downloads and prepares a data set; fails at once where the download can't start."""
    remedy = "give its folder by --data_dir or TFDS_DATA_DIR, a file by --data=npz:PATH, or pass --data=generated"
    reason = network.unreachable(row.url)
    if reason:
        raise UsageError(f"{row.name} is not in {root} and can't be fetched ({reason}): {remedy}")
    say(f"Fetching {row.name} into {root} …")
    try:
        builder = tfds.builder(row.name, data_dir=str(root))
        builder.download_and_prepare()
    except Exception as error:  # of the network, the disk, a checksum: of many classes
        raise UsageError(f"{row.name} could not be fetched into {root} ({first_line(error)}): {remedy}") from None
    return builder
