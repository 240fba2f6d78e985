"""Statistics: closed forms, percentiles of NumPy, and the coverage of intervals."""

import numpy as np
import pytest

from benchmarks.measure import stats

NAMES = ("step_ms_p5", "step_ms_p50", "step_ms_p95", "step_ms_p99")


def test_equal_blocks_have_an_interval_of_length_zero():
    assert stats.rate_interval([10] * 6, [0.5] * 6, 128) == (2560.0, 2560.0)


def test_a_rate_is_a_ratio_of_sums():
    # 100 steps in 10 s; the mean of both rates, 1 and 11, would be 6. The blocks are 0.9 s off, so that the relative
    # error is √(2 · 2 · 0.9²) / 10, and in one of two cases Student's variable is below 1.
    blocks = [1, 99], [1.0, 9.0]
    assert stats.rate_interval(*blocks, 1, confidence=0.5) == pytest.approx((8.2, 11.8))
    assert stats.rate_interval(*blocks, 32, confidence=0.5) == pytest.approx((32 * 8.2, 32 * 11.8))
    # No rate is below zero.
    assert stats.rate_interval(*blocks, 1) == pytest.approx((0, 10 * (1 + 0.18 * 12.7062)))


def test_equal_steps_have_the_interval_of_their_mean():
    seconds = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0]
    error = np.std(seconds, ddof=1) / np.sqrt(6)
    assert stats.rate_interval([10] * 6, seconds, 1) == pytest.approx(
        (10 - 25.706 * error, 10 + 25.706 * error), rel=1e-4
    )


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 19, 100])
@pytest.mark.parametrize("p", [0.5, 0.75, 0.95, 0.975, 0.99])
def test_students_quantile_is_that_of_scipy(freedom, p):
    wanted = pytest.importorskip("scipy.stats").t.ppf(p, freedom)
    # The expansion is of few terms; for 1 and 2 there are closed forms.
    assert stats.student(p, freedom) == pytest.approx(wanted, rel=1e-9 if freedom < 3 else 0.005, abs=1e-9)


def test_an_interval_is_that_of_its_seed():
    generator = np.random.default_rng(0)
    runs = list(generator.normal(100, 5, 9)), list(generator.normal(100, 5, 8))
    assert stats.ratio_interval(*runs) == stats.ratio_interval(*runs)
    draws = {stats.ratio_interval(*runs, seed=seed, draws=50) for seed in range(5)}
    assert len(draws) > 1


def test_less_confidence_is_a_shorter_interval_inside():
    blocks = [5] * 40, list(np.random.default_rng(0).gamma(4, 0.1, 40))
    low, high = stats.rate_interval(*blocks, 1)
    inner_low, inner_high = stats.rate_interval(*blocks, 1, confidence=0.5)
    rate = 200 / sum(blocks[1])
    assert low < inner_low < rate < inner_high < high


@pytest.mark.parametrize("count", [2, 3, 5, 10, 20])
def test_coverage_of_rate_intervals(count):
    # Steps of 0.1 s in the mean, whatever the block's length; two in a block of two are one draw each.
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        steps = generator.integers(1, 4, count)
        seconds = [float(generator.gamma(100, 0.001, each).sum()) for each in steps]
        low, high = stats.rate_interval(steps, seconds, 16)
        held += low <= 160 <= high
    # Of 1000 intervals 950 should; a standard deviation is 7.
    assert 929 <= held <= 971


@pytest.mark.parametrize("runs", [(5, 5), (5, 12), (10, 10)])
def test_coverage_of_ratio_intervals(runs):
    generator = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        a, b = generator.normal(100, 3, runs[0]), generator.normal(120, 3, runs[1])
        low, high = stats.ratio_interval(a, b, draws=400, seed=seed)
        held += low <= 1.2 <= high
    # Means would hold it in 176, and fall below.
    assert 182 <= held <= 199


def test_a_ratio_is_of_b_over_a_and_its_runs_are_drawn_apart():
    assert stats.ratio_interval([100.0] * 5, [150.0] * 7) == (1.5, 1.5)
    # A median of two draws of 1 and 3 is 1, 2 or 3, in one, two and one of four.
    assert stats.ratio_interval([2.0, 2.0], [1.0, 3.0]) == (0.5, 1.5)
    assert stats.ratio_interval([1.0, 3.0], [3.0, 3.0]) == (1.0, 3.0)
    # Drawn together, the ratio would always be 1; apart, it is 1/2 or 2 in one of 16 each.
    assert stats.ratio_interval([1.0, 2.0], [1.0, 2.0]) == (0.5, 2.0)


def test_one_disturbed_run_does_not_move_a_ratio():
    assert stats.ratio_interval([100.0] * 9, [110.0] * 8 + [1.0]) == (1.1, 1.1)


def test_one_block_or_run_has_no_interval():
    assert stats.rate_interval([50], [0.5], 32) == (None, None)
    assert stats.ratio_interval([1.0], [1.0, 2.0]) == (None, None)
    assert stats.ratio_interval([1.0, 2.0], [1.0]) == (None, None)


def test_percentiles_count_each_step_once():
    # 1 step of 100 ms and 99 of 10 ms.
    assert stats.percentiles([1, 99], [0.1, 0.99]) == pytest.approx(dict(zip(NAMES, (10, 10, 10, 10), strict=True)))
    assert stats.percentiles([2, 98], [0.2, 0.98]) == pytest.approx(dict(zip(NAMES, (10, 10, 10, 100), strict=True)))
    assert stats.percentiles([60, 40], [0.6, 4.0]) == pytest.approx(dict(zip(NAMES, (10, 10, 100, 100), strict=True)))
    assert stats.percentiles([7], [0.7]) == pytest.approx(dict.fromkeys(NAMES, 100))


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_those_of_every_step(seed):
    generator = np.random.default_rng(seed)
    steps = generator.integers(1, 60, 35)
    seconds = steps * generator.gamma(4, 0.01, 35)
    every = np.repeat(1000 * seconds / steps, steps)
    wanted = np.percentile(every, (5, 50, 95, 99), method="inverted_cdf")
    found = stats.percentiles(list(steps), list(seconds))
    assert tuple(found) == NAMES
    np.testing.assert_allclose(list(found.values()), wanted, rtol=1e-12)
    assert all(type(value) is float for value in found.values())


