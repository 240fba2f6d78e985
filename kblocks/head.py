"""Heads: from features to logits, without a softmax and in float32 under every dtype policy."""

from dataclasses import replace

from keras import KerasTensor, layers

from kblocks import check
from kblocks.conv import conv_norm_act
from kblocks.mlp import dense_norm_act
from kblocks.naming import resolve, scope
from kblocks.pool import global_pool
from kblocks.style import RELU_BN, Style

__all__ = ["auxiliary", "classifier", "conv_classifier", "logits", "pixel_logits"]


def __dir__() -> list[str]:
    return __all__


def classifier(
    x: KerasTensor,
    classes: int,
    *,
    pooling: str = "avg",
    dropout: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`W dropout(pool(x)) + b`.

    Args:
        x: `(batch, height, width, channels)`, `(batch, tokens, channels)` or `(batch, features)`.
        classes: number of logits.
        pooling: `"avg"`, `"max"` or `"flatten"`, see `kblocks.pool.global_pool`.
        dropout: dropout rate.
        style: see `logits`.

    Returns:
        `(batch, classes)`, float32.

    Raises:
        ValueError: `classes` is not a positive integer, `pooling` is not one of the three, or `dropout` is not in
            [0, 1).

    >>> from keras import Input
    >>> classifier(Input((8, 8, 64)), 10).shape
    (None, 10)
    """
    check.positive(classes, "classes")
    check.choice(pooling, ("avg", "max", "flatten"), "pooling")
    check.fraction(dropout, "dropout")
    part = scope(name, "classifier")
    x = global_pool(x, pooling, name=part("pool"))
    if dropout:
        x = layers.Dropout(dropout, name=part("dropout"))(x)
    return logits(x, classes, style=style, name=part("logits"))


def conv_classifier(
    x: KerasTensor,
    classes: int,
    *,
    activation: str | None = "relu",
    dropout: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`avgpool(act(conv1×1(dropout(x)) + b))` over all positions.

    Args:
        x: `(batch, height, width, channels)`.
        classes: number of logits.
        activation: name of a function of `keras.activations`, applied before the pooling.
        dropout: dropout rate.
        style: only its initialiser and regulariser are used.

    Returns:
        `(batch, classes)`, float32.

    Raises:
        ValueError: `classes` is not a positive integer, or `dropout` is not in [0, 1).

    Source: Lin, Chen and Yan, "Network In Network", 2013, arXiv 1312.4400, section 3.2.

    >>> from keras import Input
    >>> conv_classifier(Input((8, 8, 64)), 10).shape
    (None, 10)
    """
    check.rank(x, 4)
    check.positive(classes, "classes")
    check.fraction(dropout, "dropout")
    if activation is not None:
        check.activation(activation, "activation")
    part = scope(name, "conv_classifier")
    if dropout:
        x = layers.Dropout(dropout, name=part("dropout"))(x)
    x = layers.Conv2D(
        int(classes),
        1,
        activation=activation,
        kernel_initializer=style.initializer,
        kernel_regularizer=style.regularizer,
        dtype="float32",
        name=part("logits_conv"),
    )(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name=part("logits"))(x)


def logits(
    x: KerasTensor, classes: int, *, use_bias: bool = True, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`W x + b` in float32.

    Args:
        x: `(batch, features)`.
        classes: number of logits.
        use_bias: whether to add b.
        style: only its regulariser is used; the kernel's initialiser is Glorot's, as no activation follows.

    Returns:
        `(batch, classes)`, float32.

    Raises:
        ValueError: `x` does not have rank 2, or `classes` is not a positive integer.

    >>> from keras import Input
    >>> logits(Input((64,)), 10).shape
    (None, 10)
    """
    check.rank(x, 2)
    check.positive(classes, "classes")
    return layers.Dense(
        int(classes), use_bias=use_bias, kernel_regularizer=style.regularizer, dtype="float32", name=name
    )(x)


def pixel_logits(
    x: KerasTensor,
    classes: int,
    *,
    factor: int = 1,
    image_size: tuple[int | None, int | None] = (None, None),
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`upsample(conv1×1(x))`: logits for each pixel, in float32.

    Args:
        factor: of the size, by bilinear interpolation.
        image_size: height and width of the output, at most those of `x` times the factor; `None` for those.
        style: see `logits`.
        name: with a factor above 1 or a smaller size the convolution is named `{name}_conv`.

    Returns:
        `(batch, height · factor, width · factor, classes)` or of the given size, float32.

    Raises:
        ValueError: `classes` or `factor` is not a positive integer, or `image_size` is larger.

    Source: Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2014, arXiv
    1411.4038, section 3.3.

    >>> from keras import Input
    >>> pixel_logits(Input((8, 8, 64)), 10, factor=4).shape
    (None, 32, 32, 10)
    """
    check.rank(x, 4)
    check.positive(classes, "classes")
    check.positive(factor, "factor")
    name = resolve(name, "pixel_logits")
    full = [None if n is None else n * int(factor) for n in x.shape[1:3]]
    if any(wanted and n and wanted > n for wanted, n in zip(image_size, full, strict=True)):
        raise ValueError(f"`image_size` must be at most {full[0]}×{full[1]}; got {image_size[0]}×{image_size[1]}")
    margins = tuple((0, n - wanted if wanted and n else 0) for wanted, n in zip(image_size, full, strict=True))
    crops = any(map(any, margins))
    x = layers.Conv2D(
        int(classes),
        1,
        kernel_regularizer=style.regularizer,
        dtype="float32",
        name=f"{name}_conv" if crops or factor > 1 else name,
    )(x)
    if factor > 1:
        up = f"{name}_up" if crops else name
        x = layers.UpSampling2D(int(factor), interpolation="bilinear", dtype="float32", name=up)(x)
    return layers.Cropping2D(margins, dtype="float32", name=name)(x) if crops else x


def auxiliary(
    x: KerasTensor, classes: int, *, dropout: float = 0.7, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """An auxiliary classifier: `avgpool5×5/3 → conv1×1, 128 → dense, 1024 → dropout → logits`.

    Args:
        x: `(batch, height, width, channels)` with known sizes, which limit the pooling window.
        classes: number of logits.
        dropout: dropout rate.

    Returns:
        `(batch, classes)`, float32.

    Raises:
        ValueError: a size of `x` is unknown, `classes` is not a positive integer, or `dropout` is not in [0, 1).

    Source: Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842, section 5.

    >>> from keras import Input
    >>> auxiliary(Input((14, 14, 512)), 10).shape
    (None, 10)
    """
    check.rank(x, 4)
    check.fraction(dropout, "dropout")
    part = scope(name, "auxiliary")
    check.known(x)
    x = layers.AveragePooling2D(min(5, *x.shape[1:3]), strides=3, name=part("pool"))(x)
    x = conv_norm_act(x, 128, 1, style=style, name=part("conv"))
    x = global_pool(x, "flatten", name=part("flatten"))
    x = dense_norm_act(x, 1024, style=replace(style, norm=None), name=part("dense"))
    if dropout:
        x = layers.Dropout(dropout, name=part("dropout"))(x)
    return logits(x, classes, style=style, name=part("logits"))
