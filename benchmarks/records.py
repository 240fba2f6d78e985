"""Records: one JSON object a line that tells what was run, on what, and what came out."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.console import UsageError

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
    """The records of a JSON Lines file.

    Raises:
        UsageError: there is no such file, or a line is no record; it is named.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            # A run that failed has no figures.
            record["script"], record.get("status", "ok") != "ok" or record["images_per_second"]
            if (record.get("version") or 1) > VERSION:
                raise UsageError(
                    f"{path}, line {number}, is of version {record['version']}; this reads up to {VERSION}"
                )
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UsageError(f"{path}, line {number}, is no record of these scripts") from None
        found.append(record)
    return found


def describe(record: Mapping[str, Any]) -> str:
    """Backend and device in a few words."""
    environment = record["environment"]
    where = environment["device"]
    if where == "CPU":
        where = f"{environment['cpu_cores']} cores of {environment['cpu']}"
    return f"{record['backend']} on {where}, {record['dtype_policy']}"
