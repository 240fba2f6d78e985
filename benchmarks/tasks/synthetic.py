"""Random numbers for any model, to time it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import Model, activations, ops

from benchmarks.tasks.base import Arrays, Task
from benchmarks.tasks.classification import Classification
from benchmarks.tasks.crossentropy import binary_crossentropy, crossentropy
from benchmarks.tasks.pairs import Pairs
from benchmarks.terminal.errors import UsageError

RESIDENT_BYTES = 2**28


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
