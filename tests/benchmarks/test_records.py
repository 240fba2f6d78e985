"""Records: whole lines or none, whoever else writes; and what they tell of where they were made."""

import json
import os

import numpy as np
import pytest

from benchmarks import records
from benchmarks.terminal.errors import UsageError
from tests.support.process import start
from tests.support.records import record

WRITE = """
import sys
from benchmarks import records
for i in range(200):
    records.append(sys.argv[1], {"who": sys.argv[2], "i": i, "text": sys.argv[2] * (50 * i)})
"""


def test_two_processes_do_not_mix_their_lines(tmp_path):
    path = tmp_path / "runs.jsonl"
    both = [start("-c", WRITE, path, who) for who in "ab"]
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


def test_a_line_that_was_left_unfinished_spoils_no_other(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"version": 3, "scr')
    records.append(str(path), {"n": 1})
    records.append(str(path), {"n": 2})
    assert path.read_text() == '{"version": 3, "scr\n{"n": 1}\n{"n": 2}\n'


def test_a_last_line_without_its_end_is_left_out(tmp_path, capsys):
    path = tmp_path / "runs.jsonl"
    line = json.dumps(record())
    path.write_text(f"{line}\n{line[:50]}")
    assert records.read(str(path)) == [record()]
    assert capsys.readouterr().err == f"note: {path}, line 2, is written by half and left out\n"
    path.write_text(f"{line}\n{line}")
    assert records.read(str(path)) == [record()] * 2
    for text in (f"{line[:50]}\n{line}", f"{line}\n{line[:50]}\n"):
        path.write_text(text)
        with pytest.raises(UsageError, match="is no record of these scripts"):
            records.read(str(path))


def test_equal_records_are_the_first_file_s_and_old_ones_tell_what_they_meant(tmp_path):
    one, other, old = record(1.0), record(2.0), record(3.0)
    for field in ("status", "mode", "peer", "examples"):
        del old[field]
    paths = [str(tmp_path / name) for name in "ab"]
    for path, found in zip(paths, ([one, one], [other, one, old, other]), strict=True):
        (tmp_path / path).write_text("".join(json.dumps(each) + "\n" for each in found))
    assert records.gather(paths) == [[one], [other, record(3.0, examples=None)]]


def test_a_later_version_is_told(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"version": 99, "script": "train", "images_per_second": 1}\n')
    with pytest.raises(UsageError, match=r"line 1, is of version 99; this reads up to 3"):
        records.read(str(path))


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


def test_the_device_is_described_in_a_few_words():
    environment = {"device": "CPU", "cpu_cores": 2, "cpu": "Abacus 9"}
    told = {"backend": "jax", "dtype_policy": "float32", "environment": environment}
    assert records.describe(told) == "jax on 2 cores of Abacus 9, float32"
    told["environment"] = {**environment, "device": "Big GPU"}
    assert records.describe(told) == "jax on Big GPU, float32"
