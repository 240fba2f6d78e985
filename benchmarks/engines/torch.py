"""The PyTorch engine: one step after the other; `torch.compile` over the forward pass and the loss.

Keras's convolutions turn channels-last tensors by a view, so that PyTorch sees its own channels-last memory format.
"""

from typing import Any

import keras
import torch

from benchmarks.engines import pipeline
from benchmarks.engines.base import Engine, Plan
from benchmarks.tasks import Task


class TorchEngine(Engine):
    """Runs a model step by step; the loss is read once a run, so that the device is never waited for in between."""

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, task: Task, plan: Plan) -> None:
        super().__init__(model, optimizer, task, plan)
        # On CPU the compiled step is no faster, and takes a minute to compile.
        self.jit = torch.cuda.is_available() if plan.jit == "auto" else plan.jit == "on"
        self._weights = [variable.value for variable in model.trainable_variables]
        self._device = self._weights[0].device
        self._loss = torch.compile(self._compute_loss) if self.jit else self._compute_loss
        self._step = self._train_step if plan.trains else self._infer_step
        self._done = 0
        if plan.input == "stream":
            self._dataset = pipeline.batches(task, batch_size=plan.batch_size, seed=plan.seed)
            self._batches = self._dataset.as_numpy_iterator()
            self._draw = self._draw_streamed
        else:
            self._data = {name: torch.as_tensor(array, device=self._device) for name, array in task.train.items()}
            self._draw = self._draw_resident

    def run(self, steps: int) -> float:
        """Runs `steps` steps; returns their mean loss when the device is done."""
        total = torch.zeros((), device=self._device)
        for _ in range(steps):
            total += self._step(*self._draw())
            self._done += 1
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return float(total) / steps

    def _compile(self) -> None:
        float(self._step(*self._draw()))
        if self._plan.input == "stream":
            self._batches = self._dataset.as_numpy_iterator()  # from the first batch on again

    def _draw_streamed(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        inputs, targets = next(self._batches)
        return [self._put(x) for x in inputs], self._put(targets)

    def _put(self, array: Any) -> torch.Tensor:
        tensor = torch.tensor(array)  # a copy, of an array that tf.data may use again
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)

    def _draw_resident(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        epoch, at = divmod(self._done, self.steps_per_epoch)
        if at == 0:
            self._shuffle(epoch)
        return self._task.draw(self._data, self._order[at], self._uniform[at])

    def _shuffle(self, epoch: int) -> None:
        generator = torch.Generator().manual_seed(self._plan.seed * 1_000_003 + epoch)
        order = torch.randperm(self._task.count, generator=generator)[: self.steps_per_epoch * self.batch_size]
        self._order = order.reshape(-1, self.batch_size).to(self._device)
        uniform = torch.rand((*self._order.shape, self._task.randoms), generator=generator)
        self._uniform = uniform.to(self._device)

    def _train_step(self, inputs: list[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        for weight in self._weights:
            weight.grad = None
        loss, scaled = self._loss(inputs, targets)
        scaled.backward()
        with torch.no_grad():
            self._optimizer.apply([weight.grad for weight in self._weights], self._model.trainable_variables)
        return loss.detach()

    def _infer_step(self, inputs: list[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self._loss(inputs, targets)[0]

    def _compute_loss(self, inputs: list[torch.Tensor], targets: torch.Tensor) -> tuple[Any, Any]:
        inputs = self._task.prepare(inputs)
        outputs = self._model(inputs if len(inputs) > 1 else inputs[0], training=self._plan.trains)
        loss = self._task.loss(outputs if isinstance(outputs, list | tuple) else [outputs], targets)
        if not self._plan.trains:
            return loss, None
        loss = loss + sum(self._model.losses)
        return loss, self._optimizer.scale_loss(loss)
