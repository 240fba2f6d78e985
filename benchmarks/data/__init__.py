"""The images: MNIST and CIFAR-10 by tensorflow-datasets, an `.npz` file, or generated digits; uint8, in memory."""

from benchmarks.data import glyphs
from benchmarks.data.dataset import SHAPES, SIZES, Dataset
from benchmarks.data.npz import from_npz
from benchmarks.data.tfds import from_tfds
from benchmarks.terminal.console import say
from benchmarks.terminal.errors import UsageError

__all__ = ["Dataset", "from_npz", "from_tfds", "generated", "load", "load_or_generate"]


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
    """Digits drawn by `benchmarks.data.glyphs`, as many and of the shape of `dataset`."""
    shape = SHAPES[dataset]
    train, test = SIZES[dataset]
    x_train, y_train = glyphs.digits(train, shape, seed=0)
    x_test, y_test = glyphs.digits(test, shape, seed=1)
    name = "generated_" + "x".join(map(str, shape))
    return Dataset(name, "generated", x_train, y_train.astype("int32"), x_test, y_test.astype("int32"), 10)
