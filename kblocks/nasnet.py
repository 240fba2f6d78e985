"""The cells of NASNet-A: five sums of two operations each, on the last two cells' outputs, concatenated.

A cell is a function `((x, previous), filters, *, halve_previous, drop_path, style, name) -> tensor`; in a network

    x, previous = normal_cell((x, previous), 44), x
    x, previous = reduction_cell((x, previous), 88), x
    x, previous = normal_cell((x, previous), 88, halve_previous=True), x

What its sums take is `h = norm(conv1×1(act(x)))` and `p`, which is `previous` where that has `filters` channels,
`norm(conv1×1(act(previous)))` where it has others, and `factorized_reduction(previous)` where it is to be halved.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from keras import KerasTensor, layers

from kblocks import check
from kblocks.compose import add, concat, stochastic_depth
from kblocks.conv import conv, conv_norm, separable_conv
from kblocks.naming import scope
from kblocks.pool import avg_pool, max_pool
from kblocks.style import RELU_BN, Style, activate, normalize

_AVG3 = partial(avg_pool, size=3)
_MAX3 = partial(max_pool, size=3)


def separable_twice(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`norm(sep(act(norm(sep(act(x))))))` with `sep` a separable convolution; the first takes the stride.

    Args:
        x: `(batch, height, width, channels)`.
        filters: channels that come out.
        kernel_size: side of the square depthwise kernels, in pixels.
        stride: step of the first convolution, in pixels.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `x` is not of rank 4, or a size is not a positive integer.

    Source: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2017, arXiv 1707.07012,
    appendix.

    >>> from keras import Input
    >>> separable_twice(Input((28, 28, 44)), 88, 5, stride=2).shape
    (None, 14, 14, 88)
    """
    check.rank(x, 4)
    part = scope(name, "separable_twice")
    for i, step in ((1, stride), (2, 1)):
        x = activate(x, style=style, name=part(f"act{i}"))
        x = separable_conv(x, filters, kernel_size, stride=step, style=style, name=part(f"conv{i}"))
        x = normalize(x, style=style, name=part(f"conv{i}_norm"))
    return x


def factorized_reduction(
    x: KerasTensor, filters: int, *, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`norm([conv1×1(a[::2, ::2]), conv1×1(a[1::2, 1::2])])` with `a = act(x)`: half the size, from half of the pixels.

    Args:
        x: `(batch, height, width, channels)`; of an odd size a row or column of zeros makes the next even one.
        filters: channels that come out, an even number.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), filters)`.

    Raises:
        ValueError: `x` is not of rank 4, or 2 does not divide `filters`.

    Source: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2017, arXiv 1707.07012,
    as in the authors' own code.

    >>> from keras import Input
    >>> factorized_reduction(Input((28, 28, 44)), 88).shape
    (None, 14, 14, 88)
    """
    check.rank(x, 4)
    check.divisible(filters, 2, "filters", "2")
    part = scope(name, "factorized_reduction")
    x = activate(x, style=style, name=part("act"))
    even = conv(x, filters // 2, 1, stride=2, style=style, name=part("conv1"))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=part("pad"))(x)
    x = layers.Cropping2D(((1, 0), (1, 0)), name=part("shift"))(x)
    odd = conv(x, filters // 2, 1, stride=2, style=style, name=part("conv2"))
    return normalize(concat([even, odd], name=part("concat")), style=style, name=part("norm"))


def normal_cell(
    inputs: Sequence[KerasTensor | None],
    filters: int,
    *,
    halve_previous: bool = False,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[p, y1, y2, y3, y4, y5]`, where

        y1 = sep5×5(h) + sep3×3(p)
        y2 = sep5×5(p) + sep3×3(p)
        y3 = avg3×3(h) + p
        y4 = avg3×3(p) + avg3×3(p)
        y5 = sep3×3(h) + h

    Args:
        inputs: `(x, previous)`, the outputs of the last cell and of the one before, each
            `(batch, height, width, channels)`; `previous` is `None` in the first cell, which takes `x` for both.
        filters: channels of each of the six tensors.
        halve_previous: whether `previous` is twice as large as `x`, as it is after a reduction.
        drop_path: the probability that an image's result of an operation is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, height, width, 6 · filters)`.

    Raises:
        ValueError: `inputs` is no pair of rank 4, `previous` has not `x`'s size, or with `halve_previous` not twice
            that, `filters` is not a positive integer, or odd with `halve_previous`, or `drop_path` is not at least 0
            and below 1.

    Source: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2017, arXiv 1707.07012,
    Figure 4 left.

    >>> from keras import Input
    >>> normal_cell((Input((28, 28, 264)), Input((28, 28, 88))), 44).shape
    (None, 28, 28, 264)
    """
    x, previous = _pair(inputs, halve_previous)
    check.fraction(drop_path, "drop_path")
    part = scope(name, "normal_cell")
    path = partial(_path, drop_path=drop_path, style=style, part=part)
    sep3, sep5 = (partial(separable_twice, filters=filters, kernel_size=size) for size in (3, 5))
    h = _squeezed(x, filters, style, part)
    p = _matched(x if previous is None else previous, filters, halve_previous, style, part)
    y1 = add([path(sep5, h, "left1"), path(sep3, p, "right1")], name=part("add1"))
    y2 = add([path(sep5, p, "left2"), path(sep3, p, "right2")], name=part("add2"))
    y3 = add([path(_AVG3, h, "left3"), p], name=part("add3"))
    y4 = add([path(_AVG3, p, "left4"), path(_AVG3, p, "right4")], name=part("add4"))
    y5 = add([path(sep3, h, "left5"), h], name=part("add5"))
    return concat([p, y1, y2, y3, y4, y5], name=part("out"))


def reduction_cell(
    inputs: Sequence[KerasTensor | None],
    filters: int,
    *,
    halve_previous: bool = False,
    pad_pools: bool = False,
    drop_path: float = 0.0,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`[y2, y3, y4, y5]`, where

        y1 = sep5×5/2(h) + sep7×7/2(p)
        y2 = max3×3/2(h) + sep7×7/2(p)
        y3 = avg3×3/2(h) + sep5×5/2(p)
        y4 = avg3×3(y1) + y2
        y5 = sep3×3(y1) + max3×3/2(h)

    Args:
        inputs: `(x, previous)`, the outputs of the last cell and of the one before, each
            `(batch, height, width, channels)`; `previous` is `None` in the first cell, where `p` is `x` itself.
        filters: channels of each of the four tensors.
        halve_previous: whether `previous` is twice as large as `x`, as it is after a reduction.
        pad_pools: whether the strided poolings see zeros around the image, as those of keras.applications do, and not
            its pixels alone; the sizes must be known then.
        drop_path: the probability that an image's result of an operation is left out of a training step.
        style: see `kblocks.style`.
        name: the prefix of the layers.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), 4 · filters)`.

    Raises:
        ValueError: as `normal_cell`, or a size is unknown that `pad_pools` needs.

    Source: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2017, arXiv 1707.07012,
    Figure 4 right.

    >>> from keras import Input
    >>> reduction_cell((Input((28, 28, 264)), Input((28, 28, 264))), 88).shape
    (None, 14, 14, 352)
    """
    x, previous = _pair(inputs, halve_previous)
    check.fraction(drop_path, "drop_path")
    part = scope(name, "reduction_cell")
    path = partial(_path, drop_path=drop_path, style=style, part=part)
    sep3, sep5, sep7 = (partial(separable_twice, filters=filters, kernel_size=size) for size in (3, 5, 7))
    h = _squeezed(x, filters, style, part)
    p = x if previous is None else _matched(previous, filters, halve_previous, style, part)
    halve = pool = partial(path, stride=2)
    view = h
    if pad_pools:
        view, pool = _framed(h, part("pad")), partial(halve, style=replace(style, padding="valid"))
    y1 = add([halve(sep5, h, "left1"), halve(sep7, p, "right1")], name=part("add1"))
    y2 = add([pool(_MAX3, view, "left2"), halve(sep7, p, "right2")], name=part("add2"))
    y3 = add([pool(_AVG3, view, "left3"), halve(sep5, p, "right3")], name=part("add3"))
    y4 = add([path(_AVG3, y1, "left4"), y2], name=part("add4"))
    y5 = add([path(sep3, y1, "left5"), pool(_MAX3, view, "right5")], name=part("add5"))
    return concat([y2, y3, y4, y5], name=part("out"))


