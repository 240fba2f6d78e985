"""The contract of all tasks: the arrays kept on the device, how a batch is drawn from them, the loss and the score.

Everything between a row number and a loss is written in `keras.ops`, so that it runs inside the compiled step of every
engine. Random numbers come in as an argument; a task says how many uniform ones it takes for each example.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import KerasTensor, Model, losses, ops

Arrays = dict[str, Any]
"""Arrays by name: NumPy's here, the device's in an engine."""


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


def predict(model: Model, inputs: Sequence[KerasTensor]) -> list[np.ndarray]:
    """The outputs of one batch, as float32 NumPy arrays."""
    outputs = model.predict_on_batch(list(inputs) if len(inputs) > 1 else inputs[0])
    return [np.asarray(y, "float32") for y in (outputs if isinstance(outputs, list | tuple) else [outputs])]
