"""Engines: how training steps are run. One small file each, one contract.

An engine is built from a model, an optimiser and a task, and has

    warm_up()        compiles all that a run needs and leaves model and optimiser as they were; returns the seconds
    run(steps)       trains so many steps, returns their mean loss when the device is done
    sync()           puts the trained values into the model and the optimiser
    block            how many steps it runs at a time at most

`resident` keeps the data on the device and runs whole blocks of steps there; `fit` is plain `model.fit`, the reference;
`plain_torch` is the same network in PyTorch alone, the peer.
"""

from typing import Protocol

import keras

from benchmarks.console import UsageError
from benchmarks.task import Task

INPUTS = ("resident", "fit", "plain_torch")
BLOCK_STEPS = 64


class Engine(Protocol):
    """What the scripts need of an engine."""

    block: int
    jit: bool

    def warm_up(self) -> float:
        """Compiles all that a run needs, leaving model and optimiser as they were; returns the seconds."""

    def run(self, steps: int) -> float:
        """Trains `steps` steps; returns their mean loss when the device is done."""

    def sync(self) -> None:
        """Puts the trained values into the variables of the model and the optimiser."""


def create(
    kind: str,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    task: Task,
    *,
    batch_size: int,
    seed: int,
    jit: str = "auto",
    block: int = BLOCK_STEPS,
) -> Engine:
    """The engine for an input kind and Keras's backend.

    Args:
        kind: `"resident"`, `"fit"` or `"plain_torch"`.
        model: trained in place.
        optimizer: not built yet.
        task: see `benchmarks.task`.
        batch_size: examples a step.
        seed: of shuffling, augmentation and pairs.
        jit: `"on"`, `"off"` or `"auto"` for whether the steps are compiled as a whole.
        block: how many steps it should run at a time at most.

    Returns:
        The engine.

    Raises:
        UsageError: the batch is larger than the data, or there is no engine for the backend.
    """
    if not 1 <= batch_size <= task.count:
        raise UsageError(
            f"--batch_size must be from 1 to {task.count}, the number of training examples; got {batch_size}"
        )
    if kind == "fit":
        from benchmarks.engines.fit import FitEngine

        return FitEngine(model, optimizer, task, batch_size=batch_size, seed=seed, jit=jit, block=block)
    backend = keras.backend.backend()
    if kind == "plain_torch":
        if backend != "torch":
            raise UsageError(f"--input=plain_torch needs KERAS_BACKEND=torch; got {backend}")
        from benchmarks.engines.plain_torch import PlainTorchEngine

        return PlainTorchEngine(model, optimizer, task, batch_size=batch_size, seed=seed, jit=jit, block=block)
    if backend == "tensorflow":
        from benchmarks.engines.tensorflow import TensorFlowEngine as Resident
    elif backend == "jax":
        from benchmarks.engines.jax import JaxEngine as Resident
    elif backend == "torch":
        from benchmarks.engines.torch import TorchEngine as Resident
    else:
        raise UsageError(
            f"--input=resident has no engine for KERAS_BACKEND={backend}; it takes tensorflow, jax or torch"
        )
    return Resident(model, optimizer, task, batch_size=batch_size, seed=seed, jit=jit, block=block)


def has_convolution(model: keras.Model) -> bool:
    """Whether any layer of the model, or of a model in it, is a convolution."""
    return any(
        has_convolution(layer) if isinstance(layer, keras.Model) else "Conv" in type(layer).__name__
        for layer in model.layers
    )
