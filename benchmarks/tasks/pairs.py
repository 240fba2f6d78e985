"""Pairs of images: do both show the same class?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import Model, losses, ops

from benchmarks.data import Dataset
from benchmarks.tasks.base import Arrays, Task, predict
from benchmarks.tasks.crossentropy import binary_crossentropy
from benchmarks.tasks.images import channel_statistics, normalise, normalised
from benchmarks.terminal.errors import UsageError


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
