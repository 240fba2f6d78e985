"""Inception modules: parallel branches with different kernel sizes, concatenated along the channels.

Each argument holds the widths of one branch, so that a network is a table of rows. `v3_a` to `v3_e` are the modules of
Inception-v3 in the network's order, `v4_a` to `v4_e` those of Inception-v4. `branch` is for modules of your own.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from keras import KerasTensor

from kblocks import check
from kblocks.compose import concat
from kblocks.conv import conv_norm_act
from kblocks.naming import resolve, scope
from kblocks.pool import avg_pool, max_pool
from kblocks.style import RELU_BN, Style

__all__ = [
    "branch",
    "naive",
    "v1",
    "v3_a",
    "v3_b",
    "v3_c",
    "v3_d",
    "v3_e",
    "v4_a",
    "v4_b",
    "v4_c",
    "v4_d",
    "v4_e",
]


def __dir__() -> list[str]:
    return __all__


def branch(
    x: KerasTensor,
    convs: Sequence[tuple[str, int, int | tuple[int, int]]],
    *,
    stride: int = 1,
    padding: str | None = None,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`conv_n(… conv_1(x))`, each convolution with normalisation and activation.

    Args:
        convs: a row `(name, filters, kernel size)` for each convolution; the first layer is called `{name}_{row name}`.
        stride: stride of the last convolution.
        padding: padding of the last convolution; `None` for the style's.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters of the last convolution)`.

    Raises:
        ValueError: `convs` is empty, or a size is not a positive integer.

    >>> from keras import Input
    >>> branch(Input((28, 28, 192)), [("reduce", 96, 1), ("3x3", 128, 3)]).shape
    (None, 28, 28, 128)
    """
    check.rank(x, 4)
    part = scope(name, "inception_branch")
    if not isinstance(convs, list | tuple) or not convs:
        raise ValueError(f"`convs` must be a list or tuple of rows (name, filters, kernel size); got {convs!r}")
    *first, (last, filters, kernel_size) = convs
    for each, width, size in first:
        x = conv_norm_act(x, width, size, style=style, name=part(each))
    if padding is not None:
        style = replace(style, padding=padding)
    return conv_norm_act(x, filters, kernel_size, stride=stride, style=style, name=part(last))


