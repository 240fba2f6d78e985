"""Writes docs/records.md, the list of a record's fields, from their table.

python -m benchmarks.records.document > docs/records.md
"""

import textwrap
from collections.abc import Iterable

from benchmarks.records import schema
from benchmarks.records.schema import Field

DOCUMENT = """# Records

`--out=FILE.jsonl` appends one JSON object per line: a run, with everything that its numbers depend on. A line is
appended whole or not at all. Readers skip a line that is not JSON, with a warning that names it, and count equal lines
once. Names are full words with their units; a value that could not be measured is `null`. `version` is now {version}: a
field is never renamed or given another meaning without a new version, and new fields may be added to one.

The column *identity* marks the fields that identify a run. `compare` pairs runs of the same *configuration* on the same
*device*; `report` makes one row of runs that have the same *software* and *training* too.

This page is written from `benchmarks/records/schema.py`: `python -m benchmarks.records.document > docs/records.md`.

## Every record

{every}

## Training (`benchmarks.train`)

{trained}

## Throughput (`benchmarks.throughput`)

{timed}

## A comparison (`benchmarks.versus`)

{shared}

{compared}

## `environment`

{environment}
"""


def markdown() -> str:
    """The text of docs/records.md."""
    shared = [f"`{field.name}`" for field in schema.EVERY if "versus" in field.scripts]
    words = (
        "It follows the records of the runs that it compares. Of the fields of every record it has "
        f"{', '.join(shared[:-1])} and {shared[-1]}."
    )
    return DOCUMENT.format(
        version=schema.VERSION,
        every=table(schema.EVERY),
        trained=table(schema.TRAINED),
        timed=table(schema.TIMED),
        compared=table(schema.COMPARED),
        environment=table(schema.ENVIRONMENT),
        shared=textwrap.fill(words, 120, break_on_hyphens=False),
    )


def table(fields: Iterable[Field]) -> str:
    """A table of fields; its last column is there if one of them identifies a run."""
    rows = [[f"`{field.name}`", field.meaning, field.identity.value if field.identity else ""] for field in fields]
    columns = 3 if any(row[2] for row in rows) else 2
    lines = [["field", "meaning", "identity"], ["---"] * 3, *rows]
    return "\n".join(f"| {' | '.join(line[:columns])} |" for line in lines)


if __name__ == "__main__":
    print(markdown(), end="")
