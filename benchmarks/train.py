"""Trains a network and scores it on the test images.

    python -m benchmarks.train
    python -m benchmarks.train --arch=lenet --dataset=mnist --epochs=1
    python -m benchmarks.train --arch=resnet20 --dataset=cifar10 --epochs=2 --out=runs.jsonl --save=resnet20.keras

Without flags it trains LeNet on MNIST for an epoch, or where MNIST can't be had on digits that it draws. Compilation is
neither in the training time nor in the rate.
"""

import math
import os
import time
from pathlib import Path

from absl import flags

from benchmarks.cli import job as options  # first: it imports Keras, and keeps TensorFlow's notices out of the terminal

# isort: split
from benchmarks import records
from benchmarks.cli.launch import launch
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError, do_each

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(options)
flags.DEFINE_integer("epochs", 1, "Passes over the training images.", lower_bound=1)
flags.DEFINE_string("save", None, "A .keras file for the trained network, which takes images of 0 to 255.")

UPDATE_SECONDS = 0.5


def main() -> None:
    """Trains, scores, prints a table, writes the record and the network."""
    start = time.perf_counter()
    options.check()
    if FLAGS.save is not None:
        check_save(FLAGS.save)
    if FLAGS.dataset == "synthetic":
        raise UsageError("--dataset=synthetic has nothing to learn; python -m benchmarks.throughput takes it")
    job = options.job(arch="lenet", dataset="mnist", epochs=FLAGS.epochs)
    console.say(
        f"{job.arch} on {job.dataset}: {job.profile.trainable_params:,} trainable parameters, "
        f"{job.task.count:,} training examples, batches of {job.batch_size}"
    )
    compile_seconds = job.engine.warm_up()

    steps_per_epoch = job.task.count // job.batch_size
    steps, done, seconds, pace = FLAGS.epochs * steps_per_epoch, 0, 0.0, 1
    with console.progress("training", steps) as advance:
        while done < steps:
            # Plain `fit` sets itself up at each call and shuffles what it is given, so that it is given an epoch.
            most = steps_per_epoch if FLAGS.input == "fit" else pace
            count = min(most, steps - done, steps_per_epoch - done % steps_per_epoch)
            began = time.perf_counter()
            loss = job.engine.run(count)
            elapsed = time.perf_counter() - began
            seconds += elapsed
            # Slow steps are told one by one, fast ones by the block.
            pace = max(1, min(job.engine.block, round(UPDATE_SECONDS * count / elapsed)))
            if not math.isfinite(loss):
                raise UsageError(
                    f"the loss became {loss} between steps {done} and {done + count}; nothing was written "
                    "(a smaller --learning_rate may help)"
                )
            done += count
            rate = done * job.batch_size / seconds
            advance(count, f"epoch {math.ceil(done / steps_per_epoch)}  loss {loss:.4f}  {rate:,.0f} images/s")

    job.engine.sync()
    score = job.task.score(job.model, max(job.batch_size, 256))
    record = {
        **job.record("train"),
        "status": "ok",
        "epochs": FLAGS.epochs,
        "steps": steps,
        "images_per_second": steps * job.batch_size / seconds,
        "train_seconds": seconds,
        "compile_seconds": compile_seconds,
        "total_seconds": time.perf_counter() - start,
        "final_loss": loss,
        f"test_{job.task.metric}": score,
    }
    told = {
        "parameters": f"{job.profile.trainable_params:,}",
        "multiply-adds an image": f"{job.profile.macs:,}",
        "epochs": FLAGS.epochs,
        "training time": f"{seconds:.1f} s",
        "compilation": f"{compile_seconds:.1f} s",
        "throughput": f"{record['images_per_second']:,.0f} images/s",
        f"test {job.task.metric.replace('_', ' ')}": f"{100 * score:.2f} %",
        "device": records.describe(record),
    }
    do_each(
        lambda: records.append(FLAGS.out, record) if FLAGS.out else None,
        lambda: save(job, FLAGS.save) if FLAGS.save is not None else None,
        lambda: console.table(f"{job.arch} on {job.dataset}", told),
    )


def check_save(path: str) -> None:
    """Raises a `UsageError` now if the network can't be saved to `path` later."""
    if not path.endswith(".keras"):
        raise UsageError(f"--save must be a file that ends in .keras; got {path!r}")
    records.check_writable(path, "save")


def save(job: options.Job, path: str) -> None:
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