def naive(x: KerasTensor, b1: int, b3: int, b5: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`[conv1×1(x), conv3×3(x), conv5×5(x), maxpool3×3(x)]`.

    Args:
        b1: output channels of the 1×1 branch.
        b3: output channels of the 3×3 branch.
        b5: output channels of the 5×5 branch.

    Returns:
        `(batch, height, width, b1 + b3 + b5 + channels)`.

    Raises:
        ValueError: a width is not a positive integer.

    Source: Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842, Figure 2 (a).

    >>> from keras import Input
    >>> naive(Input((28, 28, 192)), 64, 128, 32).shape
    (None, 28, 28, 416)
    """
    check.rank(x, 4)
    check.widths(b1=(b1, 1), b3=(b3, 1), b5=(b5, 1))
    name = resolve(name, "inception_naive")
    part, convs = scope(name, ""), partial(branch, style=style, name=name)
    y1 = convs(x, [("1x1", b1, 1)])
    y3 = convs(x, [("3x3", b3, 3)])
    y5 = convs(x, [("5x5", b5, 5)])
    yp = max_pool(x, 3, style=style, name=part("pool"))
    return concat([y1, y3, y5, yp], name=part("out"))


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
        b1: output channels of the 1×1 branch.
        b3: channels of the 3×3 branch: reduction, output.
        b5: channels of the 5×5 branch: reduction, output.
        pool: output channels of the pooling branch.

    Returns:
        `(batch, height, width, b1 + b3[1] + b5[1] + pool)`.

    Raises:
        ValueError: a width is not a positive integer, or `b3` or `b5` is not a pair.

    Source: Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842, Figure 2 (b).

    >>> from keras import Input
    >>> v1(Input((28, 28, 192)), 64, (96, 128), (16, 32), 32).shape
    (None, 28, 28, 256)
    """
    check.rank(x, 4)
    check.widths(b1=(b1, 1), b3=(b3, 2), b5=(b5, 2), pool=(pool, 1))
    name = resolve(name, "inception_v1")
    part, convs = scope(name, ""), partial(branch, style=style, name=name)
    y1 = convs(x, [("1x1", b1, 1)])
    y3 = convs(x, [("3x3_reduce", b3[0], 1), ("3x3", b3[1], 3)])
    y5 = convs(x, [("5x5_reduce", b5[0], 1), ("5x5", b5[1], 5)])
    yp = max_pool(x, 3, style=style, name=part("pool"))
    yp = convs(yp, [("pool_project", pool, 1)])
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
        b1: output channels of the 1×1 branch.
        b5: channels of the 5×5 branch: reduction, output.
        double: channels of the branch with two 3×3 convolutions: reduction, first, output.
        pool: output channels of the pooling branch.

    Returns:
        `(batch, height, width, b1 + b5[1] + double[2] + pool)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 5, with a 5×5 in place of the single 3×3 convolution, as in the authors' code.

    >>> from keras import Input
    >>> v3_a(Input((35, 35, 192)), pool=32).shape
    (None, 35, 35, 256)
    """
    check.rank(x, 4)
    check.widths(b1=(b1, 1), b5=(b5, 2), double=(double, 3), pool=(pool, 1))
    name = resolve(name, "inception_v3_a")
    part, convs = scope(name, ""), partial(branch, style=style, name=name)
    y1 = convs(x, [("1x1", b1, 1)])
    y5 = convs(x, [("5x5_reduce", b5[0], 1), ("5x5", b5[1], 5)])
    yd = convs(x, [("double_reduce", double[0], 1), ("double1", double[1], 3), ("double2", double[2], 3)])
    yp = avg_pool(x, 3, style=style, name=part("pool"))
    yp = convs(yp, [("pool_project", pool, 1)])
    return concat([y1, y5, yd, yp], name=part("out"))


def v3_b(
    x: KerasTensor,
    b3: int = 384,
    double: tuple[int, int, int] = (64, 96, 96),
    *,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv3×3/2(x), conv3×3/2(conv3×3(conv1×1(x))), maxpool3×3/2(x)]`; layers with a stride are unpadded.

    Args:
        x: `(batch, height, width, channels)`, at least 3×3.
        b3: output channels of the 3×3 branch.
        double: channels of the branch with two 3×3 convolutions: reduction, first, output.

    Returns:
        `(batch, (height − 1) // 2, (width − 1) // 2, b3 + double[2] + channels)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers, or `x` is too small.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 10, without a reduction before the single 3×3 convolution, as in the authors' code.

    >>> from keras import Input
    >>> v3_b(Input((35, 35, 288))).shape
    (None, 17, 17, 768)
    """
    check.rank(x, 4)
    check.widths(b3=(b3, 1), double=(double, 3))
    name = resolve(name, "inception_v3_b")
    part, convs = scope(name, ""), partial(branch, stride=2, padding="valid", style=style, name=name)
    y3 = convs(x, [("3x3", b3, 3)])
    yd = convs(x, [("double_reduce", double[0], 1), ("double1", double[1], 3), ("double2", double[2], 3)])
    yp = max_pool(x, 3, stride=2, style=replace(style, padding="valid"), name=part("pool"))
    return concat([y3, yd, yp], name=part("out"))


def v3_c(
    x: KerasTensor, inner: int = 192, out: int = 192, *, n: int = 7, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`[conv1×1(x), f(conv1×1(x)), g(g(conv1×1(x))), conv1×1(avgpool3×3(x))]` with `f(x) = convn×1(conv1×n(x))` and
    `g(x) = conv1×n(convn×1(x))`: n×n kernels factorised into 1×n and n×1.

    Args:
        inner: channels inside the two factorised branches.
        out: output channels of each of the four branches.
        n: length of the 1×n and n×1 kernels.

    Returns:
        `(batch, height, width, 4 · out)`.

    Raises:
        ValueError: a size is not a positive integer.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 6.

    >>> from keras import Input
    >>> v3_c(Input((17, 17, 768)), 128).shape
    (None, 17, 17, 768)
    """
    check.rank(x, 4)
    check.widths(inner=(inner, 1), out=(out, 1), n=(n, 1))
    name = resolve(name, "inception_v3_c")
    part, convs = scope(name, ""), partial(branch, style=style, name=name)
    y1 = convs(x, [("1x1", out, 1)])
    yn = convs(x, [("rows_reduce", inner, 1), ("rows1", inner, (1, n)), ("rows2", out, (n, 1))])
    yd = convs(x, [("double_reduce", inner, 1), ("double1", inner, (n, 1)), ("double2", inner, (1, n))])
    yd = convs(yd, [("double3", inner, (n, 1)), ("double4", out, (1, n))])
    yp = avg_pool(x, 3, style=style, name=part("pool"))
    yp = convs(yp, [("pool_project", out, 1)])
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
    """`[conv3×3/2(conv1×1(x)), conv3×3/2(convn×1(conv1×n(conv1×1(x)))), maxpool3×3/2(x)]`; layers with a stride are
    unpadded.

    Args:
        x: `(batch, height, width, channels)`, at least 3×3.
        b3: channels of the 3×3 branch: reduction, output.
        rows: channels of every convolution of the factorised branch.
        n: length of the 1×n and n×1 kernels.

    Returns:
        `(batch, (height − 1) // 2, (width − 1) // 2, b3[1] + rows + channels)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers, or `x` is too small.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 10, with 1×n and n×1 convolutions in place of the inner 3×3, as in the authors' code.

    >>> from keras import Input
    >>> v3_d(Input((17, 17, 768))).shape
    (None, 8, 8, 1280)
    """
    check.rank(x, 4)
    check.widths(b3=(b3, 2), rows=(rows, 1), n=(n, 1))
    name = resolve(name, "inception_v3_d")
    part, convs = scope(name, ""), partial(branch, stride=2, padding="valid", style=style, name=name)
    y3 = convs(x, [("3x3_reduce", b3[0], 1), ("3x3", b3[1], 3)])
    yn = convs(x, [("rows_reduce", rows, 1), ("rows1", rows, (1, n)), ("rows2", rows, (n, 1)), ("rows_3x3", rows, 3)])
    yp = max_pool(x, 3, stride=2, style=replace(style, padding="valid"), name=part("pool"))
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
    conv3×1(x)]`.

    Args:
        b1: output channels of the 1×1 branch.
        split: channels of the branch `f(conv1×1(x))`: reduction, output of each convolution of `f`.
        double: channels of the branch `f(conv3×3(conv1×1(x)))`: reduction, 3×3, output of each convolution of `f`.
        pool: output channels of the pooling branch.

    Returns:
        `(batch, height, width, b1 + 2 · split[1] + 2 · double[2] + pool)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Figure 7.

    >>> from keras import Input
    >>> v3_e(Input((8, 8, 1280))).shape
    (None, 8, 8, 2048)
    """
    check.rank(x, 4)
    check.widths(b1=(b1, 1), split=(split, 2), double=(double, 3), pool=(pool, 1))
    name = resolve(name, "inception_v3_e")
    part, convs = scope(name, ""), partial(branch, style=style, name=name)
    y1 = convs(x, [("1x1", b1, 1)])
    ys = convs(x, [("split_reduce", split[0], 1)])
    ys1 = convs(ys, [("split_1x3", split[1], (1, 3))])
    ys2 = convs(ys, [("split_3x1", split[1], (3, 1))])
    yd = convs(x, [("double_reduce", double[0], 1), ("double_3x3", double[1], 3)])
    yd1 = convs(yd, [("double_1x3", double[2], (1, 3))])
    yd2 = convs(yd, [("double_3x1", double[2], (3, 1))])
    yp = avg_pool(x, 3, style=style, name=part("pool"))
    yp = convs(yp, [("pool_project", pool, 1)])
    return concat([y1, ys1, ys2, yd1, yd2, yp], name=part("out"))


def v4_a(
    x: KerasTensor,
    b1: int = 96,
    b3: tuple[int, int] = (64, 96),
    double: tuple[int, int, int] = (64, 96, 96),
    pool: int = 96,
    *,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv1×1(x), conv3×3(conv1×1(x)), conv3×3(conv3×3(conv1×1(x))), conv1×1(avgpool3×3(x))]`.

    Args:
        b1: output channels of the 1×1 branch.
        b3: channels of the 3×3 branch: reduction, output.
        double: channels of the branch with two 3×3 convolutions: reduction, first, output.
        pool: output channels of the pooling branch.

    Returns:
        `(batch, height, width, b1 + b3[1] + double[2] + pool)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 4.

    >>> from keras import Input
    >>> v4_a(Input((35, 35, 384))).shape
    (None, 35, 35, 384)
    """
    check.rank(x, 4)
    check.widths(b1=(b1, 1), b3=(b3, 2), double=(double, 3), pool=(pool, 1))
    name = resolve(name, "inception_v4_a")
    part, convs = scope(name, ""), partial(branch, style=style, name=name)
    y1 = convs(x, [("1x1", b1, 1)])
    y3 = convs(x, [("3x3_reduce", b3[0], 1), ("3x3", b3[1], 3)])
    yd = convs(x, [("double_reduce", double[0], 1), ("double1", double[1], 3), ("double2", double[2], 3)])
    yp = avg_pool(x, 3, style=style, name=part("pool"))
    yp = convs(yp, [("pool_project", pool, 1)])
    return concat([y1, y3, yd, yp], name=part("out"))


# Figure 7 of the same paper, with the widths of Table 1.
v4_b = partial(v3_b, double=(192, 224, 256))


def v4_c(
    x: KerasTensor,
    b1: int = 384,
    rows: tuple[int, int, int] = (192, 224, 256),
    double: tuple[int, int, int, int, int] = (192, 192, 224, 224, 256),
    pool: int = 128,
    *,
    n: int = 7,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv1×1(x), f(conv1×1(x)), g(g(conv1×1(x))), conv1×1(avgpool3×3(x))]` with `f(x) = convn×1(conv1×n(x))` and
    `g(x) = conv1×n(convn×1(x))`.

    Args:
        b1: output channels of the 1×1 branch.
        rows: channels of the branch `f(conv1×1(x))`: reduction, 1×n, output.
        double: channels of the branch `g(g(conv1×1(x)))`: reduction, the three convolutions inside, output.
        pool: output channels of the pooling branch.
        n: length of the 1×n and n×1 kernels.

    Returns:
        `(batch, height, width, b1 + rows[2] + double[4] + pool)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 5, with the order of the kernels of the authors' code.

    >>> from keras import Input
    >>> v4_c(Input((17, 17, 1024))).shape
    (None, 17, 17, 1024)
    """
    check.rank(x, 4)
    check.widths(b1=(b1, 1), rows=(rows, 3), double=(double, 5), pool=(pool, 1), n=(n, 1))
    name = resolve(name, "inception_v4_c")
    part, convs = scope(name, ""), partial(branch, style=style, name=name)
    y1 = convs(x, [("1x1", b1, 1)])
    yn = convs(x, [("rows_reduce", rows[0], 1), ("rows1", rows[1], (1, n)), ("rows2", rows[2], (n, 1))])
    yd = convs(x, [("double_reduce", double[0], 1), ("double1", double[1], (n, 1)), ("double2", double[2], (1, n))])
    yd = convs(yd, [("double3", double[3], (n, 1)), ("double4", double[4], (1, n))])
    yp = avg_pool(x, 3, style=style, name=part("pool"))
    yp = convs(yp, [("pool_project", pool, 1)])
    return concat([y1, yn, yd, yp], name=part("out"))


def v4_d(
    x: KerasTensor,
    b3: tuple[int, int] = (192, 192),
    rows: tuple[int, int, int] = (256, 256, 320),
    *,
    n: int = 7,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv3×3/2(conv1×1(x)), conv3×3/2(convn×1(conv1×n(conv1×1(x)))), maxpool3×3/2(x)]`; layers with a stride are
    unpadded.

    Args:
        x: `(batch, height, width, channels)`, at least 3×3.
        b3: channels of the 3×3 branch: reduction, output.
        rows: channels of the factorised branch: reduction, 1×n, the last two convolutions.
        n: length of the 1×n and n×1 kernels.

    Returns:
        `(batch, (height − 1) // 2, (width − 1) // 2, b3[1] + rows[2] + channels)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers, or `x` is too small.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 8.

    >>> from keras import Input
    >>> v4_d(Input((17, 17, 1024))).shape
    (None, 8, 8, 1536)
    """
    check.rank(x, 4)
    check.widths(b3=(b3, 2), rows=(rows, 3), n=(n, 1))
    name = resolve(name, "inception_v4_d")
    part, convs = scope(name, ""), partial(branch, stride=2, padding="valid", style=style, name=name)
    y3 = convs(x, [("3x3_reduce", b3[0], 1), ("3x3", b3[1], 3)])
    yn = convs(
        x,
        [("rows_reduce", rows[0], 1), ("rows1", rows[1], (1, n)), ("rows2", rows[2], (n, 1)), ("rows_3x3", rows[2], 3)],
    )
    yp = max_pool(x, 3, stride=2, style=replace(style, padding="valid"), name=part("pool"))
    return concat([y3, yn, yp], name=part("out"))


def v4_e(
    x: KerasTensor,
    b1: int = 256,
    split: tuple[int, int] = (384, 256),
    double: tuple[int, int, int, int] = (384, 448, 512, 256),
    pool: int = 256,
    *,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[conv1×1(x), f(conv1×1(x)), f(conv1×3(conv3×1(conv1×1(x)))), conv1×1(avgpool3×3(x))]` with `f(x) = [conv1×3(x),
    conv3×1(x)]`.

    Args:
        b1: output channels of the 1×1 branch.
        split: channels of the branch `f(conv1×1(x))`: reduction, output of each convolution of `f`.
        double: channels of the third branch: reduction, 3×1, 1×3, output of each convolution of `f`.
        pool: output channels of the pooling branch.

    Returns:
        `(batch, height, width, b1 + 2 · split[1] + 2 · double[3] + pool)`.

    Raises:
        ValueError: an argument does not hold its number of positive integers.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 6, with the order of the kernels of the authors' code.

    >>> from keras import Input
    >>> v4_e(Input((8, 8, 1536))).shape
    (None, 8, 8, 1536)
    """
    check.rank(x, 4)
    check.widths(b1=(b1, 1), split=(split, 2), double=(double, 4), pool=(pool, 1))
    name = resolve(name, "inception_v4_e")
    part, convs = scope(name, ""), partial(branch, style=style, name=name)
    y1 = convs(x, [("1x1", b1, 1)])
    ys = convs(x, [("split_reduce", split[0], 1)])
    ys1 = convs(ys, [("split_1x3", split[1], (1, 3))])
    ys2 = convs(ys, [("split_3x1", split[1], (3, 1))])
    yd = convs(x, [("double_reduce", double[0], 1), ("double1", double[1], (3, 1)), ("double2", double[2], (1, 3))])
    yd1 = convs(yd, [("double_1x3", double[3], (1, 3))])
    yd2 = convs(yd, [("double_3x1", double[3], (3, 1))])
    yp = avg_pool(x, 3, style=style, name=part("pool"))
    yp = convs(yp, [("pool_project", pool, 1)])
    return concat([y1, ys1, ys2, yd1, yd2, yp], name=part("out"))
