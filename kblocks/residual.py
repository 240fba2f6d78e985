"""Residual units: `act(shortcut(x) + F(x))`, and in pre-activation order `x + F(act(norm(x)))`.

Each is a `Unit` of `kblocks.contracts`, or a `Shortcut`. Arguments of all units, except that those of PyramidNet have
no `dilation` and no `groups`, and `rep_unit` no `shortcut`:

- `filters`: number of output channels.
- `stride`: stride of the 3×3 convolution, or of the first of two.
- `dilation`: dilation rate of the 3×3 convolutions. Above 1 it replaces the stride, which must divide it: the size is
  kept, and the dilation rate of the 3×3 convolution that had the stride is `dilation / stride`.
- `groups`: number of groups of the 3×3 convolutions.
- `attention`: an `Attention`, applied to the residual before the addition.
- `shortcut`: a `Shortcut`, used only if the unit changes the shape (in pre-activation units: the number of channels).
- `drop_path`: stochastic-depth (drop-path) rate.

The output is `(batch, ceil(height / stride), ceil(width / stride), filters)`, with a dilation above 1
`(batch, height, width, filters)`. Networks that differ by an argument are partials:

    resnext = partial(bottleneck, groups=32, ratio=1/2)
    wide = partial(bottleneck, ratio=1/2)
    se_resnet = partial(bottleneck, attention=squeeze_excite)
    dilated = partial(bottleneck, dilation=2)

A stage of stride 2 of such dilated units keeps the size. At every second pixel it equals the strided stage (Chen et
al., "Rethinking Atrous Convolution", 2017, arXiv 1706.05587, section 3.1) if the padding is symmetric or the size odd;
at even sizes the windows of `"same"` and stride 2 are centred on the odd pixels.
"""

from collections.abc import Callable
from dataclasses import replace

from keras import KerasTensor, layers

from kblocks import check
from kblocks.compose import add, concat, shake, stochastic_depth
from kblocks.contracts import Attention, Shortcut
from kblocks.conv import conv, conv_norm, conv_norm_act, norm_act_conv, separable_conv
from kblocks.naming import scope
from kblocks.padding import replace_stride
from kblocks.pool import avg_pool, max_pool
from kblocks.style import RELU_BN, Style, activate, normalize

__all__ = [
    "basic",
    "bottleneck",
    "highway",
    "linear_projection",
    "padded",
    "pooled",
    "pooled_projection",
    "preact_basic",
    "preact_bottleneck",
    "projection",
    "pyramid_basic",
    "pyramid_bottleneck",
    "rep_unit",
    "separable",
    "shake_shake",
    "shifted_projection",
]


def __dir__() -> list[str]:
    return __all__


