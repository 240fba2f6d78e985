"""Many networks in turn: which are chosen, what is recorded, and what a second start does."""

import json

import pytest

from tests.support.process import start

SWEEP = ("-m", "benchmarks.sweep", "--dataset=mnist", "--data=generated", "--batch_size=64", "--train_steps=3")


def swept(*flags):
    process = start(*SWEEP, *flags)
    printed, complaint = process.communicate(timeout=600)
    return process.returncode, printed, complaint.splitlines()[-1] if complaint else ""


def test_each_network_has_a_record_and_is_trained_once(tmp_path):
    out = tmp_path / "runs.jsonl"
    flags = (f"--out={out}", "--archs=mlp_*,lenet_tiny,!mlp_784*")
    code, printed, complaint = swept(*flags)
    assert code == 0, complaint
    found = [json.loads(line) for line in out.read_text().splitlines()]
    # Vectors are no images of MNIST; the cheaper network comes first.
    assert [(each["script"], each["arch"], each["steps"]) for each in found] == [
        ("train", "mlp_tiny", 3),
        ("train", "lenet_tiny", 3),
    ]
    for each in found:
        assert each["epochs"] * (each["examples"] // 64) == pytest.approx(3)
        assert each["first_loss"] > 0
        assert f"{each['first_loss']:.3f}" in printed
    before = out.read_text()
    code, printed, complaint = swept(*flags)
    assert (code, out.read_text()) == (0, before), complaint
    assert "2 of 2 networks on mnist" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--out must be given"),
        (("--out={out}", "--arch=lenet"), "--arch is for one network: python -m benchmarks.train takes it"),
        (("--out={out}", "--archs=zzz*"), "--archs must match a network for images of 28×28×1; got zzz*"),
        (("--out={out}", "--epochs=2"), "--train_steps and --epochs are two lengths of one run: pass one of them"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(flags, message, tmp_path):
    code, _, complaint = swept(*(flag.format(out=tmp_path / "runs.jsonl") for flag in flags))
    assert code == 1
    assert message in complaint
