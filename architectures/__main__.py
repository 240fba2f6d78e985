"""Prints the table of all architectures, or of some.

python -m architectures
python -m architectures "resnet*"
python -m architectures --input_shape=32,32,3 --sort=params
python -m architectures "*_cifar" --json
"""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from architectures import facts, family, names, variant
from architectures.registry import closest

# What rows are sorted by; rows without a value come last.
KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda row: row["name"],
    "params": lambda row: row["params"],
    "macs": lambda row: row["macs"],
    "layers": lambda row: (row["layers"] is None, row["layers"] or 0),
    "smallest": lambda row: (row["smallest"] is None, row["smallest"] or 0),
    "error": lambda row: (not row["errors"], next(iter(row["errors"].values()), 0.0)),
}

USAGE = "python -m architectures [PATTERN] [--input_shape=HEIGHT,WIDTH,CHANNELS] [--sort=KEY] [--json]"


class Parser(argparse.ArgumentParser):
    """Says in one line what it does not understand."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.format_usage().strip()}; {message}\n")


def main(arguments: list[str]) -> int:
    """Prints the table; returns 1 if nothing matches."""
    parser = Parser(usage=USAGE, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="a shell pattern of names")
    parser.add_argument(
        "--input_shape", type=_shape, metavar="HEIGHT,WIDTH,CHANNELS", help="only networks for images of this shape"
    )
    parser.add_argument(
        "--sort", choices=KEYS, metavar="KEY", help=f"{', '.join(KEYS)}, in rising order; by default family by family"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list in place of a table")
    given = parser.parse_args(arguments)
    rows = [describe(name) for name in names(given.pattern)]
    if not rows:
        hint = closest(given.pattern.lower())
        parser.error(f"no architecture matches {given.pattern!r}" + (f" ({hint})" if hint else ""))
    if given.input_shape is not None:
        shapes = sorted({tuple(row["input_shapes"][0]) for row in rows})
        rows = [row for row in rows if row["input_shapes"][0] == given.input_shape]
        if not rows:
            text = ", ".join(",".join(map(str, shape)) for shape in shapes)
            parser.error(f"--input_shape must be that of a network, one of {text}; got {given.input_shape}")
    if given.sort is not None:
        rows.sort(key=KEYS[given.sort])
    if given.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        # Without a terminal there is no width to fit, so each source stays on one line.
        Console(width=None if sys.stdout.isatty() else 1000).print(table(rows))
    return 0


def describe(name: str) -> dict[str, Any]:
    """All that is known of an architecture."""
    row = variant(name)
    return {
        "name": name,
        "family": family(name),
        "input_shapes": [list(shape) for shape in row.input_shapes],
        "classes": row.classes,
        "params": row.params,
        "macs": row.macs,
        **facts.read().get(name, {"layers": None, "smallest": None}),
        "errors": dict(row.errors),
        "source": row.source,
        "departures": row.departures,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """A line for each row."""
    made = Table(title=f"{len(rows)} architectures")
    for heading in ("architecture", "family", "input"):
        made.add_column(heading, no_wrap=True)
    for heading in ("classes", "parameters", "multiply-adds", "layers", "smallest input", "published error"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("source")
    for row in rows:
        smallest = row["smallest"]
        made.add_row(
            row["name"],
            row["family"],
            ", ".join("×".join(map(str, shape)) for shape in row["input_shapes"]),
            *("" if row[key] is None else f"{row[key]:,}" for key in ("classes", "params", "macs", "layers")),
            "" if smallest is None else f"{smallest}×{smallest}",
            ", ".join(f"{data} {error:g} %" for data, error in row["errors"].items()),
            "; ".join(filter(None, (row["source"], row["departures"]))),
        )
    return made


def _shape(text: str) -> list[int]:
    sizes = text.replace("x", ",").split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"it must be positive integers, as 32,32,3; got {text!r}")
    return [int(size) for size in sizes]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
