"""The contract of all tasks: the arrays kept on the device, how a batch is drawn from them, the loss and the score.

Everything from the row numbers of a batch to its loss is written in `keras.ops`, so that it runs inside the compiled
step of every engine. Random numbers are an argument; a task states how many uniform ones it needs for each example.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import Model, losses, ops

from benchmarks.data.dataset import Array

Tensor = Any
"""A tensor of any backend, or a NumPy array."""
Arrays = dict[str, Tensor]
"""Arrays by name: of NumPy in a task, on the device in an engine."""


class Task(ABC):
    """What every engine needs of a task.

    Attributes:
        train: the arrays that an engine keeps on its device.
        count: number of training examples.
        randoms: number of uniform random numbers for each example.
        metric: the score's name; empty if there is none.
        keras_loss: the same loss for `model.compile`, of one output.
    """

    train: Arrays
    count: int
    randoms: int
    metric: str
    keras_loss: losses.Loss | Callable[[Tensor, Tensor], Tensor]

    @abstractmethod
    def draw(self, train: Arrays, rows: Tensor, uniform: Tensor, *, ops: Any = ops) -> tuple[list[Tensor], Tensor]:
        """Raw inputs and targets of a batch.

        Args:
            train: the arrays, on the device.
            rows: `(examples,)`, integers.
            uniform: `(examples, randoms)`, float32 in [0, 1).
            ops: `keras.ops`, or a namespace with the same functions of another library.

        Returns:
            A list of inputs, as stored, and the targets.
        """

    @abstractmethod
    def prepare(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Raw inputs, normalised to float32: the inputs of the network."""

    @abstractmethod
    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """The mean loss of a batch."""

    @abstractmethod
    def score(self, model: Model, batch_size: int) -> float:
        """The score on the test set, from 0 to 1."""

    @abstractmethod
    def complete(self, model: Model) -> Model:
        """The model with `prepare` in front as stock layers: it takes raw inputs."""

    def examples(self, count: int, seed: int) -> tuple[list[Array], Array]:
        """The first `count` examples, prepared, as NumPy arrays for `model.fit`."""
        rng = np.random.default_rng(seed)
        rows = np.arange(self.count)[:count]
        uniform = rng.random((len(rows), self.randoms), dtype=np.float32)
        inputs, targets = self.draw(self.train, rows, uniform)
        return [ops.convert_to_numpy(x) for x in self.prepare(inputs)], ops.convert_to_numpy(targets)


def predict(model: Model, inputs: Sequence[Tensor]) -> list[Array]:
    """The outputs for one batch, as float32 NumPy arrays."""
    outputs = model.predict_on_batch(list(inputs) if len(inputs) > 1 else inputs[0])
    return [np.asarray(y, "float32") for y in (outputs if isinstance(outputs, list | tuple) else [outputs])]
