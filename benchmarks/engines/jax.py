"""The JAX engine: steps through Keras's stateless calls, on resident data whole blocks of them in one `lax.scan`."""

from typing import Any

import jax
import keras
from jax import numpy as jnp

from benchmarks.engines import pipeline
from benchmarks.engines.base import Engine, Plan, has_convolution
from benchmarks.tasks import Task

State = tuple[list[jax.Array], list[jax.Array], list[jax.Array]]
"""Values of the trainable variables, of the non-trainable ones (statistics and seeds), and of the optimiser's."""


class JaxEngine(Engine):
    """Runs a model in blocks of steps.

    The values of all variables are arguments and results of the compiled block and are donated, so that they are
    updated in place; `sync` copies them into the model. The steps of an epoch after its last whole block run one by
    one, as do streamed batches, and networks with convolutions on CPU, where XLA does not use its fast convolution
    kernels inside a loop.
    """

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, task: Task, plan: Plan) -> None:
        super().__init__(model, optimizer, task, plan)
        self.jit = plan.jit != "off"
        self._key = jax.random.key(plan.seed)
        self._state: State = _values(self._variables())
        self._done = 0
        compiled = jax.jit if self.jit else lambda function, **options: function
        self._step = self._train_step if plan.trains else self._infer_step
        if plan.input == "stream":
            self._batches = pipeline.batches(task, batch_size=plan.batch_size, seed=plan.seed).as_numpy_iterator()
            self._next = jax.device_put(next(self._batches))
            self._one = compiled(self._step, donate_argnums=0)
            return
        self._data = {name: jax.device_put(array) for name, array in task.train.items()}
        loops = self.jit and (jax.default_backend() != "cpu" or not has_convolution(model))
        self._loop = self.block if loops else 1
        self._shuffle = compiled(self._draw_order)
        self._one = compiled(self._resident_step, donate_argnums=0)
        self._many = compiled(self._resident_steps, donate_argnums=0)

    def run(self, steps: int) -> float:
        """Runs `steps` steps; returns their mean loss when the device is done."""
        losses = self._run_streamed(steps) if self._plan.input == "stream" else self._run_resident(steps)
        jax.block_until_ready(self._state)
        return float(sum(losses)) / steps

    def sync(self) -> None:
        """Copies the trained values into the variables of the model and the optimiser."""
        # Copies: the next block donates, and so deletes, the engine's own arrays.
        for variables, values in zip(self._variables(), jax.tree.map(jnp.copy, self._state), strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _compile(self) -> None:
        # On copies, which are donated.
        if self._plan.input == "stream":
            state, loss = self._one(jax.tree.map(jnp.copy, self._state), *self._next)
        else:
            self._order = self._shuffle(0)
            state, loss = self._one(jax.tree.map(jnp.copy, self._state), self._data, self._order[0], 0)
            if self._loop > 1:
                state, loss = self._many(state, self._data, self._order[: self._loop], 0)
        jax.block_until_ready((state, loss))

    def _run_streamed(self, steps: int) -> list[jax.Array]:
        losses = []
        for _ in range(steps):
            self._state, loss = self._one(self._state, *self._next)
            losses.append(loss)
            # Copied to the device while the step runs.
            self._next = jax.device_put(next(self._batches))
        return losses

    def _run_resident(self, steps: int) -> list[jax.Array]:
        losses, left = [], steps
        while left:
            epoch, at = divmod(self._done, self.steps_per_epoch)
            if at == 0:
                self._order = self._shuffle(epoch)
            if 1 < self._loop <= min(left, self.steps_per_epoch - at):
                count, rows, run = self._loop, self._order[at : at + self._loop], self._many
            else:
                count, rows, run = 1, self._order[at], self._one
            self._state, loss = run(self._state, self._data, rows, self._done)
            losses.append(loss)
            self._done += count
            left -= count
        return losses

    def _variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        model = self._model
        return model.trainable_variables, model.non_trainable_variables, self._optimizer.variables

    def _draw_order(self, epoch: int) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(self._key, 0), epoch)
        order = jax.random.permutation(key, self._task.count)
        return order[: self.steps_per_epoch * self.batch_size].reshape(-1, self.batch_size)

    def _resident_steps(self, state: State, data: dict[str, Any], rows: jax.Array, step: int) -> tuple[State, Any]:
        """The new state and the summed loss after a step for each of the `rows`."""

        def one(state: State, row_and_step: tuple[jax.Array, jax.Array]) -> tuple[State, jax.Array]:
            return self._resident_step(state, data, *row_and_step)

        state, losses = jax.lax.scan(one, state, (rows, step + jnp.arange(len(rows))))
        return state, losses.sum()

    def _resident_step(self, state: State, data: dict[str, Any], rows: jax.Array, step: int) -> tuple[State, Any]:
        key = jax.random.fold_in(jax.random.fold_in(self._key, 1), step)
        uniform = jax.random.uniform(key, (self.batch_size, self._task.randoms))
        return self._step(state, *self._task.draw(data, rows, uniform))

    def _train_step(self, state: State, inputs: list[jax.Array], targets: jax.Array) -> tuple[State, Any]:
        inputs = self._task.prepare(inputs)
        trained, others, slots = state

        def loss_of(trained: list[jax.Array]) -> tuple[jax.Array, tuple[jax.Array, list[jax.Array]]]:
            outputs, others_after, losses = self._model.stateless_call(
                trained, others, inputs if len(inputs) > 1 else inputs[0], training=True, return_losses=True
            )
            loss = self._task.loss(_as_list(outputs), targets) + sum(losses)
            return _scale(self._optimizer, slots, loss), (loss, others_after)

        gradients, (loss, others) = jax.grad(loss_of, has_aux=True)(trained)
        trained, slots = self._optimizer.stateless_apply(slots, gradients, trained)
        return (trained, others, slots), loss

    def _infer_step(self, state: State, inputs: list[jax.Array], targets: jax.Array) -> tuple[State, Any]:
        inputs = self._task.prepare(inputs)
        trained, others, _ = state
        inputs = inputs if len(inputs) > 1 else inputs[0]
        outputs, _ = self._model.stateless_call(trained, others, inputs, training=False)
        return state, self._task.loss(_as_list(outputs), targets)


def _values(variables: tuple[list[Any], list[Any], list[Any]]) -> State:
    trained, others, slots = ([jnp.copy(variable.value) for variable in several] for several in variables)
    return trained, others, slots


def _as_list(outputs: Any) -> list[jax.Array]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _scale(optimizer: keras.optimizers.Optimizer, slots: list[jax.Array], loss: jax.Array) -> jax.Array:
    """The loss times the loss scale, which with mixed_float16 is a variable of the optimiser."""
    with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, slots, strict=True))):
        return optimizer.scale_loss(loss)
