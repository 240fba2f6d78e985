"""Decoders: from the features of a network to features for each pixel.

The features are a list of images, from fine to coarse, such as `kblocks.graph.features` takes out of a network. Half of
a size is `ceil(size / 2)`; sizes that are not known must be divisible. `kblocks.head.pixel_logits` follows a decoder.
"""

from collections.abc import Callable, Sequence

from keras import KerasTensor, layers

from kblocks import check
from kblocks.compose import add, concat
from kblocks.contracts import Stem, Unit
from kblocks.conv import conv, conv_norm, conv_norm_act, transposed
from kblocks.naming import scope
from kblocks.style import RELU_BN, Style, activate

__all__ = ["aspp", "deeplab_v3", "deeplab_v3_plus", "double_conv", "fpn", "semantic_fpn", "unet"]


def __dir__() -> list[str]:
    return __all__


def double_conv(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(norm(conv3×3(act(norm(conv3×3(x))))))`, the `Unit` of U-Net.

    Args:
        filters: number of output channels of both convolutions.
        stride: stride of the first convolution.
        drop_path: must be 0, as there is no shortcut.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `drop_path` is not 0.

    Source: Ronneberger, Fischer and Brox, "U-Net", 2015, arXiv 1505.04597, section 2.

    >>> from keras import Input
    >>> double_conv(Input((32, 32, 16)), 8).shape
    (None, 32, 32, 8)
    """
    if drop_path:
        raise ValueError(f"`drop_path` must be 0, as the unit has no shortcut; got {drop_path!r}")
    part = scope(name, "double_conv")
    x = conv_norm_act(x, filters, 3, stride=stride, style=style, name=part("conv1"))
    x = conv_norm(x, filters, 3, style=style, name=part("conv2"))
    return activate(x, style=style, name=part("out"))


def unet(
    features: Sequence[KerasTensor],
    filters: Sequence[int],
    *,
    unit: Unit = double_conv,
    upsample: Stem = transposed,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`y = unit([features[i], upsample(y)])`, from the coarsest features to the finest.

    Args:
        features: two images or more, each of half the size of the one before.
        filters: output channels at each size, from fine to coarse; one less than there are features.
        unit: a `Unit`.
        upsample: `(x, filters, *, style, name) -> tensor` of twice the size, such as `kblocks.conv.transposed` or
            `kblocks.conv.upsample`.

    Returns:
        `(batch, height, width, filters[0])`, of the size of the finest features.

    Raises:
        TypeError: `unit` or `upsample` is not of that form.
        ValueError: fewer than two features, another number of `filters`, or sizes that do not fit.

    Source: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
    arXiv 1505.04597, Figure 1; with padding instead of cropped features.

    >>> from keras import Input
    >>> unet([Input((32, 32, 8)), Input((16, 16, 16)), Input((8, 8, 32))], (8, 16)).shape
    (None, 32, 32, 8)
    """
    _check_features(features, 2)
    check.block(unit, "unit", Unit)
    check.block(upsample, "upsample", Stem)
    if not isinstance(filters, list | tuple) or len(filters) != len(features) - 1:
        raise ValueError(f"`filters` must hold {len(features) - 1} numbers for {len(features)} features; got {filters}")
    part = scope(name, "unet_decoder")
    *finer, y = features
    for i, (x, width) in reversed(list(enumerate(zip(finer, filters, strict=True), 1))):
        y = upsample(y, width, style=style, name=part(f"level{i}_up"))
        y = concat([x, _crop(y, x, part(f"level{i}_crop"))], name=part(f"level{i}_concat"))
        y = unit(y, width, style=style, name=part(f"level{i}"))
    return y


def fpn(
    features: Sequence[KerasTensor], filters: int = 256, *, style: Style = RELU_BN, name: str | None = None
) -> list[KerasTensor]:
    """A feature pyramid: `conv3×3(y)` of each `y = conv1×1(features[i]) + upsample(y)`, from coarse to fine.

    Args:
        features: images, each of half the size of the one before.
        filters: output channels of all.
        style: no normalisation and no activation is used.

    Returns:
        A list of images of the sizes of the features, `(batch, height, width, filters)`.

    Raises:
        ValueError: there are no features, or their sizes do not fit.

    Source: Lin et al., "Feature Pyramid Networks for Object Detection", 2016, arXiv 1612.03144, section 3.

    >>> from keras import Input
    >>> [y.shape for y in fpn([Input((32, 32, 8)), Input((16, 16, 16))], 4)]
    [(None, 32, 32, 4), (None, 16, 16, 4)]
    """
    _check_features(features, 1)
    part = scope(name, "fpn")
    found: list[KerasTensor] = []
    y: KerasTensor | None = None
    for i, x in reversed(list(enumerate(features, 1))):
        lateral = conv(x, filters, 1, use_bias=True, style=style, name=part(f"level{i}_lateral"))
        if y is not None:
            y = layers.UpSampling2D(2, name=part(f"level{i}_up"))(y)
            lateral = add([lateral, _crop(y, lateral, part(f"level{i}_crop"))], name=part(f"level{i}_add"))
        y = lateral
        found.append(conv(y, filters, 3, use_bias=True, style=style, name=part(f"level{i}_out")))
    return found[::-1]


def semantic_fpn(
    features: Sequence[KerasTensor], filters: int = 128, *, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """The sum of all features, each enlarged to the finest by `upsample2(act(norm(conv3×3(x))))`, again and again.

    Args:
        features: a feature pyramid, see `fpn`; each image of half the size of the one before.
        filters: number of output channels.
        style: in the paper with a group normalisation.

    Returns:
        `(batch, height, width, filters)`, of the size of the finest features.

    Raises:
        ValueError: there are no features, or their sizes do not fit.

    Source: Kirillov et al., "Panoptic Feature Pyramid Networks", 2019, arXiv 1901.02446, Figure 3.

    >>> from keras import Input
    >>> semantic_fpn([Input((32, 32, 8)), Input((16, 16, 8))], 4).shape
    (None, 32, 32, 4)
    """
    _check_features(features, 1)
    part = scope(name, "semantic_fpn")
    enlarged = []
    for i, x in enumerate(features, 1):
        y = x
        for j in range(1, max(i, 2)):
            at = f"level{i}_conv{j}"
            y = conv_norm_act(y, filters, 3, style=style, name=part(at))
            if i > 1:
                y = layers.UpSampling2D(2, interpolation="bilinear", name=part(f"{at}_up"))(y)
                y = _crop(y, features[i - 1 - j], part(f"{at}_crop"))
        enlarged.append(y)
    return add(enlarged, name=part("out"))


def aspp(
    x: KerasTensor,
    filters: int = 256,
    *,
    dilations: Sequence[int] = (6, 12, 18),
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`conv1×1([conv1×1(x), conv3×3(x) of each dilation rate, conv1×1(mean(x))])`, atrous spatial pyramid pooling.

    Args:
        filters: number of output channels of each convolution, which a normalisation and an activation follow.
        dilations: dilation rates of the 3×3 convolutions, for an output stride of 16; for one of 8 twice as large.

    Returns:
        `(batch, height, width, filters)`.

    Raises:
        ValueError: a dilation rate is not a positive integer.

    Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, arXiv 1706.05587,
    section 3.3 and Figure 5.

    >>> from keras import Input
    >>> aspp(Input((32, 32, 64)), 16).shape
    (None, 32, 32, 16)
    """
    check.rank(x, 4)
    part = scope(name, "aspp")
    found = [conv_norm_act(x, filters, 1, style=style, name=part("conv1"))]
    for i, dilation in enumerate(dilations, 2):
        check.positive(dilation, "dilations")
        found.append(conv_norm_act(x, filters, 3, dilation=dilation, style=style, name=part(f"conv{i}")))
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=part("mean"))(x)
    mean = conv_norm_act(mean, filters, 1, style=style, name=part("mean_conv"))
    # A sum with zeros enlarges one position to an image of any size.
    zeros = layers.Rescaling(0.0, name=part("mean_zeros"))(found[0])
    found.append(layers.Add(name=part("mean_out"))([zeros, mean]))
    y = conv_norm(concat(found, name=part("concat")), filters, 1, style=style, name=part("project"))
    return activate(y, style=style, name=part("out"))


def deeplab_v3(
    x: KerasTensor,
    filters: int = 256,
    *,
    dilations: Sequence[int] = (6, 12, 18),
    dropout: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(norm(conv3×3(dropout(aspp(x)))))`.

    Args:
        filters: number of output channels.
        dilations: see `aspp`.
        dropout: dropout rate.

    Returns:
        `(batch, height, width, filters)`.

    Raises:
        ValueError: a dilation rate is not a positive integer, or `dropout` is not at least 0 and below 1.

    Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, arXiv 1706.05587,
    Figure 5; the 3×3 convolution and the dropout as in torchvision.

    >>> from keras import Input
    >>> deeplab_v3(Input((32, 32, 64)), 16).shape
    (None, 32, 32, 16)
    """
    part = scope(name, "deeplab_v3")
    x = _aspp_dropout(x, filters, dilations, dropout, style, part)
    x = conv_norm(x, filters, 3, style=style, name=part("conv"))
    return activate(x, style=style, name=part("out"))


def deeplab_v3_plus(
    features: Sequence[KerasTensor],
    filters: int = 256,
    *,
    low_filters: int = 48,
    factor: int = 4,
    dilations: Sequence[int] = (6, 12, 18),
    dropout: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`conv3×3(conv3×3([upsample(dropout(aspp(coarse))), conv1×1(fine)]))`, each normalised and activated.

    Args:
        features: a fine image, at an output stride of 4, and a coarse one.
        filters: number of output channels.
        low_filters: output channels of the 1×1 convolution of the fine features.
        factor: size of the fine features in sizes of the coarse ones, rounded up.
        dilations: see `aspp`.
        dropout: dropout rate.

    Returns:
        `(batch, height, width, filters)`, of the size of the fine features.

    Raises:
        ValueError: not two features, or sizes that do not fit `factor`; a dilation rate is not a positive integer, or
            `dropout` is not at least 0 and below 1.

    Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", 2018,
    arXiv 1802.02611, Figure 2.

    >>> from keras import Input
    >>> deeplab_v3_plus([Input((32, 32, 64)), Input((8, 8, 256))], 16).shape
    (None, 32, 32, 16)
    """
    _check_features(features, 2)
    check.positive(low_filters, "low_filters")
    check.positive(factor, "factor")
    if len(features) != 2:
        raise ValueError(f"`features` must hold 2 images; got {len(features)}")
    part = scope(name, "deeplab_v3_plus")
    fine, coarse = features
    y = _aspp_dropout(coarse, filters, dilations, dropout, style, part)
    y = layers.UpSampling2D(int(factor), interpolation="bilinear", name=part("up"))(y)
    low = conv_norm_act(fine, low_filters, 1, style=style, name=part("low"))
    y = concat([_crop(y, low, part("crop")), low], name=part("concat"))
    return double_conv(y, filters, style=style, name=part("fuse"))


def _aspp_dropout(
    x: KerasTensor,
    filters: int,
    dilations: Sequence[int],
    dropout: float,
    style: Style,
    part: Callable[[str], str],
) -> KerasTensor:
    check.fraction(dropout, "dropout")
    x = aspp(x, filters, dilations=dilations, style=style, name=part("aspp"))
    return layers.Dropout(dropout, name=part("dropout"))(x) if dropout else x


def _crop(x: KerasTensor, like: KerasTensor, name: str) -> KerasTensor:
    """`x` without its last rows and columns, where it is known to be larger than `like`."""
    sizes = list(zip(x.shape[1:3], like.shape[1:3], strict=True))
    margins = tuple((0, max(a - b, 0) if a and b else 0) for a, b in sizes)
    return layers.Cropping2D(margins, name=name)(x) if any(map(any, margins)) else x


def _check_features(features: Sequence[KerasTensor], least: int) -> None:
    check.tensors(features, "features")
    if len(features) < least:
        raise ValueError(f"`features` must hold at least {least} images; got {len(features)}")
    for x in features:
        check.rank(x, 4, "features")
