"""Checks of the stages of a spec."""

from typing import Any

from keras import KerasTensor

from kblocks import check
from kblocks.stem import HINT


def check_depths(depths: Any, widths: Any, argument: str = "widths") -> None:
    """Raise unless `depths` and `widths`, or what `argument` names, are tuples of positive integers of one length."""
    for sizes, of in ((depths, "depths"), (widths, argument)):
        if not isinstance(sizes, tuple) or not sizes:
            raise ValueError(f"`{of}` must hold at least one stage; got {sizes!r}")
        for size in sizes:
            check.positive(size, of)
    if len(depths) != len(widths):
        raise ValueError(f"`depths` and `{argument}` must be of one length; got {depths} and {widths}")


def check_halvings(x: KerasTensor, stages: int) -> None:
    """Raise if `x`, the output of a stem, is too small for a stride of 2 between any two of the stages."""
    check.min_size(x, 2 ** (stages - 1), f"{stages} stages", HINT, "the output of the stem")


def check_stages(stages: Any, fields: str = "") -> None:
    """Raise unless `stages` holds at least one tuple, each with a value for each of `fields`, or not empty."""
    wanted = len(fields.split(", ")) if fields else None
    for stage in stages or [None]:
        if not isinstance(stage, tuple) or not stage or len(stage) != (wanted or len(stage)):
            rule = f"tuples ({fields})" if fields else "tuples of units"
            raise ValueError(f"`stages` must hold at least one stage, all {rule}; got {stages!r}")
