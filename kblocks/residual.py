"""Residual units: `act(shortcut(x) + F(x))`, and in pre-activation order `x + F(act(norm(x)))`.

Each is a unit `(x, filters, *, stride, drop_path, style, name) -> tensor` that `kblocks.compose.stage` repeats;
`filters` is the width that comes out. A *shortcut* is a function `(x, filters, *, stride, style, name) -> tensor`,
called only where the unit changes the shape. Papers that differ by a parameter are partials:

    resnext = partial(bottleneck, groups=32, ratio=1/2)
    wide = partial(bottleneck, ratio=1/2)
    se_resnet = partial(bottleneck, attention=squeeze_excite)
    dilated = partial(bottleneck, dilation=2)

A stage of stride 2 made of the last keeps the size; at every second pixel it computes what it would with the stride
(Chen et al., "Rethinking Atrous Convolution", 2017, arXiv 1706.05587, section 3.1). That holds where the padding is
symmetric or the size odd: of an even size `"same"` lays 3×3 windows of stride 2 around the odd pixels.
"""

from collections.abc import Callable

from keras import KerasTensor, layers

from kblocks import check
from kblocks.compose import add, stochastic_depth
from kblocks.contracts import Attention, Shortcut
from kblocks.conv import conv, conv_norm, conv_norm_act, separable_conv
from kblocks.naming import scope
from kblocks.padding import replace_stride
from kblocks.pool import avg_pool, max_pool
from kblocks.style import RELU_BN, Style, activate, normalize


