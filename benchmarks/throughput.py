"""Times training steps.

    python -m benchmarks.throughput --arch=resnet20 --dataset=cifar10 --batch_size=128 --steps=50
    python -m benchmarks.throughput --arch=mlp_784_64_10 --dataset=mnist --batch_size=32 --steps=2000 --input=fit
    python -m benchmarks.throughput --arch=resnet50 --dataset=synthetic --batch_size=8

Compilation and the warm-up steps are not in the rate, which is all images over all seconds.
"""

import math
import statistics
import time

from absl import flags

from benchmarks import console, options, records
from benchmarks.console import UsageError

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(options)
flags.DEFINE_integer("steps", 50, "Timed steps.", lower_bound=1)
flags.DEFINE_integer("warmup_steps", None, "Steps before them. By default a tenth, at least one block.", lower_bound=0)


def main() -> None:
    """Times, prints a table, writes the record."""
    options.check()
    warmup = FLAGS.warmup_steps
    planned = FLAGS.steps + (warmup or 0)
    job = options.job(arch="resnet20", dataset="cifar10", steps=planned, epochs=None)
    console.say(f"{job.arch} on {job.dataset}: batches of {job.batch_size}, {FLAGS.input} data")
    compile_seconds = job.engine.warm_up()
    block = min(job.engine.block, max(1, FLAGS.steps // 10))
    warmup = max(FLAGS.steps // 10, block) if warmup is None else warmup

    blocks: list[tuple[int, float]] = []
    with console.progress("timing", warmup + FLAGS.steps) as advance:
        if warmup:
            advance(warmup, f"warm-up, loss {job.engine.run(warmup):.4f}")
        done = 0
        while done < FLAGS.steps:
            count = min(block, FLAGS.steps - done)
            began = time.perf_counter()
            loss = job.engine.run(count)
            blocks.append((count, time.perf_counter() - began))
            if not math.isfinite(loss):
                raise UsageError(f"the loss became {loss} between steps {done} and {done + count}; nothing was written")
            done += count
            advance(count, f"loss {loss:.4f}  {rate(job, blocks):,.0f} images/s")

    step_ms = [1000 * seconds / count for count, seconds in blocks]
    record = {
        **job.record("throughput"),
        "steps": FLAGS.steps,
        "warmup_steps": warmup,
        "images_per_second": rate(job, blocks),
        "step_ms_p50": statistics.median(step_ms),
        "step_ms_min": min(step_ms),
        "step_ms_max": max(step_ms),
        "block_steps": [count for count, _ in blocks],
        "block_seconds": [seconds for _, seconds in blocks],
        "compile_seconds": compile_seconds,
        "final_loss": loss,
    }
    console.table(
        f"{job.arch} on {job.dataset}, batches of {job.batch_size}, {FLAGS.input}",
        {
            "parameters": f"{job.profile.trainable_params:,}",
            "multiply-adds an image": f"{job.profile.macs:,}",
            "timed steps": f"{FLAGS.steps:,}",
            "throughput": f"{record['images_per_second']:,.0f} images/s",
            "a step, median of blocks": f"{record['step_ms_p50']:.3f} ms",
            "fastest and slowest block": f"{record['step_ms_min']:.3f} to {record['step_ms_max']:.3f} ms a step",
            "compilation": f"{compile_seconds:.1f} s",
            "device": records.describe(record),
        },
    )
    if FLAGS.out:
        records.append(FLAGS.out, record)


def rate(job: options.Job, blocks: list[tuple[int, float]]) -> float:
    """All images over all seconds."""
    return job.batch_size * sum(count for count, _ in blocks) / sum(seconds for _, seconds in blocks)


if __name__ == "__main__":
    console.launch(main)
