"""Trains many networks alike, each in a process of its own.

    python -m benchmarks.sweep --archs="resnet*" --dataset=cifar10 --train_steps=200 --out=runs.jsonl
    python -m benchmarks.sweep --archs="*,!*1001*" --max_macs=300e6 --dataset=cifar10 --train_steps=200 --out=runs.jsonl

Of the networks that match, those are trained whose own input has the shape of the data set's images, those of few
multiply-adds first. `--out` gets the record of each run when it ends; started again with the same flags, the command
trains only what has no record yet. All other flags are those of benchmarks.train, and hold for every network. A run
that fails does not keep the others from being done.
"""

import fnmatch
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from benchmarks import data, records, train
from benchmarks.cli import options
from benchmarks.terminal import console, parent
from benchmarks.terminal.errors import UsageError
from benchmarks.terminal.launch import launch, start_keras

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(train)
flags.DEFINE_list("archs", "*", "Patterns of names, as resnet*; those after a ! are left out.")
flags.DEFINE_float("max_macs", None, "Leave out networks of more multiply-adds per image.", lower_bound=0.0)
flags.DEFINE_float("timeout", None, "Seconds after which a run is ended and counted as failed.", lower_bound=0.0)

OWN = ("archs", "max_macs", "timeout", "arch", "out")
"""Flags that are not passed on to the runs."""


def main() -> None:
    """Trains each network that has no record yet, and prints a table of all."""
    settings = options.read(batch_size=options.batch_size(FLAGS.batch_size))
    for flag in ("arch", "model", "save"):
        if getattr(FLAGS, flag) is not None:
            raise UsageError(f"--{flag} is for one network: python -m benchmarks.train takes it")
    if settings.out is None:
        raise UsageError("--out must be given: each run is recorded there, and is not repeated")
    dataset = settings.dataset or "mnist"
    if dataset == "synthetic":
        raise UsageError("--dataset=synthetic has nothing to learn")
    start_keras()
    shared = options.given(sys.modules[__name__], OWN)
    names = chosen(dataset)
    done, failed = finished(settings.out, shared), []
    with console.progress("networks", len(names)) as advance:
        for name in names:
            if name not in done:
                advance(0, name)
                if (why := run(name, shared, settings.out)) is not None:
                    failed.append(f"{name} ({why})")
            advance(1, name)
    done = finished(settings.out, shared)
    console.grid(
        f"{len(done)} of {len(names)} networks on {dataset}",
        ("network", "parameters", "steps", "first loss", "final loss", "test score", "images/s"),
        [line(done[name]) for name in names if name in done],
    )
    if failed:
        raise UsageError(f"{len(failed)} of {len(names)} runs failed: {'; '.join(failed)}")


def chosen(dataset: str) -> list[str]:
    """The networks that are trained.

    Raises:
        UsageError: there is none.
    """
    import architectures

    shape = data.find(dataset).shape
    wanted = [pattern for pattern in FLAGS.archs if not pattern.startswith("!")] or ["*"]
    unwanted = [pattern[1:] for pattern in FLAGS.archs if pattern.startswith("!")]
    found = []
    for name in architectures.names():
        row = architectures.variant(name)
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted):
            continue
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in unwanted):
            continue
        if set(row.input_shapes) == {shape} and row.macs <= (FLAGS.max_macs or float("inf")):
            found.append(name)
    if not found:
        text = "×".join(map(str, shape))
        raise UsageError(f"--archs must match a network for images of {text}; got {','.join(FLAGS.archs)}")
    return sorted(found, key=lambda name: architectures.variant(name).macs)


def finished(path: str, shared: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The records of runs with these flags, by architecture."""
    try:
        ((*found,),) = records.gather([path])
    except UsageError:  # the file is not there yet, or empty
        return {}
    made = {}
    for record in found:
        command = record["environment"].get("command", [])
        flags_of = [each for each in command[1:] if not each.startswith(("--arch=", "--out="))]
        if record["script"] == "train" and record["status"] == "ok" and flags_of == list(shared):
            made[record["arch"]] = record
    return made


def run(name: str, shared: Sequence[str], out: str) -> str | None:
    """Trains a network; returns why it failed, or `None`."""
    command = [sys.executable, "-m", "benchmarks.train", f"--arch={name}", *shared, f"--out={out}"]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with parent.child(command, **pipes) as process:
        try:
            _, errors = process.communicate(timeout=FLAGS.timeout)
        except subprocess.TimeoutExpired:
            return f"it took more than {FLAGS.timeout:g} s"
    return parent.complaint(process, errors) if process.returncode else None


def line(record: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    score = next((value for key, value in record.items() if key.startswith("test_")), None)
    first = record.get("first_loss")
    return (
        record["arch"],
        f"{record['trainable_params']:,}",
        f"{record['steps']:,}",
        "" if first is None else f"{first:.3f}",
        f"{record['final_loss']:.3f}",
        "" if score is None else f"{100 * score:.2f} %",
        f"{record['images_per_second']:,.0f}",
    )


if __name__ == "__main__":
    launch(main)
