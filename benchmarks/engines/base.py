"""The contract of all engines, and their common parts."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np

from benchmarks.tasks import Task
from benchmarks.terminal.errors import UsageError

MODES = ("training", "inference")
BLOCK_STEPS = 64


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How steps are run.

    Attributes:
        batch_size: examples per step.
        seed: of shuffling, augmentation and pairs.
        input: how examples reach the network, `"resident"`, `"stream"` or `"fit"`.
        mode: `"training"`, or `"inference"` for forward passes only.
        jit: `"on"`, `"off"` or `"auto"`: whether the step is compiled as a whole.
        block: maximum number of steps per call of the device.

    Raises:
        ValueError: `mode` or `jit` is none of these.
    """

    batch_size: int
    seed: int = 0
    input: str = "resident"
    mode: str = "training"
    jit: str = "auto"
    block: int = BLOCK_STEPS

    def __post_init__(self) -> None:
        for name, value, options in (("mode", self.mode, MODES), ("jit", self.jit, ("auto", "on", "off"))):
            if value not in options:
                raise ValueError(f"`{name}` must be one of {', '.join(options)}; got {value!r}")

    @property
    def trains(self) -> bool:
        """Whether a step trains."""
        return self.mode == "training"


class Engine(ABC):
    """Runs steps of a model.

    Args:
        model: trained in place.
        optimizer: not built yet.
        task: see `benchmarks.tasks`.
        plan: see `Plan`.

    Attributes:
        inputs: values of `Plan.input` that the engine runs.
        augments: whether the engine can augment images.
        whole_epochs: whether each call of `run` has a fixed cost that a user pays once per epoch, so that progress is
            best shown per epoch.
        timed_blocks: number of blocks that the timed steps are divided into.
        block_seconds: minimum duration of a timed block, so that the fixed cost of a call is negligible.
        batch_size: examples per step.
        steps_per_epoch: whole batches of the training examples.
        block: maximum number of steps that it runs at a time.
        jit: whether the step is compiled as a whole.

    Raises:
        UsageError: the batch is larger than the data.
    """

    inputs: ClassVar[tuple[str, ...]] = ("resident", "stream")
    augments: ClassVar[bool] = True
    whole_epochs: ClassVar[bool] = False
    timed_blocks: ClassVar[int] = 20
    block_seconds: ClassVar[float] = 0.05
    batch_size: int
    steps_per_epoch: int
    block: int
    jit: bool

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, task: Task, plan: Plan) -> None:
        if not 1 <= plan.batch_size <= task.count:
            raise UsageError(
                f"--batch_size must be from 1 to {task.count}, the number of training examples; got {plan.batch_size}"
            )
        self._model, self._optimizer, self._task, self._plan = model, optimizer, task, plan
        self.batch_size = plan.batch_size
        self.steps_per_epoch = task.count // plan.batch_size
        self.block = min(plan.block, self.steps_per_epoch)
        if plan.trains:
            optimizer.build(model.trainable_variables)

    def warm_up(self) -> float:
        """Compiles what a run needs, leaving model and optimiser unchanged; returns the seconds."""
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
        """Copies the trained values into the variables of the model and the optimiser."""

    @abstractmethod
    def _compile(self) -> None:
        """Compiles what a run needs by running it; may train the model."""


def has_convolution(model: keras.Model) -> bool:
    """Whether any layer of the model, or of a model in it, is a convolution."""
    return any(
        has_convolution(layer) if isinstance(layer, keras.Model) else "Conv" in type(layer).__name__
        for layer in model.layers
    )
