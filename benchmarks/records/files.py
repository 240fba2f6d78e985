"""Records: one JSON object a line that tells what was run, on what, and what came out."""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.records import schema
from benchmarks.terminal.console import note
from benchmarks.terminal.errors import UsageError

VERSION = 3


def check_writable(path: str, flag: str = "out") -> None:
    """Raises a `UsageError` now if the file that a flag names can't be written later."""
    target, folder = Path(path), Path(path).resolve().parent
    if not os.path.isdir(folder):
        raise UsageError(f"--{flag}={path}: there is no folder {folder}")
    try:
        target.stat()
    except FileNotFoundError:
        target = folder
    except OSError as error:
        raise UsageError(f"--{flag}={path} can't be written: {error.strerror}") from None
    if Path(path).is_dir() or not os.access(target, os.W_OK):
        raise UsageError(f"--{flag}={path} can't be written")


def append(path: str, record: Mapping[str, Any]) -> None:
    """Appends a record as one line, whole or not at all."""
    line = (json.dumps(record, allow_nan=False) + "\n").encode()
    # One write to a file opened for appending: a killed process leaves none or all of a line.
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed; another process may write too
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # what something else left half written spoils no line but its own
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, size)
                raise UsageError(f"--out={path}: the disk is full")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f"--out={path} can't be written: {error.strerror}") from None


def read(path: str) -> list[dict[str, Any]]:
    """The records of a JSON Lines file; a last line that is being written, or never was to its end, is left out.

    Raises:
        UsageError: there is no such file, or a line is no record; it is named.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            if number == len(lines) and not text.endswith("\n"):
                note(f"{path}, line {number}, is written by half and left out")
                break
            record = None
        if not isinstance(record, dict) or "script" not in record:
            raise UsageError(f"{path}, line {number}, is no record of these scripts")
        version = record.get("version") or 1
        if not isinstance(version, int) or version > VERSION:
            raise UsageError(f"{path}, line {number}, is of version {version}; this reads up to {VERSION}")
        found.append(record)
    return found


def gather(paths: Iterable[str]) -> list[list[dict[str, Any]]]:
    """The records of each file, checked; one that several lines hold, of one file or of several, is the first's alone.

    Raises:
        UsageError: a file can't be read, or a line lacks what is read of it.
    """
    seen, found = set(), []
    for path in paths:
        found.append(mine := [])
        for number, record in enumerate(read(path), 1):
            for field, value in schema.UNTOLD.items():
                record.setdefault(field, value)
            try:
                schema.check(record)
            except ValueError as error:
                raise UsageError(f"{path}, line {number}, lacks a field or has it in another form: {error}") from None
            text = json.dumps(record, sort_keys=True)
            if text not in seen:
                seen.add(text)
                mine.append(record)
    return found


def describe(record: Mapping[str, Any]) -> str:
    """Backend and device in a few words."""
    environment = record["environment"]
    where = environment["device"]
    if where == "CPU":
        where = f"{environment['cpu_cores']} cores of {environment['cpu']}"
    return f"{record['backend']} on {where}, {record['dtype_policy']}"