def steady_from(times):
    """The number of blocks after which the times are first called steady."""
    return next((count for count in range(1, len(times) + 1) if stats.is_steady(times[:count])), None)


@pytest.mark.parametrize("decay", [0.7, 1, 2, 5, 10, 20])
@pytest.mark.parametrize("noise", [0, 0.01])
def test_a_fall_to_a_plateau_is_steady_on_the_plateau(decay, noise):
    fall = 1 + 3 * np.exp(-np.arange(300) / decay)
    for seed in range(20 if noise else 1):
        times = fall * np.random.default_rng(seed).normal(1, noise, 300)
        first = steady_from(times)
        # What is above the plateau in the middle of the last window.
        assert first >= 10
        assert fall[first - 3] < (1.25 if noise else 1.05)
        assert np.mean([stats.is_steady(times[:count]) for count in range(first, 300)]) > (0.85 if noise else 0.999)


@pytest.mark.parametrize("noise", [0.001, 0.02, 0.2])
def test_noise_from_the_start_is_steady_at_once(noise):
    generator = np.random.default_rng(0)
    answers = [stats.is_steady(generator.normal(1, noise, 10).clip(0.01)) for _ in range(500)]
    # 0.96 of them, and three standard deviations of that over 500.
    assert np.mean(answers) > 0.93


def test_equal_times_are_steady():
    assert stats.is_steady([0.25] * 10)


@pytest.mark.parametrize("slope", [0.2, 0.02, 0.006])
def test_a_falling_line_is_not_steady_however_gentle(slope):
    times = 4 + slope * np.arange(50, -1, -1)
    assert not any(stats.is_steady(times[:count]) for count in range(1, 52))


@pytest.mark.parametrize(("slope", "steady"), [(0.0202 / 5, False), (0.0198 / 5, True)])
def test_half_a_percent_is_no_fall(slope, steady):
    # From window to window by five slopes, down to a median of 4.
    assert stats.is_steady(4 + slope * np.arange(7, -3, -1)) is steady


def test_a_slow_drift_in_noise_is_not_steady():
    generator = np.random.default_rng(0)
    answers = [stats.is_steady(10 - 0.1 * np.arange(10) + generator.normal(0, 0.1, 10)) for _ in range(500)]
    assert np.mean(answers) < 0.02


def test_times_that_rise_have_stopped_falling():
    assert stats.is_steady([1 + 0.1 * block for block in range(10)])


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("outlier", [0.1, 9.0])
def test_one_outlier_has_no_effect(place, outlier):
    steady = [1.0, 1.01, 0.99, 1.02, 0.98] * 2
    steady[place] = outlier
    assert stats.is_steady(steady)
    falling = [2.0 - 0.1 * block for block in range(10)]
    falling[place] = outlier
    assert not stats.is_steady(falling)


def test_blocks_before_the_two_windows_do_not_count():
    assert stats.is_steady([50.0, 20.0, 10.0] + [1.0] * 10)
    assert not stats.is_steady([1.0] * 10 + [3.0] * 5 + [2.0] * 5)


@pytest.mark.parametrize("count", range(10))
def test_too_few_blocks_are_not_steady(count):
    if count:
        assert not stats.is_steady([1.0] * count)
    assert stats.is_steady([1.0] * 6, window=3)
    assert not stats.is_steady([1.0] * 5, window=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.rate_interval([1, 2], [0.1], 8), "`block_steps` and `block_seconds` must be of one.*2 and 1"),
        (lambda: stats.rate_interval([], [], 8), r"`block_seconds` .* at least one number; got \[\]"),
        (lambda: stats.rate_interval([1, 0], [0.1, 0.1], 8), r"`block_steps` .* at least 1; got \[1, 0\]"),
        (lambda: stats.rate_interval([1, 1.5], [0.1, 0.1], 8), "`block_steps` must be whole"),
        (lambda: stats.rate_interval([1, 1], [0.1, 0.0], 8), r"`block_seconds` must be finite and above 0; got 0\.0"),
        (lambda: stats.rate_interval([1, 1], [0.1, 0.1], 0), "`batch_size` must be at least 1; got 0"),
        (lambda: stats.rate_interval([1, 1], [0.1, 0.1], 1, confidence=95), "`confidence` .* got 95"),
        (lambda: stats.ratio_interval([1, 1], [0.1, 0.1], draws=0), "`draws` must be at least 1; got 0"),
        (lambda: stats.percentiles([1], [float("nan")]), "`block_seconds` must be finite and above 0; got nan"),
        (lambda: stats.percentiles([[1]], [[0.1]]), "`block_seconds` must be a sequence"),
        (lambda: stats.is_steady([0.1, -1.0]), r"`block_times` must be finite and above 0; got -1\.0"),
        (lambda: stats.is_steady([0.1], window=2), "`window` must be at least 3; got 2"),
        (lambda: stats.ratio_interval([1.0], []), "`b` must be a sequence of at least one"),
        (lambda: stats.ratio_interval([1.0, float("inf")], [1.0]), "`a` must be finite and above 0; got inf"),
        (lambda: stats.ratio_interval([1.0], [1.0], confidence=1), "`confidence` .* got 1"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
