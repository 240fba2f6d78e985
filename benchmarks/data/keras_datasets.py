"""Data sets of `keras.datasets`: from its cache, or downloaded into it. They need no TensorFlow."""

import os
import tempfile
from pathlib import Path

from benchmarks.data import catalogue, network
from benchmarks.data.dataset import Dataset, of_row
from benchmarks.terminal.errors import UsageError, first_line


def from_keras(dataset: str) -> Dataset:
    """Reads a data set of `keras.datasets`.

    Args:
        dataset: a name in the catalogue.

    Returns:
        The data.

    Raises:
        UsageError: `keras.datasets` does not have the data set, or it is not in the cache and can't be downloaded, or
            it is corrupt.
    """
    row = catalogue.find(dataset)
    if row.keras_file is None:
        known = ", ".join(name for name, each in catalogue.ROWS.items() if each.keras_file)
        raise UsageError(
            f"keras.datasets has no {dataset}, only {known}; tensorflow-datasets has it: pip install -e '.[bench]', or "
            "give a file by --data=npz:PATH"
        )
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    # Keras falls back to the second where it can't write to the first.
    caches = [folder / "datasets" for folder in (home, Path(tempfile.gettempdir(), ".keras"))]
    if not any((cache / row.keras_file).exists() for cache in caches):
        reason = network.unreachable(row.keras_url)
        if reason:
            raise UsageError(
                f"{dataset} is not in {caches[0]} and can't be downloaded ({reason}): give the folder that has "
                "datasets/ by KERAS_HOME, a file by --data=npz:PATH, or pass --data=generated"
            )
    import keras

    try:
        train, test = getattr(keras.datasets, dataset).load_data()
        return of_row(row, "keras", train, test)
    except Exception as error:  # of the network, the disk, an archive, a pickle: of many classes
        raise UsageError(
            f"{dataset} in {caches[0]} can't be read (delete {row.keras_file} there to download it again): "
            f"{first_line(error)}"
        ) from None
