"""The JAX engine: resident data, steps through Keras's stateless calls, whole blocks of them in one `lax.scan`."""

import time
from typing import Any

import jax
import keras
from jax import numpy as jnp

from benchmarks.engines import BLOCK_STEPS, has_convolution
from benchmarks.task import Task

State = tuple[list[jax.Array], list[jax.Array], list[jax.Array]]
"""Values of the trainable variables, of the others (statistics and seeds), and of the optimiser's."""


class JaxEngine:
    """Trains a model in blocks of steps.

    The values of all variables travel through the compiled block and are donated to it, so that they are updated in
    place; `sync` puts them back into the model. What is left of an epoch after its whole blocks runs step by step. So
    does everything on CPU where there are convolutions, which XLA runs there without its fast kernels inside a loop.
    """

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
        self.jit = jit != "off"
        self._model, self._optimizer, self._task = model, optimizer, task
        self._batch_size = batch_size
        optimizer.build(model.trainable_variables)
        self._data = {name: jax.device_put(array) for name, array in task.train.items()}
        self._steps_per_epoch = task.count // batch_size
        loops = self.jit and (jax.default_backend() != "cpu" or not has_convolution(model))
        self.block = min(block, self._steps_per_epoch)
        self._loop = self.block if loops else 1
        self._key = jax.random.key(seed)
        self._state: State = _values(self._variables())
        self._step = 0
        compiled = jax.jit if self.jit else lambda function, **options: function
        self._shuffle = compiled(self._draw_order)
        self._one = compiled(self._train_step, donate_argnums=0)
        self._many = compiled(self._train_steps, donate_argnums=0)

    def warm_up(self) -> float:
        """Compiles all that a run needs, leaving model and optimiser as they were; returns the seconds."""
        before = jax.tree.map(jnp.copy, self._state)
        start = time.perf_counter()
        self._order = self._shuffle(0)
        self._state, loss = self._one(self._state, self._data, self._order[0], 0)
        if self._loop > 1:
            self._state, loss = self._many(self._state, self._data, self._order[: self._loop], 0)
        jax.block_until_ready((self._state, loss))
        seconds = time.perf_counter() - start
        self._state = before
        return seconds

    def run(self, steps: int) -> float:
        """Trains `steps` steps; returns their mean loss when the device is done."""
        losses, left = [], steps
        while left:
            epoch, at = divmod(self._step, self._steps_per_epoch)
            if at == 0:
                self._order = self._shuffle(epoch)
            if 1 < self._loop <= min(left, self._steps_per_epoch - at):
                count, rows, train = self._loop, self._order[at : at + self._loop], self._many
            else:
                count, rows, train = 1, self._order[at], self._one
            self._state, loss = train(self._state, self._data, rows, self._step)
            losses.append(loss)
            self._step += count
            left -= count
        jax.block_until_ready(self._state)
        return float(sum(losses)) / steps

    def sync(self) -> None:
        """Puts the trained values into the variables of the model and the optimiser."""
        # The next block takes the engine's own arrays and not these, which it would otherwise delete.
        for variables, values in zip(self._variables(), jax.tree.map(jnp.copy, self._state), strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        model = self._model
        return model.trainable_variables, model.non_trainable_variables, self._optimizer.variables

    def _draw_order(self, epoch: int) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(self._key, 0), epoch)
        order = jax.random.permutation(key, self._task.count)
        return order[: self._steps_per_epoch * self._batch_size].reshape(-1, self._batch_size)

    def _train_steps(self, state: State, data: dict[str, jax.Array], rows: jax.Array, step: int) -> tuple[State, Any]:
        """The new state and the summed loss after a step for each of the `rows`."""

        def one(state: State, row_and_step: tuple[jax.Array, jax.Array]) -> tuple[State, jax.Array]:
            return self._train_step(state, data, *row_and_step)

        state, losses = jax.lax.scan(one, state, (rows, step + jnp.arange(len(rows))))
        return state, losses.sum()

    def _train_step(self, state: State, data: dict[str, jax.Array], rows: jax.Array, step: int) -> tuple[State, Any]:
        key = jax.random.fold_in(jax.random.fold_in(self._key, 1), step)
        uniform = jax.random.uniform(key, (self._batch_size, self._task.randoms))
        inputs, targets = self._task.draw(data, rows, uniform)
        inputs = self._task.prepare(inputs)
        trained, others, slots = state

        def loss_of(trained: list[jax.Array]) -> tuple[jax.Array, tuple[jax.Array, list[jax.Array]]]:
            outputs, others_after, losses = self._model.stateless_call(
                trained, others, inputs if len(inputs) > 1 else inputs[0], training=True, return_losses=True
            )
            loss = self._task.loss(outputs if isinstance(outputs, list | tuple) else [outputs], targets) + sum(losses)
            return _scale(self._optimizer, slots, loss), (loss, others_after)

        gradients, (loss, others) = jax.grad(loss_of, has_aux=True)(trained)
        trained, slots = self._optimizer.stateless_apply(slots, gradients, trained)
        return (trained, others, slots), loss


def _values(variables: tuple[list[Any], ...]) -> State:
    return tuple([jnp.copy(variable.value) for variable in several] for several in variables)


def _scale(optimizer: keras.optimizers.Optimizer, slots: list[jax.Array], loss: jax.Array) -> jax.Array:
    """The loss times the optimiser's scale, which under mixed_float16 is among its variables."""
    with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, slots, strict=True))):
        return optimizer.scale_loss(loss)
