"""Pairs of images: do both show the same class?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import Model, losses, ops

from benchmarks.data import Dataset
from benchmarks.data.dataset import Array
from benchmarks.tasks.base import Arrays, Tensor, predict
from benchmarks.tasks.crossentropy import binary_crossentropy
from benchmarks.tasks.images import ImageTask
from benchmarks.terminal.errors import UsageError


class Pairs(ImageTask):
    """Two images and whether they show the same class; half of the pairs do.

    Args:
        dataset: the images.
        from_logits: whether the output is a logit, and not a probability.
    """

    metric = "pair_accuracy"
    randoms = 3

    def __init__(self, dataset: Dataset, *, from_logits: bool = True) -> None:
        super().__init__(dataset)
        self._from_logits = from_logits
        self.keras_loss = losses.BinaryCrossentropy(from_logits=from_logits)
        self.train = pair_arrays(dataset.x_train, dataset.y_train, dataset.classes)
        self._test = pair_arrays(dataset.x_test, dataset.y_test, dataset.classes)

    def draw(self, train: Arrays, rows: Tensor, uniform: Tensor, *, ops: Any = ops) -> tuple[list[Tensor], Tensor]:
        """Two images, uint8, and 1 where their labels are equal.

        The first image is the row's. The first random number decides whether the second image is of the same class, the
        second number which other class it is of, the third which image of that class.
        """
        labels = ops.take(train["labels"], rows, axis=0)
        same = ops.cast(uniform[:, 0] < 0.5, "int32")
        partners = ops.mod(labels + (1 - same) * step(uniform[:, 1], self._dataset.classes, ops), self._dataset.classes)
        nth = below(uniform[:, 2], ops.take(train["sizes"], partners, axis=0), ops)
        seconds = ops.take(train["members"], ops.take(train["starts"], partners, axis=0) + nth, axis=0)
        return [ops.take(train["images"], rows, axis=0), ops.take(train["images"], seconds, axis=0)], same

    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Binary cross-entropy."""
        return binary_crossentropy(outputs[0], targets, from_logits=self._from_logits)

    def score(self, model: Model, batch_size: int) -> float:
        """The share of test pairs, one for each test image, classified correctly; the same pairs in every run."""
        count = len(self._dataset.x_test)
        uniform = np.random.default_rng(0).random((count, self.randoms), dtype=np.float32)
        threshold = 0.0 if self._from_logits else 0.5
        correct = 0
        for start in range(0, count, batch_size):
            rows = np.arange(start, min(start + batch_size, count), dtype=np.int32)
            inputs, same = self.draw(self._test, rows, uniform[rows])
            outputs = predict(model, self.prepare(inputs))[0]
            correct += int(np.sum((outputs[:, 0] > threshold) == (ops.convert_to_numpy(same) == 1)))
        return correct / count


def step(uniform: Tensor, classes: int, ops: Any) -> Tensor:
    """How many classes further another one is: 1 to `classes − 1`, each as likely as any."""
    return 1 + ops.minimum(ops.cast(uniform * (classes - 1), "int32"), classes - 2)


def below(uniform: Tensor, sizes: Tensor, ops: Any) -> Tensor:
    """An integer from 0 to `sizes − 1` for each random number."""
    # Both cast, as a NumPy array times a PyTorch tensor is an error.
    place = ops.cast(uniform, "float32") * ops.cast(sizes, "float32")
    return ops.minimum(ops.cast(place, "int32"), sizes - 1)


def pair_arrays(images: Array, labels: Array, classes: int) -> Arrays:
    """Images and labels; the row numbers of the images sorted by class; where each class starts there, and its size."""
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
