"""Inception modules: the same input through windows of several sizes, side by side, and the results concatenated.

Each branch's widths stand in one argument, so that a network is a table of rows.
"""

from keras import KerasTensor

from kblocks import check
from kblocks.compose import concat
from kblocks.conv import conv_norm_act
from kblocks.naming import scope
from kblocks.pool import max_pool
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
    for argument, width in (("b1", b1), ("b3", b3), ("b5", b5)):
        check.positive(width, argument)
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
    for argument, pair in (("b3", b3), ("b5", b5)):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(f"`{argument}` must be a pair of widths (reduction, out); got {pair!r}")
    for argument, width in (
        ("b1", b1),
        ("b3", b3[0]),
        ("b3", b3[1]),
        ("b5", b5[0]),
        ("b5", b5[1]),
        ("pool", pool),
    ):
        check.positive(width, argument)
    part = scope(name, "inception_v1")
    y1 = conv_norm_act(x, b1, 1, style=style, name=part("1x1"))
    y3 = conv_norm_act(x, b3[0], 1, style=style, name=part("3x3_reduce"))
    y3 = conv_norm_act(y3, b3[1], 3, style=style, name=part("3x3"))
    y5 = conv_norm_act(x, b5[0], 1, style=style, name=part("5x5_reduce"))
    y5 = conv_norm_act(y5, b5[1], 5, style=style, name=part("5x5"))
    yp = max_pool(x, 3, style=style, name=part("pool"))
    yp = conv_norm_act(yp, pool, 1, style=style, name=part("pool_project"))
    return concat([y1, y3, y5, yp], name=part("out"))
