"""Convolution, normalisation and activation.

`conv`, `depthwise_conv` and `separable_conv` add one layer, named `name`. The composite functions name the convolution
`name` and append `_norm` and `_act` for the other layers. Without a normalisation, the convolution applies the
activation itself, as in `Conv2D(64, 3, activation="relu")`.

With the style's padding `"same"` or `"symmetric"`, each output size is `ceil(size / stride)`; with `"valid"` it is
`ceil((size − dilation · (kernel_size − 1)) / stride)`, with `"floor"` `floor(size / stride)`.
"""

from typing import Any

from keras import KerasTensor, layers

from kblocks import check
from kblocks.naming import resolve, scope
from kblocks.padding import pad, window
from kblocks.style import RELU_BN, Style, carried, norm_act, normalize

__all__ = [
    "conv",
    "conv_norm",
    "conv_norm_act",
    "depthwise_conv",
    "depthwise_norm_act",
    "norm_act_conv",
    "separable_conv",
    "separable_norm_act",
    "shuffle",
]


def __dir__() -> list[str]:
    return __all__


def conv(
    x: KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int] = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    use_bias: bool | None = None,
    activation: str | None = None,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`W ∗ x`, a 2-D convolution with the style's padding, initialiser and regulariser.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel, or one number for both.
        stride: stride in both directions.
        dilation: dilation rate.
        groups: number of groups.
        use_bias: whether to add a bias; `None` adds one if the style has no normalisation.
        activation: name of a function of `keras.activations` that the layer applies.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `groups` does not divide the input and output channels.

    >>> from keras import Input
    >>> conv(Input((32, 32, 3)), 16, 3, stride=2).shape
    (None, 16, 16, 16)
    """
    check.rank(x, 4)
    _check_names(activation, name)
    check.divisible(filters, groups, "filters", "groups")
    check.divisible(x.shape[-1], groups, "channels of x", "groups")
    x, padding = pad(x, kernel_size, stride=stride, dilation=dilation, style=style, name=name)
    return layers.Conv2D(
        filters,
        window(kernel_size),
        strides=int(stride),
        padding=padding,
        dilation_rate=int(dilation),
        groups=groups,
        activation=activation,
        use_bias=style.norm is None if use_bias is None else use_bias,
        kernel_initializer=style.initializer,
        kernel_regularizer=style.regularizer,
        name=name,
    )(x)


def depthwise_conv(
    x: KerasTensor,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    multiplier: int = 1,
    use_bias: bool | None = None,
    activation: str | None = None,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`W_c ∗ x_c` for each channel `c`: a 2-D convolution that does not mix channels.

    Args:
        kernel_size: height and width of the kernel.
        stride: stride in both directions.
        dilation: dilation rate.
        multiplier: number of output channels for each input channel (`depth_multiplier` in Keras).
        use_bias: whether to add a bias; `None` adds one if the style has no normalisation.
        activation: name of a function of `keras.activations` that the layer applies.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), channels · multiplier)`.

    >>> from keras import Input
    >>> depthwise_conv(Input((32, 32, 8)), 3, stride=2).shape
    (None, 16, 16, 8)
    """
    check.rank(x, 4)
    _check_names(activation, name)
    check.positive(multiplier, "multiplier")
    x, padding = pad(x, kernel_size, stride=stride, dilation=dilation, style=style, name=name)
    return layers.DepthwiseConv2D(
        window(kernel_size),
        strides=int(stride),
        padding=padding,
        dilation_rate=int(dilation),
        depth_multiplier=multiplier,
        activation=activation,
        use_bias=style.norm is None if use_bias is None else use_bias,
        depthwise_initializer=style.initializer,
        depthwise_regularizer=style.regularizer,
        name=name,
    )(x)


