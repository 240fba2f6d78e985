"""Records: their lines are whole, their fields are those of the table, and their files are checked."""

import json
import os
import socket

import numpy as np
import pytest

from benchmarks import records
from benchmarks.records import document, schema
from benchmarks.terminal.errors import UsageError
from tests.support.process import ROOT, start
from tests.support.records import compared, failed, record, trained

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


def test_an_incomplete_last_line_is_skipped(tmp_path, capsys):
    path = tmp_path / "runs.jsonl"
    line = json.dumps(record())
    path.write_text(f"{line}\n{line[:50]}")
    assert records.read(str(path)) == [record()]
    assert capsys.readouterr().err == f"note: {path}, line 2, is incomplete or not JSON; it is skipped\n"
    path.write_text(f"{line}\n{line}")
    assert records.read(str(path)) == [record()] * 2


BROKEN = [b'{"version": 3, "scr', b"\0" * 50, b'{"script": "train", "arch": "\xff\xfe"}', b"[" * 100_000, b"not JSON"]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda line: str(line[:12]))
def test_a_broken_line_anywhere_costs_itself_alone(tmp_path, capsys, broken):
    path = tmp_path / "runs.jsonl"
    found = [record(float(rate)) for rate in range(1, 4)]
    good = [json.dumps(each).encode() for each in found]
    for place in range(4):
        path.write_bytes(b"\n".join([*good[:place], broken, *good[place:]]) + b"\n")
        assert records.gather([str(path)]) == [found]
        message = f"note: {path}, line {place + 1}, is incomplete or not JSON; it is skipped\n"
        assert capsys.readouterr().err == message
    # What is appended behind it is a line of its own.
    path.write_bytes(good[0] + b"\n" + broken)
    records.append(str(path), found[1])
    assert records.gather([str(path)]) == [found[:2]]


def test_lines_are_numbered_as_in_the_file(tmp_path, capsys):
    path = tmp_path / "runs.jsonl"
    path.write_text(f"\n{json.dumps(record())}\n{{\n\n{json.dumps(record() | {'arch': 3})}\n")
    with pytest.raises(UsageError, match=r"runs\.jsonl, line 5, .*'arch' is 3"):
        records.gather([str(path)])
    assert "line 3, is incomplete" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# A document\n\nof text\n", "runs.jsonl holds no record of these scripts"),
        ('{"version": 3, "scr', "runs.jsonl holds no record of these scripts"),
        (json.dumps(record()) + '\n{"a": 1}\n', "runs.jsonl, line 2, is no record of these scripts"),
        ("[1, 2]\n", "runs.jsonl, line 1, is no record of these scripts"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, message):
    path = tmp_path / "runs.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        records.read(str(path))


def test_a_file_without_a_line_has_no_records(tmp_path):
    (tmp_path / "runs.jsonl").write_text("\n\n")
    assert records.read(str(tmp_path / "runs.jsonl")) == []


def test_equal_records_count_once_and_old_ones_get_defaults(tmp_path):
    one, other, old = record(1.0), record(2.0), record(3.0)
    for field in ("status", "mode", "peer", "examples"):
        del old[field]
    paths = [str(tmp_path / name) for name in "ab"]
    for path, found in zip(paths, ([one, one], [other, one, old, other]), strict=True):
        (tmp_path / path).write_text("".join(json.dumps(each) + "\n" for each in found))
    assert records.gather(paths) == [[one], [other, record(3.0, examples=None)]]


def test_a_later_version_is_refused(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"version": 99, "script": "train", "images_per_second": 1}\n')
    with pytest.raises(UsageError, match=r"line 1, is of version 99; this reads up to 3"):
        records.read(str(path))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32(1), {1, 2}, object()])
@pytest.mark.parametrize("existed", [False, True])
def test_values_that_json_lacks_are_refused_before_writing(tmp_path, value, existed):
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
def test_a_full_disk_is_reported():
    with pytest.raises(UsageError, match=r"--out=/dev/full.*[Nn]o space"):
        records.append("/dev/full", {"new": 1})


def test_a_folder_that_was_removed_is_reported(tmp_path):
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
    ("name", "message"),
    [("", "can't be written"), ("missing/runs.jsonl", "there is no folder"), ("file/x", "no folder")],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=message) as caught:
        records.check_writable(str(tmp_path / name))
    assert str(tmp_path) in str(caught.value)


def test_pipes_and_devices_that_accept_writes_are_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    records.check_writable(str(tmp_path / "pipe"))
    records.check_writable(os.devnull)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_device_is_refused_before_the_run():
    with pytest.raises(UsageError, match=r"--save=/dev/full can't be written: [Nn]o space"):
        records.check_writable("/dev/full", "save")


def test_a_socket_is_not_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        with pytest.raises(UsageError, match="--out=socket can't be written: it is not a file"):
            records.check_writable("socket")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the system has no /proc")
def test_a_folder_that_holds_no_files_is_refused():
    with pytest.raises(UsageError, match=r"--out=/proc/runs\.jsonl can't be written"):
        records.check_writable("/proc/runs.jsonl")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_written_is_refused(tmp_path, monkeypatch, kind):
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
    made = {"backend": "jax", "dtype_policy": "float32", "environment": environment}
    assert records.describe(made) == "jax on 2 cores of Abacus 9, float32"
    made["environment"] = {**environment, "device": "Big GPU"}
    assert records.describe(made) == "jax on Big GPU, float32"


def test_the_document_is_written_from_the_table():
    text = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    assert text == document.markdown(), "python -m benchmarks.records.document > docs/records.md"
    assert "| `jit` | whether each step is compiled as a whole | configuration |" in text


@pytest.mark.parametrize("script", schema.SCRIPTS)
def test_a_field_has_one_row_a_script(script):
    names = [field.name for table in schema.TABLES for field in table if script in field.scripts]
    assert len(set(names)) == len(names) == len(schema.fields(script))


@pytest.mark.parametrize("made", [record(), trained(), compared(), failed()], ids=["run", "train", "versus", "failed"])
def test_fields_are_needed_where_the_table_says(made):
    schema.check(made)
    status, script = made.get("status", "ok"), made["script"]
    for name, field in schema.fields(script).items():
        lacking = {key: value for key, value in made.items() if key != name}
        is_needed = field.needed is schema.ALWAYS or (field.needed is schema.IF_OK and status == "ok")
        # Blocks and intervals are fields that go together.
        if is_needed or (name in made and name in ("ratio_low", "ratio_high")):
            with pytest.raises((ValueError, KeyError), match=name):
                schema.check(lacking)
        elif name != "script":
            schema.check(lacking)
        with pytest.raises(ValueError, match=name):
            schema.check({**made, name: object()})
