"""What only building a network tells: its number of layers and the smallest square image that it takes.

`facts.json` holds both, so that tables need not build them; a row that is not there yet has empty cells.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import keras

from architectures.registry import create, variant

PATH = Path(__file__).with_suffix(".json")

Facts = dict[str, dict[str, int | None]]


@cache
def read() -> Facts:
    """The facts of each architecture, by name: `layers`, and `smallest`, `None` where the inputs are vectors."""
    facts: Facts = json.loads(PATH.read_text(encoding="utf-8"))
    return facts


def measure(arch: str, guess: int | None = None) -> dict[str, int | None]:
    """The same of one architecture, which is built for that at several sizes."""
    with keras.StatelessScope():  # in which no weights are drawn
        layers = len(create(arch).layers)
    return {"layers": layers, "smallest": smallest(arch, guess)}


def smallest(arch: str, guess: int | None = None) -> int | None:
    """The side of the smallest square image that an architecture takes as it is; `None` where inputs are vectors.

    Args:
        arch: its name.
        guess: what is tried first, such as the side of another network of the family.
    """
    shapes = variant(arch).input_shapes
    if any(len(shape) != 3 for shape in shapes):
        return None

    # Of a stage only the first unit, or the last, changes the size of its input.
    spec = variant(arch).spec
    shallow: dict[str, Any] = {"depths": (1,) * len(spec.depths)} if hasattr(spec, "depths") else {}
    if isinstance(getattr(spec, "depth", None), int):
        shallow["depth"] = 1

    def fits(side: int) -> bool:
        sizes = tuple((side, side, shape[-1]) for shape in shapes)
        try:
            with keras.StatelessScope():  # in which no weights are drawn
                create(
                    arch, input_shape=sizes if len(sizes) > 1 else sizes[0], classes=variant(arch).classes, **shallow
                )
        except ValueError:
            return False
        return True

    # All sizes from the smallest on are taken, so that it is found by halving.
    low, high = 1, shapes[0][0] or 1
    if guess is not None and guess <= high and fits(guess) and (guess == 1 or not fits(guess - 1)):
        return guess
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low
