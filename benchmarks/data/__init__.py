"""The images, uint8 and in memory: of tensorflow-datasets, of `keras.datasets`, of an `.npz` file, or generated digits.

`catalogue` has a row for each data set. Nothing here imports Keras or TensorFlow before data is loaded.
"""

from benchmarks.data import glyphs, tfds
from benchmarks.data.catalogue import NAMES, ROWS, Row, find
from benchmarks.data.dataset import Dataset
from benchmarks.data.keras_datasets import from_keras
from benchmarks.data.npz import from_npz
from benchmarks.data.tfds import from_tfds
from benchmarks.terminal.console import say
from benchmarks.terminal.errors import UsageError

__all__ = [
    "NAMES",
    "ROWS",
    "SOURCES",
    "Dataset",
    "Row",
    "find",
    "from_keras",
    "from_npz",
    "from_tfds",
    "generated",
    "load",
    "load_or_generate",
]

SOURCES = ("tfds", "keras", "npz:PATH", "generated")


def load(dataset: str, source: str | None = None, data_dir: str | None = None) -> Dataset:
    """Reads a data set.

    Args:
        dataset: a name in the catalogue; an `.npz` file ignores it, and generated digits take its shape alone.
        source: one of `SOURCES`; `None` for tensorflow-datasets, or `keras.datasets` where that is not installed.
        data_dir: the folder of tensorflow-datasets; `None` for `TFDS_DATA_DIR` or the library's own.

    Returns:
        The data.

    Raises:
        UsageError: the data can't be had or read; the text says what to do.
    """
    if source is None:
        source = "tfds" if data_dir or tfds.is_installed() else "keras"
    if source == "tfds":
        return from_tfds(dataset, data_dir)
    if source == "keras":
        return from_keras(dataset)
    if source == "generated":
        return generated(dataset)
    if source.startswith("npz:"):
        return from_npz(source.removeprefix("npz:"))
    raise UsageError(f"the source must be one of {', '.join(SOURCES)}; got {source!r}")


def load_or_generate(dataset: str, data_dir: str | None = None) -> Dataset:
    """As `load`; where the data can't be had, prints why and generates digits."""
    try:
        return load(dataset, None, data_dir)
    except UsageError as error:
        say(f"{error}\nGoing on with generated digits, which are not {dataset}.")
        return generated(dataset)


def generated(dataset: str) -> Dataset:
    """Digits drawn by `benchmarks.data.glyphs`, as many as `dataset` has images, of their shape."""
    row = find(dataset)
    x_train, y_train = glyphs.digits(row.train, row.shape, seed=0)
    x_test, y_test = glyphs.digits(row.test, row.shape, seed=1)
    name = "generated_" + "x".join(map(str, row.shape))
    return Dataset(name, "generated", x_train, y_train.astype("int32"), x_test, y_test.astype("int32"), 10)
