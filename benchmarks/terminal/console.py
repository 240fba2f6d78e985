"""Output for a person: lines, a progress bar, tables."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


class Terminal(Console):
    """A console whose output may be a pipe that is closed early, as by `head`; further output is dropped then."""

    def on_broken_pipe(self) -> None:
        """Sends further output to the null device."""
        self.quiet = True
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


# Without markup and emoji, brackets and colons, as in an override, are plain text.
console = Terminal(highlight=False, soft_wrap=True, markup=False, emoji=False)


def say(text: str) -> None:
    """Prints a line."""
    console.print(text)


def note(text: str) -> None:
    """Prints a line to standard error that is not an error."""
    print(f"note: {text}", file=sys.stderr)


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A progress bar over `total` steps; yields `advance(steps, note)`."""
    columns = (
        TextColumn("{task.description}", markup=False),  # columns do not use the console's setting
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
    """Prints a table of two columns: names and values."""
    grid = Table(title=title, title_justify="left", show_header=False)
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", overflow="fold")
    for row in rows.items():
        grid.add_row(*map(str, row))
    console.print(grid)


def grid(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table with headings; all columns but the first are numbers."""
    made = Table(title=title, title_justify="left")
    for i, heading in enumerate(headings):
        made.add_column(heading, justify="right" if i else "left", overflow="fold", no_wrap=not i)
    for row in rows:
        made.add_row(*row)
    console.print(made)
