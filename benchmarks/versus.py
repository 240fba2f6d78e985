"""Times our side and a peer's side by side: in turns, each run in a process of its own.

    python -m benchmarks.versus --arch=resnet20 --dataset=cifar10 --batch_size=128 --peer=torch
    python -m benchmarks.versus --arch=mlp_784_64_10 --dataset=mnist --batch_size=32 --steps=3000 --peer=fit
    python -m benchmarks.versus --arch=resnet50 --dataset=synthetic --batch_size=8 --peer=keras_applications:ResNet50

Peers are `fit`, plain `model.fit` of the same network; `torch` and `torch_compile`, the network written by hand in
PyTorch, eager and compiled; `timm:NAME`; and `keras_applications:NAME`, on our own engine. Both sides have the same
batches, precision and data on the device, and neither is timed before both are known to have the same number of
parameters. With `fit`, which does not augment, our side does not either.

All other flags are those of benchmarks.throughput. The ratio is of the medians, ours over the peer's, tested as in
benchmarks.compare; `--fail_below` ends with status 2 as there. `--out` gets the record of each run when it ends, and
one more for the comparison.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import compare, peers, records, throughput  # noqa: F401, of compare its flags
from benchmarks.cli import options
from benchmarks.reporting import significance
from benchmarks.terminal import console, parent
from benchmarks.terminal.errors import UsageError, do_each
from benchmarks.terminal.launch import launch

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(throughput)
flags.declare_key_flag("fail_below")
flags.DEFINE_integer("runs", 5, "Runs of each side; with fewer than five no difference can be shown.", lower_bound=1)

ACROSS = ("input", "peer", "backend", "jit")
"""Fields in which the sides may differ."""
OWN = ("peer", "runs", "out", "fail_below", "across", "peak")
"""Flags that are not passed on to the runs."""


@dataclass(frozen=True)
class Side:
    """One side: the flags of benchmarks.throughput, and its environment variables."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


def main() -> None:
    """Runs both sides in turns, prints the ratio, writes the records."""
    peer, settings = read()
    ours, theirs = sides(peer, settings)
    out = settings.out
    found: dict[str, list[dict[str, Any]]] = {ours.name: [], theirs.name: []}
    title = f"{settings.network or throughput.ARCH} against {peer.name}"
    with tempfile.TemporaryDirectory() as folder, console.progress(title, 2 * FLAGS.runs) as advance:
        for turn in range(FLAGS.runs):
            # The peer first: it refuses before it times anything. Then the first of one round is the last of the next.
            for side in (theirs, ours) if turn % 2 == 0 else (ours, theirs):
                # The peak of the device is the same in each run.
                record = run(side, ["--peak" if FLAGS.peak and turn == 0 else "--nopeak"], Path(folder, "run.jsonl"))
                found[side.name].append(record)
                if out:
                    records.append(out, record)
                advance(1, f"{side.name} {record['images_per_second']:,.0f} images/s")
            # In each round: sides that differ in something else are refused after the first.
            a, b = (significance.sides(side.name, found[side.name], ACROSS) for side in (theirs, ours))
            rows = significance.pair(a, b, ACROSS)
    (row,) = significance.judge(rows)
    record = summary(row, found[ours.name][0], found[theirs.name][0])
    do_each(lambda: records.append(out, record) if out else None, lambda: show(record))
    if FLAGS.fail_below is not None and significance.fails(row, FLAGS.fail_below):
        console.say(f"failed: the ratio is below --fail_below={FLAGS.fail_below:g}")
        raise SystemExit(2)


