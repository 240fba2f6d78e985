"""`python -m architectures [PATTERN]` prints the table of all architectures, or of those whose names match."""

import sys

from rich.console import Console
from rich.table import Table

from architectures import family, names, variant
from architectures.registry import closest

USAGE = "usage: python -m architectures [PATTERN]"


def main(arguments: list[str]) -> int:
    """Prints the table; returns 1 if nothing matches."""
    if arguments in (["-h"], ["--help"]):
        print(f"{USAGE}: prints all architectures, or those whose names match a pattern such as 'resnet*'")
        return 0
    pattern = arguments[0] if arguments else "*"
    found = names(pattern)
    if not found or len(arguments) > 1:
        hint = closest(pattern.lower())
        message = f"{USAGE}; no architecture matches {' '.join(arguments)!r}"
        print(f"{message} ({hint})" if hint else message, file=sys.stderr)
        return 1
    table = Table(title=f"{len(found)} architectures")
    for heading in ("architecture", "family", "input"):
        table.add_column(heading, no_wrap=True)
    for heading in ("classes", "parameters", "multiply-adds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("source")
    for name in found:
        row = variant(name)
        shape = ", ".join("×".join(map(str, shape)) for shape in row.input_shapes)
        source = f"{row.source}; {row.departures}" if row.departures else row.source
        table.add_row(name, family(name), shape, f"{row.classes:,}", f"{row.params:,}", f"{row.macs:,}", source)
    # Without a terminal there is no width to fit, so each source stays on one line.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
