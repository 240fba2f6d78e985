"""The data sets that are known by name: a row each. A new data set is a new row."""

from dataclasses import dataclass

from benchmarks.terminal.errors import UsageError, closest


@dataclass(frozen=True, kw_only=True)
class Row:
    """A data set of labelled images.

    Attributes:
        name: in tensorflow-datasets, and in `keras.datasets` where that has it.
        shape: `(height, width, channels)` of an image.
        train: number of training images.
        test: number of test images.
        labels: the name of each class.
        url: a file that tensorflow-datasets downloads; asked for to see whether a download can start.
        keras_file: the last file that `keras.datasets` downloads, by its name in the cache; `None` where it lacks the
            data set.
        keras_url: the address of that file.
    """

    name: str
    shape: tuple[int, int, int]
    train: int
    test: int
    labels: tuple[str, ...]
    url: str
    keras_file: str | None = None
    keras_url: str = ""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)


_GREY, _COLOUR = (28, 28, 1), (32, 32, 3)
_DIGITS = tuple("0123456789")
_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
_CIFAR = "https://www.cs.toronto.edu/~kriz"

_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""

_ROWS = (
    Row(
        name="mnist",
        shape=_GREY,
        train=60_000,
        test=10_000,
        labels=_DIGITS,
        url="https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
        keras_file="mnist.npz",
        keras_url=f"{_KERAS}/mnist.npz",
    ),
    Row(
        name="fashion_mnist",
        shape=_GREY,
        train=60_000,
        test=10_000,
        labels=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
        keras_file="fashion-mnist/t10k-images-idx3-ubyte.gz",
        keras_url=f"{_KERAS}/t10k-images-idx3-ubyte.gz",
    ),
    Row(
        name="kmnist",
        shape=_GREY,
        train=60_000,
        test=10_000,
        labels=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        url="http://codh.rois.ac.jp/kmnist/dataset/kmnist/train-labels-idx1-ubyte.gz",
    ),
    Row(
        name="cifar10",
        shape=_COLOUR,
        train=50_000,
        test=10_000,
        labels=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        url=f"{_CIFAR}/cifar-10-binary.tar.gz",
        keras_file="cifar-10-batches-py-target_archive",
        keras_url=f"{_CIFAR}/cifar-10-python.tar.gz",
    ),
    Row(
        name="cifar100",
        shape=_COLOUR,
        train=50_000,
        test=10_000,
        labels=tuple(_CIFAR100.split()),
        url=f"{_CIFAR}/cifar-100-binary.tar.gz",
        keras_file="cifar-100-python-target_archive",
        keras_url=f"{_CIFAR}/cifar-100-python.tar.gz",
    ),
    Row(
        name="svhn_cropped",
        shape=_COLOUR,
        train=73_257,
        test=26_032,
        labels=_DIGITS,
        url="http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
    ),
)
ROWS = {row.name: row for row in _ROWS}
NAMES = tuple(ROWS)


def find(name: str) -> Row:
    """The row of a data set.

    Raises:
        UsageError: no row has this name; the text names the closest.
    """
    if name not in ROWS:
        raise UsageError(f"the data set must be one of {', '.join(NAMES)}; got {name!r}{closest(name, NAMES)}")
    return ROWS[name]