def read() -> tuple[peers.Peer, options.Options]:
    """The peer, and the options of our side.

    Raises:
        UsageError: the flags contradict each other; nothing has been run.
    """
    if FLAGS.peer is None:
        raise UsageError(f"--peer must be given, one of {', '.join(peers.VERSUS)}")
    peer = peers.find(FLAGS.peer)
    if FLAGS.trace is not None or FLAGS.batch_size == "max":
        raise UsageError("--batch_size=max and --trace are for python -m benchmarks.throughput")
    size, mode = options.batch_size(FLAGS.batch_size), options.choose("mode", FLAGS.mode, options.MODES)
    settings = options.read(batch_size=size, mode=mode)
    if settings.input not in peer.inputs:
        raise UsageError(
            f"--peer={peer.name} takes our side with --input={' or '.join(peer.inputs)}; got {settings.input}"
        )
    if settings.augment and not peer.augments:
        raise UsageError(f"--peer={peer.name} does not augment, so that --augment would compare different work")
    if peer.network is not None:
        peers.check_network(peer.network, settings.network or throughput.ARCH, settings.mode)
    significance.check_floor(FLAGS.fail_below)
    if FLAGS.runs >= significance.RUNS:
        significance.check_scipy()
    return peer, settings


def sides(peer: peers.Peer, settings: options.Options) -> tuple[Side, Side]:
    """Our side and the peer's."""
    shared = options.given(sys.modules[__name__], OWN)
    if not peer.augments and settings.dataset != "synthetic":
        shared.append("--noaugment")
    ours = Side("ours", shared, os.environ)
    backend = {} if peer.backend is None else {"KERAS_BACKEND": peer.backend}
    return ours, Side("peer", [*shared, *peer.flags], {**ours.environment, **backend})


def run(side: Side, flags: Sequence[str], path: Path) -> dict[str, Any]:
    """The record of one run in a process of its own; it names this command as its parent.

    Raises:
        UsageError: the run failed, with its own message.
    """
    path.unlink(missing_ok=True)
    command = ["benchmarks.throughput", *side.arguments, *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with parent.child([sys.executable, "-m", *command, f"--out={path}"], side.environment, **pipes) as process:
        _, errors = process.communicate()
    if process.returncode:
        raise UsageError(f"{' '.join(command)}: {parent.complaint(process, errors)}")
    ((record,),) = records.gather([str(path)])
    record["environment"]["command"].remove(f"--out={path}")
    record["environment"]["parent_command"] = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return record


def summary(row: significance.Row, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the comparison."""
    low, high = row.interval
    shared = ("version", "arch", "overrides", "dataset", "data", "batch_size", "augment", "mode", "dtype_policy")
    return {
        **{field: ours[field] for field in shared},
        "script": "versus",
        "status": "ok",
        "peer": FLAGS.peer,
        "backend": ours["backend"],
        "jit": ours["jit"],
        "runs": len(row.b.rates),
        "images_per_second": statistics.median(row.b.rates),
        "peer_images_per_second": statistics.median(row.a.rates),
        "ratio": row.ratio,
        "ratio_low": low,
        "ratio_high": high,
        "p_value": row.p_value,
        "trainable_params": ours["trainable_params"],
        "peer_trainable_params": theirs["trainable_params"],
        "environment": ours["environment"],
        "peer_environment": theirs["environment"],
    }


def show(record: Mapping[str, Any]) -> None:
    """Prints the comparison as a table."""
    low, high, p_value = (record[key] for key in ("ratio_low", "ratio_high", "p_value"))
    ours, theirs = record["trainable_params"], record["peer_trainable_params"]
    console.table(
        f"{record['arch']} on {record['dataset']}, {record['mode']} in batches of {record['batch_size']}, "
        f"{record['dtype_policy']}: {record['runs']} run{'s' * (record['runs'] > 1)} per side, in turns",
        {
            "parameters, on both sides": f"{ours:,}" + (f" ({theirs:,} with unused biases)" if ours != theirs else ""),
            f"ours, {record['backend']}": f"{record['images_per_second']:,.0f} images/s",
            record["peer"]: f"{record['peer_images_per_second']:,.0f} images/s",
            "ratio of the medians": f"{record['ratio']:.3f}",
            "95 % confidence interval": "too few runs" if low is None else f"{low:.3f} to {high:.3f}",
            "Mann–Whitney U test": "too few runs" if p_value is None else f"p = {p_value:.2g}",
            "device": records.describe(record),
        },
    )


if __name__ == "__main__":
    launch(main)
