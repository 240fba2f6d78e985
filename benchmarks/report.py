"""Writes the table of results from records.

python -m benchmarks.report                    # prints the table of benchmarks/results/
python -m benchmarks.report --into=README.md   # puts it between the two result marks of a document
python -m benchmarks.report runs.jsonl more.jsonl
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import console, records
from benchmarks.console import UsageError

FLAGS = flags.FLAGS
flags.DEFINE_string("into", None, "A document; the text between its two result marks is replaced by the table.")

RESULTS = Path(__file__).parent / "results"
MARKS = ("<!-- results -->", "<!-- end of results -->")
HEADINGS = ("work", "data", "batch", "how", "images/s", "step, ms", "test score", "trained for", "device")


def main(paths: Sequence[str]) -> None:
    """Prints the table, or puts it into a document."""
    found = [record for path in paths or sorted(map(str, RESULTS.glob("*.jsonl"))) for record in records.read(path)]
    if not found:
        raise UsageError(f"there are no records in {', '.join(paths) or RESULTS}")
    table = markdown(found)
    if FLAGS.into is None:
        print(table)
        return
    document = Path(FLAGS.into)
    text = document.read_text() if document.is_file() else ""
    if any(text.count(mark) != 1 for mark in MARKS):
        raise UsageError(f"--into={document} must be a document with the marks {MARKS[0]} and {MARKS[1]}, once each")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    document.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}")


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """A Markdown table, a row for each record that has figures."""
    complete = [record for record in found if record.get("status", "ok") == "ok"]
    rows = [HEADINGS, ("---", "---", "---:", "---", "---:", "---:", "---:", "---:", "---"), *map(row, complete)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(record: dict[str, Any]) -> tuple[str, ...]:
    """One record's cells."""
    environment = record["environment"]
    version = environment["versions"].get(record["backend"], "")
    where = environment["device"]
    if where == "CPU":
        where = f"{environment['cpu_cores']} cores, {environment['cpu']}"
    score = next((value for key, value in record.items() if key.startswith("test_")), None)
    step = record.get("step_ms_p50")
    trained = f"{record['epochs']} epoch{'s' * (record['epochs'] > 1)}" if "epochs" in record else ""
    return (
        f"`{record['arch']}`",
        record["dataset"],
        str(record["batch_size"]),
        f"{record['backend']} {version}, {record['input']}, {record['dtype_policy']}{', XLA' if record['jit'] else ''}",
        f"{record['images_per_second']:,.0f}",
        "" if step is None else f"{step:.3g}",
        "" if score is None else f"{100 * score:.2f} %",
        f"{trained}, {record['train_seconds']:.0f} s" if trained else "",
        where,
    )


if __name__ == "__main__":
    console.launch(main, positional=True)