def separable_conv(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    multiplier: int = 1,
    use_bias: bool | None = None,
    activation: str | None = None,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`P (W_c ∗ x_c)`: a depthwise convolution and a 1×1 convolution, with nothing in between.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the depthwise kernel.
        stride: stride in both directions.
        dilation: dilation rate.
        multiplier: number of depthwise output channels for each input channel.
        use_bias: whether to add a bias; `None` adds one if the style has no normalisation.
        activation: name of a function of `keras.activations` that the layer applies.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Source: Chollet, "Xception", 2016, arXiv 1610.02357, section 1.2.

    >>> from keras import Input
    >>> separable_conv(Input((32, 32, 8)), 16, 3).shape
    (None, 32, 32, 16)
    """
    check.rank(x, 4)
    _check_names(activation, name)
    check.positive(filters, "filters")
    check.positive(multiplier, "multiplier")
    x, padding = pad(x, kernel_size, stride=stride, dilation=dilation, style=style, name=name)
    return layers.SeparableConv2D(
        filters,
        window(kernel_size),
        strides=int(stride),
        padding=padding,
        dilation_rate=int(dilation),
        depth_multiplier=multiplier,
        activation=activation,
        use_bias=style.norm is None if use_bias is None else use_bias,
        depthwise_initializer=style.initializer,
        pointwise_initializer=style.initializer,
        depthwise_regularizer=style.regularizer,
        pointwise_regularizer=style.regularizer,
        name=name,
    )(x)


def conv_norm(
    x: KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int] = 3,
    *,
    style: Style = RELU_BN,
    name: str | None = None,
    **options: Any,
) -> KerasTensor:
    """`norm(W ∗ x)`.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel, or one number for both.
        **options: `stride`, `dilation`, `groups` and `use_bias` of `conv`.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: as `conv`.

    >>> from keras import Input
    >>> conv_norm(Input((32, 32, 3)), 16, 1).shape
    (None, 32, 32, 16)
    """
    _refuse_activation(options)
    name = resolve(name, "conv_norm")
    x = conv(x, filters, kernel_size, style=style, name=name, **options)
    return normalize(x, style=style, name=f"{name}_norm")


def conv_norm_act(
    x: KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int] = 3,
    *,
    style: Style = RELU_BN,
    name: str | None = None,
    **options: Any,
) -> KerasTensor:
    """`act(norm(W ∗ x))`.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel, or one number for both.
        **options: `stride`, `dilation`, `groups` and `use_bias` of `conv`.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: as `conv`.

    >>> from keras import Input
    >>> conv_norm_act(Input((32, 32, 3)), 16, 3, stride=2).shape
    (None, 16, 16, 16)
    """
    _refuse_activation(options)
    name = resolve(name, "conv_norm_act")
    x = conv(x, filters, kernel_size, activation=carried(style), style=style, name=name, **options)
    return x if carried(style) else norm_act(x, style=style, name=name)


def norm_act_conv(
    x: KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int] = 3,
    *,
    style: Style = RELU_BN,
    name: str | None = None,
    **options: Any,
) -> KerasTensor:
    """`W ∗ act(norm(x))`, the pre-activation order.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernel, or one number for both.
        **options: `stride`, `dilation`, `groups` and `use_bias` of `conv`.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: as `conv`.

    Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027, Figure 4 (e).

    >>> from keras import Input
    >>> norm_act_conv(Input((32, 32, 3)), 16, 3, stride=2).shape
    (None, 16, 16, 16)
    """
    check.rank(x, 4)
    _refuse_activation(options)
    name = resolve(name, "norm_act_conv")
    return conv(norm_act(x, style=style, name=name), filters, kernel_size, style=style, name=name, **options)


def depthwise_norm_act(
    x: KerasTensor, kernel_size: int = 3, *, style: Style = RELU_BN, name: str | None = None, **options: Any
) -> KerasTensor:
    """`act(norm(W_c ∗ x_c))`.

    Args:
        kernel_size: height and width of the kernel.
        **options: `stride`, `dilation`, `multiplier` and `use_bias` of `depthwise_conv`.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), channels · multiplier)`.

    Raises:
        ValueError: as `depthwise_conv`.

    Source: Howard et al., "MobileNets", 2017, arXiv 1704.04861, Figure 3.

    >>> from keras import Input
    >>> depthwise_norm_act(Input((32, 32, 8)), 3, stride=2).shape
    (None, 16, 16, 8)
    """
    _refuse_activation(options)
    name = resolve(name, "depthwise_norm_act")
    x = depthwise_conv(x, kernel_size, activation=carried(style), style=style, name=name, **options)
    return x if carried(style) else norm_act(x, style=style, name=name)


def separable_norm_act(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 3,
    *,
    style: Style = RELU_BN,
    name: str | None = None,
    **options: Any,
) -> KerasTensor:
    """`act(norm(P (W_c ∗ x_c)))`.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the depthwise kernel.
        **options: `stride`, `dilation`, `multiplier` and `use_bias` of `separable_conv`.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: as `separable_conv`.

    Source: Chollet, "Xception", 2016, arXiv 1610.02357, Figure 5.

    >>> from keras import Input
    >>> separable_norm_act(Input((32, 32, 8)), 16, 3).shape
    (None, 32, 32, 16)
    """
    _refuse_activation(options)
    name = resolve(name, "separable_norm_act")
    x = separable_conv(x, filters, kernel_size, activation=carried(style), style=style, name=name, **options)
    return x if carried(style) else norm_act(x, style=style, name=name)


def shuffle(x: KerasTensor, groups: int, *, name: str | None = None) -> KerasTensor:
    """`y[…, j · groups + i] = x[…, i · channels / groups + j]`: each group of `y` has channels of all groups of `x`.

    It is a reshape, a transposition and a reshape. A `Reshape` layer can't restore two unknown sizes: if neither the
    height nor the width is known, the channels of each group are repeated, masked and added instead. That is slower,
    and an infinity becomes a NaN in the neighbouring channels.

    Args:
        groups: number of groups; 1 adds no layer.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ValueError: `groups` does not divide the channels.

    Source: Zhang et al., "ShuffleNet", 2017, arXiv 1707.01083, Figure 1 (c) and section 3.1.

    >>> from keras import Input
    >>> shuffle(Input((8, 8, 12)), 3).shape
    (None, 8, 8, 12)
    """
    check.rank(x, 4)
    height, width, channels = x.shape[1:]
    check.divisible(channels, groups, "channels of x", "groups")
    groups = int(groups)
    size = channels // groups
    part = scope(name, "channel_shuffle")
    if groups == 1:
        return x
    if (height, width) != (None, None):
        y = layers.Reshape((-1, groups, size), name=part("split"))(x)
        y = layers.Permute((1, 3, 2), name=part("transpose"))(y)
        sides = [-1 if side is None else side for side in (height, width)]
        return layers.Reshape((*sides, channels), name=part("out"))(y)
    spread = []
    for i in range(groups):
        # With channels first, these layers work on the last two axes, which here are the width and the channels.
        margins = ((0, 0), (i * size, channels - (i + 1) * size))
        y = layers.Cropping2D(margins, data_format="channels_first", name=part(f"crop{i + 1}"))(x)
        y = layers.UpSampling2D((1, groups), data_format="channels_first", name=part(f"repeat{i + 1}"))(y)
        mask = [float(j % groups == i) for j in range(channels)]
        spread.append(layers.Rescaling(mask, name=part(f"mask{i + 1}"))(y))
    return layers.Add(name=part("out"))(spread)


def _refuse_activation(options: dict[str, Any]) -> None:
    if "activation" in options:
        raise TypeError(
            "`activation` must be set in the style, dataclasses.replace(style, activation=…); "
            f"got {options['activation']!r}"
        )


def _check_names(activation: str | None, name: str | None) -> None:
    if activation is not None:
        check.activation(activation, "activation")
    if name is not None and not resolve(name, "conv"):
        raise ValueError("`name` must not be empty for a single layer; got ''")
