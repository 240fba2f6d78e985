"""Inception-ResNet: units whose residual is a small inception module, and the reductions between their stages.

`block35`, `block17` and `block8` are named after the image sizes that the paper uses them at. The residual is scaled
down before the addition, which stabilises the training of wide networks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real

from keras import KerasTensor, layers

from kblocks import check
from kblocks.compose import add, concat, stochastic_depth
from kblocks.contracts import Shortcut
from kblocks.conv import conv
from kblocks.inception import branch, v3_b
from kblocks.naming import resolve, scope
from kblocks.pool import max_pool
from kblocks.residual import projection
from kblocks.style import RELU_BN, Style, activate

__all__ = ["block8", "block17", "block35", "reduction_a", "reduction_b"]


def __dir__() -> list[str]:
    return __all__


def block35(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    b1: int = 32,
    b3: tuple[int, int] = (32, 32),
    double: tuple[int, int, int] = (32, 48, 64),
    scale: float = 0.17,
    act: bool = True,
    shortcut: Shortcut = projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(x + scale · F(x))` with `F(x) = W [conv1×1(x), conv3×3(conv1×1(x)), conv3×3(conv3×3(conv1×1(x)))] + b`.

    Args:
        filters: output channels.
        stride: stride of the last convolution of each branch.
        b1: output channels of the 1×1 branch.
        b3: channels of the 3×3 branch: reduction, output.
        double: channels of the branch with two 3×3 convolutions: reduction, first, output.
        scale: factor of the residual.
        act: whether to apply the style's activation to the sum.
        shortcut: used where the shape changes, which it never does in the paper.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers, or `drop_path` is not in [0, 1).
        TypeError: `scale` is not a number.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 16.

    >>> from keras import Input
    >>> block35(Input((35, 35, 320)), 320).shape
    (None, 35, 35, 320)
    """
    check.rank(x, 4)
    check.widths(b1=(b1, 1), b3=(b3, 2), double=(double, 3))
    name = resolve(name, "inception_block35")
    convs = partial(branch, stride=stride, style=style, name=name)
    y1 = convs(x, [("1x1", b1, 1)])
    y3 = convs(x, [("3x3_reduce", b3[0], 1), ("3x3", b3[1], 3)])
    yd = convs(x, [("double_reduce", double[0], 1), ("double1", double[1], 3), ("double2", double[2], 3)])
    return _scaled_sum(x, [y1, y3, yd], filters, stride, scale, act, shortcut, drop_path, style, scope(name, ""))


def block17(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    b1: int = 192,
    rows: tuple[int, int, int] = (128, 160, 192),
    n: int = 7,
    scale: float = 0.1,
    act: bool = True,
    shortcut: Shortcut = projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(x + scale · F(x))` with `F(x) = W [conv1×1(x), convn×1(conv1×n(conv1×1(x)))] + b`.

    Args:
        filters: output channels.
        stride: stride of the last convolution of each branch.
        b1: output channels of the 1×1 branch.
        rows: channels of the factorised branch: reduction, 1×n, output.
        n: length of the 1×n and n×1 kernels.
        scale: factor of the residual.
        act: whether to apply the style's activation to the sum.
        shortcut: used where the shape changes, which it never does in the paper.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers, or `drop_path` is not in [0, 1).
        TypeError: `scale` is not a number.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 17; `block8` is Figure 19.

    >>> from keras import Input
    >>> block17(Input((17, 17, 1088)), 1088).shape
    (None, 17, 17, 1088)
    """
    check.rank(x, 4)
    check.widths(b1=(b1, 1), rows=(rows, 3), n=(n, 1))
    name = resolve(name, "inception_block17")
    convs = partial(branch, stride=stride, style=style, name=name)
    y1 = convs(x, [("1x1", b1, 1)])
    yn = convs(x, [("rows_reduce", rows[0], 1), ("rows1", rows[1], (1, n)), ("rows2", rows[2], (n, 1))])
    return _scaled_sum(x, [y1, yn], filters, stride, scale, act, shortcut, drop_path, style, scope(name, ""))


block8 = partial(block17, rows=(192, 224, 256), n=3, scale=0.2)

# Figure 7 of the same paper, with the widths of Table 1.
reduction_a = partial(v3_b, double=(256, 256, 384))


def reduction_b(
    x: KerasTensor,
    b3: tuple[int, int] = (256, 384),
    more: tuple[int, int] = (256, 288),
    double: tuple[int, int, int] = (256, 288, 320),
    *,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv3×3/2(conv1×1(x)), conv3×3/2(conv1×1(x)), conv3×3/2(conv3×3(conv1×1(x))), maxpool3×3/2(x)]`; layers with a
    stride are unpadded.

    Args:
        x: `(batch, height, width, channels)`, at least 3×3.
        b3: channels of the first 3×3 branch: reduction, output.
        more: channels of the second 3×3 branch: reduction, output.
        double: channels of the branch with two 3×3 convolutions: reduction, first, output.

    Returns:
        `(batch, (height − 1) // 2, (width − 1) // 2, b3[1] + more[1] + double[2] + channels)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers, or `x` is too small.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 18.

    >>> from keras import Input
    >>> reduction_b(Input((17, 17, 1088))).shape
    (None, 8, 8, 2080)
    """
    check.rank(x, 4)
    check.widths(b3=(b3, 2), more=(more, 2), double=(double, 3))
    name = resolve(name, "inception_reduction_b")
    part, convs = scope(name, ""), partial(branch, stride=2, padding="valid", style=style, name=name)
    y3 = convs(x, [("3x3_reduce", b3[0], 1), ("3x3", b3[1], 3)])
    ym = convs(x, [("more_reduce", more[0], 1), ("more", more[1], 3)])
    yd = convs(x, [("double_reduce", double[0], 1), ("double1", double[1], 3), ("double2", double[2], 3)])
    yp = max_pool(x, 3, stride=2, style=replace(style, padding="valid"), name=part("pool"))
    return concat([y3, ym, yd, yp], name=part("out"))


def _scaled_sum(
    x: KerasTensor,
    branches: Sequence[KerasTensor],
    filters: int,
    stride: int,
    scale: float,
    act: bool,
    shortcut: Shortcut,
    drop_path: float,
    style: Style,
    part: Callable[[str], str],
) -> KerasTensor:
    """`x`, or its shortcut, plus the scaled projection of the branches."""
    if isinstance(scale, bool) or not isinstance(scale, Real):
        raise TypeError(f"`scale` must be a number; got {scale!r}")
    y = conv(concat(branches, name=part("mixed")), filters, 1, use_bias=True, style=style, name=part("project"))
    if scale != 1:
        y = layers.Rescaling(scale, name=part("scale"))(y)
    check.fraction(drop_path, "drop_path")
    y = stochastic_depth(y, drop_path, name=part("drop_path"))
    if stride > 1 or x.shape[-1] != filters:
        x = shortcut(x, filters, stride=stride, style=style, name=part("shortcut"))
    if not act:
        return add([x, y], name=part("out"))
    return activate(add([x, y], name=part("add")), style=style, name=part("out"))
