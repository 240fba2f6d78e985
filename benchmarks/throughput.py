"""Times training steps, or forward passes.

    python -m benchmarks.throughput --arch=resnet20 --dataset=cifar10 --batch_size=128 --steps=50
    python -m benchmarks.throughput --arch=mlp_784_64_10 --dataset=mnist --batch_size=32 --steps=3000 --input=fit
    python -m benchmarks.throughput --arch=resnet50 --dataset=synthetic --batch_size=max --mode=inference

Compilation is in no rate, nor are the steps before block times have stopped falling. A rate is all images over all
seconds; its 95 % confidence interval is Student's over the timed blocks, each of which lasts at least 0.05 s, with
`--input=fit` 2 s. docs/records.md says what `--out` writes.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from absl import flags

from benchmarks.cli import job as options  # first: it imports Keras, and keeps TensorFlow's notices out of the terminal

# isort: split
import architectures
from benchmarks import backends, engines, records
from benchmarks.cli.launch import launch
from benchmarks.measure import cost, largest, memory, peak, stats, trace
from benchmarks.measure.energy import Energy
from benchmarks.peers import keras_applications as peers
from benchmarks.tasks import recipes
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError, do_each

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(options)
flags.DEFINE_integer(
    "steps", 50, "Timed steps, at least: of short ones more are run, so that they can be timed.", lower_bound=1
)
flags.DEFINE_integer(
    "warmup_steps", None, "Steps before them. By default until block times have stopped falling.", lower_bound=1
)
flags.DEFINE_string("mode", "training", "training, or inference for forward passes alone.")
flags.DEFINE_string(
    "peer",
    None,
    "Run a network of others in place of ours: torch (PyTorch alone, written by hand) or timm:NAME, both with "
    "KERAS_BACKEND=torch, or keras_applications:NAME. It must have as many trainable parameters.",
)
flags.DEFINE_bool("peak", True, "Measure the device's own peak too, which takes some seconds.")
flags.DEFINE_string("trace", None, "A folder for a profile of some more steps, which TensorBoard opens.")
flags.declare_key_flag("batch_size")
FLAGS["batch_size"].help = "Examples a step, or max for the most that memory holds. By default the recipe's."

BLOCKS = 20  # that the timed steps are divided into, where there are enough of them
BLOCK_SECONDS = 0.05  # that one lasts at least: a call and waiting for its end cost as much as many short steps
# Each call of `fit` sets itself up anew, which a user pays once an epoch: a few long blocks are fair to it.
FIT_BLOCKS = 5
FIT_BLOCK_SECONDS = 2.0
WARMUP_BLOCKS = 60  # after which waiting for steady block times is given up


@dataclass(frozen=True)
class Timing:
    """Blocks of steps, each timed as one."""

    steps: list[int]
    seconds: list[float]
    loss: float


def main() -> None:
    """Times, prints a table, writes the record."""
    start = time.perf_counter()
    check()
    search = FLAGS.batch_size == "max"
    if search:
        FLAGS.batch_size = "1"
    planned = FLAGS.steps + (FLAGS.warmup_steps or 0)
    try:
        job = options.job(arch="resnet20", dataset="cifar10", steps=planned, mode=FLAGS.mode, peer=FLAGS.peer)
    except Exception as error:
        raise too_large(error) from None
    if search:
        first = recipes.recipe(architectures.family(job.arch)).batch_size
        most = None if job.dataset == "synthetic" else job.task.count
        largest.hand_over(first, most, {**job.record("throughput"), "examples": most, "steps": FLAGS.steps}, FLAGS.out)
    console.say(title(job.record("throughput")))
    try:
        figures = measure(job, start)
    except Exception as error:
        if backends.is_out_of_memory(error):
            write({**job.record("throughput"), "status": "out_of_memory", "steps": FLAGS.steps})
        raise too_large(error) from None
    record = {**job.record("throughput"), **figures, "operation_ms": None}
    try:
        if FLAGS.trace:
            record["operation_ms"] = trace.write(FLAGS.trace, job.engine)
    except Exception as error:
        told = str(error).partition("\n")[0]
        raise UsageError(f"--trace={FLAGS.trace} can't be written: {told}") from None
    finally:  # whatever a profiler ends in, the figures are there
        do_each(lambda: write(record), lambda: show(record))


def too_large(error: Exception) -> Exception:
    """What to tell of memory that ran out; any other error as it is."""
    if not backends.is_out_of_memory(error):
        return error
    return UsageError("this takes more memory than there is: try a smaller --batch_size")


def check() -> None:
    """Raises a `UsageError` for what is wrong with the flags by themselves, before anything is loaded."""
    options.check(most="max")
    options.choose("mode", FLAGS.mode, engines.MODES)
    if FLAGS.peer is not None and not FLAGS.peer.startswith(("timm:", peers.PREFIX)):
        options.choose("peer", FLAGS.peer, ("torch", "timm:NAME", f"{peers.PREFIX}NAME"))
    if FLAGS.trace:
        trace.check(FLAGS.trace)


def title(record: Mapping[str, Any]) -> str:
    """What is timed, in a few words."""
    network = record["arch"] if record["peer"] is None else f"{record['peer']} for {record['arch']}"
    return (
        f"{network} on {record['dataset']}, {record['mode']} in batches of {record['batch_size']}, "
        f"{record['input']} data"
    )


def write(record: dict[str, Any]) -> None:
    """Appends the record where the flags ask for it."""
    if FLAGS.out:
        records.append(FLAGS.out, record)


def measure(job: options.Job, start: float) -> dict[str, Any]:
    """All figures of a run that began at `start`."""
    compile_seconds = job.engine.warm_up()
    backends.current().reset_peak_bytes()
    began = time.perf_counter()
    job.engine.run(1)
    first_step = time.perf_counter()

    warm = warm_up(job.engine.run, job.engine.block, first_step - began)
    last = (warm.steps[-1], warm.seconds[-1]) if warm.steps else (1, first_step - began)
    tried, least = lasting(job.engine.run, *last)
    warmup_seconds = time.perf_counter() - began
    counts = blocks(FLAGS.steps, least, job.engine.block)
    with console.progress("timing", sum(counts)) as advance, Energy() as energy:
        timing = run_blocks(job, counts, advance)
    # Before the device's peak is measured, which takes memory of its own.
    device_bytes, resident_bytes = backends.current().peak_bytes(), memory.peak_resident_bytes()

    steps = sum(timing.steps)
    rate = job.batch_size * steps / sum(timing.seconds)
    low, high = stats.rate_interval(timing.steps, timing.seconds, job.batch_size)
    work = cost.step_cost(job.model, job.batch_size, job.mode)
    flops_per_second = work.flops * rate / job.batch_size
    ceiling = peak.measure(FLAGS.dtype_policy) if FLAGS.peak else None
    return {
        "status": "ok",
        "steps": steps,
        "block_steps": timing.steps,
        "block_seconds": timing.seconds,
        "images_per_second": rate,
        "images_per_second_low": low,
        "images_per_second_high": high,
        **stats.percentiles(timing.steps, timing.seconds),
        "warmup_steps": 1 + sum(warm.steps) + tried,
        "warmup_seconds": warmup_seconds,
        "is_steady": is_steady(warm),
        "compile_seconds": compile_seconds,
        "first_step_seconds": first_step - start,
        "peak_memory_bytes": device_bytes,
        "peak_resident_bytes": resident_bytes,
        "flops_per_step": work.flops,
        "bytes_per_step": work.bytes,
        "flops_per_second": flops_per_second,
        "peak_flops_per_second": ceiling and ceiling.flops_per_second,
        "peak_bytes_per_second": ceiling and ceiling.bytes_per_second,
        "peak_share": ceiling and flops_per_second / ceiling.flops_per_second,
        "joules_per_image": energy.joules and energy.joules / (steps * job.batch_size),
        "final_loss": timing.loss,
    }


def warm_up(run: Callable[[int], float], most: int, step_seconds: float) -> Timing:
    """Runs blocks of steps until their times have stopped falling, or the rest of `--warmup_steps` after the first."""
    fixed = None if FLAGS.warmup_steps is None else FLAGS.warmup_steps - 1
    block = min(most, max(1, round(BLOCK_SECONDS / step_seconds)))
    warm = Timing([], [], math.nan)
    while len(warm.steps) < WARMUP_BLOCKS if fixed is None else sum(warm.steps) < fixed:
        count = block if fixed is None else min(block, fixed - sum(warm.steps))
        began = time.perf_counter()
        run(count)
        warm.steps.append(count)
        warm.seconds.append(time.perf_counter() - began)
        if fixed is None and is_steady(warm):
            break
    return warm


def is_steady(warm: Timing) -> bool:
    """Whether the times of a step had stopped falling, block by block."""
    times = [seconds / steps for steps, seconds in zip(warm.steps, warm.seconds, strict=True)]
    return bool(times) and stats.is_steady(times)


def lasting(run: Callable[[int], float], steps: int, seconds: float) -> tuple[int, int]:
    """How many steps were run to find out, and how many last as long as a timed block does at least.

    Args:
        run: runs steps.
        steps: how many took `seconds`.
        seconds: see there; much shorter than a timed block, it is more the call's than the steps'.
    """
    tried, wanted = 0, FIT_BLOCK_SECONDS if FLAGS.input == "fit" else BLOCK_SECONDS
    while FLAGS.warmup_steps is None and seconds < wanted / 4:
        steps *= 4
        began = time.perf_counter()
        run(steps)
        seconds = time.perf_counter() - began
        tried += steps
    return tried, math.ceil(wanted * steps / seconds)


def blocks(steps: int, least: int, most: int) -> list[int]:
    """How many steps each timed block has: together at least `steps`.

    Args:
        steps: `--steps`.
        least: how many last long enough to be timed.
        most: how many steps the engine runs at a time at most; of short steps a block has a multiple of it.
    """
    number = min(FIT_BLOCKS if FLAGS.input == "fit" else BLOCKS, steps)
    if least > most / 2:
        least = most * math.ceil(least / most)
    return [max(least, steps * (i + 1) // number - steps * i // number) for i in range(number)]


def run_blocks(job: options.Job, counts: Sequence[int], advance: Callable[[int, str], None]) -> Timing:
    """Times the steps, block by block.

    Raises:
        UsageError: the loss is no number; the steps are named.
    """
    steps: list[int] = []
    seconds: list[float] = []
    for count in counts:
        done = sum(steps)
        began = time.perf_counter()
        loss = job.engine.run(count)
        seconds.append(time.perf_counter() - began)
        steps.append(count)
        if not math.isfinite(loss):
            raise UsageError(
                f"the loss became {loss} between the timed steps {done} and {done + count}; nothing was written"
            )
        advance(count, f"loss {loss:.4f}  {job.batch_size * sum(steps) / sum(seconds):,.0f} images/s")
    return Timing(steps, seconds, loss)


def show(record: dict[str, Any]) -> None:
    """Prints the figures that a person looks for first."""
    low, high = record["images_per_second_low"], record["images_per_second_high"]
    rows = {
        "parameters": f"{record['trainable_params']:,}",
        "multiply-adds an image": f"{record['macs']:,}",
        "throughput": f"{record['images_per_second']:,.0f} images/s",
        "95 % interval": "one block: none" if low is None else f"{low:,.0f} to {high:,.0f} images/s",
        "a step, median": f"{record['step_ms_p50']:.3f} ms",
        "5th to 95th, 99th percentile": "{step_ms_p5:.3f} to {step_ms_p95:.3f}, {step_ms_p99:.3f} ms".format(**record),
        "warm-up": f"{record['warmup_steps']:,} steps, {record['warmup_seconds']:.1f} s"
        + ("" if record["is_steady"] else ", not steady"),
        "compilation": f"{record['compile_seconds']:.1f} s",
        "arithmetic": f"{record['flops_per_second'] / 1e9:,.1f} GFLOP/s",
    }
    if record["peak_share"] is not None:
        peak_rate = record["peak_flops_per_second"] / 1e9
        rows["share of the measured peak"] = f"{100 * record['peak_share']:.1f} % of {peak_rate:,.0f} GFLOP/s"
    device_bytes = record["peak_memory_bytes"]
    memory = record["peak_resident_bytes"] if device_bytes is None else device_bytes
    if memory is not None:
        rows["peak memory" if device_bytes is None else "peak memory of the device"] = f"{memory / 2**20:,.0f} MiB"
    if record["joules_per_image"] is not None:
        rows["energy an image"] = f"{1000 * record['joules_per_image']:.2f} mJ"
    rows["device"] = records.describe(record)
    console.table(f"{title(record)}: {record['steps']:,} timed steps", rows)
    if record["operation_ms"] is not None:
        rows = {kind: f"{milliseconds:.2f} ms" for kind, milliseconds in record["operation_ms"].items()}
        console.table("the longest operations of a step, summed over threads", rows)


if __name__ == "__main__":
    launch(main)
