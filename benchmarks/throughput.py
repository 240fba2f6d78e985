"""Times training steps, or forward passes.

    python -m benchmarks.throughput --arch=resnet20 --dataset=cifar10 --batch_size=128 --steps=50
    python -m benchmarks.throughput --arch=mlp_784_64_10 --dataset=mnist --batch_size=32 --steps=3000 --input=fit
    python -m benchmarks.throughput --arch=resnet50 --dataset=synthetic --batch_size=max --mode=inference
    python -m benchmarks.throughput --arch=lenet --dataset=mnist --batch_size=32,128,512 --mode=both
    python -m benchmarks.throughput --model=mine.keras --dataset=synthetic

Compilation and warm-up, until block times are steady, are excluded from throughput. The rate is all images over all
seconds; its 95 % confidence interval is a t-interval over the timed blocks, each of which lasts at least 0.05 s, with
`--input=fit` 2 s. docs/records.md describes what `--out` writes.
"""

import itertools
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from benchmarks import peers, records
from benchmarks.cli import options
from benchmarks.terminal import console, parent
from benchmarks.terminal.errors import UsageError, do_each, first_line
from benchmarks.terminal.launch import launch, start_keras

if TYPE_CHECKING:
    from benchmarks.cli.job import Job

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(options)
flags.DEFINE_integer(
    "steps", 50, "Minimum number of timed steps: short steps are repeated until they can be timed.", lower_bound=1
)
flags.DEFINE_integer(
    "warmup_steps", None, "Steps before the timed ones. By default until block times are steady.", lower_bound=1
)
flags.DEFINE_string("mode", "training", "training, inference for forward passes only, or both, a record each.")
flags.DEFINE_string(
    "peer",
    None,
    "Run another network in place of ours: torch (written by hand in PyTorch) or timm:NAME, both with "
    "KERAS_BACKEND=torch, or keras_applications:NAME, which must have the same number of trainable parameters; or "
    "folded, our network with its normalisations folded, for inference.",
)
flags.DEFINE_bool("peak", True, "Measure the peak FLOP/s of the device too, which takes some seconds.")
flags.DEFINE_string("trace", None, "A folder for a profile of some more steps, which TensorBoard opens.")
flags.declare_key_flag("batch_size")
FLAGS["batch_size"].help = (
    "Examples per step, several as 32,128,512 for a record each, or max for the largest batch that fits in memory. By "
    "default the recipe's."
)

ARCH = "resnet20"
TOO_LARGE = "out of memory: try a smaller --batch_size"


def main() -> None:
    """Times, prints a table, writes the record."""
    start = time.perf_counter()
    runs = list(itertools.product(batch_sizes(), modes()))
    settings = [read(size, mode) for size, mode in runs]
    if len(runs) > 1:
        each(runs)
    else:
        ((size, _),) = runs
        one(settings[0], start, search=size == "max")


def batch_sizes() -> list[str | None]:
    """The values of `--batch_size`; a single `None` if it is not given."""
    return FLAGS.batch_size.split(",") if FLAGS.batch_size else [None]


def modes() -> tuple[str, ...]:
    """The values of `--mode`."""
    mode = options.choose("mode", FLAGS.mode, (*options.MODES, "both"))
    return options.MODES if mode == "both" else (mode,)


def read(size: str | None, mode: str) -> options.Options:
    """The options of a run with one batch size and one mode.

    Raises:
        UsageError: see `options.read`.
    """
    settings = options.read(batch_size=1 if size == "max" else options.batch_size(size), mode=mode, peer=FLAGS.peer)
    if settings.peer is not None:
        peers.check_network(settings.peer, settings.network or ARCH, settings.mode)
    return settings


def each(runs: Sequence[tuple[str | None, str]]) -> None:
    """Runs each batch size and mode in a process of its own, so that none starts with the memory of another.

    Raises:
        UsageError: some of them failed; the others are done.
    """
    failed = []
    for size, mode in runs:
        changes = [f"--mode={mode}", *([] if size is None else [f"--batch_size={size}"])]
        # Of a flag that is given twice, the last counts.
        command = [sys.executable, "-m", "benchmarks.throughput", *sys.argv[1:], *changes]
        with parent.child(command) as process:
            process.wait()
        if process.returncode:
            failed.append(" ".join(changes))
    if failed:
        raise UsageError(f"{len(failed)} of {len(runs)} runs failed: {'; '.join(failed)}")


