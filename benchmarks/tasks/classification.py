"""Classification of single images, flipped and cropped at random where asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import Model, losses, ops

from benchmarks.data import Dataset
from benchmarks.tasks.base import Arrays, Task, predict
from benchmarks.tasks.crossentropy import crossentropy
from benchmarks.tasks.images import PAD, channel_statistics, crop_and_flip, frame, normalise, normalised

AUXILIARY_WEIGHT = 0.3
"""Of the loss of each further output: Szegedy et al. 2014, arXiv 1409.4842, section 5."""


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
