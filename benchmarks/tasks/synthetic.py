"""Random numbers for any model, to time it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import Model, losses, ops

from benchmarks.tasks.base import Arrays, Task, Tensor
from benchmarks.tasks.crossentropy import binary_crossentropy, crossentropy, outputs_are_logits
from benchmarks.terminal.errors import UsageError

RESIDENT_BYTES = 2**28


class Synthetic(Task):
    """Random inputs and labels for the inputs and outputs of a model: to measure its speed, not what it learns.

    Args:
        model: its inputs are vectors, images or the like, of floats and of known sizes; its outputs are vectors, or
            images of one size.
        batch_size: the number of examples is a multiple of it.
        seed: of the numbers.

    Raises:
        UsageError: the model has other inputs or outputs.
    """

    metric = ""
    randoms = 0

    def __init__(self, model: Model, *, batch_size: int, seed: int) -> None:
        _check(model)
        rng = np.random.default_rng(seed)
        shapes = [tuple(x.shape[1:]) for x in model.inputs]
        example_bytes = sum(int(np.prod(shape)) for shape in shapes)
        # Several batches where they are small; one, used again and again, where images are large.
        self.count = batch_size * max(1, min(100, RESIDENT_BYTES // (example_bytes * batch_size)))
        self._inputs = [f"x{i}" for i in range(len(shapes))]
        self._from_logits = outputs_are_logits(model)
        self.train = {
            name: rng.integers(0, 256, (self.count, *shape), dtype=np.uint8)
            for name, shape in zip(self._inputs, shapes, strict=True)
        }
        positions = tuple(model.outputs[0].shape[1:-1])
        classes = [max(2, y.shape[-1]) for y in model.outputs]
        labels = [rng.integers(0, n, (self.count, *positions), dtype=np.int32) for n in classes]
        self.train["y"] = np.stack(labels, axis=-1)
        several = model.outputs[0].shape[-1] > 1
        kind = losses.SparseCategoricalCrossentropy if several else losses.BinaryCrossentropy
        self.keras_loss = kind(from_logits=self._from_logits[0])

    def draw(self, train: Arrays, rows: Tensor, uniform: Tensor, *, ops: Any = ops) -> tuple[list[Tensor], Tensor]:
        """Inputs, uint8, and labels, for each output one in the last axis."""
        return [ops.take(train[name], rows, axis=0) for name in self._inputs], ops.take(train["y"], rows, axis=0)

    def prepare(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """`x / 127.5 − 1`."""
        return [ops.cast(x, "float32") / 127.5 - 1.0 for x in inputs]

    def complete(self, model: Model) -> Model:
        """The model itself: random numbers have no scale of their own."""
        return model

    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Cross-entropy, summed over the outputs."""
        return sum(
            (crossentropy if y.shape[-1] > 1 else binary_crossentropy)(y, targets[..., i], from_logits=from_logits)
            for i, (y, from_logits) in enumerate(zip(outputs, self._from_logits, strict=True))
        )

    def score(self, model: Model, batch_size: int) -> float:
        """Raises a `UsageError`: there is no score."""
        raise UsageError("synthetic data has no test set: nothing can be learned from it")


def _check(model: Model) -> None:
    for x in model.inputs:
        if None in x.shape[1:]:
            raise UsageError(
                f"{model.name} takes inputs of shape {tuple(x.shape[1:])}; synthetic data needs every size: give it by "
                "--input_shape"
            )
        if "float" not in str(x.dtype):
            raise UsageError(f"{model.name} takes inputs of {x.dtype}; synthetic data is of floats")
    for y in model.outputs:
        if len(y.shape) not in (2, 4) or None in y.shape[1:]:
            raise UsageError(
                f"{model.name} has an output of shape {tuple(y.shape)}; synthetic data has labels for (batch, units) "
                "and for images of known size"
            )
    sizes = {tuple(y.shape[1:-1]) for y in model.outputs}
    if len(sizes) > 1:
        raise UsageError(f"{model.name} has outputs of several sizes; synthetic data has labels for one size")
