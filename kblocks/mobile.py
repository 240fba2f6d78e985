"""Units for small devices: depthwise convolutions see the neighbours, 1×1 convolutions mix the channels.

A unit is a function `(x, filters, *, stride, drop_path, style, name) -> tensor` that `kblocks.compose.stage` repeats;
`filters` is the width that comes out. Papers that differ by a parameter are partials:

    mnasnet = partial(inverted_residual, expansion=3, kernel_size=5)
    mobilenet_v3 = partial(inverted_residual, attention=partial(squeeze_excite, ratio=1/4, divisor=8))
"""

from collections.abc import Callable
from functools import partial

from keras import KerasTensor

from kblocks import check
from kblocks.attention import squeeze_excite
from kblocks.compose import add, stochastic_depth
from kblocks.contracts import Attention
from kblocks.conv import conv_norm, conv_norm_act, depthwise_norm_act
from kblocks.naming import scope
from kblocks.padding import replace_stride
from kblocks.rounding import make_divisible
from kblocks.style import RELU_BN, SWISH_BN, Style, activate


def depthwise_separable(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    kernel_size: int = 3,
    multiplier: int = 1,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(norm(conv1×1(act(norm(W_c ∗ x_c)))))`.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of the depthwise convolution, in pixels.
        kernel_size: side of the depthwise kernel, in pixels.
        multiplier: channels out of the depthwise convolution for each that goes in.
        drop_path: 0; a unit takes one, and this one has no shortcut to leave alone.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `x` is not of rank 4, a size is not a positive integer, or `drop_path` is not 0.

    Source: Howard et al., "MobileNets", 2017, arXiv 1704.04861, Figure 3 right.

    >>> from keras import Input
    >>> depthwise_separable(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    if drop_path != 0:
        raise ValueError(f"`drop_path` must be 0 for a unit without a shortcut; got {drop_path!r}")
    part = scope(name, "depthwise_separable")
    x = depthwise_norm_act(x, kernel_size, stride=stride, multiplier=multiplier, style=style, name=part("depthwise"))
    x = conv_norm(x, filters, 1, style=style, name=part("pointwise"))
    return activate(x, style=style, name=part("out"))


def inverted_residual(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    kernel_size: int = 3,
    dilation: int = 1,
    expansion: float = 6,
    divisor: int = 1,
    attention: Attention | None = None,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x + norm(conv1×1(act(norm(W_c ∗ act(norm(conv1×1(x)))_c))))`, wide inside and linear at the end.

    Where the unit changes the shape nothing is added. With an expansion of 1 the first convolution is left out.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of the depthwise convolution, in pixels.
        kernel_size: side of the depthwise kernel, in pixels.
        dilation: distance of neighbouring taps, in pixels. Above 1 it replaces the stride, which must divide it: the
            size stays, and the taps are `dilation / stride` apart.
        expansion: width of the depthwise convolution, as a multiple of the channels of `x`.
        divisor: that width is rounded to a multiple of it, see `kblocks.rounding.make_divisible`.
        attention: a function `(x, *, style, name) -> tensor` of the depthwise convolution's output; `None` for none. A
            share `s` of the unit's own input is the share `s / expansion` of what it sees.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`, or with a dilation of `x`'s height and width.

    Raises:
        ValueError: `x` is not of rank 4, a size is not a positive integer, `expansion` is not a positive number, or
            `stride` does not divide a dilation above 1.

    Source: Sandler et al., "MobileNetV2", 2018, arXiv 1801.04381, Figure 4 (d); with `attention` Howard et al.,
    "Searching for MobileNetV3", 2019, arXiv 1905.02244, Figure 4, and the MBConv of Tan and Le, "EfficientNet", 2019,
    arXiv 1905.11946.

    >>> from keras import Input
    >>> inverted_residual(Input((32, 32, 16)), 24, stride=2).shape
    (None, 16, 16, 24)
    """
    check.rank(x, 4)
    part = scope(name, "inverted_residual")
    width = make_divisible(x.shape[-1], expansion, divisor=divisor, argument="expansion")
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    y = x if expansion == 1 else conv_norm_act(x, width, 1, style=style, name=part("expand"))
    y = depthwise_norm_act(
        y, kernel_size, stride=conv_stride, dilation=conv_dilation, style=style, name=part("depthwise")
    )
    if attention is not None:
        y = attention(y, style=style, name=part("attention"))
    y = conv_norm(y, filters, 1, style=style, name=part("project"))
    return _add(x, y, stride, drop_path, part)


def mbconv(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    kernel_size: int = 3,
    dilation: int = 1,
    expansion: float = 6,
    ratio: float = 1 / 4,
    drop_path: float = 0.0,
    style: Style = SWISH_BN,
    name: str | None = None,
) -> KerasTensor:
    """`inverted_residual` with squeeze-and-excite before its last convolution.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of the depthwise convolution, in pixels.
        kernel_size: side of the depthwise kernel, in pixels.
        dilation: distance of neighbouring taps, in pixels, see `inverted_residual`.
        expansion: width of the depthwise convolution, as a multiple of the channels of `x`.
        ratio: width within the attention, as a share of the channels of `x`.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`, or with a dilation of `x`'s height and width.

    Raises:
        ValueError: as `inverted_residual`, or `ratio` is not a positive number.

    Source: Tan and Le, "EfficientNet", 2019, arXiv 1905.11946, section 4.

    >>> from keras import Input
    >>> mbconv(Input((32, 32, 16)), 24, stride=2).shape
    (None, 16, 16, 24)
    """
    return inverted_residual(
        x,
        filters,
        stride=stride,
        kernel_size=kernel_size,
        dilation=dilation,
        expansion=expansion,
        # The attention sees the expanded channels, and its width is a share of those before.
        attention=partial(squeeze_excite, ratio=ratio / expansion),
        drop_path=drop_path,
        style=style,
        name=name,
    )


def fused_inverted_residual(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    kernel_size: int = 3,
    dilation: int = 1,
    expansion: float = 4,
    divisor: int = 1,
    attention: Attention | None = None,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x + norm(conv1×1(act(norm(conv3×3(x)))))`: one full convolution for the first two of `inverted_residual`.

    Where the unit changes the shape nothing is added. With an expansion of 1 it is `x + act(norm(conv3×3(x)))`.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of the first convolution, in pixels.
        kernel_size: side of its kernel, in pixels.
        dilation: distance of neighbouring taps, in pixels. Above 1 it replaces the stride, which must divide it: the
            size stays, and the taps are `dilation / stride` apart.
        expansion: its width, as a multiple of the channels of `x`.
        divisor: that width is rounded to a multiple of it, see `kblocks.rounding.make_divisible`.
        attention: a function `(x, *, style, name) -> tensor` of what the last convolution gets, with the unit's style;
            `None` for none.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`, or with a dilation of `x`'s height and width.

    Raises:
        ValueError: `x` is not of rank 4, a size is not a positive integer, `expansion` is not a positive number, or
            `stride` does not divide a dilation above 1.

    Source: Tan and Le, "EfficientNetV2", 2021, arXiv 2104.00298, Figure 2.

    >>> from keras import Input
    >>> fused_inverted_residual(Input((32, 32, 16)), 24, stride=2).shape
    (None, 16, 16, 24)
    """
    check.rank(x, 4)
    part = scope(name, "fused_inverted_residual")
    width = make_divisible(x.shape[-1], expansion, divisor=divisor, argument="expansion")
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    wide = {"kernel_size": kernel_size, "stride": conv_stride, "dilation": conv_dilation, "style": style}
    y = x if expansion == 1 else conv_norm_act(x, width, **wide, name=part("expand"))
    if attention is not None:
        y = attention(y, style=style, name=part("attention"))
    if expansion == 1:
        y = conv_norm_act(y, filters, **wide, name=part("project"))
    else:
        y = conv_norm(y, filters, 1, style=style, name=part("project"))
    return _add(x, y, stride, drop_path, part)


def _add(x: KerasTensor, y: KerasTensor, stride: int, drop_path: float, part: Callable[[str], str]) -> KerasTensor:
    """`x + y` where the unit keeps its shape, else `y`; so too where a dilation has replaced the stride."""
    check.fraction(drop_path, "drop_path")
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        return add([y], name=part("out"))
    return add([x, stochastic_depth(y, drop_path, name=part("drop_path"))], name=part("out"))
