"""A comparison of two files, as it is printed."""

import statistics
from collections.abc import Mapping, Sequence

from rich.table import Table

from benchmarks.records.identity import FIELDS
from benchmarks.reporting.significance import Key, Row, Side, too_many, verdict, words
from benchmarks.terminal import console

Sides = Mapping[Key, Side]


def show(paths: Sequence[str], a: Sides, b: Sides, rows: Sequence[Row]) -> None:
    """Prints what the files share, the table of the rows, and the configurations of one file alone."""
    names = varying(a, b)
    first = next(iter(a.values())).configuration
    shared = [f"{field} {words(field, [first[field]])[0]}" for field in FIELDS if field not in names]
    shared = [text for text in shared if not text.endswith(" none")]
    for letter, path, groups in zip("AB", paths, (a, b), strict=True):
        console.say(f"{letter} is {path}, {count(sum(len(side.rates) for side in groups.values()), 'run')}")
    console.say(f"the same everywhere: {', '.join(shared)}")
    console.console.print(table(rows, names))
    for letter, mine, others in (("A", a, b), ("B", b, a)):
        for key, side in mine.items():
            if key not in others:
                console.say(
                    f"unmatched, in {letter} alone: {name(side, side, names)} ({count(len(side.rates), 'run')})"
                )
    hint = too_many(rows)
    if hint:
        console.say(hint)


def show_failed(rows: Sequence[Row], floor: float, a: Sides, b: Sides) -> None:
    """Prints the rows below the floor in one line."""
    names = varying(a, b)
    message = "; ".join(f"{name(row.a, row.b, names)} ({row.ratio:.3f})" for row in rows)
    console.say(f"failed, below --fail_below={floor:g}: {message}")


Names = Mapping[str, Mapping[object, str]]
"""For each field that varies, a text for each of its values."""


def varying(a: Sides, b: Sides) -> Names:
    """The architecture, and the fields that are not the same in all configurations of both files."""
    every = [side.configuration for side in (*a.values(), *b.values())]
    values = {field: list(dict.fromkeys(each[field] for each in every)) for field in FIELDS}
    return {
        field: dict(zip(different, words(field, different), strict=True))
        for field, different in values.items()
        if field == "arch" or len(different) > 1
    }


def table(rows: Sequence[Row], names: Names) -> Table:
    """The table of the rows, each named by the fields that vary."""
    grid = Table()
    grid.add_column("configuration", overflow="fold")
    for heading in ("runs", "A, images/s", "B, images/s", "B/A", "95 % interval"):
        grid.add_column(heading, justify="right", overflow="fold")
    grid.add_column("difference", overflow="fold")
    for row in rows:
        low, high = row.interval
        grid.add_row(
            name(row.a, row.b, names),
            f"{len(row.a.rates)}, {len(row.b.rates)}",
            f"{statistics.median(row.a.rates):,.0f}",
            f"{statistics.median(row.b.rates):,.0f}",
            f"{row.ratio:.3f}",
            "" if low is None else f"{low:.3f} to {high:.3f}",
            verdict(row),
        )
    return grid


def name(a: Side, b: Side, names: Names) -> str:
    """Two sides by the fields that vary; the architecture without its field's name."""
    parts = []
    for field, texts in names.items():
        both = dict.fromkeys(texts[side.configuration[field]] for side in (a, b))
        if list(both) != ["none"]:
            parts.append(f"{'' if field == 'arch' else f'{field} '}{' / '.join(both)}")
    return ", ".join(parts)


def count(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {what}{'s' * (number != 1)}"
