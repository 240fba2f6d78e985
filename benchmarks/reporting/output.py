"""Where a report is written: into a document, or a folder of files; whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks import records
from benchmarks.terminal.errors import UsageError

MARKS = ("<!-- results -->", "<!-- end of results -->")


def check_document(document: Path) -> None:
    """Raises a `UsageError` if text can't be put between the marks of a document."""
    parts(document)
    records.check_writable(str(document), "into")
    check_folder(document.resolve().parent, (), f"--into={document}")


def insert(document: Path, text: str) -> None:
    """Puts text between the marks of a document."""
    head, rest = parts(document)
    target = document.resolve()  # keeps a link
    write(target.parent, {target.name: f"{head}{MARKS[0]}\n{text}\n{MARKS[1]}{rest}"}, f"--into={document}")


def parts(document: Path) -> tuple[str, str]:
    """What is before the first mark of a document, and what is behind the second."""
    try:
        text = document.read_text(encoding="utf-8") if os.path.isfile(document) else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--into={document} can't be read: {error}") from None
    head, first, rest = text.partition(MARKS[0])
    _, second, tail = rest.partition(MARKS[1])
    if not (first and second) or any(text.count(mark) != 1 for mark in MARKS):
        raise UsageError(f"--into={document} must be a document with the marks {MARKS[0]} and {MARKS[1]}, once each")
    return head, tail


def check_folder(folder: Path, names: Iterable[str], flag: str) -> None:
    """Raises a `UsageError` if files can't be written to a folder, which need not exist yet; nothing is changed."""
    existing = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not existing.is_dir():
        reason = "File exists" if existing == folder else "Not a directory"
        raise UsageError(f"{flag} can't be written: {reason}")
    for name in names:
        if (folder / name).is_dir():
            raise UsageError(f"{flag} can't be written: {name} is a folder")
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise UsageError(f"{flag} can't be written: {error.strerror}") from None


def write(folder: Path, files: Mapping[str, str], flag: str) -> None:
    """Writes the files of a folder, all or none; `flag` is the one that names the folder."""
    partial = {folder / f".{os.getpid()}.{number}.partial": text for number, text in enumerate(files.values())}
    check_folder(folder, files, flag)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in partial.items():
            path.write_text(text, encoding="utf-8")
        for name, path in zip(files, partial, strict=True):
            path.replace(folder / name)
    except OSError as error:
        with contextlib.suppress(OSError):
            for path in partial:
                path.unlink(missing_ok=True)
        raise UsageError(f"{flag} can't be written: {error.strerror}") from None
