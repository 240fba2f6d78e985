"""The padding of a style, for convolutions and poolings, including those that Keras does not have."""

from typing import Any

from keras import KerasTensor, layers

from kblocks import check
from kblocks.style import Style

__all__ = ["pad", "replace_stride", "window"]


def __dir__() -> list[str]:
    return __all__


def pad(
    x: KerasTensor,
    kernel_size: int | tuple[int, int],
    *,
    stride: int,
    dilation: int = 1,
    argument: str = "kernel_size",
    style: Style,
    name: str | None,
) -> tuple[KerasTensor, str]:
    """`x`, zero-padded if Keras does not have the style's padding, and the `padding` argument for the Keras layer.

    Args:
        kernel_size: height and width of the window, or one number for both.
        stride: stride of the window.
        dilation: dilation rate of the window.
        argument: the caller's name for `kernel_size`, for the errors.
        style: its `padding` is read.
        name: the padding layer is named `{name}_pad`.

    Returns:
        The tensor, and `"same"` or `"valid"`.

    Raises:
        ValueError: `x` is smaller than the window, or the window is even and the padding `"symmetric"`.

    >>> from keras import Input
    >>> pad(Input((32, 32, 3)), 7, stride=2, style=Style(padding="symmetric"), name=None)
    (<KerasTensor shape=(None, 38, 38, 3), dtype=float32, ...>, 'valid')
    """
    check.rank(x, 4)
    sides = window(kernel_size, argument)
    check.positive(stride, "stride")
    check.positive(dilation, "dilation")
    if stride > 1 and dilation > 1:
        raise ValueError(f"`stride` must be 1 where `dilation` is above 1; got {stride} and {dilation}")
    if style.padding == "same":
        return x, "same"
    if style.padding == "valid":
        _check_span(x, sides, dilation)
        return x, "valid"
    if style.padding == "floor":
        return _pad_to_floor(x, sides, stride, name)
    if any(side % 2 == 0 for side in sides):
        raise ValueError(f"`{argument}` must be odd for symmetric padding; got {kernel_size}")
    if stride == 1 or sides == (1, 1):
        # At stride 1 the result is the same, without a layer for the padding.
        return x, "same"
    return layers.ZeroPadding2D((sides[0] // 2, sides[1] // 2), name=name and f"{name}_pad")(x), "valid"


def replace_stride(stride: int, dilation: int) -> tuple[int, int]:
    """Stride and dilation of the strided convolution of a unit: a dilation above 1 replaces the stride.

    Args:
        stride: stride of the unit.
        dilation: dilation rate of the unit's other convolutions, and of the units that follow.

    Returns:
        `stride, 1`, or for a dilation above 1 `1, dilation // stride`.

    Raises:
        ValueError: one of them is not a positive integer, or `stride` does not divide a dilation above 1.

    Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, arXiv 1706.05587,
    section 3.1.

    >>> replace_stride(2, 1), replace_stride(2, 4)
    ((2, 1), (1, 2))
    """
    check.positive(stride, "stride")
    check.positive(dilation, "dilation")
    if dilation == 1:
        return stride, 1
    check.divisible(dilation, stride, "dilation", "stride")
    return 1, dilation // stride


def window(kernel_size: Any, argument: str = "kernel_size") -> tuple[int, int]:
    """Height and width of a window.

    Args:
        kernel_size: height and width, or one number for both.
        argument: the caller's name for `kernel_size`, for the errors.

    Returns:
        `(height, width)`.

    Raises:
        ValueError: `kernel_size` is neither, or not of positive integers.

    >>> window(3), window((1, 7))
    ((3, 3), (1, 7))
    """
    if not isinstance(kernel_size, list | tuple):
        kernel_size = (kernel_size, kernel_size)
    if len(kernel_size) != 2:
        raise ValueError(f"`{argument}` must be one side or a pair (height, width); got {kernel_size}")
    for side in kernel_size:
        check.positive(side, argument)
    return int(kernel_size[0]), int(kernel_size[1])


def _check_span(x: KerasTensor, sides: tuple[int, int], dilation: int) -> None:
    """Raise if `x` is known to be smaller than the dilated window."""
    least = [dilation * (side - 1) + 1 for side in sides]
    if any(size is not None and size < span for size, span in zip(x.shape[1:3], least, strict=True)):
        raise ValueError(
            f"`x` must be at least {least[0]}×{least[1]} for a window of {sides[0]}×{sides[1]} without padding; "
            f"got {x.shape[1]}×{x.shape[2]}"
        )


def _pad_to_floor(x: KerasTensor, sides: tuple[int, int], stride: int, name: str | None) -> tuple[KerasTensor, str]:
    if stride == 1 or all(size is not None and size % stride == 0 for size in x.shape[1:3]):
        # Where the stride divides the sizes the result is the same, without a layer for the padding.
        return x, "same"
    check.min_size(x, stride, f"a window of {sides[0]}×{sides[1]} at a stride of {stride}")
    gaps = tuple((0, max(stride - side, 0)) for side in sides)
    pads = tuple((max(side - stride, 0) // 2, (max(side - stride, 0) + 1) // 2) for side in sides)
    if any(map(any, gaps)):
        # No window may start within an incomplete last stride.
        x = layers.Cropping2D(gaps, name=name and f"{name}_crop")(x)
    if any(map(any, pads)):
        x = layers.ZeroPadding2D(pads, name=name and f"{name}_pad")(x)
    return x, "valid"
