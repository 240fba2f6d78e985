"""Widths that a multiplier scales, rounded to what devices compute well."""

from kblocks import check

__all__ = ["make_divisible"]


def __dir__() -> list[str]:
    return __all__


def make_divisible(
    width: int, factor: float, *, divisor: int = 8, least_share: float = 0.9, argument: str = "factor"
) -> int:
    """`factor · width`, rounded to the nearest multiple of `divisor` that is at least `least_share` of it.

    Args:
        width: number of channels.
        factor: what to multiply it by.
        divisor: the result is a multiple of it, and at least it.
        least_share: lower bound of the result, as a fraction of `factor · width`.
        argument: the caller's name for `factor`, for the errors.

    Returns:
        The number of channels.

    Raises:
        ValueError: `width` or `divisor` is not a positive integer, `factor` not a positive number, or `least_share` not
            at least 0 and below 1.

    Source: Sandler et al., "MobileNetV2", 2018, arXiv 1801.04381, in the authors' code.

    >>> [make_divisible(width, 0.75) for width in (16, 24, 32)]
    [16, 24, 24]
    """
    check.positive(width, "width")
    check.positive(divisor, "divisor")
    check.positive_number(factor, argument)
    check.fraction(least_share, "least_share")
    scaled = factor * width
    nearest = max(int(scaled + divisor / 2) // divisor, 1) * divisor
    return nearest if nearest >= least_share * scaled else nearest + divisor
