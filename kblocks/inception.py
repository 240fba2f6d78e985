"""Inception modules: the same input through windows of several sizes, side by side, and the results concatenated.

Each branch's widths stand in one argument, so that a network is a table of rows. `v3_a` to `v3_e` are the modules of
Inception-v3 in its order; their branch `double` has two windows, one after the other, in place of a larger one.
"""

from dataclasses import replace
from typing import Any

from keras import KerasTensor

from kblocks import check
from kblocks.compose import concat
from kblocks.conv import conv_norm_act
from kblocks.naming import scope
from kblocks.pool import avg_pool, max_pool
from kblocks.style import RELU_BN, Style


def naive(x: KerasTensor, b1: int, b3: int, b5: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`[conv1×1(x), conv3×3(x), conv5×5(x), maxpool3×3(x)]`.

    Args:
        x: `(batch, height, width, channels)`.
        b1: channels out of the 1×1 branch.
        b3: channels out of the 3×3 branch.
        b5: channels out of the 5×5 branch.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, height, width, b1 + b3 + b5 + channels)`.

    Raises:
        ValueError: `x` is not of rank 4, or a width is not a positive integer.

    Source: Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842, Figure 2 (a).

    >>> from keras import Input
    >>> naive(Input((28, 28, 192)), 64, 128, 32).shape
    (None, 28, 28, 416)
    """
    check.rank(x, 4)
    check_widths(b1=(b1, 1), b3=(b3, 1), b5=(b5, 1))
    part = scope(name, "inception_naive")
    return concat(
        [
            conv_norm_act(x, b1, 1, style=style, name=part("1x1")),
            conv_norm_act(x, b3, 3, style=style, name=part("3x3")),
            conv_norm_act(x, b5, 5, style=style, name=part("5x5")),
            max_pool(x, 3, style=style, name=part("pool")),
        ],
        name=part("out"),
    )


def v1(
    x: KerasTensor,
    b1: int,
    b3: tuple[int, int],
    b5: tuple[int, int],
    pool: int,
    *,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv1×1(x), conv3×3(conv1×1(x)), conv5×5(conv1×1(x)), conv1×1(maxpool3×3(x))]`.

    Args:
        x: `(batch, height, width, channels)`.
        b1: channels out of the 1×1 branch.
        b3: channels of the 3×3 branch, after the reduction and out.
        b5: channels of the 5×5 branch, after the reduction and out.
        pool: channels out of the pooling branch.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, height, width, b1 + b3[1] + b5[1] + pool)`.

    Raises:
        ValueError: `x` is not of rank 4, a width is not a positive integer, or `b3` or `b5` is no pair.

    Source: Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842, Figure 2 (b).

    >>> from keras import Input
    >>> v1(Input((28, 28, 192)), 64, (96, 128), (16, 32), 32).shape
    (None, 28, 28, 256)
    """
    check.rank(x, 4)
    check_widths(b1=(b1, 1), b3=(b3, 2), b5=(b5, 2), pool=(pool, 1))
    part = scope(name, "inception_v1")
    y1 = conv_norm_act(x, b1, 1, style=style, name=part("1x1"))
    y3 = conv_norm_act(x, b3[0], 1, style=style, name=part("3x3_reduce"))
    y3 = conv_norm_act(y3, b3[1], 3, style=style, name=part("3x3"))
    y5 = conv_norm_act(x, b5[0], 1, style=style, name=part("5x5_reduce"))
    y5 = conv_norm_act(y5, b5[1], 5, style=style, name=part("5x5"))
    yp = max_pool(x, 3, style=style, name=part("pool"))
    yp = conv_norm_act(yp, pool, 1, style=style, name=part("pool_project"))
    return concat([y1, y3, y5, yp], name=part("out"))


def v3_a(
    x: KerasTensor,
    b1: int = 64,
    b5: tuple[int, int] = (48, 64),
    double: tuple[int, int, int] = (64, 96, 96),
    pool: int = 64,
    *,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv1×1(x), conv5×5(conv1×1(x)), conv3×3(conv3×3(conv1×1(x))), conv1×1(avgpool3×3(x))]`.

    Args:
        x: `(batch, height, width, channels)`.
        b1: channels out of the 1×1 branch.
        b5: channels of the 5×5 branch, after the reduction and out.
        double: channels of the branch of two 3×3, after the reduction, between them and out.
        pool: channels out of the pooling branch.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, height, width, b1 + b5[1] + double[2] + pool)`.

    Raises:
        ValueError: `x` is not of rank 4, or an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 5, with a 5×5 in place of the single 3×3, as the authors' own code has it.

    >>> from keras import Input
    >>> v3_a(Input((35, 35, 192)), pool=32).shape
    (None, 35, 35, 256)
    """
    check.rank(x, 4)
    check_widths(b1=(b1, 1), b5=(b5, 2), double=(double, 3), pool=(pool, 1))
    part = scope(name, "inception_v3_a")
    y1 = conv_norm_act(x, b1, 1, style=style, name=part("1x1"))
    y5 = conv_norm_act(x, b5[0], 1, style=style, name=part("5x5_reduce"))
    y5 = conv_norm_act(y5, b5[1], 5, style=style, name=part("5x5"))
    yd = conv_norm_act(x, double[0], 1, style=style, name=part("double_reduce"))
    yd = conv_norm_act(yd, double[1], 3, style=style, name=part("double1"))
    yd = conv_norm_act(yd, double[2], 3, style=style, name=part("double2"))
    yp = avg_pool(x, 3, style=style, name=part("pool"))
    yp = conv_norm_act(yp, pool, 1, style=style, name=part("pool_project"))
    return concat([y1, y5, yd, yp], name=part("out"))


def v3_b(
    x: KerasTensor,
    b3: int = 384,
    double: tuple[int, int, int] = (64, 96, 96),
    *,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv3×3/2(x), conv3×3/2(conv3×3(conv1×1(x))), maxpool3×3/2(x)]`; what has the stride has no padding.

    Args:
        x: `(batch, height, width, channels)`, at least 3×3 where the size is known.
        b3: channels out of the 3×3 branch.
        double: channels of the branch of two 3×3, after the reduction, between them and out.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, (height − 1) // 2, (width − 1) // 2, b3 + double[2] + channels)`.

    Raises:
        ValueError: `x` is not of rank 4 or too small, or an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 10, with no reduction before the single 3×3, as the authors' own code has it.

    >>> from keras import Input
    >>> v3_b(Input((35, 35, 288))).shape
    (None, 17, 17, 768)
    """
    check.rank(x, 4)
    check_widths(b3=(b3, 1), double=(double, 3))
    part, valid = scope(name, "inception_v3_b"), replace(style, padding="valid")
    y3 = conv_norm_act(x, b3, 3, stride=2, style=valid, name=part("3x3"))
    yd = conv_norm_act(x, double[0], 1, style=style, name=part("double_reduce"))
    yd = conv_norm_act(yd, double[1], 3, style=style, name=part("double1"))
    yd = conv_norm_act(yd, double[2], 3, stride=2, style=valid, name=part("double2"))
    yp = max_pool(x, 3, stride=2, style=valid, name=part("pool"))
    return concat([y3, yd, yp], name=part("out"))


def v3_c(
    x: KerasTensor, inner: int = 192, out: int = 192, *, n: int = 7, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`[conv1×1(x), f(conv1×1(x)), g(g(conv1×1(x))), conv1×1(avgpool3×3(x))]` with `f(x) = convn×1(conv1×n(x))` and
    `g(x) = conv1×n(convn×1(x))`, windows of n×n as a row and a column.

    Args:
        x: `(batch, height, width, channels)`.
        inner: channels inside the branches of rows and columns.
        out: channels out of each of the four branches.
        n: length of the rows and columns, in pixels.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, height, width, 4 · out)`.

    Raises:
        ValueError: `x` is not of rank 4, or a size is not a positive integer.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 6.

    >>> from keras import Input
    >>> v3_c(Input((17, 17, 768)), 128).shape
    (None, 17, 17, 768)
    """
    check.rank(x, 4)
    check_widths(inner=(inner, 1), out=(out, 1), n=(n, 1))
    part = scope(name, "inception_v3_c")
    y1 = conv_norm_act(x, out, 1, style=style, name=part("1x1"))
    yn = conv_norm_act(x, inner, 1, style=style, name=part("rows_reduce"))
    yn = conv_norm_act(yn, inner, (1, n), style=style, name=part("rows1"))
    yn = conv_norm_act(yn, out, (n, 1), style=style, name=part("rows2"))
    yd = conv_norm_act(x, inner, 1, style=style, name=part("double_reduce"))
    yd = conv_norm_act(yd, inner, (n, 1), style=style, name=part("double1"))
    yd = conv_norm_act(yd, inner, (1, n), style=style, name=part("double2"))
    yd = conv_norm_act(yd, inner, (n, 1), style=style, name=part("double3"))
    yd = conv_norm_act(yd, out, (1, n), style=style, name=part("double4"))
    yp = avg_pool(x, 3, style=style, name=part("pool"))
    yp = conv_norm_act(yp, out, 1, style=style, name=part("pool_project"))
    return concat([y1, yn, yd, yp], name=part("out"))


