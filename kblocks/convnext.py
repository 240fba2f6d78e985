"""ConvNeXt: a depthwise convolution mixes positions, two dense layers mix channels, and what comes out is added."""

from dataclasses import replace

from keras import KerasTensor, layers

from kblocks import check, compose
from kblocks.conv import conv, depthwise_conv
from kblocks.mlp import dense_norm_act
from kblocks.naming import resolve, scope
from kblocks.style import GELU_LN, Style, normalize


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
    """`x + γ W₂ act(W₁ norm(W_c ∗ x_c))`; where the shape changes, of `downsample(x)` in place of `x`.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of the downsampling, in pixels.
        kernel_size: side of the depthwise convolution's kernel, in pixels.
        expansion: channels between the two dense layers, in units of `filters`.
        layer_scale: what each factor `γ` of the residual's channels begins at; `None` for no factors.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, height // stride, width // stride, filters)`.

    Raises:
        ValueError: `x` is not of rank 4 or smaller than the stride, a size is not a positive integer, or `drop_path` is
            not at least 0 and below 1.

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
    """`W ∗ norm(x)`, a convolution of windows that do not overlap.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: side and step of the windows, in pixels; what does not fill a window is left out.
        style: see `kblocks.style`.
        name: the convolution's name, and the prefix of the normalisation.

    Returns:
        `(batch, height // stride, width // stride, filters)`.

    Raises:
        ValueError: `x` is not of rank 4 or smaller than the stride, or a size is not a positive integer.

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
