"""Plain `model.fit` on NumPy arrays as a reference, on any backend; `model.evaluate` for inference."""

import keras

from benchmarks.engines.base import Engine, Plan
from benchmarks.tasks import Task
from benchmarks.terminal.errors import UsageError


class FitEngine(Engine):
    """Runs a model by `model.fit` or `model.evaluate`, an epoch or a part of one at a time.

    Each call of `fit` sets itself up again, which a user pays once per epoch: a few long blocks are a fair measurement.
    """

    inputs = ("fit",)
    augments = False
    whole_epochs = True
    timed_blocks = 5
    block_seconds = 2.0

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, task: Task, plan: Plan) -> None:
        if len(model.outputs) > 1:
            raise UsageError(f"--input=fit runs networks of one output; {model.name} has {len(model.outputs)}")
        super().__init__(model, optimizer, task, plan)
        self._inputs, self._targets = task.examples(task.count, plan.seed)
        self._at = 0
        self.block = self.steps_per_epoch
        model.compile(optimizer, task.keras_loss, jit_compile={"auto": "auto", "on": True, "off": False}[plan.jit])
        self.jit = bool(model.jit_compile)

    def run(self, steps: int) -> float:
        """Runs `steps` steps; returns their mean loss when the device is done."""
        total, left = 0.0, steps
        while left:
            count = min(left, self.steps_per_epoch - self._at)
            total += self._run_part(self._at, count) * count
            self._at = (self._at + count) % self.steps_per_epoch
            left -= count
        return total / steps

    def _compile(self) -> None:
        self._run_part(0, 1)

    def _run_part(self, at: int, count: int) -> float:
        """The mean loss of `count` steps, from step `at` of the epoch on."""
        part = slice(at * self.batch_size, (at + count) * self.batch_size)
        inputs = [x[part] for x in self._inputs]
        x, y = inputs if len(inputs) > 1 else inputs[0], self._targets[part]
        if self._plan.trains:
            return float(self._model.fit(x, y, batch_size=self.batch_size, verbose=0).history["loss"][0])
        return float(self._model.evaluate(x, y, batch_size=self.batch_size, verbose=0))
