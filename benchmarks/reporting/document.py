"""The report as a document: its tables alone, or with explanations, plots, environments and commands."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reporting import page, plots, summary
from benchmarks.reporting.summary import Record, Section
from benchmarks.reporting.tables import table, versus

FACTS = {
    "devices": "device_count",
    "driver": "driver",
    "CUDA": "cuda",
    "processor": "cpu",
    "cores": "cpu_cores",
    "platform": "platform",
    "kernel": "kernel",
    "Python": "python",
}
HOW_TO_READ = (
    "A row is a configuration. Its throughput is all images over all seconds, and the median over runs where there are "
    "several, each in its own process. The interval is the 95 % confidence interval: for one run a t-interval over "
    f"its blocks, for {summary.RUNS} runs or more a bootstrap of their median, which with so few runs contains it in "
    "about 90 of 100 cases; for fewer runs the range is shown. Step time is the median and, in brackets, the 5th and "
    "the 95th percentile. Share of peak is the FLOP/s of convolutions, dense layers and attention over the highest "
    "FLOP/s of a large matrix product measured on the same device. Peak memory is that of the device, or of the "
    "process where the device does not report it."
)
HOW_TO_COMPARE = (
    "Both sides ran in turns, each run in its own process. The ratio is of the medians, ours over the peer's, with its "
    "95 % confidence interval (bootstrap over runs); p is from the two-sided Mann–Whitney U test."
)


def tables(sections: Sequence[Section], comparisons: Sequence[Record]) -> Iterator[page.Block]:
    """The tables alone, each under a heading."""
    if comparisons:
        yield page.Heading(3, "Side by side")
        yield versus(comparisons)
    for section in sections:
        yield page.Heading(3, f"{section.title}, {section.device}")
        yield table(section.rows)


def report(sections: Sequence[Section], comparisons: Sequence[Record]) -> Iterator[page.Block]:
    """The whole report: tables and plots of the sections, then the environments and commands of their runs."""
    yield page.Heading(1, "Benchmarks")
    yield page.Paragraph(HOW_TO_READ)
    if comparisons:
        yield page.Heading(2, "Side by side")
        yield page.Paragraph(HOW_TO_COMPARE)
        yield versus(comparisons)
    looks = plots.looks([row for section in sections for row in section.rows])
    for number, section in enumerate(sections, 1):
        yield page.Heading(2, f"{section.title}, {section.device}")
        yield table(section.rows)
        for plot in plots.plots(section, looks):
            if plot.svg is None:
                yield page.Paragraph(plot.text, plot.title)
            else:
                yield page.Picture(f"{number}_{plot.name}.svg", plot.svg, plot.title, plot.text)
    yield page.Heading(2, "Environments and commands")
    for device in dict.fromkeys(section.device for section in sections):
        rows = [row for section in sections if section.device == device for row in section.rows]
        runs = [run for row in rows for run in row.runs]
        yield page.Heading(3, device)
        yield page.Table(("what", "value"), facts([run["environment"] for run in runs]))
        yield page.Commands(f"The commands of {len(runs)} runs", commands(runs))


def facts(environments: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The environment of the runs on a device; several values where they differ."""
    found = {name: [each.get(field) for each in environments] for name, field in FACTS.items()}
    found["memory"] = [f"{each['memory_bytes'] / 2**30:.0f} GiB" for each in environments if each.get("memory_bytes")]
    for package in dict.fromkeys(package for each in environments for package in each["versions"]):
        found[package] = [each["versions"].get(package) for each in environments]
    found["commit"] = [summary.commit(each) for each in environments]
    times = sorted(each["time"] for each in environments)
    found["time"] = [times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"]
    texts = {
        name: [str(value) for value in dict.fromkeys(values) if value is not None] for name, values in found.items()
    }
    return [(name, "; ".join(values)) for name, values in texts.items() if values]


def commands(runs: Sequence[Record]) -> list[str]:
    """The commands of runs, as one types them; of the runs inside a comparison, that of the comparison."""
    alone = Counter(command(run, "command") for run in runs if not parent(run))
    compared = [run for run in runs if parent(run)]
    # A peer may have been run on another backend than the comparison.
    ours = [run for run in compared if run["peer"] is None and run["input"] != "fit"]
    theirs = [run for run in compared if parent(run) not in [parent(each) for each in ours]]
    inside = Counter(command(run, "parent_command") for run in (*ours, *theirs))
    lines = [text + f"  # {count} times" * (count > 1) for text, count in alone.items()]
    return lines + [text + f"  # {count} runs of each side" * (count > 1) for text, count in inside.items()]


def parent(run: Record) -> list[str] | None:
    """The command of the comparison that a run belongs to, if it does."""
    words: list[str] | None = run["environment"].get("parent_command")
    return words


def command(run: Record, field: str) -> str:
    """A command of a run's environment, as one types it."""
    script, *arguments = run["environment"][field]
    words = ["python", "-m", f"benchmarks.{Path(script).stem}", *arguments]
    return f"KERAS_BACKEND={run['backend']} {shlex.join(words)}"
