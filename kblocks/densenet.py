"""DenseNet's blocks: each layer's input is the concatenation of all previous outputs.

Each layer adds `growth` channels; a transition between two blocks reduces the channels and halves the size.
"""

import math
from dataclasses import replace

from keras import KerasTensor, layers

from kblocks import check
from kblocks.compose import concat
from kblocks.conv import norm_act_conv
from kblocks.naming import scope
from kblocks.pool import avg_pool
from kblocks.style import RELU_BN, Style

__all__ = ["dense_block", "dense_layer", "transition"]


def __dir__() -> list[str]:
    return __all__


def dense_layer(
    x: KerasTensor,
    growth: int,
    *,
    expansion: int | None = 4,
    dropout: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[x, conv3×3(act(norm(conv1×1(act(norm(x))))))]`; without the 1×1 convolution `[x, conv3×3(act(norm(x)))]`.

    Args:
        growth: number of channels added.
        expansion: width of the 1×1 convolution, as a multiple of `growth`; `None` for no 1×1 convolution.
        dropout: dropout rate after each convolution.

    Returns:
        `(batch, height, width, channels + growth)`; the first channels are those of `x`.

    Raises:
        ValueError: a size is not a positive integer, or `dropout` is not in [0, 1).

    Source: Huang et al., "Densely Connected Convolutional Networks", 2016, arXiv 1608.06993, section 3; with the 1×1
    convolution, DenseNet-B.

    >>> from keras import Input
    >>> dense_layer(Input((56, 56, 64)), 32).shape
    (None, 56, 56, 96)
    """
    check.rank(x, 4)
    check.positive(growth, "growth")
    part = scope(name, "dense_layer")
    y = x
    if expansion is not None:
        check.positive(expansion, "expansion")
        y = norm_act_conv(y, expansion * growth, 1, style=style, name=part("conv1"))
        y = _dropout(y, dropout, part("dropout1"))
    y = norm_act_conv(y, growth, 3, style=style, name=part("conv2"))
    y = _dropout(y, dropout, part("dropout2"))
    return concat([x, y], name=part("out"))


def dense_block(
    x: KerasTensor,
    depth: int,
    growth: int,
    *,
    expansion: int | None = 4,
    dropout: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`depth` dense layers in sequence: `[x, y1, y2, …]`, where the input of `y_n` is `[x, y1, …, y_(n−1)]`.

    Args:
        depth: number of dense layers, which are called `{name}_unit1`, `{name}_unit2`, …
        growth: see `dense_layer`.
        expansion: see `dense_layer`.
        dropout: see `dense_layer`.

    Returns:
        `(batch, height, width, channels + depth · growth)`; the first channels are those of `x`.

    Raises:
        ValueError: a size is not a positive integer, or `dropout` is not in [0, 1).

    Source: Huang et al., "Densely Connected Convolutional Networks", 2016, arXiv 1608.06993, Figure 1.

    >>> from keras import Input
    >>> dense_block(Input((56, 56, 64)), 6, 32).shape
    (None, 56, 56, 256)
    """
    check.positive(depth, "depth")
    part = scope(name, "dense_block")
    for i in range(1, depth + 1):
        x = dense_layer(x, growth, expansion=expansion, dropout=dropout, style=style, name=part(f"unit{i}"))
    return x


def transition(
    x: KerasTensor,
    *,
    compression: float = 0.5,
    dropout: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`avgpool2×2/2(conv1×1(act(norm(x))))`.

    Args:
        x: `(batch, height, width, channels)`, at least 2×2.
        compression: output channels as a fraction of the input channels.
        dropout: dropout rate after the convolution.

    Returns:
        `(batch, height // 2, width // 2, floor(compression · channels))`.

    Raises:
        ValueError: `x` is smaller than 2×2, the output channels are none or more than the input's, or `dropout` is not
            in [0, 1).

    Source: Huang et al., "Densely Connected Convolutional Networks", 2016, arXiv 1608.06993, section 3; with a
    compression below 1, DenseNet-C.

    >>> from keras import Input
    >>> transition(Input((56, 56, 256))).shape
    (None, 28, 28, 128)
    """
    check.rank(x, 4)
    check.positive_number(compression, "compression")
    filters = math.floor(compression * x.shape[-1] + 1e-6)  # 0.29 · 100 is 28.999… in floating point
    if not 1 <= filters <= x.shape[-1]:
        raise ValueError(
            f"`compression` must leave at least one channel and add none; got {compression} of {x.shape[-1]} channels"
        )
    part = scope(name, "transition")
    x = norm_act_conv(x, filters, 1, style=style, name=part("conv"))
    x = _dropout(x, dropout, part("dropout"))
    return avg_pool(x, 2, stride=2, style=replace(style, padding="valid"), name=part("out"))


def _dropout(x: KerasTensor, rate: float, name: str) -> KerasTensor:
    check.fraction(rate, "dropout")
    return layers.Dropout(rate, name=name)(x) if rate else x
