"""ConvNeXt: a residual unit of a depthwise convolution and two dense layers, and the downsampling between stages."""

from dataclasses import replace

from keras import KerasTensor, layers

from kblocks import check, compose
from kblocks.conv import conv, depthwise_conv
from kblocks.mlp import dense_norm_act
from kblocks.naming import resolve, scope
from kblocks.style import GELU_LN, Style, normalize

__all__ = ["block", "downsample"]


def __dir__() -> list[str]:
    return __all__


def block(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    kernel_size: int = 7,
    expansion: int = 4,
    layer_scale: float | None = 1e-6,
    drop_path: float = 0.0,
    style: Style = GELU_LN,
    name: str | None = None,
) -> KerasTensor:
    """`x + γ W₂ act(W₁ norm(W_c ∗ x_c))`, with `downsample(x)` in place of `x` where the shape changes.

    Args:
        filters: output channels.
        stride: stride of the downsampling.
        kernel_size: size of the depthwise kernel.
        expansion: channels between the two dense layers, as a multiple of `filters`.
        layer_scale: initial value of `γ`, one factor per channel; `None` for no `γ`.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        `(batch, height // stride, width // stride, filters)`.

    Raises:
        ValueError: `x` is smaller than the stride, a size is not a positive integer, or `drop_path` is not in [0, 1).

    Source: Liu et al., "A ConvNet for the 2020s", 2022, arXiv 2201.03545, Figure 4; `layer_scale` from Table 5.

    >>> from keras import Input
    >>> block(Input((56, 56, 96)), 96).shape
    (None, 56, 56, 96)
    >>> block(Input((56, 56, 96)), 192, stride=2).shape
    (None, 28, 28, 192)
    """
    check.rank(x, 4)
    check.positive(filters, "filters")
    check.positive(stride, "stride")
    check.positive(expansion, "expansion")
    check.fraction(drop_path, "drop_path")
    part = scope(name, "convnext_block")
    if stride > 1 or x.shape[-1] != filters:
        x = downsample(x, filters, stride=stride, style=style, name=part("downsample"))
    y = depthwise_conv(x, kernel_size, use_bias=True, style=style, name=part("conv"))
    y = normalize(y, style=style, name=part("conv_norm"))
    y = dense_norm_act(y, expansion * filters, style=replace(style, norm=None), name=part("dense1"))
    y = layers.Dense(
        int(filters), kernel_initializer=style.initializer, kernel_regularizer=style.regularizer, name=part("dense2")
    )(y)
    if layer_scale is not None:
        y = compose.layer_scale(y, layer_scale, name=part("scale"))
    y = compose.stochastic_depth(y, drop_path, name=part("drop_path"))
    return compose.add([x, y], name=part("out"))


def downsample(
    x: KerasTensor, filters: int, *, stride: int = 2, style: Style = GELU_LN, name: str | None = None
) -> KerasTensor:
    """`W ∗ norm(x)`, an unpadded convolution with non-overlapping windows.

    Args:
        filters: output channels.
        stride: kernel size and stride.

    Returns:
        `(batch, height // stride, width // stride, filters)`.

    Raises:
        ValueError: `x` is smaller than the stride, or a size is not a positive integer.

    Source: Liu et al., "A ConvNet for the 2020s", 2022, arXiv 2201.03545, section 2.6.

    >>> from keras import Input
    >>> downsample(Input((56, 56, 96)), 192).shape
    (None, 28, 28, 192)
    """
    check.rank(x, 4)
    check.positive(stride, "stride")
    name = resolve(name, "downsample")
    x = normalize(x, style=style, name=f"{name}_norm")
    return conv(x, filters, stride, stride=stride, use_bias=True, style=replace(style, padding="valid"), name=name)
