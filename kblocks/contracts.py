"""Contracts: the functions that blocks take as arguments, one protocol each.

Every function of `kblocks` that is passed to another has one of these forms. A function of your own fits wherever its
signature does; there is nothing to inherit. `functools.partial` binds whatever else the function takes:

    partial(kblocks.residual.bottleneck, groups=32)  # a Unit
    partial(kblocks.conv.conv_norm_act, filters=64)  # a Block

What all blocks share, and what docstrings therefore omit:

- `x` comes first, channels last. Unless another shape is given it is an image, `(batch, height, width, channels)`, with
  a height and width that may be `None`.
- `filters` is the number of output channels.
- `style` is a `kblocks.Style`: normalisation, activation, initialiser, regulariser and padding.
- `name` is the name of the layer, or the prefix of the names of all layers of the block, see `kblocks.naming`.
- A tensor of another rank or a size that is not a positive integer raises a `ValueError`, a function that does not fit
  its contract a `TypeError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from keras import KerasTensor

if TYPE_CHECKING:
    from kblocks.style import Style

__all__ = ["Attention", "Block", "Cell", "Merge", "Module", "Shortcut", "Stem", "Unit"]


def __dir__() -> list[str]:
    return __all__


class Block(Protocol):
    """`(x, *, name) -> tensor`: a normalisation, an activation, or anything that `compose.chain` puts in sequence."""

    def __call__(self, x: KerasTensor, /, *, name: str | None) -> KerasTensor: ...


class Module(Protocol):
    """`(x, *, style, name) -> tensor`: a block that reads the style of the network, as an Inception module."""

    def __call__(self, x: KerasTensor, /, *, style: Style, name: str | None) -> KerasTensor: ...


class Attention(Protocol):
    """`(x, *, style, name) -> tensor` of the shape of `x`."""

    def __call__(self, x: KerasTensor, /, *, style: Style, name: str | None) -> KerasTensor: ...


class Stem(Protocol):
    """`(x, filters, *, style, name) -> tensor`: what precedes the first stage of a network."""

    def __call__(self, x: KerasTensor, filters: int, /, *, style: Style, name: str | None) -> KerasTensor: ...


class Shortcut(Protocol):
    """`(x, filters, *, stride, style, name) -> tensor`: what is added to a residual where the shape changes."""

    def __call__(
        self, x: KerasTensor, filters: int, /, *, stride: int, style: Style, name: str | None
    ) -> KerasTensor: ...


class Unit(Protocol):
    """`(x, filters, *, stride=1, drop_path=0.0, style, name) -> tensor`: what `compose.stage` repeats."""

    def __call__(
        self,
        x: KerasTensor,
        filters: int,
        /,
        *,
        stride: int = 1,
        drop_path: float = 0.0,
        style: Style,
        name: str | None,
    ) -> KerasTensor: ...


class Cell(Protocol):
    """`((x, previous), filters, *, halve_previous, drop_path, style, name) -> tensor`: a cell of NASNet.

    `x` and `previous` are the outputs of the last two cells.
    """

    def __call__(
        self,
        inputs: Sequence[KerasTensor | None],
        filters: int,
        /,
        *,
        halve_previous: bool,
        drop_path: float,
        style: Style,
        name: str | None,
    ) -> KerasTensor: ...


class Merge(Protocol):
    """`(tensors, *, name) -> tensor`: one tensor of several, as `compose.concat` and `compose.add`."""

    def __call__(self, tensors: Sequence[KerasTensor], /, *, name: str | None) -> KerasTensor: ...
