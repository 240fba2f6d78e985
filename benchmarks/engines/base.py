"""The contract of all engines, and what they share."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass

import keras
import numpy as np

from benchmarks.tasks import Task

BLOCK_STEPS = 64


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How steps are run.

    Attributes:
        batch_size: examples a step.
        seed: of shuffling, augmentation and pairs.
        input: how examples reach the network: `"resident"`, `"stream"` or `"fit"`.
        mode: `"training"`, or `"inference"` for forward passes alone.
        jit: `"on"`, `"off"` or `"auto"` for whether the steps are compiled as a whole.
        block: how many steps to run at a time at most.
    """

    batch_size: int
    seed: int = 0
    input: str = "resident"
    mode: str = "training"
    jit: str = "auto"
    block: int = BLOCK_STEPS

    @property
    def trains(self) -> bool:
        """Whether a step trains."""
        return self.mode == "training"


class Engine(ABC):
    """Runs steps of a model.

    Args:
        model: trained in place.
        optimizer: not built yet.
        task: see `benchmarks.tasks.classification`.
        plan: see `Plan`.

    Attributes:
        block: how many steps it runs at a time at most.
        jit: whether the steps are compiled as a whole.
    """

    block: int
    jit: bool

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, task: Task, plan: Plan) -> None:
        self._model, self._optimizer, self._task, self._plan = model, optimizer, task, plan
        self._batch_size = plan.batch_size
        self._steps_per_epoch = task.count // plan.batch_size
        self.block = min(plan.block, self._steps_per_epoch)
        if plan.trains:
            optimizer.build(model.trainable_variables)

    def warm_up(self) -> float:
        """Compiles all that a run needs, leaving model and optimiser as they were; returns the seconds."""
        variables = [*self._model.variables, *self._optimizer.variables]
        # Copies: on some backends the arrays are views of what is about to change.
        before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        start = time.perf_counter()
        self._compile()
        seconds = time.perf_counter() - start
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return seconds

    @abstractmethod
    def run(self, steps: int) -> float:
        """Runs `steps` steps; returns their mean loss when the device is done."""

    def sync(self) -> None:  # noqa: B027, most engines train the variables themselves
        """Puts the trained values into the variables of the model and the optimiser, if they are not there."""

    @abstractmethod
    def _compile(self) -> None:
        """Compiles all that a run needs, by running it; may train the model."""


def has_convolution(model: keras.Model) -> bool:
    """Whether any layer of the model, or of a model in it, is a convolution."""
    return any(
        has_convolution(layer) if isinstance(layer, keras.Model) else "Conv" in type(layer).__name__
        for layer in model.layers
    )
