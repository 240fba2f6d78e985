"""Times the steps of an engine: warm-up until block times are steady, then blocks of steps, each timed as a whole.

    engine = engines.create(model, optimizer, task, engines.Plan(batch_size=128))
    timed = timing.measure(engine, steps=50)
    print(timed.images_per_second, timed.interval)

Compilation and warm-up are excluded from throughput. The rate is all images over all seconds; its 95 % confidence
interval is a t-interval over the timed blocks.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.engines import Engine
from benchmarks.measure import stats
from benchmarks.terminal.errors import UsageError

WARMUP_BLOCKS = 60
"""Number of blocks after which the warm-up ends even if block times still fall."""

Advance = Callable[[int, str], None]
"""`advance(steps, note)` is called after each timed block."""


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """What the steps before the timed ones show.

    Attributes:
        compile_seconds: duration of the compilation.
        first_step_end: `time.perf_counter()` at the end of the first step.
        steps: number of steps.
        seconds: their duration.
        is_steady: whether block times had stopped falling.
        block_steps: minimum number of steps of a timed block.
    """

    compile_seconds: float
    first_step_end: float
    steps: int
    seconds: float
    is_steady: bool
    block_steps: int


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Blocks of steps, each timed as a whole.

    Attributes:
        batch_size: images per step.
        steps: number of steps of each block.
        seconds: duration of each block.
        loss: mean loss of the last block.
    """

    batch_size: int
    steps: Sequence[int]
    seconds: Sequence[float]
    loss: float = math.nan

    @property
    def images_per_second(self) -> float:
        """All images over all seconds."""
        return self.batch_size * sum(self.steps) / sum(self.seconds)

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """95 % confidence interval of `images_per_second`; `(None, None)` for a single block."""
        return stats.rate_interval(self.steps, self.seconds, self.batch_size)


def measure(engine: Engine, *, steps: int = 50, warmup_steps: int | None = None) -> Timed:
    """Compiles, warms up and times an engine.

    Args:
        engine: as `engines.create` returns it.
        steps: minimum number of timed steps; short steps are repeated until they can be timed.
        warmup_steps: number of steps before the timed ones; `None` to warm up until block times are steady.

    Raises:
        UsageError: the loss became NaN or infinite.
    """
    warm = warm_up(engine, warmup_steps)
    return run_blocks(engine, blocks(engine, steps, warm.block_steps))


def warm_up(engine: Engine, steps: int | None = None) -> Warmup:
    """Compiles an engine and runs steps until block times are steady.

    Args:
        engine: as `engines.create` returns it.
        steps: number of steps to run instead.
    """
    compile_seconds = engine.warm_up()
    began = time.perf_counter()
    engine.run(1)
    end = time.perf_counter()
    counts, seconds = _until_steady(engine, end - began, steps)
    last = (counts[-1], seconds[-1]) if counts else (1, end - began)
    probed, block_steps = block_size(engine, *last, probe=steps is None)
    return Warmup(
        compile_seconds=compile_seconds,
        first_step_end=end,
        steps=1 + sum(counts) + probed,
        seconds=time.perf_counter() - began,
        is_steady=_is_steady(counts, seconds),
        block_steps=block_steps,
    )


def _until_steady(engine: Engine, step_seconds: float, steps: int | None) -> tuple[list[int], list[float]]:
    """Runs blocks until the time per step has stopped falling, or the rest of `steps` after the first step."""
    remaining = None if steps is None else steps - 1
    # Blocks of a fit engine are of seconds: its warm-up need not be.
    block = min(engine.block, max(1, round(min(engine.block_seconds, Engine.block_seconds) / step_seconds)))
    counts: list[int] = []
    seconds: list[float] = []
    while len(counts) < WARMUP_BLOCKS if remaining is None else sum(counts) < remaining:
        count = block if remaining is None else min(block, remaining - sum(counts))
        began = time.perf_counter()
        engine.run(count)
        counts.append(count)
        seconds.append(time.perf_counter() - began)
        if remaining is None and _is_steady(counts, seconds):
            break
    return counts, seconds


def _is_steady(counts: Sequence[int], seconds: Sequence[float]) -> bool:
    times = [duration / steps for steps, duration in zip(counts, seconds, strict=True)]
    return bool(times) and stats.is_steady(times)


def block_size(engine: Engine, steps: int, seconds: float, *, probe: bool) -> tuple[int, int]:
    """The number of steps that lasts `engine.block_seconds`, and how many steps were run to find out.

    Args:
        engine: runs the steps.
        steps: number of steps that lasted `seconds`.
        seconds: if much shorter than a timed block, it is mostly the fixed cost of a call.
        probe: whether more steps may be run to find out.

    Returns:
        `(steps run, steps of a block)`.
    """
    probed, wanted = 0, engine.block_seconds
    while probe and seconds < wanted / 4:
        steps *= 4
        began = time.perf_counter()
        engine.run(steps)
        seconds = time.perf_counter() - began
        probed += steps
    return probed, math.ceil(wanted * steps / seconds)


def blocks(engine: Engine, steps: int, block_steps: int) -> list[int]:
    """The number of steps of each timed block: together at least `steps`.

    Args:
        engine: runs at most `engine.block` steps at a time; a block of short steps is a multiple of that.
        steps: minimum number of steps.
        block_steps: minimum number of steps of a block.
    """
    number = min(engine.timed_blocks, steps)
    if block_steps > engine.block / 2:
        block_steps = engine.block * math.ceil(block_steps / engine.block)
    return [max(block_steps, steps * (i + 1) // number - steps * i // number) for i in range(number)]


def run_blocks(engine: Engine, counts: Sequence[int], advance: Advance = lambda steps, note: None) -> Timed:
    """Times blocks of steps.

    Args:
        engine: warmed up.
        counts: number of steps of each block.
        advance: for a progress bar.

    Raises:
        UsageError: the loss became NaN or infinite.
    """
    seconds: list[float] = []
    loss = math.nan
    for i, count in enumerate(counts, 1):
        began = time.perf_counter()
        loss = engine.run(count)
        seconds.append(time.perf_counter() - began)
        done = Timed(batch_size=engine.batch_size, steps=counts[:i], seconds=seconds, loss=loss)
        if not math.isfinite(loss):
            total = sum(counts[:i])
            raise UsageError(
                f"the loss became {loss} between the timed steps {total - count} and {total}; nothing was written"
            )
        advance(count, f"loss {loss:.4f}  {done.images_per_second:,.0f} images/s")
    return Timed(batch_size=engine.batch_size, steps=list(counts), seconds=seconds, loss=loss)
