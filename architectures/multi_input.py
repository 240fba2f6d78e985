"""Several inputs, one output: the first input passes a dense layer, then all are concatenated."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from kblocks import Style, check
from kblocks.naming import scope


@dataclass(frozen=True, kw_only=True)
class MultiInput:
    """Configuration.

    Attributes:
        before: width of the dense layer of the first input.
        after: width of the dense layer after the concatenation.
        style: style of all layers.
    """

    before: int
    after: int
    style: Style = kb.PLAIN


VARIANTS = {
    "multi_input": Variant(
        MultiInput(before=16, after=8), input_shape=((32,), (16,)), classes=1, params=801, macs=776,
        source="the second network of every functional-API tutorial: several inputs"),
    "multi_input_tiny": Variant(
        MultiInput(before=2, after=2), input_shape=((3,), (2,)), classes=1, params=21, macs=16,
        source="for tests"),
}  # fmt: skip


def _unchanged(x: KerasTensor, *, name: str | None = None) -> KerasTensor:
    return x


def backbone(inputs: Sequence[KerasTensor], spec: MultiInput, *, name: str | None = None) -> KerasTensor:
    """`dense([dense(first), second, …])`.

    Args:
        inputs: vectors, `(batch, features)` each.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, spec.after)`.

    Raises:
        ValueError: no inputs, or inputs that are not vectors.
    """
    for x in inputs:
        check.rank(x, 2, "inputs")
    part = scope(name, "multi_input")
    first = partial(kb.mlp.dense_norm_act, units=spec.before, style=spec.style)
    x = kb.tower.fuse(inputs, [first] + [_unchanged] * (len(inputs) - 1), name=part("fuse"))
    return kb.mlp.dense_norm_act(x, spec.after, style=spec.style, name=part("dense"))


FAMILY = Family("multi_input", VARIANTS, backbone)
