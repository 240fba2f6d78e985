"""Triples of images: is the anchor closer to another image of its class than to one of another class?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import Model, ops

import kblocks as kb
from benchmarks.data import Dataset
from benchmarks.data.dataset import Array
from benchmarks.tasks.base import Arrays, Tensor, predict
from benchmarks.tasks.images import ImageTask
from benchmarks.tasks.pairs import below, pair_arrays, step
from benchmarks.terminal.errors import UsageError

MARGIN = 0.2
"""Schroff, Kalenichenko and Philbin 2015, arXiv 1503.03832, section 5."""


class Triplets(ImageTask):
    """An anchor, another image of its class, the positive, and an image of another class, the negative.

    The network returns the embeddings of the three, `(batch, features)` each, or the distances of the positive and the
    negative from the anchor, `(batch, 2)`.

    Args:
        dataset: the images.
    """

    metric = "triplet_accuracy"
    randoms = 3

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.keras_loss = kb.loss.triplet(margin=MARGIN)
        self.train = triplet_arrays(dataset.x_train, dataset.y_train, dataset.classes)
        self._test = triplet_arrays(dataset.x_test, dataset.y_test, dataset.classes)

    def draw(self, train: Arrays, rows: Tensor, uniform: Tensor, *, ops: Any = ops) -> tuple[list[Tensor], Tensor]:
        """Three images, uint8, and zeros, as the loss needs no targets.

        The anchor is the row's image. The first random number decides which other image of its class is the positive,
        the second which class the negative is of, the third which image of that class.
        """
        labels = ops.take(train["labels"], rows, axis=0)
        sizes = ops.take(train["sizes"], labels, axis=0)
        further = 1 + below(uniform[:, 0], sizes - 1, ops)
        nth = ops.mod(ops.take(train["places"], rows, axis=0) + further, sizes)
        positives = ops.take(train["members"], ops.take(train["starts"], labels, axis=0) + nth, axis=0)
        others = ops.mod(labels + step(uniform[:, 1], self._dataset.classes, ops), self._dataset.classes)
        nth = below(uniform[:, 2], ops.take(train["sizes"], others, axis=0), ops)
        negatives = ops.take(train["members"], ops.take(train["starts"], others, axis=0) + nth, axis=0)
        return [ops.take(train["images"], each, axis=0) for each in (rows, positives, negatives)], 0 * labels

    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """The mean of `max(d(anchor, positive) − d(anchor, negative) + 0.2, 0)`."""
        return ops.mean(self.keras_loss(targets, distances(outputs)))

    def score(self, model: Model, batch_size: int) -> float:
        """The share of test triples, one for each test image, whose positive is closer; the same ones in every run."""
        count = len(self._dataset.x_test)
        uniform = np.random.default_rng(0).random((count, self.randoms), dtype=np.float32)
        correct = 0
        for start in range(0, count, batch_size):
            rows = np.arange(start, min(start + batch_size, count), dtype=np.int32)
            inputs, _ = self.draw(self._test, rows, uniform[rows])
            found = ops.convert_to_numpy(distances(predict(model, self.prepare(inputs))))
            correct += int(np.sum(found[:, 0] < found[:, 1]))
        return correct / count


def distances(outputs: Sequence[Tensor]) -> Tensor:
    """`(batch, 2)`: those of the positive and the negative from the anchor."""
    if len(outputs) == 1:
        return ops.cast(outputs[0], "float32")
    anchor, *others = [ops.cast(y, "float32") for y in outputs]
    # The slope of a square root is infinite at zero.
    squares = [ops.sum(ops.square(anchor - other), axis=-1) for other in others]
    return ops.sqrt(ops.stack(squares, axis=-1) + 1e-12)


def triplet_arrays(images: Array, labels: Array, classes: int) -> Arrays:
    """As `pair_arrays`, and the place of each image among those of its class."""
    if classes < 2:
        raise UsageError(f"triples need images of two classes; got {classes}")
    arrays = pair_arrays(images, labels, classes)
    if arrays["sizes"].min() < 2:
        raise UsageError(f"triples need two images of every class; got one of class {int(np.argmin(arrays['sizes']))}")
    places = np.empty(len(labels), "int32")
    places[arrays["members"]] = np.arange(len(labels)) - arrays["starts"][labels[arrays["members"]]]
    return {**arrays, "places": places}
