"""Statistics of the timings of one run and of several runs. Deterministic; needs only NumPy.

    from benchmarks.measure import stats
    stats.rate_interval([100, 100, 100], [0.51, 0.49, 0.50], batch_size=128)
    stats.percentiles([100, 100, 100], [0.51, 0.49, 0.50])
    stats.is_steady([0.9, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    stats.ratio_interval([900.0, 910.0, 905.0], [1010.0, 990.0, 1000.0])

A run is divided into blocks of steps; each block is timed as a whole. The spread of blocks describes that run only,
since they share a process, its memory layout and its clocks. To compare two configurations, use several runs of each,
every run in a process of its own.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

PERCENTS = (5, 50, 95, 99)


def rate_interval(
    block_steps: Sequence[int], block_seconds: Sequence[float], batch_size: int, *, confidence: float = 0.95
) -> tuple[float, float] | tuple[None, None]:
    """`rate · (1 ± t · error)`: t-interval over blocks, with one degree of freedom fewer than blocks.

    `rate = batch_size · Σ steps / Σ seconds`, and `error` is the relative standard error of that ratio of sums, from
    the residuals `seconds - Σ seconds · steps / Σ steps`. A bootstrap over so few blocks gives intervals that are too
    narrow: with two blocks about 50 % of them contain the rate, with five about 80 %.

    Args:
        block_steps: steps of each block.
        block_seconds: seconds of each block.
        batch_size: images per step.
        confidence: confidence level.

    Returns:
        Lower and upper limit in images/s, the lower one at least 0; `(None, None)` for a single block.

    Raises:
        ValueError: an argument is outside its range.
    """
    steps, seconds = _blocks(block_steps, block_seconds)
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1; got {batch_size}")
    _check(confidence)
    count = len(steps)
    if count < 2:
        return None, None
    rate = batch_size * steps.sum() / seconds.sum()
    residuals = seconds - seconds.sum() * steps / steps.sum()
    error = np.sqrt(count / (count - 1) * np.sum(residuals**2)) / seconds.sum()
    reach = student((1 + confidence) / 2, count - 1) * error
    return float(max(0.0, rate * (1 - reach))), float(rate * (1 + reach))


def student(p: float, freedom: int) -> float:
    """Quantile of Student's t-distribution.

    Exact for 1 and 2 degrees of freedom, otherwise by the Cornish–Fisher expansion (Abramowitz and Stegun 1964,
    26.7.5), whose error at 0.975 is below 0.2 %.

    Args:
        p: probability, in [0.5, 1).
        freedom: degrees of freedom.
    """
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


def percentiles(block_steps: Sequence[int], block_seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles of step times, `step_ms_pQ`: the shortest time that at least Q % of the steps don't exceed.

    Each step counts once, with the mean step time of its block: blocks are weighted by their number of steps, and an
    outlier inside a long block is not visible. Each percentile is the step time of one of the blocks.

    Args:
        block_steps: steps of each block.
        block_seconds: seconds of each block.

    Returns:
        `step_ms_p5`, `step_ms_p50`, `step_ms_p95` and `step_ms_p99`, in milliseconds.

    Raises:
        ValueError: an argument is outside its range.
    """
    steps, seconds = _blocks(block_steps, block_seconds)
    step_ms = 1000 * seconds / steps
    order = np.argsort(step_ms)
    reached = np.cumsum(steps[order])
    # In hundredths of a step, as integers: a product with 0.05 may round to the wrong side of the end of a block.
    ranks = [np.searchsorted(100 * reached, percent * reached[-1]) for percent in PERCENTS]
    return {f"step_ms_p{percent}": float(step_ms[order[rank]]) for percent, rank in zip(PERCENTS, ranks, strict=True)}


def is_steady(block_times: Sequence[float], *, window: int = 5) -> bool:
    """Whether block times have stopped falling: `median(before) - median(last) <= max(1.5 · noise, 0.5 % of last)`.

    `last` are the last `window` times and `before` the `window` times before them; medians are robust against a single
    slow block. The noise is the median absolute difference of consecutive times, scaled to the standard deviation of
    normal noise; consecutive, so that a slow fall does not count as noise. With constant times and noise the medians
    fall by more than 1.5 · noise in 1 of 25 cases; with times that fall by the noise per block, in 199 of 200. The
    tolerance of 0.5 % is for timings with almost no noise. Rising times count as steady.

    Args:
        block_times: seconds per step, for each block since the first step.
        window: blocks in each of the two windows.

    Returns:
        Whether the times are steady; `False` for fewer than `2 · window` blocks.

    Raises:
        ValueError: `window` is below 3, where one slow block could decide, or a time is not above 0.
    """
    if window < 3:
        raise ValueError(f"`window` must be at least 3; got {window}")
    times = _positive("block_times", block_times)[-2 * window :]
    if len(times) < 2 * window:
        return False
    before, last = np.median(times.reshape(2, window), axis=1)
    # A standard deviation is 1.4826 median absolute deviations, and that of a difference is √2 times as large.
    noise = 1.4826 / np.sqrt(2) * np.median(np.abs(np.diff(times)))
    return bool(before - last <= max(1.5 * noise, 0.005 * last))


def ratio_interval(
    a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | tuple[None, None]:
    """Percentile bootstrap of `median(b) / median(a)`; the runs of each side are resampled independently.

    Medians, because a disturbed run should not change the ratio, and because the coverage is right for few runs: with
    five normal runs on each side about 95 % of the intervals contain the true ratio, with means about 88 %.

    Args:
        a: the rate of each run, every run in a process of its own; not the blocks of one run.
        b: the same for the other side.
        confidence: confidence level.
        draws: number of resamples.
        seed: seed of the resampling.

    Returns:
        Lower and upper limit; `(None, None)` if a side has a single run.

    Raises:
        ValueError: an argument is outside its range.
    """
    sides = _positive("a", a), _positive("b", b)
    _check(confidence)
    if draws < 1:
        raise ValueError(f"`draws` must be at least 1; got {draws}")
    if min(map(len, sides)) < 2:
        return None, None
    generator = np.random.default_rng(seed)
    below, above = (
        np.median(rates[generator.integers(len(rates), size=(draws, len(rates)))], axis=1) for rates in sides
    )
    low, high = np.quantile(above / below, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


def _blocks(block_steps: Sequence[int], block_seconds: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Validates steps and seconds of blocks; returns them as arrays."""
    steps, seconds = np.asarray(block_steps), _positive("block_seconds", block_seconds)
    if steps.shape != seconds.shape:
        raise ValueError(
            f"`block_steps` and `block_seconds` must be of one length; got {len(block_steps)} and {len(block_seconds)}"
        )
    if not np.issubdtype(steps.dtype, np.integer) or steps.min() < 1:
        raise ValueError(f"`block_steps` must be whole numbers of at least 1; got {list(block_steps)}")
    return steps, seconds


def _positive(name: str, values: Sequence[float]) -> np.ndarray:
    """Validates that there is a value and that all are finite and above 0; returns them as an array."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"`{name}` must be a sequence of at least one number; got {values!r}")
    wrong = array[~(np.isfinite(array) & (array > 0))]
    if wrong.size:
        raise ValueError(f"`{name}` must be finite and above 0; got {wrong[0]}")
    return array


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be between 0 and 1; got {confidence}")
