"""Files of records: one JSON object per line, appended whole or not at all."""

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.records import schema
from benchmarks.terminal.console import note
from benchmarks.terminal.errors import UsageError


def check_writable(path: str, flag: str = "out") -> None:
    """Raises a `UsageError` now if the file that a flag names can't be written later; nothing is changed.

    A file may be a regular file, a pipe, or a character device that accepts an empty write, as /dev/stdout on a
    terminal and /dev/null do and /dev/full does not.
    """
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise UsageError(f"--{flag}={path}: there is no folder {folder}")
    mode: int | None = None
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"--{flag}={path} can't be written: {error.strerror}") from None
    is_device = mode is not None and stat.S_ISCHR(mode)
    if mode is not None and not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or is_device):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a file"
        raise UsageError(f"--{flag}={path} can't be written: it is {kind}")
    if not os.access(folder if mode is None else path, os.W_OK):
        raise UsageError(f"--{flag}={path} can't be written: no permission")
    try:
        if mode is None:
            tempfile.TemporaryFile(dir=folder).close()  # not the file itself, which another process may be making
        elif is_device:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY)
            try:
                os.write(descriptor, b"")
            finally:
                os.close(descriptor)
    except OSError as error:
        raise UsageError(f"--{flag}={path} can't be written: {error.strerror}") from None


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
                line = b"\n" + line  # an incomplete line stays a line of its own
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, size)
                raise UsageError(f"--out={path}: the disk is full")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f"--out={path} can't be written: {error.strerror}") from None


def read(path: str) -> list[dict[str, Any]]:
    """The records of a JSON Lines file; lines that are not JSON, for example incomplete ones, are skipped with a note.

    Raises:
        UsageError: there is no such file; a line is JSON but no record, or of a later version; or no line is a record.
    """
    return [record for _, record in _numbered(path)]


def gather(paths: Iterable[str]) -> list[list[dict[str, Any]]]:
    """The records of each file, checked; of equal records, in one file or several, only the first is kept.

    Raises:
        UsageError: a file can't be read, or a record lacks a field or has it in another form.
    """
    seen, found = set(), []
    for path in paths:
        mine: list[dict[str, Any]] = []
        found.append(mine)
        for number, record in _numbered(path):
            schema.complete(record)
            try:
                schema.check(record)
            except ValueError as error:
                raise UsageError(f"{path}, line {number}, lacks a field or has it in another form: {error}") from None
            text = json.dumps(record, sort_keys=True)
            if text not in seen:
                seen.add(text)
                mine.append(record)
    return found


def _numbered(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a file, each with the number of its line."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    skipped = found = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            note(f"{path}, line {number}, is incomplete or not JSON; it is skipped")
            skipped += 1
            continue
        if not isinstance(record, dict) or "script" not in record:
            raise UsageError(f"{path}, line {number}, is no record of these scripts")
        version = record.get("version") or 1
        if not isinstance(version, int) or version > schema.VERSION:
            raise UsageError(f"{path}, line {number}, is of version {version}; this reads up to {schema.VERSION}")
        found += 1
        yield number, record
    if skipped and not found:
        raise UsageError(f"{path} holds no record of these scripts")


def describe(record: Mapping[str, Any]) -> str:
    """Backend, device and dtype policy in a few words."""
    environment = record["environment"]
    where = environment["device"]
    if where == "CPU":
        where = f"{environment['cpu_cores']} cores of {environment['cpu']}"
    return f"{record['backend']} on {where}, {record['dtype_policy']}"
