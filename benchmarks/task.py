"""What a network is trained to do: resident arrays, how a batch is drawn from them, the loss and the score.

Everything between a row number and a loss is written in `keras.ops`, so that it runs inside the compiled step of every
engine. Random numbers come in as an argument; a task says how many uniform ones it takes for each example.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import Input, KerasTensor, Model, activations, layers, losses, ops

from benchmarks.console import UsageError
from benchmarks.data import Dataset

Arrays = dict[str, Any]
"""Arrays by name: NumPy's here, the device's in an engine."""

AUXILIARY_WEIGHT = 0.3
"""Of the loss of each further output: Szegedy et al. 2014, arXiv 1409.4842, section 5."""


class Task(ABC):
    """What every engine needs of a task.

    Attributes:
        train: the arrays that an engine keeps on its device.
        count: number of training examples.
        randoms: uniform random numbers taken for each example.
        metric: the score's name, empty where there is none.
        keras_loss: the same loss for `model.compile`, of one output.
    """

    train: Arrays
    count: int
    randoms: int
    metric: str
    keras_loss: losses.Loss

    @abstractmethod
    def draw(self, train: Arrays, rows: Any, uniform: Any, *, ops: Any = ops) -> tuple[list[Any], Any]:
        """Raw inputs and targets of examples.

        Args:
            train: the device's arrays.
            rows: `(examples,)`, integers.
            uniform: `(examples, randoms)`, float32 from 0 to 1, 1 excluded.
            ops: `keras.ops`, or what takes its place outside of Keras's backend.

        Returns:
            A list of inputs, as stored, and the targets.
        """

    @abstractmethod
    def prepare(self, inputs: Sequence[Any]) -> list[Any]:
        """Raw inputs as the network takes them: float32, normalised."""

    @abstractmethod
    def loss(self, outputs: Sequence[Any], targets: Any) -> Any:
        """The mean loss of a batch."""

    @abstractmethod
    def score(self, model: Model, batch_size: int) -> float:
        """The test score, from 0 to 1."""

    @abstractmethod
    def complete(self, model: Model) -> Model:
        """The model with `prepare` in front as stock layers: it takes raw inputs."""

    def examples(self, count: int, seed: int) -> tuple[list[np.ndarray], Any]:
        """Examples as NumPy arrays that are ready for `model.fit`."""
        rng = np.random.default_rng(seed)
        rows = np.arange(self.count)[:count]
        uniform = rng.random((len(rows), self.randoms), dtype=np.float32)
        inputs, targets = self.draw(self.train, rows, uniform)
        return [ops.convert_to_numpy(x) for x in self.prepare(inputs)], ops.convert_to_numpy(targets)


class Classification(Task):
    """Images and their classes; flipped and cropped at random where `augment` says so."""

    metric = "accuracy"
    keras_loss = losses.SparseCategoricalCrossentropy(from_logits=True)

    def __init__(self, dataset: Dataset, *, augment: bool) -> None:
        self._dataset = dataset
        self._augment = augment
        self.statistics = channel_statistics(dataset.x_train)
        self.count = len(dataset.x_train)
        self.randoms = 3 if augment else 0
        images = dataset.x_train
        if augment:
            # Padded once, with the mean colour: the frame is then zero after the normalisation, as in He et al. 2015.
            images = frame(images, PAD, np.round(self.statistics[0] * 255).astype(np.uint8))
        self.train = {"images": images, "labels": dataset.y_train}

    def draw(self, train: Arrays, rows: Any, uniform: Any, *, ops: Any = ops) -> tuple[list[Any], Any]:
        """Images, uint8, and labels."""
        labels = ops.take(train["labels"], rows, axis=0)
        if not self._augment:
            return [ops.take(train["images"], rows, axis=0)], labels
        return [crop_and_flip(train["images"], rows, uniform, self._dataset.image_shape, ops=ops)], labels

    def prepare(self, inputs: Sequence[Any]) -> list[Any]:
        """`(x / 255 − mean) / std`, channel by channel."""
        return [normalise(x, *self.statistics) for x in inputs]

    def complete(self, model: Model) -> Model:
        """The model behind a normalisation: it takes images of 0 to 255."""
        return normalised(model, *self.statistics)

    def loss(self, outputs: Sequence[Any], targets: Any) -> Any:
        """Cross-entropy; of further outputs a part."""
        first, *further = [crossentropy(y, targets) for y in outputs]
        return first + AUXILIARY_WEIGHT * sum(further)

    def score(self, model: Model, batch_size: int) -> float:
        """The share of test images whose largest logit is that of their class."""
        right = 0
        for at in range(0, len(self._dataset.x_test), batch_size):
            batch = slice(at, at + batch_size)
            logits = predict(model, self.prepare([self._dataset.x_test[batch]]))[0]
            right += int(np.sum(np.argmax(logits, -1) == self._dataset.y_test[batch]))
        return right / len(self._dataset.x_test)


class Pairs(Task):
    """Two images and whether they show the same class; half of the pairs do."""

    metric = "pair_accuracy"
    randoms = 3
    keras_loss = losses.BinaryCrossentropy(from_logits=True)

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.statistics = channel_statistics(dataset.x_train)
        self.count = len(dataset.x_train)
        self.train = pair_arrays(dataset.x_train, dataset.y_train, dataset.classes)
        self._test = pair_arrays(dataset.x_test, dataset.y_test, dataset.classes)

    def draw(self, train: Arrays, rows: Any, uniform: Any, *, ops: Any = ops) -> tuple[list[Any], Any]:
        """Two images, uint8, and 1 where their labels agree.

        The first image is the row's. The first random number decides whether the second image is of the same class, the
        second number which other class it is of, the third which image of that class.
        """
        labels = ops.take(train["labels"], rows, axis=0)
        same = ops.cast(uniform[:, 0] < 0.5, "int32")
        others = self._dataset.classes - 1
        step = 1 + ops.minimum(ops.cast(uniform[:, 1] * others, "int32"), others - 1)
        partners = ops.mod(labels + (1 - same) * step, self._dataset.classes)
        sizes = ops.take(train["sizes"], partners, axis=0)
        # Both cast, as an array of NumPy's times a tensor of PyTorch's is an error.
        place = ops.cast(uniform[:, 2], "float32") * ops.cast(sizes, "float32")
        nth = ops.minimum(ops.cast(place, "int32"), sizes - 1)
        seconds = ops.take(train["members"], ops.take(train["starts"], partners, axis=0) + nth, axis=0)
        return [ops.take(train["images"], rows, axis=0), ops.take(train["images"], seconds, axis=0)], same

    def prepare(self, inputs: Sequence[Any]) -> list[Any]:
        """`(x / 255 − mean) / std`, channel by channel."""
        return [normalise(x, *self.statistics) for x in inputs]

    def complete(self, model: Model) -> Model:
        """The model behind a normalisation: it takes images of 0 to 255."""
        return normalised(model, *self.statistics)

    def loss(self, outputs: Sequence[Any], targets: Any) -> Any:
        """Binary cross-entropy of the logit."""
        return binary_crossentropy(outputs[0], targets)

    def score(self, model: Model, batch_size: int) -> float:
        """The share of test pairs, one for each test image, that are told right; the same pairs in every run."""
        count = len(self._dataset.x_test)
        uniform = np.random.default_rng(0).random((count, self.randoms), dtype=np.float32)
        right = 0
        for at in range(0, count, batch_size):
            rows = np.arange(at, min(at + batch_size, count), dtype=np.int32)
            inputs, same = self.draw(self._test, rows, uniform[rows])
            logits = predict(model, self.prepare(inputs))[0]
            right += int(np.sum((logits[:, 0] > 0) == (ops.convert_to_numpy(same) == 1)))
        return right / count


class Synthetic(Task):
    """Random numbers for whatever inputs and outputs a model has: for its speed, not for what it learns."""

    metric = ""
    randoms = 0

    def __init__(self, model: Model, *, batch_size: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shapes = [tuple(x.shape[1:]) for x in model.inputs]
        bytes_each = sum(int(np.prod(shape)) for shape in shapes)
        # Several batches where they are small; one, used again and again, where images are large.
        self.count = batch_size * max(1, min(100, RESIDENT_BYTES // (bytes_each * batch_size)))
        self._inputs = [f"x{i}" for i in range(len(shapes))]
        probabilities = (activations.softmax, activations.sigmoid)
        ends = [model.get_layer(name) for name in model.output_names]
        self._from_logits = [getattr(layer, "activation", None) not in probabilities for layer in ends]
        self.train = {
            name: rng.integers(0, 256, (self.count, *shape), dtype=np.uint8)
            for name, shape in zip(self._inputs, shapes, strict=True)
        }
        top = [max(2, y.shape[-1]) for y in model.outputs]
        self.keras_loss = (Classification if model.outputs[0].shape[-1] > 1 else Pairs).keras_loss
        self.train["y"] = np.stack([rng.integers(0, n, self.count, dtype=np.int32) for n in top], axis=1)

    def draw(self, train: Arrays, rows: Any, uniform: Any, *, ops: Any = ops) -> tuple[list[Any], Any]:
        """Inputs, uint8, and a column of labels for each output."""
        return [ops.take(train[name], rows, axis=0) for name in self._inputs], ops.take(train["y"], rows, axis=0)

    def prepare(self, inputs: Sequence[Any]) -> list[Any]:
        """`x / 127.5 − 1`."""
        return [ops.cast(x, "float32") / 127.5 - 1.0 for x in inputs]

    def complete(self, model: Model) -> Model:
        """The model itself: random numbers have no unit."""
        return model

    def loss(self, outputs: Sequence[Any], targets: Any) -> Any:
        """Cross-entropy, summed over the outputs."""
        return sum(
            (crossentropy if y.shape[-1] > 1 else binary_crossentropy)(y, targets[:, i], from_logits=from_logits)
            for i, (y, from_logits) in enumerate(zip(outputs, self._from_logits, strict=True))
        )

    def score(self, model: Model, batch_size: int) -> float:
        """There is none."""
        raise UsageError("synthetic data has no test set: nothing can be learned from it")


PAD = 4
RESIDENT_BYTES = 2**28


def for_model(model: Model, dataset: Dataset, *, augment: bool) -> Task:
    """The task that a model's inputs ask for: pairs for two images, classification for one.

    Raises:
        UsageError: the model takes something else than images of the data set's shape.
    """
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    if any(shape != dataset.image_shape for shape in shapes) or len(shapes) > 2:
        raise UsageError(
            f"{model.name} takes inputs of {' and '.join(map(str, shapes))}, not images of {dataset.image_shape}; "
            "--dataset=synthetic fits any network"
        )
    if len(shapes) == 1:
        return Classification(dataset, augment=augment)
    if augment:
        raise UsageError("--augment is for classification; pairs are drawn as they are")
    return Pairs(dataset)


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of uint8 images, from 0 to 1, float32."""
    values = np.arange(256) / 255
    histograms = [
        np.bincount(images[..., c].reshape(-1), minlength=256) / images[..., c].size for c in range(images.shape[-1])
    ]
    mean = np.array([h @ values for h in histograms])
    variance = np.array([h @ (values - m) ** 2 for h, m in zip(histograms, mean, strict=True)])
    # An image set of one colour has no spread to divide by.
    return mean.astype("float32"), np.sqrt(np.maximum(variance, 1e-6)).astype("float32")


