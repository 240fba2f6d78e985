"""Trains a network by its engine for a number of steps."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.engines import Engine
from benchmarks.terminal.errors import UsageError

UPDATE_SECONDS = 0.5
"""Duration of the steps between two updates of the progress bar."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of `train`.

    Attributes:
        steps: number of steps.
        seconds: their duration; without compilation.
        compile_seconds: duration of the compilation.
        first_loss: loss of the first step; `None` of an engine that runs whole epochs.
        loss: mean loss of the last `engine.block` steps, however many of them ran at a time.
    """

    steps: int
    seconds: float
    compile_seconds: float
    first_loss: float | None
    loss: float


def train(engine: Engine, total: int, advance: Callable[[int, str], None] = lambda steps, note: None) -> Trained:
    """Runs `total` steps and copies the trained values into the model.

    Args:
        engine: as `engines.create` returns it.
        total: number of steps; an epoch has `engine.steps_per_epoch`.
        advance: `advance(steps, note)`, for a progress bar.

    Raises:
        UsageError: the loss became NaN or infinite.
        KeyboardInterrupt: the user interrupted it; the message says how far it got.
    """
    per_epoch = engine.steps_per_epoch
    done, seconds, pace = 0, 0.0, 1
    last = total - min(engine.block, per_epoch, total)  # where the last block begins
    final, first = 0.0, None
    try:
        compile_seconds = engine.warm_up()
        while done < total:
            most = per_epoch if engine.whole_epochs else pace
            count = min(most, (last if done < last else total) - done, per_epoch - done % per_epoch)
            began = time.perf_counter()
            loss = engine.run(count)
            elapsed = time.perf_counter() - began
            seconds += elapsed
            # Slow steps are shown one by one, fast steps by the block.
            pace = max(1, min(engine.block, round(UPDATE_SECONDS * count / elapsed)))
            if not math.isfinite(loss):
                raise UsageError(
                    f"the loss became {loss} between steps {done} and {done + count}; nothing was written "
                    "(a smaller --learning_rate may help)"
                )
            first = loss if done == 0 and count == 1 else first
            final += loss * count if done >= last else 0.0
            done += count
            rate = done * engine.batch_size / seconds
            advance(count, f"epoch {math.ceil(done / per_epoch)}  loss {loss:.4f}  {rate:,.0f} images/s")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"after {done:,} of {total:,} steps: neither the network nor a record was written"
        ) from None
    engine.sync()
    return Trained(
        steps=total, seconds=seconds, compile_seconds=compile_seconds, first_loss=first, loss=final / (total - last)
    )
