"""Writes what records say: tables, and a report with plots.

    python -m benchmarks.report                    # prints the tables of benchmarks/results/
    python -m benchmarks.report --into=README.md   # puts them between the two result marks of a document
    python -m benchmarks.report --out=report       # writes report/report.html, one page, and report/report.md
    python -m benchmarks.report runs.jsonl more.jsonl

Runs of one configuration are one row. What must not be compared stands in tables and plots of its own: another device,
training and inference, real and made-up images.
"""

import contextlib
import itertools
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import records
from benchmarks.cli.launch import launch
from benchmarks.measure import stats
from benchmarks.reporting import page, plots, summary
from benchmarks.reporting.summary import Record, Row, Section, rounded
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError

FLAGS = flags.FLAGS
flags.DEFINE_string("into", None, "A document; the text between its two result marks is replaced by the tables.")
flags.DEFINE_string("out", None, "A folder for report.html, which holds its pictures, and report.md with its own.")

RESULTS = Path(__file__).parent / "results"
MARKS = ("<!-- results -->", "<!-- end of results -->")
FACTS = {
    "devices": "device_count",
    "driver": "driver",
    "CUDA": "cuda",
    "processor": "cpu",
    "cores": "cpu_cores",
    "platform": "platform",
    "Python": "python",
}
HOW_TO_READ = (
    "A row is a configuration. Its rate is all images over all seconds, the median where it ran several times, each "
    "time in a process of its own. The interval is that of 95 %: of a single run Student's over its blocks, of "
    f"{summary.RUNS} runs and more a bootstrap of their median, which of so few holds it in about 90 of 100 cases; of "
    "fewer runs the range is given. A step's time is the median and, in brackets, the 5th and the 95th percentile. "
    "Share of peak is the arithmetic of convolutions, dense layers and attention over the most that a large matrix "
    "product reached on the same device in any of the runs. Peak memory is the device's, or where it tells none that "
    "of the process."
)
HOW_TO_COMPARE = (
    "Both sides ran in turns, each time in a process of its own. The ratio is of the medians, ours over the peer's, "
    "with its 95 % bootstrap interval over the runs; p is that of the two-sided Mann–Whitney U test."
)


def main(paths: Sequence[str]) -> None:
    """Prints the tables, puts them into a document, or writes the report."""
    files = paths or sorted(map(str, RESULTS.glob("*.jsonl")))
    found = list(itertools.chain(*records.gather(files)))
    sections, comparisons = summary.sections(found), summary.comparisons(found)
    if not sections and not comparisons:
        raise UsageError(f"there are no records in {', '.join(paths) or RESULTS}")
    if FLAGS.into is None and FLAGS.out is None:
        console.say(page.markdown(tables(sections, comparisons)))
    if FLAGS.into is not None:
        insert(Path(FLAGS.into), page.markdown(tables(sections, comparisons)))
    if FLAGS.out is not None:
        blocks = list(report(sections, comparisons))
        pictures = {block.file: block.svg for block in blocks if isinstance(block, page.Picture)}
        texts = {"report.md": page.markdown(blocks) + "\n", "report.html": page.html("Benchmarks", blocks)}
        write(Path(FLAGS.out), pictures | texts, f"--out={FLAGS.out}")
        console.say(f"wrote {Path(FLAGS.out, 'report.html')} and, with its pictures, report.md")


def insert(document: Path, text: str) -> None:
    """Puts text between the marks of a document."""
    try:
        before = document.read_text(encoding="utf-8") if os.path.isfile(document) else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--into={document} can't be read: {error}") from None
    if any(before.count(mark) != 1 for mark in MARKS):
        raise UsageError(f"--into={document} must be a document with the marks {MARKS[0]} and {MARKS[1]}, once each")
    head, rest = before.split(MARKS[0])
    after = f"{head}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"
    target = document.resolve()  # a link stays one
    write(target.parent, {target.name: after}, f"--into={document}")


def write(folder: Path, files: Mapping[str, str], flag: str) -> None:
    """Writes the files of a folder, all or none; `flag` is what asked for them."""
    partial = {folder / f".{os.getpid()}.{number}.partial": text for number, text in enumerate(files.values())}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            if (folder / name).is_dir():
                raise UsageError(f"{flag} can't be written: {name} is a folder")
        for path, text in partial.items():
            path.write_text(text, encoding="utf-8")
        for name, path in zip(files, partial, strict=True):
            path.replace(folder / name)
    except OSError as error:
        with contextlib.suppress(OSError):
            for path in partial:
                path.unlink(missing_ok=True)
        raise UsageError(f"{flag} can't be written: {error.strerror}") from None


def tables(sections: Sequence[Section], comparisons: Sequence[Record]) -> Iterator[page.Block]:
    """The tables alone, each under a heading."""
    if comparisons:
        yield page.Heading(3, "Side by side")
        yield versus(comparisons)
    for section in sections:
        yield page.Heading(3, f"{section.title}, {section.device}")
        yield table(section.rows)


