"""Inception-ResNet: residual units whose residual is a small inception module, and the reductions between their stages.

`block35`, `block17` and `block8`, called after the sizes of the images they are for, are units
`(x, filters, *, stride, drop_path, style, name) -> tensor` that `kblocks.compose.stage` repeats. The residual is scaled
down before it is added, which keeps wide networks stable in training.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real

from keras import KerasTensor, layers

from kblocks import check
from kblocks.compose import add, concat, stochastic_depth
from kblocks.contracts import Shortcut
from kblocks.conv import conv, conv_norm_act
from kblocks.inception import check_widths, v3_b
from kblocks.naming import scope
from kblocks.pool import max_pool
from kblocks.residual import projection
from kblocks.style import RELU_BN, Style, activate


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
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of each branch's last convolution, in pixels.
        b1: channels out of the 1×1 branch.
        b3: channels of the 3×3 branch, after the reduction and out.
        double: channels of the branch of two 3×3, after the reduction, between them and out.
        scale: what the residual is multiplied by.
        act: whether the sum goes through the style's activation.
        shortcut: used where the unit changes the shape, which the paper's never does.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `x` is not of rank 4, an argument does not hold its number of positive integers, or `drop_path` is
            not at least 0 and below 1.
        TypeError: `scale` is no number.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 16.

    >>> from keras import Input
    >>> block35(Input((35, 35, 320)), 320).shape
    (None, 35, 35, 320)
    """
    check.rank(x, 4)
    check_widths(b1=(b1, 1), b3=(b3, 2), double=(double, 3))
    part = scope(name, "inception_block35")
    y1 = conv_norm_act(x, b1, 1, stride=stride, style=style, name=part("1x1"))
    y3 = conv_norm_act(x, b3[0], 1, style=style, name=part("3x3_reduce"))
    y3 = conv_norm_act(y3, b3[1], 3, stride=stride, style=style, name=part("3x3"))
    yd = conv_norm_act(x, double[0], 1, style=style, name=part("double_reduce"))
    yd = conv_norm_act(yd, double[1], 3, style=style, name=part("double1"))
    yd = conv_norm_act(yd, double[2], 3, stride=stride, style=style, name=part("double2"))
    return _scaled_sum(x, [y1, y3, yd], filters, stride, scale, act, shortcut, drop_path, style, part)


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
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of each branch's last convolution, in pixels.
        b1: channels out of the 1×1 branch.
        rows: channels of the branch of a row and a column, after the reduction, between them and out.
        n: length of the row and the column, in pixels.
        scale: what the residual is multiplied by.
        act: whether the sum goes through the style's activation.
        shortcut: used where the unit changes the shape, which the paper's never does.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `x` is not of rank 4, an argument does not hold its number of positive integers, or `drop_path` is
            not at least 0 and below 1.
        TypeError: `scale` is no number.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 17; `block8` is Figure 19.

    >>> from keras import Input
    >>> block17(Input((17, 17, 1088)), 1088).shape
    (None, 17, 17, 1088)
    """
    check.rank(x, 4)
    check_widths(b1=(b1, 1), rows=(rows, 3), n=(n, 1))
    part = scope(name, "inception_block17")
    y1 = conv_norm_act(x, b1, 1, stride=stride, style=style, name=part("1x1"))
    yn = conv_norm_act(x, rows[0], 1, style=style, name=part("rows_reduce"))
    yn = conv_norm_act(yn, rows[1], (1, n), style=style, name=part("rows1"))
    yn = conv_norm_act(yn, rows[2], (n, 1), stride=stride, style=style, name=part("rows2"))
    return _scaled_sum(x, [y1, yn], filters, stride, scale, act, shortcut, drop_path, style, part)


block8 = partial(block17, rows=(192, 224, 256), n=3, scale=0.2)

# Figure 7 of the same paper, with the widths of its Table 1.
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
    """`[conv3×3/2(conv1×1(x)), conv3×3/2(conv1×1(x)), conv3×3/2(conv3×3(conv1×1(x))), maxpool3×3/2(x)]`; what has the
    stride has no padding.

    Args:
        x: `(batch, height, width, channels)`, at least 3×3 where the size is known.
        b3: channels of the 3×3 branch, after the reduction and out.
        more: channels of one more 3×3 branch, after the reduction and out.
        double: channels of the branch of two 3×3, after the reduction, between them and out.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, (height − 1) // 2, (width − 1) // 2, b3[1] + more[1] + double[2] + channels)`.

    Raises:
        ValueError: `x` is not of rank 4 or too small, or an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 18.

    >>> from keras import Input
    >>> reduction_b(Input((17, 17, 1088))).shape
    (None, 8, 8, 2080)
    """
    check.rank(x, 4)
    check_widths(b3=(b3, 2), more=(more, 2), double=(double, 3))
    part, valid = scope(name, "inception_reduction_b"), replace(style, padding="valid")
    y3 = conv_norm_act(x, b3[0], 1, style=style, name=part("3x3_reduce"))
    y3 = conv_norm_act(y3, b3[1], 3, stride=2, style=valid, name=part("3x3"))
    ym = conv_norm_act(x, more[0], 1, style=style, name=part("more_reduce"))
    ym = conv_norm_act(ym, more[1], 3, stride=2, style=valid, name=part("more"))
    yd = conv_norm_act(x, double[0], 1, style=style, name=part("double_reduce"))
    yd = conv_norm_act(yd, double[1], 3, style=style, name=part("double1"))
    yd = conv_norm_act(yd, double[2], 3, stride=2, style=valid, name=part("double2"))
    yp = max_pool(x, 3, stride=2, style=valid, name=part("pool"))
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
