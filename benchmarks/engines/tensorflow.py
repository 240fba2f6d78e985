"""The TensorFlow engine: resident data, whole blocks of steps in one `tf.function`."""

import inspect
import time
from typing import Any

import keras
import tensorflow as tf

from benchmarks.engines import BLOCK_STEPS, fused_norm, has_convolution
from benchmarks.engines.replay import replay
from benchmarks.task import Task

BLOCK_BYTES = 2**26


class TensorFlowEngine:
    """Trains a model in blocks of steps.

    The order of an epoch and its random numbers are drawn once and lie on the device. A block gathers the raw examples
    of all its steps from the resident arrays, then loops over them: sliced in the loop, XLA on CPU would copy the whole
    array each step.
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
        if jit == "auto":
            # On CPU, XLA runs convolutions inside a loop without its fast kernels; dense layers gain from it there too.
            jit = "on" if tf.config.list_physical_devices("GPU") or not has_convolution(model) else "off"
        self.jit = jit == "on"
        self._fuse = not self.jit
        self._model, self._optimizer, self._task = model, optimizer, task
        self._batch_size, self._seed = batch_size, seed
        self._weights = [variable.value for variable in model.trainable_variables]
        optimizer.build(model.trainable_variables)
        self._data = {name: tf.constant(array) for name, array in task.train.items()}
        self._steps_per_epoch = task.count // batch_size
        example_bytes = sum(array.nbytes for name, array in task.train.items()) / task.count
        self.block = int(min(block, max(1, BLOCK_BYTES // (example_bytes * batch_size)), self._steps_per_epoch))
        # XLA takes blocks of one size only, so that the last of an epoch gathers some rows that it doesn't use.
        drawn = (self._steps_per_epoch + self.block, batch_size)
        self._order = tf.Variable(tf.zeros(drawn, tf.int32), trainable=False)
        self._uniform = tf.Variable(tf.zeros((*drawn, task.randoms)), trainable=False)
        self._step = 0
        self._steps = tf.function(self._train_steps, jit_compile=self.jit)
        self._block = tf.function(self._train_block)

    def warm_up(self) -> float:
        """Compiles all that a run needs, leaving model and optimiser as they were; returns the seconds."""
        variables = [*self._model.variables, *self._optimizer.variables]
        before = [variable.numpy() for variable in variables]
        start = time.perf_counter()
        self._shuffle(0)
        float(self._block(tf.constant(0), tf.constant(1)))
        seconds = time.perf_counter() - start
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return seconds

    def run(self, steps: int) -> float:
        """Trains `steps` steps; returns their mean loss when the device is done."""
        total, left = tf.constant(0.0), steps
        while left:
            epoch, at = divmod(self._step, self._steps_per_epoch)
            if at == 0:
                self._shuffle(epoch)
            count = min(left, self.block, self._steps_per_epoch - at)
            total += self._block(tf.constant(at), tf.constant(count))
            self._step += count
            left -= count
        return float(total) / steps

    def sync(self) -> None:
        """Nothing to do: the blocks train the model's own variables."""

    def _shuffle(self, epoch: int) -> None:
        order = tf.random.experimental.stateless_shuffle(tf.range(self._task.count), seed=[self._seed, 2 * epoch])
        used = self._steps_per_epoch * self._batch_size
        self._order[: self._steps_per_epoch].assign(tf.reshape(order[:used], (-1, self._batch_size)))
        shape = (self._steps_per_epoch, *self._uniform.shape[1:])
        uniform = tf.random.stateless_uniform(shape, seed=[self._seed, 2 * epoch + 1])
        self._uniform[: self._steps_per_epoch].assign(uniform)

    def _train_block(self, at: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """The summed loss of `count` steps, from row `at` of the order on."""
        gathered = self.block if self.jit else count
        rows = tf.reshape(tf.slice(self._order, (at, 0), (gathered, self._batch_size)), (-1,))
        uniform = tf.slice(self._uniform, (at, 0, 0), (gathered, self._batch_size, self._task.randoms))
        uniform = tf.reshape(uniform, (gathered * self._batch_size, self._task.randoms))
        inputs, targets = self._task.draw(self._data, rows, uniform)
        return self._steps([self._by_step(x) for x in inputs], self._by_step(targets), count)

    def _by_step(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (self.block if self.jit else -1, self._batch_size, *x.shape[1:]))

    def _train_steps(self, inputs: list[tf.Tensor], targets: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        # `for i in tf.range(count)` has a bound that XLA takes for a constant, and compiles anew for each count.
        total, i = tf.constant(0.0), tf.constant(0)
        while i < count:
            total += self._train_step([x[i] for x in inputs], targets[i])
            i += 1
        return total

    def _train_step(self, inputs: list[tf.Tensor], targets: tf.Tensor) -> tf.Tensor:
        inputs = self._task.prepare(inputs)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._weights)
            outputs = replay(self._model, inputs, self._call)
            loss = self._task.loss(outputs, targets)
            loss += sum(tf.cast(penalty, loss.dtype) for penalty in self._model.losses)
            scaled = self._optimizer.scale_loss(loss)
        self._optimizer.apply(tape.gradient(scaled, self._weights), self._model.trainable_variables)
        return loss

    def _call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """One operation of the graph, in training; a normalisation by the fused kernel where XLA does not fuse."""
        if self._fuse and fused_norm.suits(operation, args[0]):
            return fused_norm.batch_norm(operation, args[0])
        if "training" in inspect.signature(operation.call).parameters:
            kwargs["training"] = True
        return operation(*args, **kwargs)
