"""Records: whole lines or none, whoever else writes; and what they tell of where they were made."""

import builtins
import json
import multiprocessing
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import keras
import numpy as np
import pytest

from benchmarks import records
from benchmarks.console import UsageError

WRITE = """
import sys
from benchmarks import records
for i in range(200):
    records.append(sys.argv[1], {"who": sys.argv[2], "i": i, "text": sys.argv[2] * (50 * i)})
"""
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_two_processes_do_not_mix_their_lines(tmp_path):
    path = tmp_path / "runs.jsonl"
    command = [sys.executable, "-c", WRITE, str(path)]
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    both = [subprocess.Popen([*command, who], cwd=ROOT, env=environment, stderr=subprocess.PIPE) for who in "ab"]
    for process in both:
        _, complaint = process.communicate()
        assert process.returncode == 0, complaint
    lines = path.read_text().split("\n")
    assert lines.pop() == ""
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 400
    for who in "ab":
        assert [row["i"] for row in rows if row["who"] == who] == list(range(200))
    assert all(row["text"] == row["who"] * (50 * row["i"]) for row in rows)


def test_a_record_is_appended_to_what_is_there(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"old": 1}\n')
    records.append(str(path), {"text": "two\nlines, × – ü", "n": 0.1, "none": None})
    old, new, end = path.read_text(encoding="utf-8").split("\n")
    assert (json.loads(old), end) == ({"old": 1}, "")
    assert json.loads(new) == {"text": "two\nlines, × – ü", "n": 0.1, "none": None}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32(1), {1, 2}, object()])
@pytest.mark.parametrize("existed", [False, True])
def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path, value, existed):
    path = tmp_path / "runs.jsonl"
    if existed:
        path.write_text('{"old": 1}\n')
    with pytest.raises((ValueError, TypeError)):
        records.append(str(path), {"good": 1, "bad": [value]})
    assert (path.read_text() == '{"old": 1}\n') if existed else not path.exists()


def test_half_a_line_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"old": 1}\n')
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[: len(line) // 2]))
    with pytest.raises(UsageError, match="disk is full"):
        records.append(str(path), {"new": "x" * 100})
    assert path.read_text() == '{"old": 1}\n'


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_disk_is_told():
    with pytest.raises(UsageError, match=r"--out=/dev/full.*[Nn]o space"):
        records.append("/dev/full", {"new": 1})


def test_a_folder_that_went_away_is_told(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        records.append(str(tmp_path / "gone" / "runs.jsonl"), {"new": 1})


def test_what_can_be_written_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "runs.jsonl"
    records.check_writable(str(path))
    assert not path.exists()
    path.write_text("old\n")
    records.check_writable(str(path))
    assert path.read_text() == "old\n"
    monkeypatch.chdir(tmp_path)
    records.check_writable("other.jsonl")


@pytest.mark.parametrize(
    ("name", "told"), [("", "can't be written"), ("missing/runs.jsonl", "there is no folder"), ("file/x", "no folder")]
)
def test_what_cannot_be_written_is_told(tmp_path, name, told):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=told) as caught:
        records.check_writable(str(tmp_path / name))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_written_is_told(tmp_path, monkeypatch, kind):
    path = tmp_path / "runs.jsonl"
    if kind == "file":
        path.write_text("")
    forbidden = path if kind == "file" else tmp_path
    forbidden.chmod(0o444 if kind == "file" else 0o555)
    if os.access(forbidden, os.W_OK):
        # The superuser may write anywhere: the answer that others get.
        monkeypatch.setattr(os, "access", lambda target, mode: str(target) != str(forbidden))
    try:
        with pytest.raises(UsageError, match="can't be written"):
            records.check_writable(str(path))
    finally:
        forbidden.chmod(0o755)


def test_the_environment_tells_device_processor_versions_and_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/train.py", "--arch=lenet", "--seed=3"])
    told = json.loads(json.dumps(records.environment(), allow_nan=False))
    assert set(told) == {
        "time", "device", "cpu", "cpu_cores", "platform", "python", "versions", "commit", "commit_is_changed", "command"
    }  # fmt: skip
    time = datetime.fromisoformat(told["time"])
    assert time.tzinfo is not None
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    assert told["versions"]["keras"] == keras.__version__
    assert told["versions"]["numpy"] == np.__version__
    assert keras.backend.backend() in told["versions"]
    assert told["python"] == platform.python_version()
    assert 1 <= told["cpu_cores"] <= multiprocessing.cpu_count()
    assert told["cpu"].strip() == told["cpu"] != ""
    assert told["device"]
    assert told["command"] == ["train.py", "--arch=lenet", "--seed=3"]


def test_a_package_that_is_not_there_has_no_version(monkeypatch):
    monkeypatch.setattr(records, "PACKAGES", ("keras", "no-such-package-here"))
    assert set(records.environment()["versions"]) == {"keras"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the harness seems to lie: a folder that is in no repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    inside = tmp_path / "benchmarks"
    inside.mkdir()
    monkeypatch.setattr(records, "__file__", str(inside / "records.py"))
    return inside


def git(folder, *arguments):
    """What git prints."""
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_checkout(folder, monkeypatch, tmp_path_factory):
    git(folder.parent, "init", "--quiet")
    (folder / "records.py").write_text("one\n")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "--message=one")
    # Not that of the folder one stands in.
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    told = records.environment()
    assert re.fullmatch("[0-9a-f]{40}", told["commit"])
    assert told["commit"] == git(folder, "rev-parse", "HEAD")
    assert told["commit_is_changed"] is False
    (folder / "results.jsonl").write_text("untracked\n")
    assert records.environment()["commit_is_changed"] is False
    (folder / "records.py").write_text("two\n")
    assert records.environment()["commit_is_changed"] is True


def test_outside_a_repository_there_is_no_commit(folder):
    assert records.environment()["commit"] is None


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert records.environment()["commit"] is None


def test_without_proc_there_is_still_a_processor(monkeypatch):
    def fails(*arguments, **keywords):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", fails)
    monkeypatch.setattr(builtins, "open", fails)
    assert records.cpu()


def test_the_device_is_described_in_a_few_words():
    environment = {"device": "CPU", "cpu_cores": 2, "cpu": "Abacus 9"}
    record = {"backend": "jax", "dtype_policy": "float32", "environment": environment}
    assert records.describe(record) == "jax on 2 cores of Abacus 9, float32"
    record["environment"] = {**environment, "device": "Big GPU"}
    assert records.describe(record) == "jax on Big GPU, float32"
