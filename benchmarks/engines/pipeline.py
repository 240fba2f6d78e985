"""Batches from main memory by `tf.data`, drawn and augmented as the resident engines do it; for any backend."""

from types import SimpleNamespace
from typing import Any

from benchmarks.backends.tensorflow import for_input
from benchmarks.tasks import Task
from benchmarks.terminal.errors import UsageError


def batches(task: Task, *, batch_size: int, seed: int) -> Any:
    """An endless `tf.data.Dataset` of raw batches, the examples shuffled anew each epoch.

    Args:
        task: draws the batches; what an epoch has beyond whole batches is left out.
        batch_size: examples a batch.
        seed: of the order and of the augmentation.

    Returns:
        A dataset of `(inputs, targets)`, as `task.draw` gives them, with `inputs` a tuple.

    Raises:
        UsageError: TensorFlow is not installed.
    """
    try:
        tf = for_input()
    except ModuleNotFoundError:
        raise UsageError("--input=stream is a tf.data pipeline and needs TensorFlow: pip install tensorflow") from None
    functions = SimpleNamespace(
        arange=tf.range,
        cast=tf.cast,
        minimum=tf.minimum,
        mod=tf.math.floormod,
        reshape=tf.reshape,
        take=tf.gather,
        where=tf.where,
    )
    with tf.device("CPU"):
        arrays = {name: tf.constant(array) for name, array in task.train.items()}
    steps = task.count // batch_size

    def shuffle(epoch: Any) -> Any:
        order = tf.random.experimental.stateless_shuffle(tf.range(task.count), seed=tf.stack([seed, 2 * epoch]))
        return tf.data.Dataset.from_tensor_slices(tf.reshape(order[: steps * batch_size], (steps, batch_size)))

    def draw(step: Any, rows: Any) -> Any:
        uniform = tf.random.stateless_uniform((batch_size, task.randoms), seed=tf.stack([seed, 2 * step + 1]))
        inputs, targets = task.draw(arrays, rows, uniform, ops=functions)
        return tuple(inputs), targets

    rows = tf.data.Dataset.counter().flat_map(shuffle)
    return rows.enumerate().map(draw, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
