"""Convolution, normalisation and activation, in the orders that networks use them.

The leaf functions (`conv`, `depthwise_conv`, `separable_conv`) add one layer under their name; the composite functions
give the convolution the name itself and append `_norm` and `_act` for the rest. Where the style has no normalisation,
the convolution carries an activation of Keras's itself, as one writes by hand: `Conv2D(64, 3, activation="relu")`.
"""

from typing import Any

from keras import KerasTensor, layers

from kblocks import check
from kblocks.naming import resolve
from kblocks.padding import pad, window
from kblocks.style import RELU_BN, Style, carried, norm_act, normalize


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
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        kernel_size: side of the square kernel, or its height and width, in pixels.
        stride: step in pixels.
        dilation: distance of neighbouring taps, in pixels.
        groups: how many independent groups the channels fall into.
        use_bias: whether to add a bias; `None` adds one where the style has no normalisation to do so.
        activation: a name that `keras.activations` knows, for the layer to apply itself; `None` for none.
        style: see `kblocks.style`.
        name: the layer's name.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`; with padding `"valid"`
        `ceil((size − dilation · (kernel_size − 1)) / stride)` for each size, with `"floor"`
        `floor(size / stride)`.

    Raises:
        ValueError: `x` is not of rank 4, a size is not a positive integer, or `groups` does not divide both widths.

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
        x: `(batch, height, width, channels)`.
        kernel_size: side of the square kernel, in pixels.
        stride: step in pixels.
        dilation: distance of neighbouring taps, in pixels.
        multiplier: channels that come out for each that goes in.
        use_bias: whether to add a bias; `None` adds one where the style has no normalisation to do so.
        activation: a name that `keras.activations` knows, for the layer to apply itself; `None` for none.
        style: see `kblocks.style`.
        name: the layer's name.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), channels · multiplier)`.

    Raises:
        ValueError: `x` is not of rank 4, or a size is not a positive integer.

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
    """`P (W_c ∗ x_c)`: a depthwise convolution and a 1×1 convolution, with nothing between them.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        kernel_size: side of the square depthwise kernel, in pixels.
        stride: step in pixels.
        dilation: distance of neighbouring taps, in pixels.
        multiplier: channels between the two for each that goes in.
        use_bias: whether to add a bias; `None` adds one where the style has no normalisation to do so.
        activation: a name that `keras.activations` knows, for the layer to apply itself; `None` for none.
        style: see `kblocks.style`.
        name: the layer's name.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `x` is not of rank 4, or a size is not a positive integer.

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
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        kernel_size: side of the square kernel, or its height and width, in pixels.
        style: see `kblocks.style`.
        name: the convolution's name, and the prefix of the rest.
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
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        kernel_size: side of the square kernel, or its height and width, in pixels.
        style: see `kblocks.style`.
        name: the convolution's name, and the prefix of the rest.
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
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        kernel_size: side of the square kernel, or its height and width, in pixels.
        style: see `kblocks.style`.
        name: the convolution's name, and the prefix of the rest.
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
        x: `(batch, height, width, channels)`.
        kernel_size: side of the square kernel, in pixels.
        style: see `kblocks.style`.
        name: the convolution's name, and the prefix of the rest.
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
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        kernel_size: side of the square depthwise kernel, in pixels.
        style: see `kblocks.style`.
        name: the convolution's name, and the prefix of the rest.
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


def _refuse_activation(options: dict[str, Any]) -> None:
    if "activation" in options:
        raise TypeError(
            f"`activation` must be the style's, dataclasses.replace(style, activation=…); got {options['activation']!r}"
        )


def _check_names(activation: str | None, name: str | None) -> None:
    if activation is not None:
        check.activation(activation, "activation")
    if name is not None and not resolve(name, "conv"):
        raise ValueError("`name` must be a layer's own; got ''")
