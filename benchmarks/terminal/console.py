"""Output for a person: lines, a progress bar, tables."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

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


def say(text: str) -> None:
    """Prints a line."""
    console.print(text)


def note(text: str) -> None:
    """Tells beside the output what is not an error."""
    print(f"note: {text}", file=sys.stderr)


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
