"""The TensorFlow engine: whole blocks of steps in one `tf.function`."""

import inspect
from typing import Any

import keras
import tensorflow as tf

from benchmarks.engines import fused_norm, pipeline
from benchmarks.engines.base import Engine, Plan, has_convolution
from benchmarks.engines.replay import replay
from benchmarks.tasks import Task

BLOCK_BYTES = 2**26


class TensorFlowEngine(Engine):
    """Runs a model in blocks of steps.

    With resident data, the order and the random numbers of an epoch are drawn once and stored on the device. A block
    gathers the raw examples of all its steps from the resident arrays, then loops over them: if the resident array were
    indexed in the loop, XLA on CPU would copy it in each step.
    """

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, task: Task, plan: Plan) -> None:
        super().__init__(model, optimizer, task, plan)
        jit = plan.jit
        if jit == "auto":
            # On CPU, XLA does not use its fast convolution kernels inside a loop; dense layers are faster with it.
            jit = "on" if tf.config.list_physical_devices("GPU") or not has_convolution(model) else "off"
        self.jit = jit == "on"
        self._weights = [variable.value for variable in model.trainable_variables]
        # Only the loops over steps depend on tensors: converting a step by AutoGraph takes longer than tracing it.
        step = tf.autograph.experimental.do_not_convert(self._train_step if plan.trains else self._infer_step)
        if plan.input == "stream":
            self._dataset = pipeline.batches(task, batch_size=plan.batch_size, seed=plan.seed)
            self._batches = iter(self._dataset)
            # XLA can't read from an iterator: it compiles the step and not the loop.
            self._step = tf.function(step, jit_compile=self.jit, autograph=False)
            self._block = tf.function(self._run_streamed)
            return
        self._step = step
        self._data = {name: tf.constant(array) for name, array in task.train.items()}
        example_bytes = sum(array.nbytes for array in task.train.values()) / task.count
        self.block = int(min(self.block, max(1, BLOCK_BYTES // (example_bytes * plan.batch_size))))
        # XLA needs blocks of one size: the last block of an epoch gathers some rows that are not used.
        drawn = (self.steps_per_epoch + self.block, plan.batch_size)
        self._order = tf.Variable(tf.zeros(drawn, tf.int32), trainable=False)
        self._uniform = tf.Variable(tf.zeros((*drawn, task.randoms)), trainable=False)
        self._done = 0
        self._steps = tf.function(self._run_steps, jit_compile=self.jit)
        self._block = tf.function(self._run_resident, autograph=False)

    def run(self, steps: int) -> float:
        """Runs `steps` steps; returns their mean loss when the device is done."""
        total, left = tf.constant(0.0), steps
        while left:
            if self._plan.input == "stream":
                count = min(left, self.block)
                total += self._block(self._batches, tf.constant(count))
            else:
                epoch, at = divmod(self._done, self.steps_per_epoch)
                if at == 0:
                    self._shuffle(epoch)
                count = min(left, self.block, self.steps_per_epoch - at)
                total += self._block(tf.constant(at), tf.constant(count))
                self._done += count
            left -= count
        return float(total) / steps

    def _compile(self) -> None:
        if self._plan.input == "stream":
            float(self._block(iter(self._dataset), tf.constant(1)))
        else:
            self._shuffle(0)
            float(self._block(tf.constant(0), tf.constant(1)))

    def _shuffle(self, epoch: int) -> None:
        seed = self._plan.seed
        order = tf.random.experimental.stateless_shuffle(tf.range(self._task.count), seed=[seed, 2 * epoch])
        used = self.steps_per_epoch * self.batch_size
        self._order[: self.steps_per_epoch].assign(tf.reshape(order[:used], (-1, self.batch_size)))
        shape = (self.steps_per_epoch, *self._uniform.shape[1:])
        uniform = tf.random.stateless_uniform(shape, seed=[seed, 2 * epoch + 1])
        self._uniform[: self.steps_per_epoch].assign(uniform)

    def _run_streamed(self, batches: Any, count: tf.Tensor) -> tf.Tensor:
        """The summed loss of `count` steps on the next batches."""
        total, i = tf.constant(0.0), tf.constant(0)
        while i < count:
            inputs, targets = next(batches)
            total += self._step(list(inputs), targets)
            i += 1
        return total

    def _run_resident(self, at: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """The summed loss of `count` steps, from row `at` of the order on."""
        gathered = self.block if self.jit else count
        rows = tf.reshape(tf.slice(self._order, (at, 0), (gathered, self.batch_size)), (-1,))
        uniform = tf.slice(self._uniform, (at, 0, 0), (gathered, self.batch_size, self._task.randoms))
        uniform = tf.reshape(uniform, (gathered * self.batch_size, self._task.randoms))
        inputs, targets = self._task.draw(self._data, rows, uniform)
        return self._steps([self._by_step(x) for x in inputs], self._by_step(targets), count)

    def _by_step(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (self.block if self.jit else -1, self.batch_size, *x.shape[1:]))

    def _run_steps(self, inputs: list[tf.Tensor], targets: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        # XLA treats the bound of `for i in tf.range(count)` as a constant and compiles again for each count.
        total, i = tf.constant(0.0), tf.constant(0)
        while i < count:
            total += self._step([x[i] for x in inputs], targets[i])
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

    def _infer_step(self, inputs: list[tf.Tensor], targets: tf.Tensor) -> tf.Tensor:
        outputs = replay(self._model, self._task.prepare(inputs), self._call)
        return self._task.loss(outputs, targets)

    def _call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """One operation of the graph; without XLA, batch normalisation by the fused kernel."""
        if not self.jit and fused_norm.suits(operation, args[0]):
            return fused_norm.batch_norm(operation, args[0], training=self._plan.trains)
        if "training" in inspect.signature(operation.call).parameters:
            kwargs["training"] = self._plan.trains
        return operation(*args, **kwargs)
