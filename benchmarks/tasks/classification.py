"""Classification of single images, with random crops and flips if asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import Model, losses, ops

from benchmarks.data import Dataset
from benchmarks.tasks.base import Arrays, Tensor, predict
from benchmarks.tasks.crossentropy import crossentropy
from benchmarks.tasks.images import PAD, ImageTask, crop_and_flip, pad_with

AUXILIARY_WEIGHT = 0.3
"""The weight of each auxiliary classifier's loss: Szegedy et al. 2014, arXiv 1409.4842, section 5."""


class Classification(ImageTask):
    """Images and their labels.

    Args:
        dataset: the images.
        augment: whether training images are cropped and flipped at random.
        from_logits: whether the outputs are logits, and not probabilities.
    """

    metric = "accuracy"

    def __init__(self, dataset: Dataset, *, augment: bool, from_logits: bool = True) -> None:
        super().__init__(dataset)
        self._augment = augment
        self._from_logits = from_logits
        self.keras_loss = losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        self.randoms = 3 if augment else 0
        images = dataset.x_train
        if augment:
            # Padded once, with the mean colour: the padding is then zero after the normalisation, as in He et al. 2015.
            images = pad_with(images, PAD, np.round(self.statistics[0] * 255).astype(np.uint8))
        self.train = {"images": images, "labels": dataset.y_train}

    def draw(self, train: Arrays, rows: Tensor, uniform: Tensor, *, ops: Any = ops) -> tuple[list[Tensor], Tensor]:
        """Images, uint8, and labels."""
        labels = ops.take(train["labels"], rows, axis=0)
        if not self._augment:
            return [ops.take(train["images"], rows, axis=0)], labels
        return [crop_and_flip(train["images"], rows, uniform, self._dataset.image_shape, ops=ops)], labels

    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Cross-entropy; the losses of further outputs, auxiliary classifiers, are added with a weight."""
        first, *auxiliary = [crossentropy(y, targets, from_logits=self._from_logits) for y in outputs]
        return first + AUXILIARY_WEIGHT * sum(auxiliary)

    def score(self, model: Model, batch_size: int) -> float:
        """The share of test images whose largest output is that of their class."""
        correct = 0
        for start in range(0, len(self._dataset.x_test), batch_size):
            batch = slice(start, start + batch_size)
            outputs = predict(model, self.prepare([self._dataset.x_test[batch]]))[0]
            correct += int(np.sum(np.argmax(outputs, -1) == self._dataset.y_test[batch]))
        return correct / len(self._dataset.x_test)
