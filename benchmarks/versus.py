"""Times our side and a peer's side by side: in turns, each run in a process of its own.

    python -m benchmarks.versus --arch=resnet20 --dataset=cifar10 --batch_size=128 --peer=torch
    python -m benchmarks.versus --arch=mlp_784_64_10 --dataset=mnist --batch_size=32 --steps=3000 --peer=fit
    python -m benchmarks.versus --arch=resnet50 --dataset=synthetic --batch_size=8 --peer=keras_applications:ResNet50

Peers are `fit`, plain `model.fit` of the same network; `torch` and `torch_compile`, the network written by hand in
PyTorch, eager and compiled; `timm:NAME`; and `keras_applications:NAME`, on our own engine. Both sides have the same
batches, precision and data on the device, and neither is timed before both are known to have as many parameters. With
`fit`, which does not augment, our side does not either.

All other flags are those of benchmarks.throughput. The ratio is of the medians, ours over the peer's, with what
benchmarks.compare says of it; `--fail_below` ends with status 2 as there. `--out` gets the record of each run when it
ends, and one more for the comparison.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

# This process starts others and computes nothing: a backend that saw the GPU would keep its memory from them.
ENVIRONMENT = dict(os.environ)
os.environ |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}

from benchmarks import throughput  # noqa: E402, first: it imports Keras

# isort: split
from benchmarks import compare, records  # noqa: E402, F401, of compare its flag
from benchmarks.cli import job as options  # noqa: E402
from benchmarks.cli.launch import launch  # noqa: E402
from benchmarks.peers import keras_applications as peers  # noqa: E402
from benchmarks.reporting import significance  # noqa: E402
from benchmarks.terminal import console  # noqa: E402
from benchmarks.terminal.errors import UsageError, do_each  # noqa: E402

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(throughput)
flags.declare_key_flag("fail_below")
flags.DEFINE_integer("runs", 5, "Runs of each side; below five nothing can be told of their difference.", lower_bound=1)

PEERS = ("fit", "torch", "torch_compile", "timm:NAME", f"{peers.PREFIX}NAME")
ACROSS = ("input", "peer", "backend", "jit")
"""What the sides may differ in."""


def main() -> None:
    """Runs both sides in turns, prints the ratio, writes the records."""
    ours, theirs = sides()
    sides_records: tuple[list[dict[str, Any]], ...] = ([], [])
    what = f"{FLAGS.arch or 'resnet20'} against {FLAGS.peer}"
    with tempfile.TemporaryDirectory() as folder, console.progress(what, 2 * FLAGS.runs) as advance:
        for turn in range(FLAGS.runs):
            # The peer first: it refuses before it times anything. Then the first of one round is the last of the next.
            for side in (1, 0) if turn % 2 == 0 else (0, 1):
                arguments, environment = (ours, theirs)[side]
                # The device's own peak is the same in each run.
                record = run([*arguments, "--peak" if FLAGS.peak and turn == 0 else "--nopeak"], environment, folder)
                sides_records[side].append(record)
                if FLAGS.out:
                    records.append(FLAGS.out, record)
                advance(1, f"{('ours', 'peer')[side]} {record['images_per_second']:,.0f} images/s")
    both = (significance.sides(name, sides_records[side], ACROSS) for name, side in (("the peer", 1), ("our side", 0)))
    (row,) = significance.judge(significance.pair(*both, ACROSS))
    record = summary(row, *(side[0] for side in sides_records))
    do_each(lambda: records.append(FLAGS.out, record) if FLAGS.out else None, lambda: show(record))
    if FLAGS.fail_below is not None and significance.fails(row, FLAGS.fail_below):
        console.say(f"failed: the ratio is below --fail_below={FLAGS.fail_below:g}")
        raise SystemExit(2)


def sides() -> tuple[tuple[list[str], dict[str, str]], tuple[list[str], dict[str, str]]]:
    """Flags and environment of our side and of the peer's.

    Raises:
        UsageError: the flags don't fit together.
    """
    peer = FLAGS.peer
    if peer is None:
        raise UsageError(f"--peer must be given, one of {', '.join(PEERS)}")
    if not peer.startswith(("timm:", peers.PREFIX)):
        options.choose("peer", peer, PEERS)
    if FLAGS.batch_size == "max" or FLAGS.trace is not None:
        raise UsageError("--batch_size=max and --trace are for python -m benchmarks.throughput")
    if FLAGS.input == "fit" or (FLAGS.input == "stream" and not peer.startswith(peers.PREFIX)):
        raise UsageError(f"--peer={peer} takes our side with --input=resident; got {FLAGS.input}")
    if peer == "fit" and FLAGS.augment:
        raise UsageError("--peer=fit does not augment, so that --augment would compare different work")
    significance.check_floor(FLAGS.fail_below)
    if FLAGS.runs >= significance.RUNS:
        significance.check_scipy()
    FLAGS.peer = None
    throughput.check()
    FLAGS.peer = peer

    shared = given(("peer", "runs", "out", "fail_below", "across", "peak"))
    ours, theirs, environment = list(shared), list(shared), dict(ENVIRONMENT)
    if peer == "fit":
        ours += ["--noaugment"] * (FLAGS.dataset != "synthetic")
        theirs = [*ours, "--input=fit"]
    elif peer in ("torch", "torch_compile"):
        theirs += ["--peer=torch", f"--jit={'on' if peer == 'torch_compile' else 'off'}"]
    else:
        theirs += [f"--peer={peer}"]
    if peer.startswith(("torch", "timm:")):
        environment["KERAS_BACKEND"] = "torch"
    return (ours, ENVIRONMENT), (theirs, environment)


def given(without: Sequence[str]) -> list[str]:
    """The flags of this command line but for some, to be handed on."""
    keys = {flag.name for flag in FLAGS.get_key_flags_for_module(sys.modules[__name__])}
    found = [FLAGS[key] for key in sorted(keys.difference(without)) if FLAGS[key].present]
    return [line for flag in found for line in flag.serialize().splitlines()]


def run(arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> dict[str, Any]:
    """The record of one run in a process of its own.

    Raises:
        UsageError: it failed; its own words are told.
    """
    path = Path(folder, "run")
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.throughput", *arguments, f"--out={path}"]
    answer = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if answer.returncode:
        told = answer.stderr.strip().splitlines() or [f"it ended with status {answer.returncode}"]
        raise UsageError(f"{' '.join(command[2:-1])}: {told[-1].removeprefix('error: ')}")
    ((record,),) = records.gather([str(path)])
    return record


def summary(row: significance.Row, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the comparison."""
    low, high = row.interval
    shared = ("version", "arch", "overrides", "dataset", "data", "batch_size", "augment", "mode", "dtype_policy")
    return {
        **{field: ours[field] for field in shared},
        "script": "versus",
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
    """Prints the comparison."""
    low, high, p_value = (record[key] for key in ("ratio_low", "ratio_high", "p_value"))
    ours, theirs = record["trainable_params"], record["peer_trainable_params"]
    console.table(
        f"{record['arch']} on {record['dataset']}, {record['mode']} in batches of {record['batch_size']}, "
        f"{record['dtype_policy']}: {record['runs']} runs a side, in turns",
        {
            "parameters, on both sides": f"{ours:,}" + (f" ({theirs:,} with idle biases)" if ours != theirs else ""),
            f"ours, {record['backend']}": f"{record['images_per_second']:,.0f} images/s",
            record["peer"]: f"{record['peer_images_per_second']:,.0f} images/s",
            "ratio of the medians": f"{record['ratio']:.3f}",
            "95 % interval": "too few runs" if low is None else f"{low:.3f} to {high:.3f}",
            "Mann–Whitney U": "too few runs" if p_value is None else f"p = {p_value:.2g}",
            "device": records.describe(record),
        },
    )


if __name__ == "__main__":
    launch(main)
