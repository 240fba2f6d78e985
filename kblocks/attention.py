"""Attention by factors: channels, or positions, are multiplied by factors computed from the image around them.

An attention is an argument of many units:

    se_resnet = partial(bottleneck, attention=squeeze_excite)
    ge_resnet = partial(bottleneck, attention=partial(gather_excite, extent=8))
    mobilenet_v3 = partial(squeeze_excite, ratio=1/4, divisor=8, activation=relu, gate=hard_sigmoid)
"""

from collections.abc import Callable
from dataclasses import replace
from math import log2
from numbers import Integral
from typing import Any

from keras import KerasTensor, layers

from kblocks import check
from kblocks.compose import concat
from kblocks.contracts import Block
from kblocks.conv import conv, conv_norm, conv_norm_act, depthwise_conv
from kblocks.naming import scope
from kblocks.pool import avg_pool
from kblocks.rounding import make_divisible
from kblocks.style import RELU_BN, Style, activate, normalize, sigmoid

__all__ = ["cbam", "eca", "gather_excite", "squeeze_excite"]


def __dir__() -> list[str]:
    return __all__


def squeeze_excite(
    x: KerasTensor,
    *,
    ratio: float = 1 / 16,
    divisor: int = 1,
    activation: Block | None = None,
    gate: Block = sigmoid,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x · gate(W2 act(W1 mean(x) + b1) + b2)`, with the mean over all positions and one factor per channel.

    Args:
        ratio: output channels of `W1`, as a fraction of the input channels.
        divisor: they are rounded to a multiple of it, see `kblocks.rounding.make_divisible`.
        activation: activation after `W1`; `None` for the style's.
        gate: activation after `W2`, such as `sigmoid` and `hard_sigmoid`.
        style: its normalisation is not used.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` is not a positive number, or `divisor` is not a positive integer.
        TypeError: `activation` or `gate` is not a function `(x, *, name) -> tensor`.

    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", 2017, arXiv 1709.01507, Figure 2 and equation 3.

    >>> from keras import Input
    >>> squeeze_excite(Input((8, 8, 64)), ratio=1 / 4).shape
    (None, 8, 8, 64)
    """
    check.rank(x, 4)
    check.block(gate, "gate")
    if activation is not None:
        check.block(activation, "activation")
    width = make_divisible(x.shape[-1], ratio, divisor=divisor, argument="ratio")
    part = scope(name, "squeeze_excite")
    y = layers.GlobalAveragePooling2D(keepdims=True, name=part("pool"))(x)
    y = _excite(y, width, replace(style, activation=activation or style.activation), part)
    return layers.Multiply(name=part("out"))([x, gate(y, name=part("gate"))])


def eca(
    x: KerasTensor,
    *,
    kernel_size: int | None = None,
    gate: Block = sigmoid,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x · gate(W ∗ mean(x))`, with a convolution along the channels: each factor depends on its neighbours' means.

    Args:
        kernel_size: size of the kernel; `None` for the odd number near `(log2(channels) + 1) / 2`.
        gate: activation after the convolution, such as `sigmoid`.
        style: its initialiser and regulariser are used.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ValueError: `kernel_size` is not a positive integer.
        TypeError: `gate` is not a function `(x, *, name) -> tensor`.

    Source: Wang et al., "ECA-Net", 2019, arXiv 1910.03151, Figure 2 (c) and equation 12, rounded as in the authors'
    code.

    >>> from keras import Input
    >>> eca(Input((8, 8, 64))).shape
    (None, 8, 8, 64)
    """
    check.rank(x, 4)
    check.block(gate, "gate")
    channels = x.shape[-1]
    if kernel_size is None:
        kernel_size = int((log2(channels) + 1) / 2)
        kernel_size += 1 - kernel_size % 2
    check.positive(kernel_size, "kernel_size")
    part = scope(name, "eca")
    y = layers.GlobalAveragePooling2D(name=part("pool"))(x)
    y = layers.Reshape((channels, 1), name=part("sequence"))(y)
    y = layers.Conv1D(
        1,
        int(kernel_size),
        padding="same",
        use_bias=False,
        kernel_initializer=style.initializer,
        kernel_regularizer=style.regularizer,
        name=part("conv"),
    )(y)
    y = layers.Reshape((1, 1, channels), name=part("reshape"))(y)
    return layers.Multiply(name=part("out"))([x, gate(y, name=part("gate"))])


def cbam(
    x: KerasTensor,
    *,
    ratio: float = 1 / 16,
    kernel_size: int = 7,
    gate: Block = sigmoid,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`z · gate(norm(W ∗ [max(z), mean(z)]))` over the channels of each position, where `z` = `x · gate(f(mean(x)) +
    f(max(x)))` over the positions of each channel, with `f(v) = W2 act(W1 v + b1) + b2`.

    Args:
        ratio: output channels of `W1`, as a fraction of the input channels.
        kernel_size: height and width of `W`.
        gate: activation of both factors, such as `sigmoid`.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` is not a positive number, or `kernel_size` is not a positive integer.
        TypeError: `gate` is not a function `(x, *, name) -> tensor`.

    Source: Woo et al., "CBAM: Convolutional Block Attention Module", 2018, arXiv 1807.06521, Figure 2 and equations 2
    and 3; the normalisation and the order of maximum and mean are those of the authors' code.

    >>> from keras import Input
    >>> cbam(Input((8, 8, 64))).shape
    (None, 8, 8, 64)
    """
    check.rank(x, 4)
    check.block(gate, "gate")
    check.positive(kernel_size, "kernel_size")
    channels = x.shape[-1]
    width = make_divisible(channels, ratio, divisor=1, argument="ratio")
    part = scope(name, "cbam")
    # Two positions of one image, so that the convolutions are the same for both; the sum is twice their mean.
    y = layers.Concatenate(axis=1, name=part("channel_pools"))(
        [
            layers.GlobalAveragePooling2D(keepdims=True, name=part("channel_mean"))(x),
            layers.GlobalMaxPooling2D(keepdims=True, name=part("channel_max"))(x),
        ]
    )
    y = _excite(y, width, style, scope(part("channel"), "channel"))
    y = layers.GlobalAveragePooling2D(keepdims=True, name=part("channel_half"))(y)
    y = gate(layers.Rescaling(2.0, name=part("channel_sum"))(y), name=part("channel_gate"))
    z = layers.Multiply(name=part("channel_out"))([x, y])
    # With channels first a layer pools the last two axes, which here are the width and the channels.
    window: dict[str, Any] = {"pool_size": (1, channels), "data_format": "channels_first"}
    y = concat(
        [
            layers.MaxPooling2D(**window, name=part("spatial_max"))(z),
            layers.AveragePooling2D(**window, name=part("spatial_mean"))(z),
        ],
        name=part("spatial_pools"),
    )
    y = conv_norm(y, 1, kernel_size, style=replace(style, padding="same"), name=part("spatial_conv"))
    return layers.Multiply(name=part("out"))([z, gate(y, name=part("spatial_gate"))])


def gather_excite(
    x: KerasTensor,
    *,
    extent: int | None = None,
    depthwise: bool = False,
    ratio: float | None = None,
    gate: Block = sigmoid,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x · upsample(gate(f(gather(x))))`: each factor is computed from a neighbourhood of its position.

    Args:
        x: `(batch, height, width, channels)`, with known sizes unless `extent` is `None` and `depthwise` false.
        extent: the factors' distance in pixels, 2, 4, 8, …; `None` for one factor for the whole image.
        depthwise: whether `gather` is a depthwise convolution of the size of the image or one of 3×3 and stride 2 for
            each factor of 2 in `extent`, instead of a mean (of windows of `2 · extent − 1` pixels).
        ratio: output channels of `W1` in `f(v) = W2 act(W1 v + b1) + b2`, as a fraction of the input channels; `None`
            for `f(v) = v`.
        gate: activation of the factors, such as `sigmoid`.
        style: its normalisation follows each depthwise convolution, and its activation all of them but the last.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ValueError: `extent` is not a power of two above 1, `ratio` is not a positive number, or a size is unknown that
            is needed.
        TypeError: `gate` is not a function `(x, *, name) -> tensor`.

    Source: Hu et al., "Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks", 2018, arXiv
    1810.12348, section 3: without arguments GE-θ⁻, with `depthwise` GE-θ, with `ratio` beside it GE-θ⁺.

    >>> from keras import Input
    >>> gather_excite(Input((8, 8, 64)), extent=4).shape
    (None, 8, 8, 64)
    """
    check.rank(x, 4)
    check.block(gate, "gate")
    if extent is not None and not (isinstance(extent, Integral) and extent > 1 and int(extent).bit_count() == 1):
        raise ValueError(f"`extent` must be a power of two above 1, or None; got {extent!r}")
    width = None if ratio is None else make_divisible(x.shape[-1], ratio, divisor=1, argument="ratio")
    if (extent is not None or depthwise) and None in x.shape[1:3]:
        raise ValueError(f"`x` must have known sizes; got shape {tuple(x.shape)}")
    part = scope(name, "gather_excite")
    style = replace(style, padding="symmetric" if style.padding == "symmetric" else "same")
    y = _gather(x, extent, depthwise, style, part)
    if width is not None:
        y = _excite(y, width, style, part)
    y = gate(y, name=part("gate"))
    if extent is not None:
        y = layers.UpSampling2D(int(extent), name=part("upsample"))(y)
        more = tuple((0, large - size) for large, size in zip(y.shape[1:3], x.shape[1:3], strict=True))
        y = layers.Cropping2D(more, name=part("crop"))(y)
    return layers.Multiply(name=part("out"))([x, y])


def _gather(
    x: KerasTensor, extent: int | None, depthwise: bool, style: Style, part: Callable[[str], str]
) -> KerasTensor:
    """`(batch, ceil(height / extent), ceil(width / extent), channels)`, or one position."""
    if extent is None:
        if not depthwise:
            return layers.GlobalAveragePooling2D(keepdims=True, name=part("pool"))(x)
        whole = replace(style, padding="valid")
        y = depthwise_conv(x, tuple(x.shape[1:3]), style=whole, name=part("gather1"))
        return normalize(y, style=style, name=part("gather1_norm"))
    if not depthwise:
        return avg_pool(x, 2 * int(extent) - 1, stride=int(extent), style=style, name=part("pool"))
    steps = int(log2(extent))
    for i in range(1, steps + 1):
        x = depthwise_conv(x, 3, stride=2, style=style, name=part(f"gather{i}"))
        x = normalize(x, style=style, name=part(f"gather{i}_norm"))
        if i < steps:
            x = activate(x, style=style, name=part(f"gather{i}_act"))
    return x


def _excite(x: KerasTensor, width: int, style: Style, part: Callable[[str], str]) -> KerasTensor:
    """`W2 act(W1 x + b1) + b2` at each position."""
    plain = replace(style, norm=None)
    y = conv_norm_act(x, width, 1, style=plain, name=part("reduce"))
    return conv(y, x.shape[-1], 1, style=plain, name=part("expand"))
