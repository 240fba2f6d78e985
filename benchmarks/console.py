"""What a person sees: one sentence where something is wrong, a progress bar on the way, a table at the end."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from absl import app, flags, logging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


class Terminal(Console):
    """A console whose reader may leave, as `head` does: what is left to say is dropped, and the work goes on."""

    def on_broken_pipe(self) -> None:
        """Sends the rest to nowhere."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


# Brackets, as those of an override, and colons are text here.
console = Terminal(highlight=False, soft_wrap=True, markup=False, emoji=False)


class UsageError(Exception):
    """Something that the person at the keyboard can put right; its text is one sentence that says how."""


def launch(main: Callable[..., None], *, positional: bool = False) -> None:
    """Parses the flags and runs `main`, with the positional arguments where it takes such.

    A `UsageError` becomes one line and exit status 1. SIGTERM ends the script as an exception does, so that what it has
    started ends with it.
    """

    def terminate(number: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + number)

    def guarded(arguments: list[str]) -> int:
        try:
            if not flags.FLAGS["verbosity"].present:
                logging.set_verbosity(logging.WARNING)
            if positional:
                main(arguments[1:])
            elif len(arguments) > 1:
                raise UsageError(f"unexpected argument {arguments[1]!r}: options are written --name=value")
            else:
                main()
        except UsageError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        return 0

    signal.signal(signal.SIGTERM, terminate)
    app.run(guarded, flags_parser=_parse)


def _parse(arguments: list[str]) -> list[str]:
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(f"error: {error}")
    except (SystemExit, BrokenPipeError):  # of --help, which absl ends with status 1 and whose reader may leave
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            console.on_broken_pipe()
        sys.exit(0)


def say(text: str) -> None:
    """Prints a line."""
    console.print(text)


def note(text: str) -> None:
    """Tells beside the output what is not an error."""
    print(f"note: {text}", file=sys.stderr)


def do_each(*actions: Callable[[], None]) -> None:
    """Does each, whichever fails; then raises a `UsageError` of all that did."""
    failed = []
    for action in actions:
        try:
            action()
        except UsageError as error:
            failed.append(str(error))
    if failed:
        raise UsageError("; ".join(failed))


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A progress bar over `total` steps; yields `advance(steps, note)`."""
    columns = (
        TextColumn("{task.description}", markup=False),  # a column's own markup is not the console's
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(steps: int, note: str) -> None:
            bar.update(task, advance=steps, note=note)

        yield advance


def table(title: str, rows: Mapping[str, Any]) -> None:
    """Prints a table of two columns: what, and its value."""
    grid = Table(title=title, title_justify="left", show_header=False)
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", overflow="fold")
    for row in rows.items():
        grid.add_row(*map(str, row))
    console.print(grid)
