"""Plain `model.fit` on NumPy arrays, as a tutorial has it: the reference, on any backend."""

import time

import keras

from benchmarks.console import UsageError
from benchmarks.engines import BLOCK_STEPS
from benchmarks.task import Task


class FitEngine:
    """Trains a model by `model.fit`, an epoch or a part of one at a time."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        task: Task,
        *,
        batch_size: int,
        seed: int,
        jit: str = "auto",
        block: int = BLOCK_STEPS,
    ) -> None:
        if len(model.outputs) > 1:
            raise UsageError(f"--input=fit trains networks of one output; {model.name} has {len(model.outputs)}")
        self._model, self._batch_size = model, batch_size
        self._inputs, self._targets = task.examples(task.count, seed)
        self._steps_per_epoch = task.count // batch_size
        self.block = min(block, self._steps_per_epoch)
        self._at = 0
        model.compile(optimizer, task.keras_loss, jit_compile={"auto": "auto", "on": True, "off": False}[jit])
        self.jit = bool(model.jit_compile)

    def warm_up(self) -> float:
        """Compiles all that a run needs, leaving model and optimiser as they were; returns the seconds."""
        self._model.optimizer.build(self._model.trainable_variables)
        variables = [*self._model.variables, *self._model.optimizer.variables]
        before = [keras.ops.convert_to_numpy(variable) for variable in variables]
        start = time.perf_counter()
        self._fit(0, 1)
        seconds = time.perf_counter() - start
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return seconds

    def run(self, steps: int) -> float:
        """Trains `steps` steps; returns their mean loss when the device is done."""
        total, left = 0.0, steps
        while left:
            count = min(left, self._steps_per_epoch - self._at)
            total += self._fit(self._at, count) * count
            self._at = (self._at + count) % self._steps_per_epoch
            left -= count
        return total / steps

    def sync(self) -> None:
        """Nothing to do: `fit` trains the model's own variables."""

    def _fit(self, at: int, count: int) -> float:
        part = slice(at * self._batch_size, (at + count) * self._batch_size)
        inputs = [x[part] for x in self._inputs]
        history = self._model.fit(
            inputs if len(inputs) > 1 else inputs[0], self._targets[part], batch_size=self._batch_size, verbose=0
        )
        return history.history["loss"][0]
