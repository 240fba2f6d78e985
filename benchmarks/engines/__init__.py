"""Engines: how steps are run. One file per engine, one contract, which is in `base`.

An engine is built from a model, an optimiser, a task and a plan:

    engine = engines.create(model, keras.optimizers.Adam(), task, engines.Plan(batch_size=128))
    engine.warm_up()       # compiles; leaves model and optimiser unchanged; returns the seconds
    loss = engine.run(50)  # runs 50 steps on the device; returns their mean loss
    engine.sync()          # copies the trained values into the model and the optimiser

With `input="resident"` the data lies on the device and blocks of steps run there; with `"stream"` it lies in main
memory and a `tf.data` pipeline draws and augments the batches; with `"fit"` plain `model.fit` runs the steps, as a
reference.
"""

import importlib

import keras

from benchmarks.engines.base import BLOCK_STEPS, MODES, Engine, Plan
from benchmarks.tasks import Task
from benchmarks.terminal.errors import UsageError

__all__ = ["BLOCK_STEPS", "MODES", "Engine", "Plan", "create", "find"]

# Module and class of each engine: the one for a backend, and those for an input on any backend.
BY_BACKEND = {
    "tensorflow": ("tensorflow", "TensorFlowEngine"),
    "jax": ("jax", "JaxEngine"),
    "torch": ("torch", "TorchEngine"),
}
BY_INPUT = {"fit": ("fit", "FitEngine")}


def find(input: str) -> type[Engine]:
    """The engine's class for an input on Keras's backend.

    Raises:
        UsageError: there is no such input, or the backend has no engine for it.
    """
    backend = keras.backend.backend()
    found = BY_INPUT.get(input) or BY_BACKEND.get(backend)
    if found is None:
        raise UsageError(f"--input={input} has no engine for KERAS_BACKEND={backend}; it takes {', '.join(BY_BACKEND)}")
    module, name = found
    engine: type[Engine] = getattr(importlib.import_module(f"benchmarks.engines.{module}"), name)
    if input not in engine.inputs:
        raise UsageError(f"--input must be one of {', '.join([*engine.inputs, *BY_INPUT])}; got {input!r}")
    return engine


def create(model: keras.Model, optimizer: keras.optimizers.Optimizer, task: Task, plan: Plan) -> Engine:
    """The engine for a plan on Keras's backend.

    Args:
        model: trained in place.
        optimizer: not built yet.
        task: see `benchmarks.tasks`.
        plan: see `Plan`.

    Returns:
        The engine.

    Raises:
        UsageError: the batch is larger than the data, or the backend has no engine for the plan's input.
    """
    return find(plan.input)(model, optimizer, task, plan)
