"""Engines: how steps are run. One small file each, one contract, which is in `base`.

An engine is built from a model, an optimiser, a task and a plan, and has

    warm_up()        compiles all that a run needs and leaves model and optimiser as they were; returns the seconds
    run(steps)       runs so many steps, returns their mean loss when the device is done
    sync()           puts the trained values into the model and the optimiser
    block            how many steps it runs at a time at most

On `resident` input the data lie on the device and whole blocks of steps run there; on `stream` they lie in main memory
and a `tf.data` pipeline draws and augments the batches beside the steps; `fit` is plain `model.fit`, the reference.
"""

import keras

from benchmarks.engines.base import BLOCK_STEPS, Engine, Plan
from benchmarks.tasks import Task
from benchmarks.terminal.errors import UsageError

__all__ = ["BLOCK_STEPS", "INPUTS", "MODES", "Engine", "Plan", "create"]

INPUTS = ("resident", "stream", "fit")
MODES = ("training", "inference")


def create(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    task: Task,
    plan: Plan,
    *,
    network: str | None = None,
) -> Engine:
    """The engine for a plan and Keras's backend.

    Args:
        model: trained in place.
        optimizer: not built yet.
        task: see `benchmarks.tasks.classification`.
        plan: see `Plan`.
        network: of PyTorch alone that runs in place of the model, see `plain_torch`.

    Returns:
        The engine.

    Raises:
        UsageError: the batch is larger than the data, or there is no engine for the backend.
    """
    if not 1 <= plan.batch_size <= task.count:
        raise UsageError(
            f"--batch_size must be from 1 to {task.count}, the number of training examples; got {plan.batch_size}"
        )
    backend = keras.backend.backend()
    if network is not None:
        if backend != "torch":
            raise UsageError(f"--peer={network} needs KERAS_BACKEND=torch; got {backend}")
        from benchmarks.peers.plain_torch import PlainTorchEngine

        return PlainTorchEngine(model, optimizer, task, plan, network=network)
    if plan.input == "fit":
        from benchmarks.engines.fit import FitEngine as Chosen
    elif backend == "tensorflow":
        from benchmarks.engines.tensorflow import TensorFlowEngine as Chosen
    elif backend == "jax":
        from benchmarks.engines.jax import JaxEngine as Chosen
    elif backend == "torch":
        from benchmarks.engines.torch import TorchEngine as Chosen
    else:
        raise UsageError(
            f"--input={plan.input} has no engine for KERAS_BACKEND={backend}; it takes tensorflow, jax or torch"
        )
    return Chosen(model, optimizer, task, plan)
