"""Pooling over windows and over the whole image.

Each output size is `ceil(size / stride)`; with padding `"valid"` it is `ceil((size − window + 1) / stride)`, with
`"floor"` `floor(size / stride)`. Only the padding of the style is read.
"""

from math import ceil

from keras import KerasTensor, layers, ops

from kblocks import check
from kblocks.naming import resolve
from kblocks.padding import pad, window
from kblocks.style import RELU_BN, Style

__all__ = ["avg_pool", "blur", "global_pool", "max_pool"]


def __dir__() -> list[str]:
    return __all__


def max_pool(
    x: KerasTensor, size: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """The maximum of each window of each channel.

    Args:
        x: an image, not negative (as after a ReLU) if the style's padding is `"symmetric"` or `"floor"`, which may pad
            with zeros.
        size: height and width of the window.
        stride: stride in both directions.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), channels)`.

    >>> from keras import Input
    >>> max_pool(Input((32, 32, 8)), 3, stride=2).shape
    (None, 16, 16, 8)
    """
    x, padding = pad(x, size, stride=stride, argument="size", style=style, name=name)
    return layers.MaxPooling2D(window(size), strides=int(stride), padding=padding, name=name)(x)


def avg_pool(
    x: KerasTensor, size: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """The mean of each window of each channel.

    Where padding `"same"` is uneven, as for an even window or a size that is not known, the graph has operations of
    `keras.ops`, which the legacy format `.h5` can't hold.

    Args:
        size: height and width of the window.
        stride: stride in both directions.
        style: padding `"same"` is excluded from the mean; zeros of `"symmetric"` at a stride above 1, and of `"floor"`
            unless the stride is known to divide the sizes, are included.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), channels)`.

    >>> from keras import Input
    >>> avg_pool(Input((32, 32, 8)), 2, stride=2).shape
    (None, 16, 16, 8)
    """
    x, padding = pad(x, size, stride=stride, argument="size", style=style, name=name)
    sides, stride = window(size), int(stride)
    if padding == "same" and any(_pads_unevenly(n, side, stride) for n, side in zip(x.shape[1:3], sides, strict=True)):
        return _mean_of_pixels(x, sides, stride, name)
    return layers.AveragePooling2D(sides, strides=stride, padding=padding, name=name)(x)


def blur(x: KerasTensor, size: int = 3, *, stride: int = 2, name: str | None = None) -> KerasTensor:
    """Each channel convolved with a binomial kernel, such as `[1, 2, 1] / 4` in both directions, without weights.

    Args:
        size: height and width of the kernel, at least 2.
        stride: stride in both directions.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), channels)`.

    Raises:
        ValueError: `size` is not an integer of at least 2.

    Source: Zhang, "Making Convolutional Networks Shift-Invariant Again", 2019, arXiv 1904.11486, section 4; padded with
    zeros, in the authors' code by reflection. A pooling without aliasing is `max_pool` of stride 1 and `blur`; a
    convolution, one of stride 1, its activation and `blur`.

    >>> from keras import Input
    >>> blur(Input((32, 32, 8))).shape
    (None, 16, 16, 8)
    """
    check.rank(x, 4)
    check.positive(size, "size")
    check.positive(stride, "stride")
    if size < 2:
        raise ValueError(f"`size` must be an integer of at least 2; got {size!r}")
    name = resolve(name, "blur")
    size, margin = int(size), ((int(size) - 1) // 2, int(size) // 2)
    x = layers.ZeroPadding2D((margin, margin), name=f"{name}_pad")(x)
    # Means of two in a row have the binomial coefficients as weights.
    for i in range(1, size - 1):
        x = layers.AveragePooling2D(2, strides=1, name=f"{name}_mean{i}")(x)
    return layers.AveragePooling2D(2, strides=int(stride), name=name)(x)


def global_pool(x: KerasTensor, kind: str = "avg", *, name: str | None = None) -> KerasTensor:
    """One vector for each image or sequence.

    Args:
        x: `(batch, height, width, channels)`, `(batch, tokens, channels)` or `(batch, features)`.
        kind: `"avg"`, `"max"` or `"flatten"`.

    Returns:
        `(batch, channels)`; for `"flatten"` `(batch, height · width · channels)`. A vector is returned unchanged.

    Raises:
        ValueError: `kind` is none of the three, or a size is unknown and `kind` is `"flatten"`.

    >>> from keras import Input
    >>> global_pool(Input((8, 8, 4)), "avg").shape
    (None, 4)
    """
    check.choice(kind, ("avg", "max", "flatten"), "kind")
    check.tensors([x], "x")
    if len(x.shape) == 2:
        return x
    check.channels_last()
    if kind == "flatten":
        if None in x.shape[1:]:
            raise ValueError(f"`x` must have known sizes to be flattened; got shape {tuple(x.shape)}")
        return layers.Flatten(name=name)(x)
    if len(x.shape) not in (3, 4):
        raise ValueError(f"`x` must have rank 2, 3 or 4 to be pooled; got shape {tuple(x.shape)}")
    layer = {
        ("avg", 3): layers.GlobalAveragePooling1D,
        ("avg", 4): layers.GlobalAveragePooling2D,
        ("max", 3): layers.GlobalMaxPooling1D,
        ("max", 4): layers.GlobalMaxPooling2D,
    }[kind, len(x.shape)]
    return layer(name=name)(x)


def _pads_unevenly(size: int | None, side: int, stride: int) -> bool:
    """Whether padding `"same"` may be larger at the end than at the beginning, for an image of this size."""
    if stride == 1:
        return side % 2 == 0
    if size is None:
        return side > 1
    return max((ceil(size / stride) - 1) * stride + side - size, 0) % 2 == 1


def _mean_of_pixels(x: KerasTensor, sides: tuple[int, int], stride: int, name: str | None) -> KerasTensor:
    """The mean of each zero-padded window, divided by the share of the window inside the image.

    On the PyTorch backend, `AveragePooling2D` includes padding in the mean if it is uneven. A margin of zeros keeps it
    out of all windows of the image; as the margin is a multiple of the stride, the windows stay in place.
    """
    name = resolve(name, "avg_pool")
    margins = tuple(ceil(side // 2 / stride) for side in sides)

    def mean(y: KerasTensor, part: str) -> KerasTensor:
        y = layers.ZeroPadding2D(tuple(margin * stride for margin in margins), name=f"{part}_pad")(y)
        y = layers.AveragePooling2D(sides, strides=stride, padding="same", name=f"{part}_mean")(y)
        return layers.Cropping2D(margins, name=f"{part}_crop")(y)

    share = ops.reciprocal(mean(ops.ones_like(x[..., :1]), f"{name}_ones"))
    return layers.Multiply(name=name)([mean(x, name), share])
