"""Both sides in turns: what is written when, and what is left where it is cut short."""

import json
import re
import signal
import time
from pathlib import Path

import keras
import pytest

from tests.support.process import start

SHORT = ("--arch=mlp_tiny", "--dataset=synthetic", "--batch_size=4", "--steps=1", "--nopeak", "--peer=fit")
VERSUS = ("-m", "benchmarks.versus", *SHORT)

WITHOUT_SCIPY = """
import runpy, sys
sys.modules["scipy"] = None
sys.argv[0] = "versus"
runpy.run_module("benchmarks.versus", run_name="__main__")
"""


def read(path):
    """The records of all complete lines."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def test_one_run_a_side(tmp_path):
    out = tmp_path / "runs.jsonl"
    printed, complaint = (process := start(*VERSUS, "--runs=1", f"--out={out}")).communicate(timeout=300)
    assert process.returncode == 0, complaint
    theirs, ours, found = read(out)
    assert [each["input"] for each in (theirs, ours)] == ["fit", "resident"]
    assert (found["script"], found["peer"], found["runs"], found["ratio_low"]) == ("versus", "fit", 1, None)
    assert found["images_per_second"] == ours["images_per_second"]
    assert found["peer_images_per_second"] == theirs["images_per_second"]
    assert found["ratio"] == pytest.approx(ours["images_per_second"] / theirs["images_per_second"])
    assert re.search(rf"ratio of the medians *│ *{found['ratio']:.3f} ", printed)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the system does not list its processes")
def test_what_is_cut_short_leaves_its_records_and_no_process(tmp_path):
    out = tmp_path / "runs.jsonl"
    process = start(*VERSUS, "--runs=3", f"--out={out}")
    while not read(out):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    # At once: a signal while the child starts must not leave it behind.
    while not (children := Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert 1 <= len(read(out)) <= 6
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX itself needs SciPy")
def test_what_the_end_needs_is_asked_for_at_the_beginning(tmp_path):
    process = start("-c", WITHOUT_SCIPY, *SHORT, f"--out={tmp_path}/runs.jsonl")
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 1
    assert complaint.splitlines()[-1] == "error: the comparison needs the package scipy: pip install -e '.[report]'"
    assert not read(tmp_path / "runs.jsonl")


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--fail_below=nan", "--fail_below must be a number; got nan"),
        ("--peer=pytroch", "--peer must be one of"),
        ("--input=fit", "--peer=fit takes our side with --input=resident; got fit"),
        ("--augment", "--dataset=synthetic does not augment"),
        ("--batch_size=max", "--batch_size=max and --trace are for python -m benchmarks.throughput"),
    ],
)
def test_contradicting_flags_are_refused_before_anything_runs(flag, told):
    process = start(*VERSUS, flag)
    printed, complaint = process.communicate(timeout=120)
    assert process.returncode == 1
    assert complaint.splitlines()[-1].startswith(f"error: {told}")
    assert not printed
