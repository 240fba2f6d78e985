"""Pooling: over a sliding window, and over the whole image."""

from keras import KerasTensor, layers

from kblocks import check
from kblocks.padding import pad, window
from kblocks.style import RELU_BN, Style


def max_pool(
    x: KerasTensor, size: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """The largest value of each window of `size × size`, channel by channel.

    Args:
        x: `(batch, height, width, channels)`; not negative where the style's padding is symmetric or `"floor"`, which
            may pad with zeros (an activation such as ReLU sees to that).
        size: side of the window, in pixels.
        stride: step in pixels.
        style: its `padding` is read.
        name: the layer's name.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), channels)`; with padding `"valid"`
        `ceil((size_of_x − size + 1) / stride)` for each size, with `"floor"`
        `floor(size_of_x / stride)`.

    Raises:
        ValueError: `x` is not of rank 4, or a size is not a positive integer.

    >>> from keras import Input
    >>> max_pool(Input((32, 32, 8)), 3, stride=2).shape
    (None, 16, 16, 8)
    """
    x, padding = pad(x, size, stride=stride, argument="size", style=style, name=name)
    return layers.MaxPooling2D(window(size), strides=int(stride), padding=padding, name=name)(x)


def avg_pool(
    x: KerasTensor, size: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """The mean of each window of `size × size`, channel by channel.

    Args:
        x: `(batch, height, width, channels)`.
        size: side of the window, in pixels.
        stride: step in pixels.
        style: its `padding` is read; with `"same"` the padding does not count in the mean; with `"symmetric"` and a
            stride above 1 it counts as zeros, with `"floor"` too where the stride is not known to divide the sizes.
        name: the layer's name.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), channels)`; with padding `"valid"`
        `ceil((size_of_x − size + 1) / stride)` for each size, with `"floor"`
        `floor(size_of_x / stride)`.

    Raises:
        ValueError: `x` is not of rank 4, or a size is not a positive integer.

    >>> from keras import Input
    >>> avg_pool(Input((32, 32, 8)), 2, stride=2).shape
    (None, 16, 16, 8)
    """
    x, padding = pad(x, size, stride=stride, argument="size", style=style, name=name)
    return layers.AveragePooling2D(window(size), strides=int(stride), padding=padding, name=name)(x)


def global_pool(x: KerasTensor, kind: str = "avg", *, name: str | None = None) -> KerasTensor:
    """A vector for each image or sequence.

    Args:
        x: `(batch, height, width, channels)`, `(batch, tokens, channels)` or `(batch, features)`.
        kind: `"avg"` for the mean of all positions, `"max"` for the largest value, `"flatten"` for all of them.
        name: the layer's name.

    Returns:
        `(batch, channels)`; for `"flatten"` `(batch, height · width · channels)`. A vector is returned as it is.

    Raises:
        ValueError: `kind` is none of the three, or a size is unknown that `"flatten"` needs.

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
