"""Multiplied widths against those of timm's networks, and against the rule."""

import pytest

from kblocks.rounding import make_divisible


# Widths of MobileNetV2's stem, stages and head, as timm's networks of these multipliers have them.
@pytest.mark.parametrize(
    ("alpha", "widths"),
    [
        (0.35, (16, 8, 8, 16, 24, 32, 56, 112)),
        (0.5, (16, 8, 16, 16, 32, 48, 80, 160)),
        (1.4, (48, 24, 32, 48, 88, 136, 224, 448)),
    ],
)
def test_widths_of_mobilenet_v2(alpha, widths):
    assert tuple(make_divisible(width, alpha) for width in (32, 16, 24, 32, 64, 96, 160, 320)) == widths


@pytest.mark.parametrize("divisor", [1, 4, 8])
def test_a_scaled_width_is_a_multiple_near_what_was_scaled(divisor):
    for width in range(1, 200, 7):
        for factor in (0.1, 0.35, 1, 1.1, 2.3):
            found, scaled = make_divisible(width, factor, divisor=divisor), width * factor
            assert found % divisor == 0
            assert found >= max(divisor, 0.9 * scaled)
            # The nearest, or the next where that would lose more than a tenth.
            assert abs(found - scaled) <= divisor / 2 or found == divisor or found - divisor < 0.9 * scaled < found


def test_the_share_that_rounding_keeps():
    # A fifth more than 16 is 19.2, of which 16 leaves five sixths.
    assert make_divisible(16, 1.2) == 24
    assert [make_divisible(16, 1.2, least_share=share) for share in (0.0, 0.83, 0.84)] == [16, 16, 24]
    assert make_divisible(2, 0.1, least_share=0.0) == 8
    with pytest.raises(ValueError, match=r"`least_share` must be at least 0 and below 1; got 1\.5"):
        make_divisible(16, 1.2, least_share=1.5)


def test_no_width_and_no_divisor():
    with pytest.raises(ValueError, match=r"`width` must be a positive integer; got 8\.0"):
        make_divisible(8.0, 1)
    with pytest.raises(ValueError, match="`divisor` must be a positive integer; got 0"):
        make_divisible(8, 1, divisor=0)
    with pytest.raises(ValueError, match="`factor` must be a positive number; got -1"):
        make_divisible(8, -1)
