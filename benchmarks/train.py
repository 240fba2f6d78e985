"""Trains a network and scores it on the test images.

    python -m benchmarks.train
    python -m benchmarks.train --arch=lenet --dataset=mnist --epochs=1
    python -m benchmarks.train --arch=resnet20 --dataset=cifar10 --epochs=2 --out=runs.jsonl --save=resnet20.keras

Without flags it trains LeNet on MNIST for one epoch, or on generated digits if MNIST is not available. Compilation is
excluded from the training time and from throughput.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from benchmarks import records
from benchmarks.cli import options
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError, do_each
from benchmarks.terminal.launch import launch, start_keras

if TYPE_CHECKING:
    from benchmarks.cli.job import Job

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(options)
flags.DEFINE_integer("epochs", 1, "Passes over the training images.", lower_bound=1)
flags.DEFINE_integer("train_steps", None, "Number of steps, in place of --epochs.", lower_bound=1)
flags.DEFINE_string("save", None, "A .keras file for the trained network, which takes images of 0 to 255.")


def main() -> None:
    """Trains, scores, prints a table, writes the record and the network."""
    start = time.perf_counter()
    if FLAGS.train_steps is not None and FLAGS["epochs"].present:
        raise UsageError("--train_steps and --epochs are two lengths of one run: pass one of them")
    settings = options.read(batch_size=options.batch_size(FLAGS.batch_size))
    path = FLAGS.save and os.path.expanduser(FLAGS.save)
    if path is not None:
        check_save(path)
    if settings.dataset == "synthetic":
        raise UsageError("--dataset=synthetic has nothing to learn; python -m benchmarks.throughput takes it")
    start_keras()
    from benchmarks.cli import job as jobs
    from benchmarks.measure import training

    length = {"epochs": FLAGS.epochs} if FLAGS.train_steps is None else {"steps": FLAGS.train_steps}
    job = jobs.create(settings, arch="lenet", dataset="mnist", **length)
    per_epoch = job.engine.steps_per_epoch
    steps = FLAGS.train_steps or FLAGS.epochs * per_epoch
    console.say(
        f"{job.network} on {job.dataset}: {job.profile.trainable_params:,} trainable parameters, "
        f"{job.task.count:,} training examples, batches of {job.batch_size}"
    )
    with console.progress("training", steps) as advance:
        trained = training.train(job.engine, steps, advance)
    metric, score = job.task.metric, job.task.score(job.model, max(job.batch_size, 256))
    record = {
        **job.record("train"),
        "status": "ok",
        "epochs": FLAGS.epochs if FLAGS.train_steps is None else steps / per_epoch,
        "steps": steps,
        "images_per_second": steps * job.batch_size / trained.seconds,
        "train_seconds": trained.seconds,
        "compile_seconds": trained.compile_seconds,
        "total_seconds": time.perf_counter() - start,
        "first_loss": trained.first_loss,
        "final_loss": trained.loss,
        f"test_{metric}": score,
    }
    rows = {
        "parameters": f"{job.profile.trainable_params:,}",
        "multiply-adds per image": f"{job.profile.macs:,}",
        "epochs": f"{record['epochs']:.4g}",
        "training time": f"{trained.seconds:.1f} s",
        "compilation": f"{trained.compile_seconds:.1f} s",
        "throughput": f"{record['images_per_second']:,.0f} images/s",
        f"test {metric.replace('_', ' ')}": f"{100 * score:.2f} %",
        "device": records.describe(record),
    }
    do_each(
        lambda: records.append(settings.out, record) if settings.out else None,
        lambda: save(job, path) if path is not None else None,
        lambda: console.table(f"{job.network} on {job.dataset}", rows),
    )


def check_save(path: str) -> None:
    """Raises a `UsageError` now if the network can't be saved to `path` later."""
    if not path.endswith(".keras"):
        raise UsageError(f"--save must be a file that ends in .keras; got {path!r}")
    records.check_writable(path, "save")


def save(job: "Job", path: str) -> None:
    """Writes the network with its normalisation in front, whole or not at all."""
    partial = Path(path).with_name(f".{os.getpid()}.partial.keras")  # short, however long the name may be
    try:
        job.task.complete(job.model).save(partial)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(f"--save={path} can't be written: {error.strerror or error}") from None
    console.say(f"saved {path}")


if __name__ == "__main__":
    launch(main)