def v3_d(
    x: KerasTensor,
    b3: tuple[int, int] = (192, 320),
    rows: int = 192,
    *,
    n: int = 7,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv3×3/2(conv1×1(x)), conv3×3/2(convn×1(conv1×n(conv1×1(x)))), maxpool3×3/2(x)]`; what has the stride has no
    padding.

    Args:
        x: `(batch, height, width, channels)`, at least 3×3 where the size is known.
        b3: channels of the 3×3 branch, after the reduction and out.
        rows: channels of the branch of a row and a column, all through.
        n: length of the row and the column, in pixels.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, (height − 1) // 2, (width − 1) // 2, b3[1] + rows + channels)`.

    Raises:
        ValueError: `x` is not of rank 4 or too small, or an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 10, with a row and a column in place of the inner 3×3, as the authors' own code has it.

    >>> from keras import Input
    >>> v3_d(Input((17, 17, 768))).shape
    (None, 8, 8, 1280)
    """
    check.rank(x, 4)
    check_widths(b3=(b3, 2), rows=(rows, 1), n=(n, 1))
    part, valid = scope(name, "inception_v3_d"), replace(style, padding="valid")
    y3 = conv_norm_act(x, b3[0], 1, style=style, name=part("3x3_reduce"))
    y3 = conv_norm_act(y3, b3[1], 3, stride=2, style=valid, name=part("3x3"))
    yn = conv_norm_act(x, rows, 1, style=style, name=part("rows_reduce"))
    yn = conv_norm_act(yn, rows, (1, n), style=style, name=part("rows1"))
    yn = conv_norm_act(yn, rows, (n, 1), style=style, name=part("rows2"))
    yn = conv_norm_act(yn, rows, 3, stride=2, style=valid, name=part("rows_3x3"))
    yp = max_pool(x, 3, stride=2, style=valid, name=part("pool"))
    return concat([y3, yn, yp], name=part("out"))


def v3_e(
    x: KerasTensor,
    b1: int = 320,
    split: tuple[int, int] = (384, 384),
    double: tuple[int, int, int] = (448, 384, 384),
    pool: int = 192,
    *,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv1×1(x), f(conv1×1(x)), f(conv3×3(conv1×1(x))), conv1×1(avgpool3×3(x))]` with `f(x) = [conv1×3(x),
    conv3×1(x)]`, a row and a column side by side.

    Args:
        x: `(batch, height, width, channels)`.
        b1: channels out of the 1×1 branch.
        split: channels of the branch that splits after the reduction, after the reduction and out of each half.
        double: channels of the branch that splits after a 3×3, after the reduction, after the 3×3 and out of each half.
        pool: channels out of the pooling branch.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, height, width, b1 + 2 · split[1] + 2 · double[2] + pool)`.

    Raises:
        ValueError: `x` is not of rank 4, or an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 7.

    >>> from keras import Input
    >>> v3_e(Input((8, 8, 1280))).shape
    (None, 8, 8, 2048)
    """
    check.rank(x, 4)
    check_widths(b1=(b1, 1), split=(split, 2), double=(double, 3), pool=(pool, 1))
    part = scope(name, "inception_v3_e")
    y1 = conv_norm_act(x, b1, 1, style=style, name=part("1x1"))
    ys = conv_norm_act(x, split[0], 1, style=style, name=part("split_reduce"))
    ys1 = conv_norm_act(ys, split[1], (1, 3), style=style, name=part("split_1x3"))
    ys2 = conv_norm_act(ys, split[1], (3, 1), style=style, name=part("split_3x1"))
    yd = conv_norm_act(x, double[0], 1, style=style, name=part("double_reduce"))
    yd = conv_norm_act(yd, double[1], 3, style=style, name=part("double_3x3"))
    yd1 = conv_norm_act(yd, double[2], (1, 3), style=style, name=part("double_1x3"))
    yd2 = conv_norm_act(yd, double[2], (3, 1), style=style, name=part("double_3x1"))
    yp = avg_pool(x, 3, style=style, name=part("pool"))
    yp = conv_norm_act(yp, pool, 1, style=style, name=part("pool_project"))
    return concat([y1, ys1, ys2, yd1, yd2, yp], name=part("out"))


def check_widths(**branches: tuple[Any, int]) -> None:
    """Raise unless each argument holds the widths of its branch; of `argument=(value, count)`, `count` of them."""
    forms = {2: "a pair of widths (reduction, out)", 3: "three widths (reduction, middle, out)"}
    for argument, (value, count) in branches.items():
        if count > 1 and not (isinstance(value, list | tuple) and len(value) == count):
            raise ValueError(f"`{argument}` must be {forms[count]}; got {value!r}")
        for width in value if count > 1 else (value,):
            check.positive(width, argument)