def projection(
    x: KerasTensor, filters: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`norm(conv1×1(x))`, a learned shortcut (option B of the paper).

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step in pixels.
        style: see `kblocks.style`.
        name: the convolution's name, and the prefix of the rest.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `x` is not of rank 4, or a size is not a positive integer.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, section 3.3.

    >>> from keras import Input
    >>> projection(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    return conv_norm(x, filters, 1, stride=stride, style=style, name=name)


def linear_projection(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    use_bias: bool | None = None,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`conv1×1(x)`, a learned shortcut without a normalisation, as pre-activation units have it.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step in pixels.
        use_bias: whether to add a bias; `None` adds one where the style has no normalisation to do so.
        style: see `kblocks.style`.
        name: the layer's name.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `x` is not of rank 4, or a size is not a positive integer.

    Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027, section 5 and appendix.

    >>> from keras import Input
    >>> linear_projection(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    return conv(x, filters, 1, stride=stride, use_bias=use_bias, style=style, name=name)


def padded(
    x: KerasTensor, filters: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`[x[::stride, ::stride], 0, …]`, a shortcut without parameters (option A of the paper).

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out, no fewer than those that go in.
        stride: step in pixels.
        style: its `padding` is read: with `"floor"` the last pixel of an odd size is left out.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`, zero in the new channels.

    Raises:
        ValueError: `x` is not of rank 4, or `filters` is below its channels.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, sections 3.3 and 4.2.

    >>> from keras import Input
    >>> padded(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    check.rank(x, 4)
    check.positive(stride, "stride")
    check.positive(filters, "filters")
    more = filters - x.shape[-1]
    if more < 0:
        raise ValueError(f"`filters` must be at least the channels of `x`; got {filters} and {x.shape[-1]}")
    part = scope(name, "padded")
    if stride > 1:
        x = avg_pool(x, 1, stride=stride, style=style, name=part("subsample"))
    if more:
        # Of `(batch, height, width, channels)` the last axis is what the layer takes for the width of channels first.
        x = layers.ZeroPadding2D(((0, 0), (0, more)), data_format="channels_first", name=part("out"))(x)
    return x


def basic(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    attention: Attention | None = None,
    shortcut: Shortcut = projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(shortcut(x) + norm(conv3×3(act(norm(conv3×3(x))))))`.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of the first convolution, in pixels.
        dilation: distance of neighbouring taps, in pixels. Above 1 it replaces the stride, which must divide it: the
            size stays, and the taps of the first convolution are `dilation / stride` apart.
        groups: how many independent groups the channels of the convolutions fall into.
        attention: a function `(x, *, style, name) -> tensor` of the residual before it is added, which gets the unit's
            style; `None` for none.
        shortcut: used where the unit changes the shape.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`; dilated, `(batch, height, width, filters)`.

    Raises:
        ValueError: `x` is not of rank 4, a size is not a positive integer, `groups` does not divide a width, or
            `stride` does not divide a dilation above 1.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, Figure 5 left.

    >>> from keras import Input
    >>> basic(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    check.rank(x, 4)
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    part = scope(name, "basic")
    y = conv_norm_act(
        x, filters, 3, stride=conv_stride, dilation=conv_dilation, groups=groups, style=style, name=part("conv1")
    )
    y = conv_norm(y, filters, 3, dilation=dilation, groups=groups, style=style, name=part("conv2"))
    y = _attend_and_drop(y, attention, drop_path, style, part)
    y = add([_shortcut(x, filters, stride, conv_stride, shortcut, style, part), y], name=part("add"))
    return activate(y, style=style, name=part("out"))


def bottleneck(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    ratio: float = 1 / 4,
    groups: int = 1,
    stride_first: bool = False,
    attention: Attention | None = None,
    shortcut: Shortcut = projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(shortcut(x) + norm(conv1×1(act(norm(conv3×3(act(norm(conv1×1(x)))))))))`.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of the 3×3 convolution, in pixels.
        dilation: distance of neighbouring taps, in pixels. Above 1 it replaces the stride, which must divide it: the
            size stays, and the taps are `dilation / stride` apart unless the first convolution has the stride.
        ratio: width of the 3×3 convolution, as a share of `filters`.
        groups: how many independent groups the channels of the 3×3 convolution fall into.
        stride_first: whether the first 1×1 convolution takes the stride, as in the paper, and not the 3×3.
        attention: a function `(x, *, style, name) -> tensor` of the residual before it is added, which gets the unit's
            style; `None` for none.
        shortcut: used where the unit changes the shape.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`; dilated, `(batch, height, width, filters)`.

    Raises:
        ValueError: `x` is not of rank 4, a size is not a positive integer, `ratio · filters` is not a whole number,
            `groups` does not divide it, or `stride` does not divide a dilation above 1.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, Figure 5 right;
    `groups` after Xie et al., "Aggregated Residual Transformations", 2016, arXiv 1611.05431, Figure 3 (c).

    >>> from keras import Input
    >>> bottleneck(Input((56, 56, 64)), 256).shape
    (None, 56, 56, 256)
    """
    check.rank(x, 4)
    width = _width(filters, ratio)
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    strides = (conv_stride, 1) if stride_first else (1, conv_stride)
    dilation = dilation if stride_first else conv_dilation
    part = scope(name, "bottleneck")
    y = conv_norm_act(x, width, 1, stride=strides[0], style=style, name=part("conv1"))
    y = conv_norm_act(y, width, 3, stride=strides[1], dilation=dilation, groups=groups, style=style, name=part("conv2"))
    y = conv_norm(y, filters, 1, style=style, name=part("conv3"))
    y = _attend_and_drop(y, attention, drop_path, style, part)
    y = add([_shortcut(x, filters, stride, conv_stride, shortcut, style, part), y], name=part("add"))
    return activate(y, style=style, name=part("out"))


def preact_basic(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    attention: Attention | None = None,
    shortcut: Shortcut = linear_projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x + conv3×3(act(norm(conv3×3(a))))` with `a = act(norm(x))`; where the width changes `shortcut(a)` replaces `x`,
    where only the size does `x[::stride, ::stride]`.

    A network of such units ends in a normalisation and an activation of its own.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of the first convolution, in pixels.
        dilation: distance of neighbouring taps, in pixels. Above 1 it replaces the stride, which must divide it: the
            size stays, and the taps of the first convolution are `dilation / stride` apart.
        groups: how many independent groups the channels of the convolutions fall into.
        attention: a function `(x, *, style, name) -> tensor` of the residual before it is added, which gets the unit's
            style; `None` for none.
        shortcut: used where the unit changes the width.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`; dilated, `(batch, height, width, filters)`.

    Raises:
        ValueError: `x` is not of rank 4, a size is not a positive integer, `groups` does not divide a width, or
            `stride` does not divide a dilation above 1.

    Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027, Figure 1 (b).

    >>> from keras import Input
    >>> preact_basic(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    check.rank(x, 4)
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    part = scope(name, "preact_basic")
    a = activate(normalize(x, style=style, name=part("norm")), style=style, name=part("act"))
    y = conv_norm_act(
        a, filters, 3, stride=conv_stride, dilation=conv_dilation, groups=groups, style=style, name=part("conv1")
    )
    y = conv(y, filters, 3, dilation=dilation, groups=groups, style=style, name=part("conv2"))
    y = _attend_and_drop(y, attention, drop_path, style, part)
    return add([_preact_shortcut(x, a, filters, conv_stride, shortcut, style, part), y], name=part("out"))


def preact_bottleneck(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    ratio: float = 1 / 4,
    groups: int = 1,
    use_bias: bool | None = None,
    attention: Attention | None = None,
    shortcut: Shortcut = linear_projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x + conv1×1(act(norm(conv3×3(act(norm(conv1×1(a)))))))` with `a = act(norm(x))`; where the width changes
    `shortcut(a)` replaces `x`, where only the size does `x[::stride, ::stride]`.

    A network of such units ends in a normalisation and an activation of its own.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of the 3×3 convolution, in pixels.
        dilation: distance of neighbouring taps, in pixels. Above 1 it replaces the stride, which must divide it: the
            size stays, and the taps are `dilation / stride` apart.
        ratio: width of the 3×3 convolution, as a share of `filters`.
        groups: how many independent groups the channels of the 3×3 convolution fall into.
        use_bias: whether the last convolution, which no normalisation follows, adds a bias; `None` adds one where the
            style has no normalisation at all.
        attention: a function `(x, *, style, name) -> tensor` of the residual before it is added, which gets the unit's
            style; `None` for none.
        shortcut: used where the unit changes the width.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`; dilated, `(batch, height, width, filters)`.

    Raises:
        ValueError: `x` is not of rank 4, a size is not a positive integer, `ratio · filters` is not a whole number,
            `groups` does not divide it, or `stride` does not divide a dilation above 1.

    Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027, section 5 and appendix.

    >>> from keras import Input
    >>> preact_bottleneck(Input((32, 32, 16)), 64).shape
    (None, 32, 32, 64)
    """
    check.rank(x, 4)
    width = _width(filters, ratio)
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    part = scope(name, "preact_bottleneck")
    a = activate(normalize(x, style=style, name=part("norm")), style=style, name=part("act"))
    y = conv_norm_act(a, width, 1, style=style, name=part("conv1"))
    y = conv_norm_act(
        y, width, 3, stride=conv_stride, dilation=conv_dilation, groups=groups, style=style, name=part("conv2")
    )
    y = conv(y, filters, 1, use_bias=use_bias, style=style, name=part("conv3"))
    y = _attend_and_drop(y, attention, drop_path, style, part)
    return add([_preact_shortcut(x, a, filters, conv_stride, shortcut, style, part), y], name=part("out"))


def separable(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    depth: int = 3,
    dilation: int = 1,
    activate_first: bool = True,
    widen_last: bool = False,
    attention: Attention | None = None,
    shortcut: Shortcut = projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`shortcut(x) + maxpool3×3(norm(sepconv3×3(act(… norm(sepconv3×3(act(x)))))))`, the pooling only with a stride.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        stride: step of a max-pooling of 3×3, in pixels; at 1 there is none.
        depth: number of separable convolutions.
        dilation: distance of neighbouring taps, in pixels. Above 1 it replaces the stride, to which it must be equal,
            as a pooling has no dilation: the size stays, and the taps are those of the unit with the stride.
        activate_first: whether an activation precedes the first of them too.
        widen_last: whether the last of them changes the width, and not the first.
        attention: a function `(x, *, style, name) -> tensor` of the residual before it is added, which gets the unit's
            style; `None` for none.
        shortcut: used where the unit changes the shape.
        drop_path: the probability that an image's residual is left out of a training step.
        style: see `kblocks.style`; symmetric padding pads for the pooling with zeros, see `kblocks.pool.max_pool`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `x` is not of rank 4, a size is not a positive integer, or a dilation above 1 and a stride above 1
            are not equal.

    Source: Chollet, "Xception", 2016, arXiv 1610.02357, Figure 5: three convolutions in the middle flow; two, with a
    stride, in the entry flow, whose first unit is not activated first, and in the exit flow, where the last widens.

    >>> from keras import Input
    >>> separable(Input((37, 37, 128)), 256, stride=2, depth=2).shape
    (None, 19, 19, 256)
    """
    check.rank(x, 4)
    check.positive(filters, "filters")
    check.positive(depth, "depth")
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    if stride > 1 and conv_dilation > 1:
        raise ValueError(f"`dilation` must be `stride` where a pooling has it; got {dilation} and {stride}")
    part = scope(name, "separable")
    y = x
    for i in range(1, depth + 1):
        if i > 1 or activate_first:
            y = activate(y, style=style, name=part(f"conv{i}_act"))
        width = x.shape[-1] if widen_last and i < depth else filters
        y = separable_conv(y, width, 3, dilation=conv_dilation, style=style, name=part(f"conv{i}"))
        y = normalize(y, style=style, name=part(f"conv{i}_norm"))
    if stride > 1:
        y = max_pool(y, 3, stride=conv_stride, style=style, name=part("pool"))
    y = _attend_and_drop(y, attention, drop_path, style, part)
    return add([_shortcut(x, filters, stride, conv_stride, shortcut, style, part), y], name=part("out"))


def _shortcut(
    x: KerasTensor,
    filters: int,
    stride: int,
    step: int,
    shortcut: Shortcut,
    style: Style,
    part: Callable[[str], str],
) -> KerasTensor:
    """`x` where the unit keeps its shape, else `shortcut(x)`; so too where a dilation has replaced the stride."""
    check.block(shortcut, "shortcut")
    if stride == 1 and x.shape[-1] == filters:
        return x
    return shortcut(x, filters, stride=step, style=style, name=part("shortcut"))


def _preact_shortcut(
    x: KerasTensor,
    a: KerasTensor,
    filters: int,
    step: int,
    shortcut: Shortcut,
    style: Style,
    part: Callable[[str], str],
) -> KerasTensor:
    """`x`, at every `step`-th pixel, where the unit keeps its width, else `shortcut(a)`."""
    check.block(shortcut, "shortcut")
    if x.shape[-1] == filters:
        return padded(x, filters, stride=step, style=style, name=part("shortcut"))
    return shortcut(a, filters, stride=step, style=style, name=part("shortcut"))


def _attend_and_drop(
    y: KerasTensor, attention: Attention | None, drop_path: float, style: Style, part: Callable[[str], str]
) -> KerasTensor:
    if attention is not None:
        check.block(attention, "attention")
        y = attention(y, style=style, name=part("attention"))
    check.fraction(drop_path, "drop_path")
    return stochastic_depth(y, drop_path, name=part("drop_path"))


def _width(filters: int, ratio: float) -> int:
    check.positive(filters, "filters")
    width = round(filters * ratio)
    if width < 1 or abs(width - filters * ratio) > 1e-6:
        raise ValueError(f"`filters · ratio` must be a positive whole number; got {filters} · {ratio}")
    return width