def projection(
    x: KerasTensor, filters: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`norm(conv1×1(x))`, a learned shortcut (option B of the paper).

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

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
    """`conv1×1(x)`, a learned shortcut without a normalisation, for pre-activation units.

    Args:
        use_bias: whether to add a bias; `None` adds one if the style has no normalisation.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027, section 5 and appendix.

    >>> from keras import Input
    >>> linear_projection(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    return conv(x, filters, 1, stride=stride, use_bias=use_bias, style=style, name=name)


def pooled_projection(
    x: KerasTensor, filters: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`norm(conv1×1(avgpool(x)))` with windows of the size of the stride, so that every pixel is used.

    Args:
        stride: stride and window of the pooling; at 1 there is none.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Source: He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks", 2018, arXiv
    1812.01187, Figure 2 (c), ResNet-D.

    >>> from keras import Input
    >>> pooled_projection(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    check.positive(stride, "stride")
    part = scope(name, "pooled_projection")
    if stride > 1:
        # An even window can't be padded equally on both sides.
        pooling = replace(style, padding="same") if style.padding == "symmetric" else style
        x = avg_pool(x, stride, stride=stride, style=pooling, name=part("pool"))
    return conv_norm(x, filters, 1, style=style, name=part("conv"))


def shifted_projection(
    x: KerasTensor, filters: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`norm([conv1×1(x[::stride, ::stride]), conv1×1(z[::stride, ::stride])])` with `z` = `x` moved down and right by
    one pixel.

    Args:
        filters: number of output channels, half of them from each convolution.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: 2 does not divide `filters`.

    Source: Gastaldi, "Shake-Shake regularization", 2017, arXiv 1705.07485, section 2.1.

    >>> from keras import Input
    >>> shifted_projection(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    check.rank(x, 4)
    check.positive(stride, "stride")
    check.divisible(filters, 2, "filters", "2")
    part = scope(name, "shifted_projection")
    z = layers.Cropping2D(((0, 1), (0, 1)), name=part("crop"))(x)
    z = layers.ZeroPadding2D(((1, 0), (1, 0)), name=part("pad"))(z)
    paths = []
    for i, y in enumerate((x, z), 1):
        if stride > 1:
            y = avg_pool(y, 1, stride=stride, style=style, name=part(f"subsample{i}"))
        paths.append(conv(y, filters // 2, 1, style=style, name=part(f"conv{i}")))
    x = concat(paths, name=part("out" if style.norm is None else "concat"))
    return normalize(x, style=style, name=part("out"))


def padded(
    x: KerasTensor, filters: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`[x[::stride, ::stride], 0, …]`, a shortcut without parameters (option A of the paper).

    Args:
        filters: number of output channels, at least that of `x`.
        style: with padding `"floor"` the last pixel of an odd size is omitted.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`, zero in the new channels.

    Raises:
        ValueError: `filters` is below the channels of `x`.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, sections 3.3 and 4.2.

    >>> from keras import Input
    >>> padded(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    more = _more_channels(x, filters, stride)
    part = scope(name, "padded")
    if stride > 1:
        x = avg_pool(x, 1, stride=stride, style=style, name=part("subsample"))
    return _pad_channels(x, more, part("out"))


def pooled(
    x: KerasTensor, filters: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`[avgpool(x), 0, …]` with windows of the size of the stride, a shortcut without parameters.

    Args:
        filters: number of output channels, at least that of `x`.
        style: with padding `"floor"` and `"valid"` pixels that fill no window are omitted.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`, zero in the new channels.

    Raises:
        ValueError: `filters` is below the channels of `x`.

    Source: Han, Kim and Kim, "Deep Pyramidal Residual Networks", 2016, arXiv 1610.02915, section 3.2 and Figure 5;
    average pooling in the authors' code.

    >>> from keras import Input
    >>> pooled(Input((32, 32, 16)), 18, stride=2).shape
    (None, 16, 16, 18)
    """
    more = _more_channels(x, filters, stride)
    part = scope(name, "pooled")
    if stride > 1:
        # A window of the size of the stride needs no padding before the first pixel.
        style = replace(style, padding="same") if style.padding == "symmetric" else style
        x = avg_pool(x, stride, stride=stride, style=style, name=part("pool"))
    return _pad_channels(x, more, part("out"))


def basic(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    attention: Attention | None = None,
    shortcut: Shortcut = projection,
    activate_last: bool = True,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(shortcut(x) + norm(conv3×3(act(norm(conv3×3(x))))))`.

    Args:
        activate_last: whether an activation follows the addition.

    Raises:
        ValueError: `groups` does not divide the channels, or `stride` not a dilation above 1.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, Figure 5 left.

    >>> from keras import Input
    >>> basic(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    check.rank(x, 4)
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    part = scope(name, "basic")
    y = _two_convs(x, filters, conv_stride, conv_dilation, dilation, groups, style, part)
    y = _attend_and_drop(y, attention, drop_path, style, part)
    tensors = [_shortcut(x, filters, stride, conv_stride, shortcut, style, part), y]
    if not activate_last:
        return add(tensors, name=part("out"))
    return activate(add(tensors, name=part("add")), style=style, name=part("out"))


def shake_shake(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    attention: Attention | None = None,
    shortcut: Shortcut = shifted_projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(shortcut(x) + α F(x) + (1 − α) G(x))`, with the residuals `F` and `G` of two `basic` units, mixed by
    `kblocks.compose.shake`.

    Raises:
        ValueError: `groups` does not divide the channels, `stride` not a dilation above 1, or 2 not `filters` where the
            shape changes.

    Source: Gastaldi, "Shake-Shake regularization", 2017, arXiv 1705.07485, Figure 1; with the activation after the
    addition, as in `basic`, where the paper has it at the start of each branch.

    >>> from keras import Input
    >>> shake_shake(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    check.rank(x, 4)
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    part = scope(name, "shake_shake")
    branches = [
        _two_convs(x, filters, conv_stride, conv_dilation, dilation, groups, style, scope(part(branch), "branch"))
        for branch in ("branch1", "branch2")
    ]
    y = shake(branches, name=part("shake"))
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
    attend_inside: bool = False,
    shortcut: Shortcut = projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(shortcut(x) + norm(conv1×1(act(norm(conv3×3(act(norm(conv1×1(x)))))))))`.

    Args:
        ratio: width of the 3×3 convolution, as a fraction of `filters`.
        stride_first: whether the first 1×1 convolution has the stride, as in the paper, instead of the 3×3.
        attend_inside: whether `attention` is applied to the output of the 3×3 convolution, as in RegNet, instead of the
            residual.

    Raises:
        ValueError: `ratio · filters` is not a whole number, `groups` does not divide it, or `stride` not a dilation
            above 1.

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
    if attend_inside:
        y = _attend(y, attention, style, part)
    y = conv_norm(y, filters, 1, style=style, name=part("conv3"))
    y = _attend_and_drop(y, None if attend_inside else attention, drop_path, style, part)
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
    dropout: float = 0.0,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x + conv3×3(act(norm(conv3×3(a))))` with `a = act(norm(x))`.

    If the number of channels changes, `shortcut(a)` replaces `x`; if only the size does, `x[::stride, ::stride]`. A
    normalisation and an activation follow the last of such units.

    Args:
        dropout: dropout rate before the second convolution.

    Raises:
        ValueError: `groups` does not divide the channels, `stride` not a dilation above 1, or `dropout` is not at least
            0 and below 1.

    Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027, Figure 1 (b); `dropout`
    after Zagoruyko and Komodakis, "Wide Residual Networks", 2016, arXiv 1605.07146, Figure 1 (d).

    >>> from keras import Input
    >>> preact_basic(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    check.rank(x, 4)
    check.fraction(dropout, "dropout")
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    part = scope(name, "preact_basic")
    a = activate(normalize(x, style=style, name=part("norm")), style=style, name=part("act"))
    y = conv_norm_act(
        a, filters, 3, stride=conv_stride, dilation=conv_dilation, groups=groups, style=style, name=part("conv1")
    )
    if dropout:
        y = layers.Dropout(dropout, name=part("dropout"))(y)
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
    """`x + conv1×1(act(norm(conv3×3(act(norm(conv1×1(a)))))))` with `a = act(norm(x))`; shortcuts as in `preact_basic`.

    Args:
        ratio: width of the 3×3 convolution, as a fraction of `filters`.
        use_bias: whether the last convolution adds a bias; `None` adds one if the style has no normalisation.

    Raises:
        ValueError: `ratio · filters` is not a whole number, `groups` does not divide it, or `stride` not a dilation
            above 1.

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


def pyramid_basic(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    attention: Attention | None = None,
    shortcut: Shortcut = pooled,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`shortcut(x) + norm(conv3×3(act(norm(conv3×3(norm(x))))))`.

    A normalisation and an activation follow the last of such units.

    Raises:
        ValueError: `filters` is below the channels of `x`, with a shortcut that can't reduce them.

    Source: Han, Kim and Kim, "Deep Pyramidal Residual Networks", 2016, arXiv 1610.02915, Figure 6 (d).

    >>> from keras import Input
    >>> pyramid_basic(Input((32, 32, 16)), 18, stride=2).shape
    (None, 16, 16, 18)
    """
    check.rank(x, 4)
    part = scope(name, "pyramid_basic")
    y = normalize(x, style=style, name=part("norm"))
    y = conv(y, filters, 3, stride=stride, style=style, name=part("conv1"))
    y = norm_act_conv(y, filters, 3, style=style, name=part("conv2"))
    return _pyramid_out(x, y, filters, stride, attention, shortcut, drop_path, style, part)


def pyramid_bottleneck(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    ratio: float = 1 / 4,
    attention: Attention | None = None,
    shortcut: Shortcut = pooled,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`shortcut(x) + norm(conv1×1(act(norm(conv3×3(act(norm(conv1×1(norm(x)))))))))`.

    A normalisation and an activation follow the last of such units.

    Args:
        ratio: width of the 3×3 convolution, as a fraction of `filters`.

    Raises:
        ValueError: `ratio · filters` is not a whole number, or `filters` is below the channels of `x`, with a shortcut
            that can't reduce them.

    Source: Han, Kim and Kim, "Deep Pyramidal Residual Networks", 2016, arXiv 1610.02915, section 3.3 and Figure 6 (d).

    >>> from keras import Input
    >>> pyramid_bottleneck(Input((32, 32, 64)), 72, stride=2).shape
    (None, 16, 16, 72)
    """
    check.rank(x, 4)
    width = _width(filters, ratio)
    part = scope(name, "pyramid_bottleneck")
    y = normalize(x, style=style, name=part("norm"))
    y = conv(y, width, 1, style=style, name=part("conv1"))
    y = norm_act_conv(y, width, 3, stride=stride, style=style, name=part("conv2"))
    y = norm_act_conv(y, filters, 1, style=style, name=part("conv3"))
    return _pyramid_out(x, y, filters, stride, attention, shortcut, drop_path, style, part)


def rep_unit(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    attention: Attention | None = None,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(norm(conv3×3(x)) + norm(conv1×1(x)) + norm(x))`, without `norm(x)` where the shape changes.

    In inference the three are one 3×3 convolution with a bias: `architectures.repvgg.merge` makes it. (`kb.graph.fold`
    folds the normalisations of the two convolutions into them, and keeps the branches.)

    Args:
        attention: an `Attention`, applied to the sum.
        drop_path: stochastic-depth (drop-path) rate of the two convolutions; it has no effect where the shape changes.

    Raises:
        ValueError: `groups` does not divide the channels, or `stride` not a dilation above 1.

    Source: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021, arXiv 2101.03697, Figure 2 (b);
    `attention` and `drop_path` as in timm.

    >>> from keras import Input
    >>> rep_unit(Input((32, 32, 16)), 16).shape
    (None, 32, 32, 16)
    """
    check.rank(x, 4)
    check.fraction(drop_path, "drop_path")
    conv_stride, conv_dilation = replace_stride(stride, dilation)
    part = scope(name, "rep_unit")
    wide = conv_norm(
        x, filters, 3, stride=conv_stride, dilation=conv_dilation, groups=groups, style=style, name=part("conv3")
    )
    tensors = [wide, conv_norm(x, filters, 1, stride=conv_stride, groups=groups, style=style, name=part("conv1"))]
    if stride == 1 and x.shape[-1] == filters:
        if drop_path:
            tensors = [stochastic_depth(add(tensors, name=part("convs")), drop_path, name=part("drop_path"))]
        tensors.append(normalize(x, style=style, name=part("norm")))
    y = _attend(add(tensors, name=part("add")), attention, style, part)
    return activate(y, style=style, name=part("out"))


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
    """`shortcut(x) + maxpool3×3(norm(sepconv3×3(act(… norm(sepconv3×3(act(x)))))))`, without the pooling at stride 1.

    Args:
        stride: stride of the max-pooling.
        depth: number of separable convolutions.
        dilation: dilation rate, which must be equal to a stride above 1, as poolings have none. It then replaces the
            stride; the convolutions, which precede the pooling, are not dilated.
        activate_first: whether an activation precedes the first convolution too.
        widen_last: whether the last convolution changes the number of channels, instead of the first.
        style: symmetric padding pads the pooling with zeros, see `kblocks.pool.max_pool`.

    Raises:
        ValueError: a dilation above 1 and a stride above 1 are not equal.

    Source: Chollet, "Xception", 2016, arXiv 1610.02357, Figure 5: three convolutions in the middle flow; two, with a
    stride, in the entry flow, whose first unit is not activated first, and in the exit flow, where the last widens.

    >>> from keras import Input
    >>> separable(Input((37, 37, 128)), 256, stride=2, depth=2).shape
    (None, 19, 19, 256)
    """
    check.rank(x, 4)
    check.positive(filters, "filters")
    check.positive(depth, "depth")
    pool_stride, conv_dilation = replace_stride(stride, dilation)
    if stride > 1 and conv_dilation > 1:
        raise ValueError(f"`dilation` must be equal to `stride`, the stride of a pooling; got {dilation} and {stride}")
    part = scope(name, "separable")
    y = x
    for i in range(1, depth + 1):
        if i > 1 or activate_first:
            y = activate(y, style=style, name=part(f"conv{i}_act"))
        width = x.shape[-1] if widen_last and i < depth else filters
        y = separable_conv(y, width, 3, dilation=conv_dilation, style=style, name=part(f"conv{i}"))
        y = normalize(y, style=style, name=part(f"conv{i}_norm"))
    if stride > 1:
        y = max_pool(y, 3, stride=pool_stride, style=style, name=part("pool"))
    y = _attend_and_drop(y, attention, drop_path, style, part)
    return add([_shortcut(x, filters, stride, pool_stride, shortcut, style, part), y], name=part("out"))


def highway(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    gate_bias: float = -2.0,
    shortcut: Shortcut = projection,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`t · act(norm(conv3×3(x))) + (1 − t) · shortcut(x)` with the gate `t = sigmoid(conv3×3(x) + b)`.

    Args:
        stride: stride of both convolutions.
        gate_bias: initial value of b; below 0 the unit begins near its shortcut.

    Source: Srivastava, Greff and Schmidhuber, "Highway Networks", 2015, arXiv 1505.00387, equation 3.

    >>> from keras import Input
    >>> highway(Input((32, 32, 16)), 32, stride=2).shape
    (None, 16, 16, 32)
    """
    check.rank(x, 4)
    part = scope(name, "highway")
    y = conv_norm_act(x, filters, 3, stride=stride, style=style, name=part("conv"))
    gate = conv(
        x,
        filters,
        3,
        stride=stride,
        use_bias=True,
        initial_bias=gate_bias,
        activation="sigmoid",
        style=style,
        name=part("gate"),
    )
    x = _shortcut(x, filters, stride, stride, shortcut, style, part)
    # t · y + (1 − t) · x
    y = layers.Multiply(name=part("gated"))([gate, layers.Subtract(name=part("difference"))([y, x])])
    y = _attend_and_drop(y, None, drop_path, style, part)
    return add([x, y], name=part("out"))


def _two_convs(
    x: KerasTensor,
    filters: int,
    conv_stride: int,
    conv_dilation: int,
    dilation: int,
    groups: int,
    style: Style,
    part: Callable[[str], str],
) -> KerasTensor:
    """`norm(conv3×3(act(norm(conv3×3(x)))))`."""
    x = conv_norm_act(
        x, filters, 3, stride=conv_stride, dilation=conv_dilation, groups=groups, style=style, name=part("conv1")
    )
    return conv_norm(x, filters, 3, dilation=dilation, groups=groups, style=style, name=part("conv2"))


def _shortcut(
    x: KerasTensor,
    filters: int,
    stride: int,
    conv_stride: int,
    shortcut: Shortcut,
    style: Style,
    part: Callable[[str], str],
) -> KerasTensor:
    """`x` if the unit has stride 1 and keeps the channels, else `shortcut(x)`, with stride 1 if dilated."""
    check.block(shortcut, "shortcut", Shortcut)
    if stride == 1 and x.shape[-1] == filters:
        return x
    return shortcut(x, filters, stride=conv_stride, style=style, name=part("shortcut"))


def _preact_shortcut(
    x: KerasTensor,
    a: KerasTensor,
    filters: int,
    conv_stride: int,
    shortcut: Shortcut,
    style: Style,
    part: Callable[[str], str],
) -> KerasTensor:
    """`x`, subsampled, if the unit keeps the channels, else `shortcut(a)`."""
    check.block(shortcut, "shortcut", Shortcut)
    if x.shape[-1] == filters:
        return padded(x, filters, stride=conv_stride, style=style, name=part("shortcut"))
    return shortcut(a, filters, stride=conv_stride, style=style, name=part("shortcut"))


def _pyramid_out(
    x: KerasTensor,
    y: KerasTensor,
    filters: int,
    stride: int,
    attention: Attention | None,
    shortcut: Shortcut,
    drop_path: float,
    style: Style,
    part: Callable[[str], str],
) -> KerasTensor:
    """`shortcut(x) + norm(y)`."""
    y = normalize(y, style=style, name=part("last_norm"))
    y = _attend_and_drop(y, attention, drop_path, style, part)
    return add([_shortcut(x, filters, stride, stride, shortcut, style, part), y], name=part("out"))


def _attend_and_drop(
    y: KerasTensor, attention: Attention | None, drop_path: float, style: Style, part: Callable[[str], str]
) -> KerasTensor:
    y = _attend(y, attention, style, part)
    check.fraction(drop_path, "drop_path")
    return stochastic_depth(y, drop_path, name=part("drop_path"))


def _attend(y: KerasTensor, attention: Attention | None, style: Style, part: Callable[[str], str]) -> KerasTensor:
    if attention is None:
        return y
    check.block(attention, "attention", Attention)
    return attention(y, style=style, name=part("attention"))


def _width(filters: int, ratio: float) -> int:
    check.positive(filters, "filters")
    width = round(filters * ratio)
    if width < 1 or abs(width - filters * ratio) > 1e-6:
        raise ValueError(f"`filters · ratio` must be a positive whole number; got {filters} · {ratio}")
    return width


def _more_channels(x: KerasTensor, filters: int, stride: int) -> int:
    """By how many channels a shortcut without parameters is padded."""
    check.rank(x, 4)
    check.positive(stride, "stride")
    check.positive(filters, "filters")
    if filters < x.shape[-1]:
        raise ValueError(f"`filters` must be at least the channels of `x`; got {filters} and {x.shape[-1]}")
    more: int = filters - x.shape[-1]
    return more


def _pad_channels(x: KerasTensor, more: int, name: str) -> KerasTensor:
    if not more:
        return x
    # With channels first the layer pads the last two axes, which here are the width and the channels.
    return layers.ZeroPadding2D(((0, 0), (0, more)), data_format="channels_first", name=name)(x)
