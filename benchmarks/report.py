"""Writes tables of records, or a report with plots.

    python -m benchmarks.report                    # prints the tables of benchmarks/results/
    python -m benchmarks.report --into=README.md   # puts them between the two result marks of a document
    python -m benchmarks.report --out=report       # writes report/report.html, one page, and report/report.md
    python -m benchmarks.report runs.jsonl more.jsonl

Runs of the same configuration, software and training (docs/records.md) are one row. What must not be compared is in
tables and plots of its own: other devices, training and inference, real and synthetic images.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from benchmarks import records
from benchmarks.reporting import document, output, page, summary
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError
from benchmarks.terminal.launch import launch

FLAGS = flags.FLAGS
flags.DEFINE_string("into", None, "A document; the text between its two result marks is replaced by the tables.")
flags.DEFINE_string("out", None, "A folder for report.html, one page, and for report.md with its pictures.")

RESULTS = Path(__file__).parent / "results"
PAGES = ("report.md", "report.html")


def main(paths: Sequence[str]) -> None:
    """Prints the tables, puts them into a document, or writes the report."""
    into, out = FLAGS.into, FLAGS.out
    if into is not None:
        output.check_document(Path(into))
    if out is not None:
        output.check_folder(Path(out), PAGES, f"--out={out}")
    files = paths or sorted(map(str, RESULTS.glob("*.jsonl")))
    found = list(itertools.chain(*records.gather(files)))
    sections, comparisons = summary.sections(found), summary.comparisons(found)
    if not sections and not comparisons:
        raise UsageError(f"there are no records in {', '.join(paths) or RESULTS}")
    if into is None and out is None:
        console.say(page.markdown(document.tables(sections, comparisons)))
    if into is not None:
        output.insert(Path(into), page.markdown(document.tables(sections, comparisons)))
    if out is not None:
        blocks = list(document.report(sections, comparisons))
        pictures = {block.file: block.svg for block in blocks if isinstance(block, page.Picture)}
        texts = dict(zip(PAGES, (page.markdown(blocks) + "\n", page.html("Benchmarks", blocks)), strict=True))
        output.write(Path(out), pictures | texts, f"--out={out}")
        console.say(f"wrote {Path(out, 'report.html')} and, with its pictures, report.md")


if __name__ == "__main__":
    launch(main, positional=True)
