"""Units of depthwise and 1×1 convolutions, for mobile devices.

Papers that differ by an argument are partials:

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

__all__ = ["depthwise_separable", "fused_inverted_residual", "inverted_residual", "mbconv"]


def __dir__() -> list[str]:
    return __all__


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
        filters: output channels.
        stride: stride of the depthwise convolution.
        kernel_size: size of the depthwise kernel.
        multiplier: depth multiplier of the depthwise convolution.
        drop_path: must be 0, as there is no residual to drop; a `Unit` has this argument.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: a size is not a positive integer, or `drop_path` is not 0.

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
    """`x + norm(conv1×1(act(norm(W_c ∗ act(norm(conv1×1(x)))_c))))`, with a linear last convolution.

    No shortcut is added where the shape changes. An expansion of 1 omits the first convolution.

    Args:
        filters: output channels.
        stride: stride of the depthwise convolution.
        kernel_size: size of the depthwise kernel.
        dilation: dilation rate. Above 1 it replaces the stride, which must divide it: the size is kept, and the
            depthwise convolution has the dilation rate `dilation / stride`.
        expansion: width of the depthwise convolution, as a multiple of the input channels.
        divisor: the width is rounded to a multiple of it, see `kblocks.rounding.make_divisible`.
        attention: applied to the output of the depthwise convolution, which has `expansion` times the unit's channels.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`; with a dilation the height and width of `x`.

    Raises:
        ValueError: a size is not a positive integer, `expansion` is not a positive number, or `stride` does not divide
            a dilation above 1.

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
        filters: output channels.
        stride: stride of the depthwise convolution.
        kernel_size: size of the depthwise kernel.
        dilation: dilation rate, see `inverted_residual`.
        expansion: width of the depthwise convolution, as a multiple of the input channels.
        ratio: width of the squeeze-and-excite, as a share of the input channels.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        See `inverted_residual`.

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
        # The attention's input are the expanded channels; its width is a share of the unit's input channels.
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
    """`x + norm(conv1×1(act(norm(conv3×3(x)))))`: `inverted_residual` with its first two convolutions fused.

    No shortcut is added where the shape changes. An expansion of 1 gives `x + act(norm(conv3×3(x)))`.

    Args:
        filters: output channels.
        stride: stride of the first convolution.
        kernel_size: kernel size of the first convolution.
        dilation: dilation rate, see `inverted_residual`.
        expansion: width of the first convolution, as a multiple of the input channels.
        divisor: the width is rounded to a multiple of it, see `kblocks.rounding.make_divisible`.
        attention: applied to the input of the last convolution.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        See `inverted_residual`.

    Raises:
        ValueError: as `inverted_residual`.

    Source: Tan and Le, "EfficientNetV2", 2021, arXiv 2104.00298, Figure 2.

    >>> from keras import Input
    >>> fused_inverted_residual(Input((32, 32, 16)), 24, stride=2).shape
    (None, 16, 16, 24)
    """
    check.rank(x, 4)
    part = scope(name, "fused_inverted_residual")
    width = make_divisible(x.shape[-1], expansion, divisor=divisor, argument="expansion")
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    full_conv = partial(conv_norm_act, kernel_size=kernel_size, stride=conv_stride, dilation=conv_dilation, style=style)
    y = x if expansion == 1 else full_conv(x, width, name=part("expand"))
    if attention is not None:
        y = attention(y, style=style, name=part("attention"))
    if expansion == 1:
        y = full_conv(y, filters, name=part("project"))
    else:
        y = conv_norm(y, filters, 1, style=style, name=part("project"))
    return _add(x, y, stride, drop_path, part)


def _add(x: KerasTensor, y: KerasTensor, stride: int, drop_path: float, part: Callable[[str], str]) -> KerasTensor:
    """`x + y`, or `y` where the unit has a stride, even one replaced by a dilation, or changes the channels."""
    check.fraction(drop_path, "drop_path")
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        return add([y], name=part("out"))
    return add([x, stochastic_depth(y, drop_path, name=part("drop_path"))], name=part("out"))
