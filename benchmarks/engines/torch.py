"""The PyTorch engine: resident data, one step after the other; `torch.compile` over the forward pass and the loss.

Keras's convolutions turn channels-last tensors by a view, so that PyTorch sees its own channels-last memory format.
"""

import time
from typing import Any

import keras
import torch

from benchmarks.engines import BLOCK_STEPS
from benchmarks.task import Task


class TorchEngine:
    """Trains a model step by step; the loss is read once a run, so that the device is never waited for in between."""

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
        # On CPU the compiled step is no faster, and takes a minute to compile.
        self.jit = torch.cuda.is_available() if jit == "auto" else jit == "on"
        self._model, self._optimizer, self._task = model, optimizer, task
        self._batch_size, self._seed = batch_size, seed
        self._weights = [variable.value for variable in model.trainable_variables]
        optimizer.build(model.trainable_variables)
        self._device = self._weights[0].device
        self._data = {name: torch.as_tensor(array, device=self._device) for name, array in task.train.items()}
        self._steps_per_epoch = task.count // batch_size
        self.block = min(block, self._steps_per_epoch)
        self._step = 0
        self._loss = torch.compile(self._compute_loss) if self.jit else self._compute_loss

    def warm_up(self) -> float:
        """Compiles all that a run needs, leaving model and optimiser as they were; returns the seconds."""
        variables = [*self._model.variables, *self._optimizer.variables]
        before = [variable.value.detach().clone() for variable in variables]
        start = time.perf_counter()
        self._shuffle(0)
        float(self._train_step(0))
        seconds = time.perf_counter() - start
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return seconds

    def run(self, steps: int) -> float:
        """Trains `steps` steps; returns their mean loss when the device is done."""
        total = torch.zeros((), device=self._device)
        for _ in range(steps):
            epoch, at = divmod(self._step, self._steps_per_epoch)
            if at == 0:
                self._shuffle(epoch)
            total += self._train_step(at)
            self._step += 1
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return float(total) / steps

    def sync(self) -> None:
        """Nothing to do: the steps train the model's own variables."""

    def _shuffle(self, epoch: int) -> None:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
        order = torch.randperm(self._task.count, generator=generator)[: self._steps_per_epoch * self._batch_size]
        self._order = order.reshape(-1, self._batch_size).to(self._device)
        uniform = torch.rand((*self._order.shape, self._task.randoms), generator=generator)
        self._uniform = uniform.to(self._device)

    def _train_step(self, at: int) -> torch.Tensor:
        inputs, targets = self._task.draw(self._data, self._order[at], self._uniform[at])
        for weight in self._weights:
            weight.grad = None
        loss, scaled = self._loss(inputs, targets)
        scaled.backward()
        with torch.no_grad():
            self._optimizer.apply([weight.grad for weight in self._weights], self._model.trainable_variables)
        return loss.detach()

    def _compute_loss(self, inputs: list[torch.Tensor], targets: torch.Tensor) -> tuple[Any, Any]:
        inputs = self._task.prepare(inputs)
        outputs = self._model(inputs if len(inputs) > 1 else inputs[0], training=True)
        loss = self._task.loss(outputs if isinstance(outputs, list | tuple) else [outputs], targets)
        loss = loss + sum(self._model.losses)
        return loss, self._optimizer.scale_loss(loss)