def _pair(inputs: Any, halve_previous: bool) -> tuple[KerasTensor, KerasTensor | None]:
    if not isinstance(inputs, list | tuple) or len(inputs) != 2:
        raise ValueError(f"`inputs` must be a pair (x, previous); got {inputs!r}")
    x, previous = inputs
    check.rank(x, 4)
    if previous is None:
        if halve_previous:
            raise ValueError("`halve_previous` must be False where `previous` is None; got True")
        return x, None
    check.rank(previous, 4, "previous")
    for size, before in zip(x.shape[1:3], previous.shape[1:3], strict=True):
        if None not in (size, before) and size != (-(-before // 2) if halve_previous else before):
            rule = "twice the size of `x` with" if halve_previous else "the size of `x` without"
            raise ValueError(
                f"`previous` must have {rule} `halve_previous`; got shapes {tuple(previous.shape)} and {tuple(x.shape)}"
            )
    return x, previous


def _path(
    operation: Callable[..., KerasTensor],
    x: KerasTensor,
    place: str,
    *,
    drop_path: float,
    style: Style,
    part: Callable[[str], str],
    **options: Any,
) -> KerasTensor:
    """An operation's result, at times left out of a training step."""
    x = operation(x, style=style, name=part(place), **options)
    return stochastic_depth(x, drop_path, name=part(f"{place}_drop_path"))


def _squeezed(x: KerasTensor, filters: int, style: Style, part: Callable[[str], str]) -> KerasTensor:
    return conv_norm(activate(x, style=style, name=part("act")), filters, 1, style=style, name=part("conv"))


def _matched(
    previous: KerasTensor, filters: int, halve_previous: bool, style: Style, part: Callable[[str], str]
) -> KerasTensor:
    if halve_previous:
        return factorized_reduction(previous, filters, style=style, name=part("previous"))
    if previous.shape[-1] == filters:
        return previous
    return _squeezed(previous, filters, style, lambda place: part(f"previous_{place}"))


def _framed(x: KerasTensor, name: str) -> KerasTensor:
    """`x` with the zeros around it that a window of 3×3 and stride 2 needs, as `"same"` has them."""
    if None in x.shape[1:3]:
        raise ValueError(f"`x` must have known sizes, on which its padding depends; got shape {tuple(x.shape)}")
    height, width = x.shape[1:3]
    return layers.ZeroPadding2D(((height % 2, 1), (width % 2, 1)), name=name)(x)