def frame(images: np.ndarray, pad: int, colour: np.ndarray) -> np.ndarray:
    """Images with a frame of `pad` pixels of one colour."""
    n, height, width, channels = images.shape
    framed = np.empty((n, height + 2 * pad, width + 2 * pad, channels), np.uint8)
    framed[:] = colour
    framed[:, pad : pad + height, pad : pad + width] = images
    return framed


def crop_and_flip(framed: Any, rows: Any, uniform: Any, shape: tuple[int, int, int], *, ops: Any = ops) -> Any:
    """A random window of `shape` of each framed image, mirrored with probability one half: one gather for all of it.

    Args:
        framed: `(images, H, W, channels)`.
        rows: `(examples,)`, which images.
        uniform: `(examples, 3)`, from 0 to 1: row, column, mirror.
        shape: `(height, width, channels)` of the window.
        ops: `keras.ops`, or what takes its place.

    Returns:
        `(examples, height, width, channels)`.
    """
    _, full_height, full_width, channels = framed.shape
    height, width, _ = shape
    top = ops.cast(uniform[:, 0] * (full_height - height + 1), "int32")
    left = ops.cast(uniform[:, 1] * (full_width - width + 1), "int32")
    across = ops.arange(width, dtype="int32")[None]
    across = ops.where(uniform[:, 2:] < 0.5, across, width - 1 - across) + left[:, None]
    down = ops.arange(height, dtype="int32")[None] + top[:, None]
    line = ops.cast(rows, "int32")[:, None] * full_height + down
    return ops.take(ops.reshape(framed, (-1, channels)), line[:, :, None] * full_width + across[:, None, :], axis=0)


