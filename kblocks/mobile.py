"""Units of depthwise and 1×1 convolutions, for mobile devices.

Papers that differ by an argument are partials:

    mnasnet = partial(inverted_residual, expansion=3, kernel_size=5)
    mobilenet_v3 = partial(inverted_residual, attention=partial(squeeze_excite, ratio=1/4, divisor=8))
"""

from collections.abc import Callable
from functools import partial

from keras import KerasTensor, layers

from kblocks import check
from kblocks.attention import squeeze_excite
from kblocks.compose import add, concat, stochastic_depth
from kblocks.contracts import Attention
from kblocks.conv import conv_norm, conv_norm_act, depthwise_conv, depthwise_norm_act, shuffle
from kblocks.naming import resolve, scope
from kblocks.padding import replace_stride
from kblocks.pool import avg_pool
from kblocks.rounding import make_divisible
from kblocks.style import RELU_BN, SWISH_BN, Style, activate, normalize

__all__ = [
    "depthwise_separable",
    "fused_inverted_residual",
    "ghost_bottleneck",
    "ghost_module",
    "inverted_residual",
    "mbconv",
    "shuffle_v1",
    "shuffle_v2",
]


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
        ratio: width of the squeeze-and-excite, as a fraction of the input channels.
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


def shuffle_v1(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    groups: int = 3,
    ratio: float = 1 / 4,
    group_first: bool = True,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(x + F(x))` with `F(x) = norm(conv1×1(norm(W_c ∗ shuffle(act(norm(conv1×1(x))))_c)))`, 1×1 ones in groups.

    Where the shape changes it is `act([F(x), avgpool3×3/stride(x)])`, without the pooling at stride 1.

    Args:
        filters: output channels; where the shape changes, more than those of `x`.
        stride: stride of the depthwise convolution and of the pooling.
        groups: number of groups of the 1×1 convolutions and of the shuffle.
        ratio: width of the depthwise convolution, as a fraction of `filters`.
        group_first: whether the first convolution is grouped, which that of few input channels is not.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `filters` is too small, or `groups` does not divide the channels of a convolution.

    Source: Zhang et al., "ShuffleNet", 2017, arXiv 1707.01083, Figure 2 (b) and (c).

    >>> from keras import Input
    >>> shuffle_v1(Input((28, 28, 240)), 480, stride=2).shape
    (None, 14, 14, 480)
    """
    check.rank(x, 4)
    check.positive(filters, "filters")
    check.positive(stride, "stride")
    check.fraction(drop_path, "drop_path")
    channels = x.shape[-1]
    joins = stride > 1 or filters != channels
    if joins and filters <= channels:
        raise ValueError(
            "`filters` must be above the channels of `x` where the unit changes the shape; "
            f"got {filters} and {channels}"
        )
    width = make_divisible(filters, ratio, divisor=1, argument="ratio")
    part = scope(name, "shuffle_v1")
    y = conv_norm_act(x, width, 1, groups=groups if group_first else 1, style=style, name=part("conv1"))
    y = shuffle(y, groups, name=part("shuffle"))
    y = _depthwise_norm(y, 3, stride, style, part("depthwise"))
    y = conv_norm(y, filters - channels if joins else filters, 1, groups=groups, style=style, name=part("conv2"))
    if not joins:
        y = add([x, stochastic_depth(y, drop_path, name=part("drop_path"))], name=part("add"))
        return activate(y, style=style, name=part("out"))
    if stride > 1:
        x = avg_pool(x, 3, stride=stride, style=style, name=part("pool"))
    return activate(concat([y, x], name=part("join")), style=style, name=part("out"))


def shuffle_v2(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    kernel_size: int = 3,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`shuffle([a, F(b)])` with `[a, b] = x` and `F(b) = act(norm(conv1×1(norm(W_c ∗ act(norm(conv1×1(b)))_c))))`.

    Where the shape changes it is `shuffle([G(x), F(x)])` with `G(x) = act(norm(conv1×1(norm(W_c ∗ x_c))))`.

    Args:
        filters: output channels, an even number.
        stride: stride of the depthwise convolutions.
        kernel_size: size of the depthwise kernels.
        drop_path: must be 0, as there is no residual to drop; a `Unit` has this argument.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: a size is not a positive integer, `filters` is odd, or `drop_path` is not 0.

    Source: Ma et al., "ShuffleNet V2", 2018, arXiv 1807.11164, Figure 3 (c) and (d).

    >>> from keras import Input
    >>> shuffle_v2(Input((28, 28, 116)), 232, stride=2).shape
    (None, 14, 14, 232)
    """
    check.rank(x, 4)
    check.divisible(filters, 2, "filters", "2")
    check.positive(stride, "stride")
    if drop_path != 0:
        raise ValueError(f"`drop_path` must be 0 for a unit without a shortcut; got {drop_path!r}")
    name = resolve(name, "shuffle_v2")
    part, half = scope(name, ""), filters // 2
    if stride == 1 and x.shape[-1] == filters:
        kept, y = _channels(x, 0, half, part("kept")), _channels(x, half, filters, part("rest"))
    else:
        kept, y = _depthwise_norm(x, kernel_size, stride, style, part("kept_depthwise")), x
        kept = conv_norm_act(kept, half, 1, style=style, name=part("kept_conv"))
    y = conv_norm_act(y, half, 1, style=style, name=part("conv1"))
    y = _depthwise_norm(y, kernel_size, stride, style, part("depthwise"))
    y = conv_norm_act(y, half, 1, style=style, name=part("conv2"))
    return shuffle(concat([kept, y], name=part("join")), 2, name=name)


def ghost_module(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 1,
    *,
    stride: int = 1,
    ratio: int = 2,
    cheap_size: int = 3,
    act: bool = True,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[y, act(norm(W_c ∗ y_c))]` with `y = act(norm(conv(x)))`, of a fraction of the output channels.

    Args:
        filters: output channels.
        kernel_size: kernel size of the convolution.
        stride: stride of the convolution.
        ratio: output channels for each output channel of the convolution.
        cheap_size: size of the depthwise kernel.
        act: whether to apply the style's activation.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: a size is not a positive integer, or `ratio` is below 2.

    Source: Han et al., "GhostNet", 2019, arXiv 1911.11907, Figure 1 (b) and equation 3.

    >>> from keras import Input
    >>> ghost_module(Input((32, 32, 16)), 24).shape
    (None, 32, 32, 24)
    """
    check.rank(x, 4)
    check.positive(filters, "filters")
    check.positive(ratio, "ratio")
    check.positive(cheap_size, "cheap_size")
    if ratio < 2:
        raise ValueError(f"`ratio` must be at least 2; got {ratio}")
    part = scope(name, "ghost_module")
    width = -(-filters // ratio)
    if act:
        x = conv_norm_act(x, width, kernel_size, stride=stride, style=style, name=part("primary"))
        y = depthwise_norm_act(x, cheap_size, multiplier=ratio - 1, style=style, name=part("cheap"))
    else:
        x = conv_norm(x, width, kernel_size, stride=stride, style=style, name=part("primary"))
        y = _depthwise_norm(x, cheap_size, 1, style, part("cheap"), multiplier=ratio - 1)
    if width * ratio == filters:
        return concat([x, y], name=part("out"))
    return _channels(concat([x, y], name=part("join")), 0, filters, part("out"))


def ghost_bottleneck(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    kernel_size: int = 3,
    expansion: float = 3,
    divisor: int = 1,
    attention: Attention | None = None,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x + ghost(norm(W_c ∗ ghost(x)_c))` of two ghost modules, the second linear; `x + ghost(ghost(x))` at stride 1.

    Where the shape changes the shortcut is `norm(conv1×1(norm(W_c ∗ x_c)))`.

    Args:
        filters: output channels.
        stride: stride of the depthwise convolutions.
        kernel_size: size of the depthwise kernels, apart from those of the ghost modules.
        expansion: output channels of the first ghost module, as a multiple of the input channels.
        divisor: they are rounded to a multiple of it, see `kblocks.rounding.make_divisible`.
        attention: applied to the input of the second ghost module.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: a size is not a positive integer, or `expansion` is not a positive number.

    Source: Han et al., "GhostNet", 2019, arXiv 1911.11907, Figure 3; the shortcut is that of the authors' code.

    >>> from keras import Input
    >>> ghost_bottleneck(Input((32, 32, 16)), 24, stride=2).shape
    (None, 16, 16, 24)
    """
    check.rank(x, 4)
    check.positive(filters, "filters")
    check.positive(stride, "stride")
    check.fraction(drop_path, "drop_path")
    part = scope(name, "ghost_bottleneck")
    width = make_divisible(x.shape[-1], expansion, divisor=divisor, argument="expansion")
    y = ghost_module(x, width, style=style, name=part("expand"))
    if stride > 1:
        y = _depthwise_norm(y, kernel_size, stride, style, part("depthwise"))
    if attention is not None:
        y = attention(y, style=style, name=part("attention"))
    y = ghost_module(y, filters, act=False, style=style, name=part("project"))
    if stride > 1 or x.shape[-1] != filters:
        x = _depthwise_norm(x, kernel_size, stride, style, part("shortcut_depthwise"))
        x = conv_norm(x, filters, 1, style=style, name=part("shortcut"))
    return add([x, stochastic_depth(y, drop_path, name=part("drop_path"))], name=part("out"))


def _depthwise_norm(
    x: KerasTensor, kernel_size: int, stride: int, style: Style, name: str, *, multiplier: int = 1
) -> KerasTensor:
    """`norm(W_c ∗ x_c)`."""
    x = depthwise_conv(x, kernel_size, stride=stride, multiplier=multiplier, style=style, name=name)
    return normalize(x, style=style, name=f"{name}_norm")


def _channels(x: KerasTensor, start: int, stop: int, name: str) -> KerasTensor:
    """`x[…, start:stop]`."""
    # With channels first the layer crops the last two axes, which here are the width and the channels.
    sides = ((0, 0), (start, x.shape[-1] - stop))
    return layers.Cropping2D(sides, data_format="channels_first", name=name)(x)


def _add(x: KerasTensor, y: KerasTensor, stride: int, drop_path: float, part: Callable[[str], str]) -> KerasTensor:
    """`x + y`, or `y` where the unit has a stride, even one replaced by a dilation, or changes the channels."""
    check.fraction(drop_path, "drop_path")
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        return add([y], name=part("out"))
    return add([x, stochastic_depth(y, drop_path, name=part("drop_path"))], name=part("out"))