def report(sections: Sequence[Section], comparisons: Sequence[Record]) -> Iterator[page.Block]:
    """All there is to tell: the sections, and how their runs came about."""
    rows = [row for section in sections for row in section.rows]
    yield page.Heading(1, "Benchmarks")
    yield page.Paragraph(HOW_TO_READ)
    if comparisons:
        yield page.Heading(2, "Side by side")
        yield page.Paragraph(HOW_TO_COMPARE)
        yield versus(comparisons)
    looks = plots.looks(rows)
    for number, section in enumerate(sections, 1):
        yield page.Heading(2, f"{section.title}, {section.device}")
        yield table(section.rows)
        for plot in plots.plots(section, looks):
            if plot.svg is None:
                yield page.Paragraph(plot.text, plot.title)
            else:
                yield page.Picture(f"{number}_{plot.name}.svg", plot.svg, plot.title, plot.text)
    yield page.Heading(2, "Where and how")
    for device, mine in summary.group(rows, lambda row: row.settings["device"]).items():
        runs = [run for row in mine for run in row.runs]
        yield page.Heading(3, device)
        yield page.Table(("what", "value"), facts([run["environment"] for run in runs]))
        counts = Counter(map(command, runs))
        lines = [text + f"  # {count} times" * (count > 1) for text, count in counts.items()]
        yield page.Commands(f"The commands of {len(runs)} runs", lines)


def table(rows: Sequence[Row]) -> page.Table:
    """The rows, without columns that would be empty."""
    columns = {heading: [cell(row) for row in rows] for heading, cell in COLUMNS.items()}
    filled = {heading: cells for heading, cells in columns.items() if any(cells)}
    return page.Table(list(filled), list(zip(*filled.values(), strict=True)), NUMBERS)


def versus(comparisons: Sequence[Record]) -> page.Table:
    """What benchmarks.versus found, in the order in which it did."""
    rows = []
    for record in comparisons:
        low, high, p_value = (record.get(field) for field in ("ratio_low", "ratio_high", "p_value"))
        rows.append(
            (
                " ".join([record["arch"], *record["overrides"]]),
                record["dataset"],
                f"{record['batch_size']:,}",
                f"{record['mode']}, {records.describe(record)}",
                record["peer"],
                rounded(record["images_per_second"]),
                rounded(record["peer_images_per_second"]),
                f"{record['ratio']:.2f}" + ("" if low is None else f" ({low:.2f}–{high:.2f})"),
                "" if p_value is None else f"{p_value:.2g}",
                str(record["runs"]),
            )
        )
    return page.Table(tuple(VERSUS), rows, frozenset(VERSUS) - {"network", "data", "ours", "peer"})


def facts(environments: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What the runs of a device had around them; several values where they differ."""
    asked = {name: [each.get(field) for each in environments] for name, field in FACTS.items()}
    asked["memory"] = [f"{each['memory_bytes'] / 2**30:.0f} GiB" for each in environments if each.get("memory_bytes")]
    for package in dict.fromkeys(package for each in environments for package in each["versions"]):
        asked[package] = [each["versions"].get(package) for each in environments]
    asked["commit"] = [summary.commit(each) for each in environments]
    times = sorted(each["time"] for each in environments)
    asked["time"] = [times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"]
    told = {
        name: [str(value) for value in dict.fromkeys(values) if value is not None] for name, values in asked.items()
    }
    return [(name, "; ".join(values)) for name, values in told.items() if values]


def command(run: Record) -> str:
    """A run's command as a person types it."""
    script, *arguments = run["environment"]["command"]
    words = ["python", "-m", f"benchmarks.{Path(script).stem}", *arguments]
    return f"KERAS_BACKEND={run['backend']} {shlex.join(words)}"


def rate(row: Row) -> str:
    """Images a second, or why there are none."""
    return rounded(row.rate) if row.is_ok else row.settings["status"].replace("_", " ")


def interval(row: Row) -> str:
    """The rate's interval; of a few runs their range."""
    if not row.is_ok:
        return ""
    low, high = row.interval
    if low is not None:
        return f"{rounded(low)}–{rounded(high)}"
    rates = [run["images_per_second"] for run in row.runs]
    return f"range {rounded(min(rates))}–{rounded(max(rates))}" if len(rates) > 1 else ""


def step(row: Row) -> str:
    """A step's time: `median (5th–95th percentile)`, in milliseconds."""
    if not row.blocks[0]:
        return ""
    low, middle, high, _ = map(rounded, stats.percentiles(*row.blocks).values())
    return f"{middle} ({low}–{high})"


def memory(row: Row) -> str:
    """The most memory of all runs."""
    for field in ("peak_memory_bytes", "peak_resident_bytes"):
        values = [run[field] for run in row.runs if run.get(field)]
        if values:
            return f"{max(values) / 2**20:,.0f} MiB"
    return ""


def score(row: Row) -> str:
    """The test score, with its name where it is no accuracy."""
    name, value = row.score
    return "" if value is None else f"{100 * value:.2f} %" + f" {name}" * (name != "accuracy")


def trained(row: Row) -> str:
    """How long it was trained."""
    epochs = row.settings["epochs"]
    if epochs is None or not row.is_ok:
        return ""
    return f"{epochs} epoch{'s' * (epochs > 1)}, {row.figure('train_seconds'):,.0f} s"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "network": lambda row: row.settings["network"],
    "data": lambda row: row.settings["dataset"],
    "batch": lambda row: f"{row.settings['batch_size']:,}",
    "how": lambda row: row.how,
    "images/s": rate,
    "interval": interval,
    "runs": lambda row: str(len(row.runs)) if len(row.runs) > 1 else "",
    "step, ms": step,
    "share of peak": lambda row: f"{100 * share:.3g} %" if (share := row.peak_share) else "",
    "peak memory": memory,
    "parameters": lambda row: f"{row.figure('trainable_params'):,.0f}",
    "test score": score,
    "trained for": trained,
    "remark": lambda row: "not steady" if any(run.get("is_steady") is False for run in row.runs) else "",
}
VERSUS = ("network", "data", "batch", "ours", "peer", "ours, images/s", "peer, images/s", "ratio", "p", "runs of each")
NUMBERS = frozenset(COLUMNS) - {"network", "data", "how", "remark"}


if __name__ == "__main__":
    launch(main, positional=True)