def one(settings: options.Options, start: float, *, search: bool) -> None:
    """Times one configuration.

    Args:
        settings: its options.
        start: when the command started, by `time.perf_counter()`.
        search: whether to search for the largest batch first, which restarts this command with it.

    Raises:
        UsageError: the options can't be run, or memory ran out.
    """
    start_keras()
    from benchmarks import backends
    from benchmarks.cli import job as jobs
    from benchmarks.measure import largest, trace

    folder = FLAGS.trace and os.path.expanduser(FLAGS.trace)
    if folder:
        trace.check(folder)
    steps = FLAGS.steps + (FLAGS.warmup_steps or 0)
    try:
        job = jobs.create(settings, arch=ARCH, dataset="cifar10", steps=steps)
    except Exception as error:
        if not backends.is_out_of_memory(error):
            raise
        raise UsageError(TOO_LARGE) from None
    row = {**job.record("throughput"), "steps": FLAGS.steps}
    if search:
        limit = None if job.dataset == "synthetic" else job.task.count
        largest.hand_over(job.recipe.batch_size, limit, {**row, "examples": limit}, settings.out)
    console.say(title(row))
    try:
        figures = measure(job, start)
    except Exception as error:
        if not backends.is_out_of_memory(error):
            raise
        write(settings.out, {**row, "status": "out_of_memory"})
        raise UsageError(TOO_LARGE) from None
    record = {**job.record("throughput"), **figures, "operation_ms": None}
    try:
        if folder:
            record["operation_ms"] = trace.write(folder, job.engine)
    except Exception as error:
        raise UsageError(f"--trace={FLAGS.trace} can't be written: {first_line(error)}") from None
    finally:  # the figures are kept whatever the profiler does
        do_each(lambda: write(settings.out, record), lambda: show(record))


def title(record: Mapping[str, Any]) -> str:
    """What is timed, in a few words."""
    network = record["arch"] if record["peer"] is None else f"{record['peer']} for {record['arch']}"
    return (
        f"{network} on {record['dataset']}, {record['mode']} in batches of {record['batch_size']}, "
        f"{record['input']} data"
    )


def write(path: str | None, record: Mapping[str, Any]) -> None:
    """Appends the record to the file of `--out`, if it is given."""
    if path:
        records.append(path, record)


def measure(job: "Job", start: float) -> dict[str, Any]:
    """All figures of a run.

    Args:
        job: what is run.
        start: when the command started, by `time.perf_counter()`.
    """
    from benchmarks import backends
    from benchmarks.measure import cost, memory, peak, stats, timing
    from benchmarks.measure.energy import Energy

    backend = backends.current()
    warm = timing.warm_up(job.engine, FLAGS.warmup_steps)
    backend.reset_peak_bytes()
    counts = timing.blocks(job.engine, FLAGS.steps, warm.block_steps)
    with console.progress("timing", sum(counts)) as advance, Energy() as energy:
        timed = timing.run_blocks(job.engine, counts, advance)
    # Read before the device's peak FLOP/s is measured, which takes memory of its own.
    device_bytes, resident_bytes = backend.peak_bytes(), memory.peak_resident_bytes()

    options, rate = job.options, timed.images_per_second
    low, high = timed.interval
    work = cost.step_cost(job.model, job.batch_size, options.mode)
    flops_per_second = work.flops * rate / job.batch_size
    ceiling = peak.measure(options.dtype_policy) if FLAGS.peak else None
    return {
        "status": "ok",
        "steps": sum(timed.steps),
        "block_steps": timed.steps,
        "block_seconds": timed.seconds,
        "images_per_second": rate,
        "images_per_second_low": low,
        "images_per_second_high": high,
        **stats.percentiles(timed.steps, timed.seconds),
        "warmup_steps": warm.steps,
        "warmup_seconds": warm.seconds,
        "is_steady": warm.is_steady,
        "compile_seconds": warm.compile_seconds,
        "first_step_seconds": warm.first_step_end - start,
        "peak_memory_bytes": device_bytes,
        "peak_resident_bytes": resident_bytes,
        "flops_per_step": work.flops,
        "bytes_per_step": work.bytes,
        "flops_per_second": flops_per_second,
        "peak_flops_per_second": ceiling and ceiling.flops_per_second,
        "peak_bytes_per_second": ceiling and ceiling.bytes_per_second,
        "peak_share": ceiling and flops_per_second / ceiling.flops_per_second,
        "joules_per_image": energy.joules and energy.joules / (sum(timed.steps) * job.batch_size),
        "final_loss": timed.loss,
    }


def show(record: Mapping[str, Any]) -> None:
    """Prints the main figures as a table."""
    low, high = record["images_per_second_low"], record["images_per_second_high"]
    rows = {
        "parameters": f"{record['trainable_params']:,}",
        "multiply-adds per image": f"{record['macs']:,}",
        "throughput": f"{record['images_per_second']:,.0f} images/s",
        "95 % confidence interval": "none for one block" if low is None else f"{low:,.0f} to {high:,.0f} images/s",
        "step time, median": f"{record['step_ms_p50']:.3f} ms",
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
        rows["energy per image"] = f"{1000 * record['joules_per_image']:.2f} mJ"
    rows["device"] = records.describe(record)
    console.table(f"{title(record)}: {record['steps']:,} timed steps", rows)
    if record["operation_ms"] is not None:
        rows = {kind: f"{milliseconds:.2f} ms" for kind, milliseconds in record["operation_ms"].items()}
        console.table("the longest operations of a step, summed over threads", rows)


if __name__ == "__main__":
    launch(main)
