"""The module of SqueezeNet."""

from keras import KerasTensor

from kblocks import check
from kblocks.compose import add, concat, stochastic_depth
from kblocks.conv import conv_norm_act
from kblocks.naming import scope
from kblocks.rounding import make_divisible
from kblocks.style import RELU, Style

__all__ = ["fire"]


def __dir__() -> list[str]:
    return __all__


def fire(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    ratio: float = 1 / 8,
    bypass: bool = False,
    drop_path: float = 0.0,
    style: Style = RELU,
    name: str | None = None,
) -> KerasTensor:
    """`[act(conv1×1(s)), act(conv3×3(s))]`, concatenated, with `s = act(conv1×1(x))`.

    Args:
        filters: number of output channels, even; each of the two convolutions has half of it.
        stride: stride of the two convolutions.
        ratio: output channels of the first convolution, as a fraction of `filters`.
        bypass: whether to add `x` where the shape does not change.
        drop_path: stochastic-depth (drop-path) rate of what is added to `x`.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: `filters` is odd, or there is a `drop_path` without a bypass.

    Source: Iandola et al., "SqueezeNet", 2016, arXiv 1602.07360, Figure 1; Figure 2 for the bypass.

    >>> from keras import Input
    >>> fire(Input((55, 55, 96)), 128).shape
    (None, 55, 55, 128)
    """
    check.rank(x, 4)
    check.divisible(filters, 2, "filters", "2")
    check.positive(stride, "stride")
    check.fraction(drop_path, "drop_path")
    if drop_path and not bypass:
        raise ValueError(f"`drop_path` must be 0 without `bypass`; got {drop_path!r}")
    part = scope(name, "fire")
    adds = bypass and stride == 1 and x.shape[-1] == filters
    y = conv_norm_act(
        x, make_divisible(filters, ratio, divisor=1, argument="ratio"), 1, style=style, name=part("squeeze")
    )
    branches = [
        conv_norm_act(y, filters // 2, size, stride=stride, style=style, name=part(f"expand{size}x{size}"))
        for size in (1, 3)
    ]
    y = concat(branches, name=part("concat" if adds else "out"))
    return add([x, stochastic_depth(y, drop_path, name=part("drop_path"))], name=part("out")) if adds else y
