"""The cells of NASNet-A: the outputs of the last two cells, five sums of two operations each, concatenated.

A cell is a function `((x, previous), filters, *, halve_previous, drop_path, style, name) -> tensor`. In a network:

    x, previous = normal_cell((x, previous), 44), x
    x, previous = reduction_cell((x, previous), 88), x
    x, previous = normal_cell((x, previous), 88, halve_previous=True), x

The operands of the sums are `h = norm(conv1×1(act(x)))` and

    p = factorized_reduction(previous)        with `halve_previous`
        previous                              where it has `filters` channels
        norm(conv1×1(act(previous)))          otherwise
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

__all__ = ["factorized_reduction", "normal_cell", "reduction_cell", "separable_twice"]


def __dir__() -> list[str]:
    return __all__


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
    """`norm(sep(act(norm(sep(act(x))))))` with `sep` a separable convolution; the first has the stride.

    Args:
        filters: output channels.
        kernel_size: size of the square depthwise kernels.
        stride: stride of the first convolution.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: a size is not a positive integer.

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
    """`norm([conv1×1(a[::2, ::2]), conv1×1(a[1::2, 1::2])])` with `a = act(x)`, zero-padded to even sizes.

    Args:
        filters: output channels, an even number.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), filters)`.

    Raises:
        ValueError: `filters` is not divisible by 2.

    Source: Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2017, arXiv 1707.07012,
    as in the authors' code.

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
        inputs: `(x, previous)`, the outputs of the last two cells, each `(batch, height, width, channels)`; `previous`
            is `None` in the first cell, which uses `x` for both.
        filters: channels of each of the six tensors.
        halve_previous: whether `previous` has twice the size of `x`, as after a reduction.
        drop_path: stochastic-depth (drop-path) rate of each operation.

    Returns:
        `(batch, height, width, 6 · filters)`.

    Raises:
        ValueError: `inputs` is not a pair, the sizes of `x` and `previous` do not match, `filters` is not a positive
            integer (an even one with `halve_previous`), or `drop_path` is not in [0, 1).

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
        inputs: see `normal_cell`; in the first cell `p` is `x` itself.
        filters: channels of each of the four tensors.
        halve_previous: see `normal_cell`.
        pad_pools: whether strided pooling includes the zero padding, as in keras.applications; needs known sizes.
        drop_path: see `normal_cell`.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), 4 · filters)`.

    Raises:
        ValueError: as `normal_cell`, or `pad_pools` with an unknown size.

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
    h_pool = h
    if pad_pools:
        h_pool, pool = _zero_padded(h, part("pad")), partial(halve, style=replace(style, padding="valid"))
    y1 = add([halve(sep5, h, "left1"), halve(sep7, p, "right1")], name=part("add1"))
    y2 = add([pool(_MAX3, h_pool, "left2"), halve(sep7, p, "right2")], name=part("add2"))
    y3 = add([pool(_AVG3, h_pool, "left3"), halve(sep5, p, "right3")], name=part("add3"))
    y4 = add([path(_AVG3, y1, "left4"), y2], name=part("add4"))
    y5 = add([path(sep3, y1, "left5"), pool(_MAX3, h_pool, "right5")], name=part("add5"))
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
    """The operation, followed by stochastic depth."""
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


def _zero_padded(x: KerasTensor, name: str) -> KerasTensor:
    """`x` with the zeros that `"same"` padding adds for a 3×3 window with stride 2."""
    if None in x.shape[1:3]:
        raise ValueError(f"`x` must have known sizes, on which its padding depends; got shape {tuple(x.shape)}")
    height, width = x.shape[1:3]
    return layers.ZeroPadding2D(((height % 2, 1), (width % 2, 1)), name=name)(x)
