"""`python -m architectures [PATTERN]` prints the table of all architectures, or of those that match."""

import sys

from rich.console import Console
from rich.table import Table

from architectures import family, names, variant
from architectures.registry import closest

USAGE = "usage: python -m architectures [PATTERN]"


def main(arguments: list[str]) -> int:
    """Prints the table; 1 if nothing matches."""
    if arguments in (["-h"], ["--help"]):
        print(f"{USAGE}: prints the table of all architectures, or of those that match a shell pattern, as 'resnet*'")
        return 0
    pattern = arguments[0] if arguments else "*"
    found = names(pattern)
    if not found or len(arguments) > 1:
        hint = closest(pattern.lower())
        told = f"{USAGE}; no architecture matches {' '.join(arguments)!r}"
        print(f"{told} ({hint})" if hint else told, file=sys.stderr)
        return 1
    table = Table(title=f"{len(found)} architectures")
    for heading in ("architecture", "family", "input", "source"):
        table.add_column(heading, no_wrap=heading != "source")
    for heading in ("classes", "parameters", "multiply-adds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.columns.append(table.columns.pop(3))
    for name in found:
        row = variant(name)
        told = f"{row.source}; {row.departures}" if row.departures else row.source
        shape = ", ".join("×".join(map(str, shape)) for shape in row.input_shapes)
        table.add_row(name, family(name), shape, f"{row.classes:,}", f"{row.params:,}", f"{row.macs:,}", told)
    # A pipe has no width of its own; sources then stand on one line each.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