def normalise(x: Any, mean: np.ndarray, std: np.ndarray) -> Any:
    """`(x / 255 − mean) / std`, as one multiplication and one addition."""
    return ops.subtract(ops.multiply(ops.cast(x, "float32"), 1 / (255 * std)), mean / std)


def normalised(model: Model, mean: np.ndarray, std: np.ndarray) -> Model:
    """A model that takes images of 0 to 255 and normalises them first; the weights are shared with `model`."""
    inputs = [Input(x.shape[1:], name=x.name) for x in model.inputs]
    layer = layers.Normalization(mean=255 * mean, variance=(255 * std) ** 2, dtype="float32", name="normalise")
    prepared = [layer(x) for x in inputs]
    return Model(inputs, model(prepared if len(prepared) > 1 else prepared[0]), name=f"{model.name}_complete")


def crossentropy(y: Any, targets: Any, *, from_logits: bool = True) -> Any:
    """The mean cross-entropy of `(batch, classes)` outputs and `(batch,)` targets, in float32 under every policy."""
    return ops.mean(ops.sparse_categorical_crossentropy(targets, ops.cast(y, "float32"), from_logits=from_logits))


def binary_crossentropy(y: Any, targets: Any, *, from_logits: bool = True) -> Any:
    """The mean binary cross-entropy of `(batch, 1)` outputs and `(batch,)` targets, in float32 too."""
    targets = ops.cast(targets, "float32")[:, None]
    return ops.mean(ops.binary_crossentropy(targets, ops.cast(y, "float32"), from_logits=from_logits))


def pair_arrays(images: np.ndarray, labels: np.ndarray, classes: int) -> Arrays:
    """Images, labels, and for each class where its images stand in `members`, and how many."""
    sizes = np.bincount(labels, minlength=classes).astype("int32")
    if 0 in sizes:
        raise UsageError(f"pairs need an image of every class; got none of class {int(np.argmin(sizes))}")
    return {
        "images": images,
        "labels": labels,
        "members": np.argsort(labels, kind="stable").astype("int32"),
        "starts": (np.cumsum(sizes) - sizes).astype("int32"),
        "sizes": sizes,
    }


def predict(model: Model, inputs: Sequence[KerasTensor]) -> list[np.ndarray]:
    """The outputs of one batch, as float32 NumPy arrays."""
    outputs = model.predict_on_batch(list(inputs) if len(inputs) > 1 else inputs[0])
    return [np.asarray(y, "float32") for y in (outputs if isinstance(outputs, list | tuple) else [outputs])]
