"""Padding of sliding windows, where a style asks for one that Keras has no word for."""

from keras import KerasTensor, layers

from kblocks import check
from kblocks.style import Style


def pad(
    x: KerasTensor,
    kernel_size: int,
    *,
    stride: int,
    dilation: int = 1,
    argument: str = "kernel_size",
    style: Style,
    name: str | None,
) -> tuple[KerasTensor, str]:
    """`x`, padded beforehand where the style's padding has no word in Keras, and Keras's word for what is left to do.

    Args:
        x: `(batch, height, width, channels)`.
        kernel_size: side of the window that will slide over it, in pixels.
        stride: the window's step in pixels.
        dilation: distance of the window's neighbouring taps, in pixels.
        argument: what the caller calls `kernel_size`, for the errors.
        style: its `padding` is read.
        name: the prefix of the padding layer, `{name}_pad`.

    Returns:
        The tensor and `"same"` or `"valid"`.

    Raises:
        ValueError: `x` is not of rank 4 or smaller than the window, a size is not a positive integer, or the window is
            even and the padding symmetric.

    >>> from keras import Input
    >>> pad(Input((32, 32, 3)), 7, stride=2, style=Style(padding="symmetric"), name=None)
    (<KerasTensor shape=(None, 38, 38, 3), dtype=float32, ...>, 'valid')
    """
    check.rank(x, 4)
    check.positive(kernel_size, argument)
    check.positive(stride, "stride")
    check.positive(dilation, "dilation")
    if stride > 1 and dilation > 1:
        raise ValueError(f"`stride` must be 1 where `dilation` is above 1; got {stride} and {dilation}")
    if style.padding == "same":
        return x, "same"
    if style.padding == "valid":
        check.min_size(x, dilation * (kernel_size - 1) + 1, f"a window of {kernel_size}×{kernel_size} without padding")
        return x, "valid"
    if kernel_size % 2 == 0:
        raise ValueError(f"`{argument}` must be odd for symmetric padding; got {kernel_size}")
    if stride == 1 or kernel_size == 1:
        # At stride 1 the two agree, and Keras's own padding saves a layer.
        return x, "same"
    return layers.ZeroPadding2D(kernel_size // 2, name=name and f"{name}_pad")(x), "valid"
