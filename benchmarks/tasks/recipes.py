"""How each family is trained by default: optimiser, learning rate, schedule, batch size, augmentation."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from benchmarks.terminal.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A way to train.

    Attributes:
        optimizer: name of a Keras optimiser.
        learning_rate: the highest of the schedule.
        arguments: of the optimiser, besides the learning rate.
        warmup: share of the steps in which the learning rate rises linearly from zero; cosine decay to zero follows. If
            it is zero, the decay is linear.
        batch_size: examples per step.
        augment: whether images of 32×32 and more are cropped and flipped at random.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    arguments: Mapping[str, Any] = field(default_factory=dict)
    warmup: float = 0.0
    batch_size: int = 128
    augment: bool = False


RECIPES = {
    "mlp": Recipe(learning_rate=2e-3, batch_size=32),
    "lenet": Recipe(learning_rate=2e-3),
    "resnet": Recipe(
        optimizer="sgd",
        learning_rate=0.2,
        arguments={"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
        warmup=0.2,
        augment=True,
    ),
    "googlenet": Recipe(warmup=0.1, augment=True),
    "siamese": Recipe(learning_rate=2e-3),
}


# `keras.optimizers.get` does not know all of them.
OPTIMIZERS = {
    name.lower(): kind
    for name, kind in sorted(vars(keras.optimizers).items())
    if isinstance(kind, type)
    and issubclass(kind, keras.optimizers.Optimizer)
    and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
}


def recipe(family: str | None) -> Recipe:
    """The recipe of a family; the default for those without one, and for a model of no family, `None`."""
    return Recipe() if family is None else RECIPES.get(family, Recipe())


def optimizer(
    name: str, learning_rate: float, arguments: Mapping[str, Any], *, steps: int, warmup: float
) -> keras.optimizers.Optimizer:
    """A stock Keras optimiser with the learning-rate schedule of `Recipe`.

    Args:
        name: of its class in `keras.optimizers`, in any case.
        learning_rate: the highest of the schedule.
        arguments: of the optimiser, besides the learning rate.
        steps: of the whole run.
        warmup: share of the steps in which the learning rate rises.

    Returns:
        The optimiser; under mixed_float16 with loss scaling.

    Raises:
        UsageError: there is no such optimiser, or it does not take the arguments.
    """
    warmup_steps = round(warmup * steps)
    if warmup_steps:
        # Of Keras's schedules only the cosine has a warm-up.
        rate: Any = keras.optimizers.schedules.CosineDecay(
            0.0, max(steps - warmup_steps, 1), warmup_target=learning_rate, warmup_steps=warmup_steps
        )
    else:
        rate = keras.optimizers.schedules.PolynomialDecay(learning_rate, steps, end_learning_rate=0.0)
    if name.lower() not in OPTIMIZERS:
        close = difflib.get_close_matches(name.lower(), OPTIMIZERS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(OPTIMIZERS)}"
        raise UsageError(f"--optimizer must be the name of a Keras optimiser; got {name!r} ({hint})")
    if "learning_rate" in arguments:
        raise UsageError("--optimizer_argument takes no learning_rate: its peak is --learning_rate")
    try:
        made = OPTIMIZERS[name.lower()](learning_rate=rate, **arguments)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise UsageError(f"--optimizer={name} can't be made with {given}: {str(error).splitlines()[0]}") from None
    if keras.config.dtype_policy().name == "mixed_float16":
        made = keras.optimizers.LossScaleOptimizer(made)
    return made
