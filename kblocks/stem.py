"""Stems: the layers before the first stage of a network.

Each is a `Stem` of `kblocks.contracts`, `(x, filters, *, style, name) -> tensor`, with `filters` output channels. The
last layer is named `{name}_out`.
"""

from collections.abc import Callable
from dataclasses import replace

from keras import KerasTensor, layers

from kblocks import check
from kblocks.compose import bias, concat
from kblocks.conv import conv, conv_norm, conv_norm_act
from kblocks.naming import resolve, scope
from kblocks.pool import max_pool
from kblocks.style import GELU_LN, RELU_BN, Style, activate, normalize

__all__ = [
    "bare",
    "cifar",
    "convmixer",
    "deep",
    "googlenet",
    "imagenet",
    "inception_resnet_v1",
    "inception_v3",
    "inception_v4",
    "linear",
    "mnist",
    "mobile",
    "nasnet",
    "patchify",
    "preact",
    "whitening",
    "xception",
]


def __dir__() -> list[str]:
    return __all__


HINT = " (stems for small images: kblocks.stem.mnist for 28×28, kblocks.stem.cifar for 32×32)"
"""Added to errors about images that are too small."""


def cifar(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`act(norm(conv3×3(x)))`, for 32×32 images; the size is kept.

    Returns:
        `(batch, height, width, filters)`.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, section 4.2.

    >>> from keras import Input
    >>> cifar(Input((32, 32, 3)), 16).shape
    (None, 32, 32, 16)
    """
    part = scope(name, "cifar_stem")
    x = conv_norm(x, filters, 3, style=style, name=part("conv"))
    return activate(x, style=style, name=part("out"))


def bare(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`conv3×3(x)`, for pre-activation units; the size is kept.

    Returns:
        `(batch, height, width, filters)`.

    Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027, appendix.

    >>> from keras import Input
    >>> bare(Input((32, 32, 3)), 16).shape
    (None, 32, 32, 16)
    """
    return conv(x, filters, 3, style=style, name=scope(name, "bare_stem")("out"))


def linear(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`norm(conv3×3(x))`, for units that begin with a normalisation; the size is kept.

    Returns:
        `(batch, height, width, filters)`.

    Source: Han, Kim and Kim, "Deep Pyramidal Residual Networks", 2016, arXiv 1610.02915, Table 1; with the
    normalisation of the authors' code.

    >>> from keras import Input
    >>> linear(Input((32, 32, 3)), 16).shape
    (None, 32, 32, 16)
    """
    part = scope(name, "linear_stem")
    return _linear(x, filters, 3, stride=1, use_bias=None, style=style, part=part)


def mnist(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`act(norm(conv3×3(pad2(x))))`, for 28×28 images, padded to 32×32, which can be halved five times.

    Returns:
        `(batch, height + 4, width + 4, filters)`.

    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, section II.B, for the padding
    to 32×32.

    >>> from keras import Input
    >>> mnist(Input((28, 28, 1)), 16).shape
    (None, 32, 32, 16)
    """
    check.rank(x, 4)
    name = resolve(name, "mnist_stem")
    part = scope(name, "mnist_stem")
    return cifar(layers.ZeroPadding2D(2, name=part("pad"))(x), filters, style=style, name=name)


def imagenet(
    x: KerasTensor, filters: int, *, kernel_size: int = 7, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`maxpool3×3/2(act(norm(conv7×7/2(x))))`, for 224×224 images.

    Args:
        kernel_size: kernel size of the convolution.

    Returns:
        `(batch, ceil(height / 4), ceil(width / 4), filters)`.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, Table 1; with a 3×3
    convolution Zhang et al., "ShuffleNet", 2017, arXiv 1707.01083, Table 1.

    >>> from keras import Input
    >>> imagenet(Input((224, 224, 3)), 64).shape
    (None, 56, 56, 64)
    """
    part = scope(name, "imagenet_stem")
    x = conv_norm_act(x, filters, kernel_size, stride=2, style=style, name=part("conv"))
    return max_pool(x, 3, stride=2, style=style, name=part("out"))


def deep(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`conv3×3/2 → conv3×3 → conv3×3 → maxpool3×3/2`, for 224×224 images: `imagenet` with three small kernels.

    Args:
        filters: number of output channels; the first two convolutions have half of it.

    Returns:
        `(batch, ceil(height / 4), ceil(width / 4), filters)`.

    Raises:
        ValueError: 2 does not divide `filters`.

    Source: He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks", 2018, arXiv
    1812.01187, Figure 2 (b), ResNet-C.

    >>> from keras import Input
    >>> deep(Input((224, 224, 3)), 64).shape
    (None, 56, 56, 64)
    """
    check.divisible(filters, 2, "filters", "2")
    part = scope(name, "deep_stem")
    x = conv_norm_act(x, filters // 2, 3, stride=2, style=style, name=part("conv1"))
    x = conv_norm_act(x, filters // 2, 3, style=style, name=part("conv2"))
    x = conv_norm_act(x, filters, 3, style=style, name=part("conv3"))
    return max_pool(x, 3, stride=2, style=style, name=part("out"))


def preact(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`maxpool3×3/2(conv7×7/2(x) + b)`, for 224×224 images and pre-activation units.

    Returns:
        `(batch, ceil(height / 4), ceil(width / 4), filters)`.

    Source: He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027, Figure 1 (b), the part
    before the first unit.

    >>> from keras import Input
    >>> preact(Input((224, 224, 3)), 64).shape
    (None, 56, 56, 64)
    """
    part = scope(name, "preact_stem")
    x = conv(x, filters, 7, stride=2, use_bias=True, style=style, name=part("conv"))
    return max_pool(x, 3, stride=2, style=style, name=part("out"))


def googlenet(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`conv7×7/2 → maxpool3×3/2 → conv1×1 → conv3×3 → maxpool3×3/2`, for 224×224 images.

    Args:
        filters: number of output channels; the first two convolutions have a third of it.

    Returns:
        `(batch, ceil(height / 8), ceil(width / 8), filters)`.

    Raises:
        ValueError: 3 does not divide `filters`.

    Source: Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842, Table 1; without the two local
    response normalisations.

    >>> from keras import Input
    >>> googlenet(Input((224, 224, 3)), 192).shape
    (None, 28, 28, 192)
    """
    check.divisible(filters, 3, "filters", "3")
    part = scope(name, "googlenet_stem")
    x = conv_norm_act(x, filters // 3, 7, stride=2, style=style, name=part("conv1"))
    x = max_pool(x, 3, stride=2, style=style, name=part("pool1"))
    x = conv_norm_act(x, filters // 3, 1, style=style, name=part("conv2"))
    x = conv_norm_act(x, filters, 3, style=style, name=part("conv3"))
    return max_pool(x, 3, stride=2, style=style, name=part("out"))


def inception_v3(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`conv3×3/2 → conv3×3 → conv3×3 → maxpool3×3/2 → conv1×1 → conv3×3 → maxpool3×3/2`, for 299×299 images;
    only the third convolution is padded.

    Args:
        x: an image of at least 75×75.
        filters: number of output channels; the convolutions before have 1/6, 1/6, 1/3 and 5/12 of it.

    Returns:
        `(batch, (height − 19) // 8, (width − 19) // 8, filters)`.

    Raises:
        ValueError: `x` is smaller than 75×75, or 12 does not divide `filters`.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, arXiv 1512.00567,
    Table 1, with the last two convolutions of the authors' code.

    >>> from keras import Input
    >>> inception_v3(Input((299, 299, 3)), 192).shape
    (None, 35, 35, 192)
    """
    _check_size(x, 75, "inception_v3")
    check.divisible(filters, 12, "filters", "12")
    part = scope(name, "inception_v3_stem")
    valid = replace(style, padding="valid")
    x = conv_norm_act(x, filters // 6, 3, stride=2, style=valid, name=part("conv1"))
    x = conv_norm_act(x, filters // 6, 3, style=valid, name=part("conv2"))
    x = conv_norm_act(x, filters // 3, 3, style=style, name=part("conv3"))
    x = max_pool(x, 3, stride=2, style=valid, name=part("pool"))
    x = conv_norm_act(x, filters * 5 // 12, 1, style=valid, name=part("conv4"))
    x = conv_norm_act(x, filters, 3, style=valid, name=part("conv5"))
    return max_pool(x, 3, stride=2, style=valid, name=part("out"))


def inception_resnet_v1(
    x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`conv3×3/2 → conv3×3 → conv3×3 → maxpool3×3/2 → conv1×1 → conv3×3 → conv3×3/2`, for 299×299 images; only the
    third convolution is padded.

    Args:
        x: an image of at least 75×75.
        filters: number of output channels; the convolutions before have 1/8, 1/8, 1/4, 5/16 and 3/4 of it.

    Returns:
        `(batch, (height − 19) // 8, (width − 19) // 8, filters)`.

    Raises:
        ValueError: `x` is smaller than 75×75, or 16 does not divide `filters`.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 14.

    >>> from keras import Input
    >>> inception_resnet_v1(Input((299, 299, 3)), 256).shape
    (None, 35, 35, 256)
    """
    _check_size(x, 75, "inception_resnet_v1")
    check.divisible(filters, 16, "filters", "16")
    part = scope(name, "inception_resnet_v1_stem")
    valid = replace(style, padding="valid")
    x = conv_norm_act(x, filters // 8, 3, stride=2, style=valid, name=part("conv1"))
    x = conv_norm_act(x, filters // 8, 3, style=valid, name=part("conv2"))
    x = conv_norm_act(x, filters // 4, 3, style=style, name=part("conv3"))
    x = max_pool(x, 3, stride=2, style=valid, name=part("pool"))
    x = conv_norm_act(x, filters * 5 // 16, 1, style=valid, name=part("conv4"))
    x = conv_norm_act(x, filters * 3 // 4, 3, style=valid, name=part("conv5"))
    x = conv_norm(x, filters, 3, stride=2, style=valid, name=part("conv6"))
    return activate(x, style=style, name=part("out"))


def inception_v4(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """Three convolutions and three pairs of branches, for 299×299 images.

    `conv3×3/2 → conv3×3 → conv3×3 → [maxpool3×3/2, conv3×3/2] → [conv3×3(conv1×1), conv3×3(conv7×1(conv1×7(conv1×1)))]
    → [conv3×3/2, maxpool3×3/2]`; the third convolution, the 1×7 and the 7×1 are padded.

    Args:
        x: an image of at least 75×75.
        filters: number of output channels; the branches have 1/6, 1/4 and 1/2 of it.

    Returns:
        `(batch, (height − 19) // 8, (width − 19) // 8, filters)`.

    Raises:
        ValueError: `x` is smaller than 75×75, or 12 does not divide `filters`.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016,
    arXiv 1602.07261, Figure 3, with the order of the kernels of the authors' code.

    >>> from keras import Input
    >>> inception_v4(Input((299, 299, 3)), 384).shape
    (None, 35, 35, 384)
    """
    _check_size(x, 75, "inception_v4")
    check.divisible(filters, 12, "filters", "12")
    part = scope(name, "inception_v4_stem")
    valid = replace(style, padding="valid")
    x = conv_norm_act(x, filters // 12, 3, stride=2, style=valid, name=part("conv1"))
    x = conv_norm_act(x, filters // 12, 3, style=valid, name=part("conv2"))
    x = conv_norm_act(x, filters // 6, 3, style=style, name=part("conv3"))
    pooled = max_pool(x, 3, stride=2, style=valid, name=part("pool1"))
    x = conv_norm_act(x, filters // 4, 3, stride=2, style=valid, name=part("conv4"))
    x = concat([pooled, x], name=part("join1"))
    y = conv_norm_act(x, filters // 6, 1, style=style, name=part("3x3_reduce"))
    y = conv_norm_act(y, filters // 4, 3, style=valid, name=part("3x3"))
    x = conv_norm_act(x, filters // 6, 1, style=style, name=part("rows_reduce"))
    x = conv_norm_act(x, filters // 6, (1, 7), style=style, name=part("rows1"))
    x = conv_norm_act(x, filters // 6, (7, 1), style=style, name=part("rows2"))
    x = conv_norm_act(x, filters // 4, 3, style=valid, name=part("rows_3x3"))
    x = concat([y, x], name=part("join2"))
    y = conv_norm_act(x, filters // 2, 3, stride=2, style=valid, name=part("conv5"))
    pooled = max_pool(x, 3, stride=2, style=valid, name=part("pool2"))
    return concat([y, pooled], name=part("out"))


def xception(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`act(norm(conv3×3(act(norm(conv3×3/2(x))))))` without padding, for 299×299 images.

    Args:
        x: an image of at least 71×71.
        filters: number of output channels; the first convolution has half of it.

    Returns:
        `(batch, (height − 5) // 2, (width − 5) // 2, filters)`.

    Raises:
        ValueError: `x` is smaller than 71×71, or 2 does not divide `filters`.

    Source: Chollet, "Xception", 2016, arXiv 1610.02357, Figure 5.

    >>> from keras import Input
    >>> xception(Input((299, 299, 3)), 64).shape
    (None, 147, 147, 64)
    """
    _check_size(x, 71, "xception")
    check.divisible(filters, 2, "filters", "2")
    part = scope(name, "xception_stem")
    valid = replace(style, padding="valid")
    x = conv_norm_act(x, filters // 2, 3, stride=2, style=valid, name=part("conv1"))
    x = conv_norm(x, filters, 3, style=valid, name=part("conv2"))
    return activate(x, style=style, name=part("out"))


def mobile(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`act(norm(conv3×3/2(x)))`, for 224×224 images.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), filters)`.

    Source: Howard et al., "MobileNets", 2017, arXiv 1704.04861, Table 1.

    >>> from keras import Input
    >>> mobile(Input((224, 224, 3)), 32).shape
    (None, 112, 112, 32)
    """
    part = scope(name, "mobile_stem")
    x = conv_norm(x, filters, 3, stride=2, style=style, name=part("conv"))
    return activate(x, style=style, name=part("out"))


def patchify(
    x: KerasTensor, filters: int, *, size: int = 4, style: Style = GELU_LN, name: str | None = None
) -> KerasTensor:
    """`norm(conv(x))` with a stride of the kernel's size: one vector for each patch of the image.

    Args:
        size: height and width of a patch; incomplete patches are dropped.

    Returns:
        `(batch, height // size, width // size, filters)`.

    Raises:
        ValueError: `x` is smaller than a patch.

    Source: Liu et al., "A ConvNet for the 2020s", 2022, arXiv 2201.03545, section 2.2; without a normalisation
    Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020, arXiv 2010.11929, equation 1.

    >>> from keras import Input
    >>> patchify(Input((224, 224, 3)), 96).shape
    (None, 56, 56, 96)
    """
    check.rank(x, 4)
    check.positive(size, "size")
    part = scope(name, "patchify_stem")
    return _linear(x, filters, size, stride=size, use_bias=True, style=replace(style, padding="valid"), part=part)


def convmixer(
    x: KerasTensor, filters: int, *, size: int = 7, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`norm(act(conv(x)))` with a stride of the kernel's size: one vector for each patch of the image.

    Args:
        size: height and width of a patch; incomplete patches are dropped.

    Returns:
        `(batch, height // size, width // size, filters)`.

    Raises:
        ValueError: `x` is smaller than a patch.

    Source: Trockman and Kolter, "Patches Are All You Need?", 2022, arXiv 2201.09792, Figure 2.

    >>> from keras import Input
    >>> convmixer(Input((224, 224, 3)), 768).shape
    (None, 32, 32, 768)
    """
    check.rank(x, 4)
    check.positive(size, "size")
    part = scope(name, "convmixer_stem")
    valid = replace(style, padding="valid")
    x = conv(x, filters, size, stride=size, use_bias=True, style=valid, name=part("conv"))
    x = activate(x, style=style, name=part("act" if style.norm else "out"))
    return normalize(x, style=style, name=part("out"))


def whitening(
    x: KerasTensor, filters: int, *, size: int = 2, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`act(W ∗ x + b)` without padding, with a kernel `W` that is not trained and a trained bias `b`.

    The kernel, that of the layer `{name}_conv`, is random until it is set: for whitening to the eigenvectors of the
    patches of training images, as by `architectures.airbench.whitening`.

    Args:
        size: height and width of the kernel.

    Returns:
        `(batch, height − size + 1, width − size + 1, filters)`.

    Raises:
        ValueError: `x` is smaller than the kernel.

    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, arXiv 2404.00498, section 3.2.

    >>> from keras import Input
    >>> whitening(Input((32, 32, 3)), 24).shape
    (None, 31, 31, 24)
    """
    check.rank(x, 4)
    check.positive(filters, "filters")
    check.positive(size, "size")
    _check_size(x, int(size), "whitening")
    part = scope(name, "whitening_stem")
    kernel = layers.Conv2D(
        int(filters),
        int(size),
        use_bias=False,
        kernel_initializer=style.initializer,
        trainable=False,
        name=part("conv"),
    )
    return activate(bias(kernel(x), name=part("bias")), style=style, name=part("out"))


def nasnet(x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None) -> KerasTensor:
    """`norm(conv3×3/2(x))` without padding and without an activation, for 224×224 images.

    Returns:
        `(batch, (height − 1) // 2, (width − 1) // 2, filters)`.

    Raises:
        ValueError: `x` is smaller than 3×3.

    Source: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2017, arXiv 1707.07012,
    Figure 2 right.

    >>> from keras import Input
    >>> nasnet(Input((224, 224, 3)), 32).shape
    (None, 111, 111, 32)
    """
    part = scope(name, "nasnet_stem")
    return _linear(x, filters, 3, stride=2, use_bias=None, style=replace(style, padding="valid"), part=part)


def _linear(
    x: KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    stride: int,
    use_bias: bool | None,
    style: Style,
    part: Callable[[str], str],
) -> KerasTensor:
    """`norm(W ∗ x)`; the last layer is named `out`."""
    name = part("out" if style.norm is None else "conv")
    x = conv(x, filters, kernel_size, stride=stride, use_bias=use_bias, style=style, name=name)
    return normalize(x, style=style, name=part("out"))


def _check_size(x: KerasTensor, least: int, stem: str) -> None:
    check.rank(x, 4)
    check.min_size(x, least, f"the stem `{stem}`", HINT)
