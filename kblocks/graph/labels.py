"""What names of layers tell of stages and units, and shapes as text: for tables and pictures."""

import re
from collections.abc import Sequence

__all__ = ["size", "stage", "unit"]


def __dir__() -> list[str]:
    return __all__


def stage(name: str) -> str:
    """What the names of a stage's layers begin with, letters and a number: `stage1`, `conv2`, `block_3`."""
    return _beginning(r"(?:.*/)?[A-Za-z]+(?:_?\d+)?", name)


def unit(name: str) -> str:
    """A stage and, if the next part of the name has a number too, that: `stage1_unit2`, `conv2_block1`."""
    return _beginning(r"[A-Za-z]+(?:_?\d+)?(?:_[A-Za-z]+\d+(?=_))?", name)


def _beginning(pattern: str, name: str) -> str:
    found = re.match(pattern, name)
    return found[0] if found else name


def size(shape: Sequence[int | None]) -> str:
    """A shape as `32×32×3`, with `?` for what is unknown."""
    return "×".join("?" if n is None else str(n) for n in shape)
