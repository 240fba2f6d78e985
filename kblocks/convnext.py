"""ConvNeXt: a residual unit of a depthwise convolution and two dense layers, its normalisation, the downsampling."""

from dataclasses import replace

from keras import KerasTensor, layers

from kblocks import check, compose
from kblocks.conv import conv, depthwise_conv
from kblocks.mlp import dense_norm_act
from kblocks.naming import resolve, scope
from kblocks.style import GELU_LN, Style, normalize

__all__ = ["block", "downsample", "response_norm"]


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
    normalize_response: bool = False,
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
        normalize_response: whether `response_norm` stands between `act` and `W₂`, as in version 2.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        `(batch, height // stride, width // stride, filters)`.

    Raises:
        ValueError: `x` is smaller than the stride, a size is not a positive integer, or `drop_path` is not in [0, 1).

    Source: Liu et al., "A ConvNet for the 2020s", 2022, arXiv 2201.03545, Figure 4; `layer_scale` from Table 5.
    Version 2: Woo et al., "ConvNeXt V2", 2023, arXiv 2301.00808, Figure 5.

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
    if normalize_response:
        y = response_norm(y, name=part("response"))
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


def response_norm(x: KerasTensor, *, epsilon: float = 1e-6, name: str | None = None) -> KerasTensor:
    """`x + γ (x · n) + β` with `n = g / mean(g)`, `g` the norm of each channel of an image: a global response norm.

    `γ` and `β` are zero at first. The norms are computed in float32.

    Args:
        epsilon: added to the mean of the norms, of the root mean squares of the channels.
        name: `γ` is the kernel of `{name}_scale_gamma`, `β` of `{name}_beta`.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: `epsilon` is not a positive number.

    Source: Woo et al., "ConvNeXt V2", 2023, arXiv 2301.00808, section 3.3 and algorithm 1.

    >>> from keras import Input
    >>> response_norm(Input((56, 56, 384))).shape
    (None, 56, 56, 384)
    """
    check.rank(x, 4)
    check.positive_number(epsilon, "epsilon")
    part = scope(name, "response_norm")
    channels = x.shape[-1]
    float32 = {"dtype": "float32"}  # sums of squares overflow in float16
    # No layer takes a root or divides, but for a normalisation to unit length: the norm of a channel is the sum of its
    # products with itself at unit length (here their mean, as it is divided by another of these), and the inverse of m
    # is the second value of (m, ε) at unit length, divided by ε. A position of ε beside those of the image keeps the
    # gradient of a channel of zeros finite.
    values = layers.Reshape((-1, channels), name=part("values"), **float32)(x)
    last = layers.GlobalAveragePooling1D(keepdims=True, name=part("average"), **float32)(values)
    last = layers.Rescaling(0.0, offset=epsilon, name=part("last"), **float32)(last)
    values = layers.Concatenate(axis=1, name=part("extended"), **float32)([values, last])
    unit = layers.UnitNormalization(axis=1, name=part("unit"), **float32)(values)
    product = layers.Multiply(name=part("product"), **float32)([values, unit])
    norms = layers.GlobalAveragePooling1D(name=part("norms"), **float32)(product)
    column = layers.Reshape((channels, 1), name=part("column"), **float32)(norms)
    mean = layers.GlobalAveragePooling1D(name=part("mean"), **float32)(column)
    small = layers.Rescaling(0.0, offset=epsilon, name=part("small"), **float32)(mean)
    pair = layers.Concatenate(name=part("pair"), **float32)([mean, small])
    pair = layers.UnitNormalization(name=part("direction"), **float32)(pair)
    pair = layers.Reshape((2, 1), name=part("sides"), **float32)(pair)
    inverse = layers.Cropping1D((1, 0), name=part("side"), **float32)(pair)
    inverse = layers.Rescaling(1 / epsilon, name=part("inverse"), **float32)(inverse)
    n = layers.Multiply(name=part("ratio"), **float32)([column, inverse])
    n = layers.Reshape((1, 1, channels), name=part("ratios"), **float32)(n)
    factor = layers.Rescaling(1.0, offset=1.0, name=part("factor"))(compose.layer_scale(n, 0.0, name=part("scale")))
    y = layers.Multiply(name=part("scaled"))([x, factor])
    beta = compose.learned(x, (1, 1, channels), name=part("beta"))
    return layers.Add(name=part("out"))([y, beta])
