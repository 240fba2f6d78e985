"""What the timings of a run, and those of several runs, let one say. NumPy alone; the same arguments, the same answer.

    from benchmarks.measure import stats
    stats.rate_interval([100, 100, 100], [0.51, 0.49, 0.50], batch_size=128)
    stats.percentiles([100, 100, 100], [0.51, 0.49, 0.50])
    stats.is_steady([0.9, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    stats.ratio_interval([900.0, 910.0, 905.0], [1010.0, 990.0, 1000.0])

A run has blocks of steps, each timed as one. Blocks say how evenly that run went; they share a process, its memory
layout and its clocks, so how two configurations differ is told by several runs of each, in processes of their own.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

PERCENTS = (5, 50, 95, 99)


def rate_interval(
    block_steps: Sequence[int], block_seconds: Sequence[float], batch_size: int, *, confidence: float = 0.95
) -> tuple[float, float] | tuple[None, None]:
    """`rate · (1 ± t · error)`: Student's interval, of as many degrees of freedom as there are blocks but one.

    `rate = batch_size · Σ steps / Σ seconds`, and `error` is the relative standard error of that ratio of sums: from
    how far each block's seconds are from those of as many mean steps. Resampling so few blocks gives intervals that are
    too narrow: of two they hold the rate in about 50 of 100 cases, of five in about 80.

    Args:
        block_steps: steps of each block.
        block_seconds: seconds of each block.
        batch_size: images a step.
        confidence: share of such intervals that hold the rate.

    Returns:
        The ends of the interval, in images/s, the lower one not below 0; `(None, None)` of a single block, which tells
        nothing about its spread.

    Raises:
        ValueError: an argument is out of its range.
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
    """The quantile of Student's distribution.

    Exact for 1 and 2 degrees of freedom, else by the Cornish–Fisher expansion (Abramowitz and Stegun 1964, 26.7.5),
    which at 0.975 is within 0.2 %.

    Args:
        p: from 0.5 up to 1, 1 excluded.
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
    return sum(term / freedom**power for power, term in enumerate(terms))


def percentiles(block_steps: Sequence[int], block_seconds: Sequence[float]) -> dict[str, float]:
    """`step_ms_pQ`: the shortest time that at least Q % of the steps don't exceed, in milliseconds.

    Each step counts once and lasts as long as the mean step of its block, so a block weighs as much as it has steps,
    and an uneven step inside a long block is not seen. Each percentile is the time of one of the blocks.

    Args:
        block_steps: steps of each block.
        block_seconds: seconds of each block.

    Returns:
        `step_ms_p5`, `step_ms_p50`, `step_ms_p95` and `step_ms_p99`.

    Raises:
        ValueError: an argument is out of its range.
    """
    steps, seconds = _blocks(block_steps, block_seconds)
    step_ms = 1000 * seconds / steps
    order = np.argsort(step_ms)
    reached = np.cumsum(steps[order])
    # In hundredths of a step, as whole numbers: a product with 0.05 may round to the wrong side of a block's end.
    ranks = [np.searchsorted(100 * reached, percent * reached[-1]) for percent in PERCENTS]
    return {f"step_ms_p{percent}": float(step_ms[order[rank]]) for percent, rank in zip(PERCENTS, ranks, strict=True)}


def is_steady(block_times: Sequence[float], *, window: int = 5) -> bool:
    """Whether block times have stopped falling: `median(before) - median(last) <= max(1.5 · noise, 0.5 % of last)`.

    `last` are the last `window` times and `before` as many before them: medians, so that one slow block decides
    nothing. The noise is the median distance of neighbours among these times, scaled to be the standard deviation of
    normal noise: neighbours, because times that fall slowly lie far from each other in all but from their neighbours,
    and their fall should not pass for noise. Noise alone falls by one and a half of it in one case of twenty-five, a
    line that loses as much as the noise with each block in all but one of two hundred. Half a percent, so that timings
    with next to no noise need not stand quite still. Times that rise have stopped falling.

    Args:
        block_times: seconds a step, block after block since the first step.
        window: blocks in each of the two windows.

    Returns:
        The answer; `False` where there are fewer blocks than two windows hold.

    Raises:
        ValueError: `window` is below 3, with which one slow block could decide, or a time is not above 0.
    """
    if window < 3:
        raise ValueError(f"`window` must be at least 3; got {window}")
    times = _positive("block_times", block_times)[-2 * window :]
    if len(times) < 2 * window:
        return False
    before, last = np.median(times.reshape(2, window), axis=1)
    # 1.4826 median distances from the centre are a standard deviation, and a difference has that of √2 times.
    noise = 1.4826 / np.sqrt(2) * np.median(np.abs(np.diff(times)))
    return bool(before - last <= max(1.5 * noise, 0.005 * last))


def ratio_interval(
    a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | tuple[None, None]:
    """`quantiles(median(b) / median(a))` over resamples of the runs of each side by itself: a percentile bootstrap.

    Of medians, because a run that something else disturbed should not move the ratio, and because the interval is
    honest when runs are few: with five normal runs a side it holds the true ratio in about 95 of 100 cases, that of
    means in about 88.

    Args:
        a: one rate of each run, every run in a process of its own; never the blocks of one run.
        b: the same, of the other side.
        confidence: share of such intervals that hold the ratio.
        draws: resamples.
        seed: of the resampling.

    Returns:
        The ends of the interval; `(None, None)` where a side has a single run, which tells nothing about its spread.

    Raises:
        ValueError: an argument is out of its range.
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
    """Steps and seconds of the blocks as arrays."""
    steps, seconds = np.asarray(block_steps), _positive("block_seconds", block_seconds)
    if steps.shape != seconds.shape:
        raise ValueError(
            f"`block_steps` and `block_seconds` must be of one length; got {len(block_steps)} and {len(block_seconds)}"
        )
    if not np.issubdtype(steps.dtype, np.integer) or steps.min() < 1:
        raise ValueError(f"`block_steps` must be whole numbers of at least 1; got {list(block_steps)}")
    return steps, seconds


def _positive(name: str, values: Sequence[float]) -> np.ndarray:
    """The values as an array, if there are some and all are finite and above 0."""
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
