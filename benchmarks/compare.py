"""Tells whether the runs of one file are faster than those of another, and how sure that is.

    python -m benchmarks.compare before.jsonl after.jsonl
    python -m benchmarks.compare tensorflow.jsonl jax.jsonl --across=backend,jit
    python -m benchmarks.compare before.jsonl after.jsonl --fail_below=0.97

Each record is one run in a process of its own, and the run is what is counted: not its blocks, which share all that
differs from process to process. So time each configuration at least five times, and where it can be done in turns: what
slows the machine for a while then slows both sides.

    for i in 1 2 3 4 5; do
        KERAS_BACKEND=tensorflow python -m benchmarks.throughput --out=tensorflow.jsonl
        KERAS_BACKEND=jax python -m benchmarks.throughput --out=jax.jsonl
    done

What both files hold, or one holds twice, is one run, and the first file's.

Rows of the two files with the same configuration make a row of the table: the median rate of each side, the ratio B/A
with its 95 % bootstrap interval, and whether the two-sided Mann–Whitney U test tells the sides apart at 5 %, corrected
for the number of rows. Fields that differ on purpose are named by `--across`.

`--fail_below=RATIO` ends with status 2 where a row fails: its ratio is below RATIO, and either its whole interval is
below RATIO too or it has too few runs to have an interval. Rows without a partner don't fail. Status 1 is for what
can't be compared.
"""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from absl import flags
from rich.table import Table

from benchmarks import records
from benchmarks.cli.launch import launch
from benchmarks.measure import stats
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError

FLAGS = flags.FLAGS
# What a rate depends on. A seed or a learning rate changes what is computed, not how fast; versions and commits are
# what one mostly compares.
FIELDS = (
    "arch",
    "overrides",
    "script",
    "mode",
    "dataset",
    "data",
    "augment",
    "input",
    "peer",
    "batch_size",
    "backend",
    "dtype_policy",
    "jit",
    "optimizer",
    "optimizer_arguments",
    "macs",
    "device",
)
flags.DEFINE_list("across", [], f"Fields that may differ between the two files, of {', '.join(FIELDS)}.")
flags.DEFINE_float("fail_below", None, "End with status 2 where a ratio B/A is below this.", lower_bound=0.0)

RUNS = 5  # a side: of three no difference could pass, of four none in a table of two rows
LEVEL = 0.05

Key = tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """The runs of one configuration in one file."""

    configuration: Mapping[str, str]
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """A configuration's runs in both files, and what they tell."""

    a: Side
    b: Side
    p_value: float | None = None

    @property
    def ratio(self) -> float:
        """Of the medians, B over A."""
        return statistics.median(self.b.rates) / statistics.median(self.a.rates)

    @property
    def has_enough(self) -> bool:
        """Whether there are runs enough to tell anything."""
        return min(len(self.a.rates), len(self.b.rates)) >= RUNS

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """The ratio's, where there are runs enough."""
        return stats.ratio_interval(self.a.rates, self.b.rates) if self.has_enough else (None, None)


def main(paths: Sequence[str]) -> None:
    """Prints the table of the comparison, and fails where `--fail_below` says so."""
    check_floor()
    if len(paths) != 2:
        raise UsageError(f"two files of records are compared, as A.jsonl B.jsonl; got {len(paths)}")
    for field in FLAGS.across:
        if field not in FIELDS:
            raise UsageError(f"--across must be of {', '.join(FIELDS)}; got {field!r}")
    a, b = (sides(path, mine, FLAGS.across) for path, mine in zip(paths, records.gather(paths), strict=True))
    rows = judge(pair(a, b, FLAGS.across))

    every = [side.configuration for side in (*a.values(), *b.values())]
    vary = [field for field in FIELDS if field == "arch" or len({each[field] for each in every}) > 1]
    shared = [f"{field} {every[0][field]}" for field in FIELDS if field not in vary and every[0][field] != "none"]
    for letter, path, groups in zip("AB", paths, (a, b), strict=True):
        console.say(f"{letter} is {path}, {count(sum(len(side.rates) for side in groups.values()), 'run')}")
    console.say(f"the same everywhere: {', '.join(shared)}")
    console.console.print(grid(rows, vary))
    for letter, mine, others in (("A", a, b), ("B", b, a)):
        for key, side in mine.items():
            if key not in others:
                console.say(f"unmatched, in {letter} alone: {name(side, side, vary)} ({count(len(side.rates), 'run')})")
    hint = too_many(rows)
    if hint:
        console.say(hint)
    failed = [] if FLAGS.fail_below is None else [row for row in rows if fails(row, FLAGS.fail_below)]
    if failed:
        told = "; ".join(f"{name(row.a, row.b, vary)} ({row.ratio:.3f})" for row in failed)
        console.say(f"failed, below --fail_below={FLAGS.fail_below:g}: {told}")
        raise SystemExit(2)


def check_floor() -> None:
    """Raises a `UsageError` if nothing could be below `--fail_below`."""
    if FLAGS.fail_below is not None and not math.isfinite(FLAGS.fail_below):
        raise UsageError(f"--fail_below must be a number; got {FLAGS.fail_below}")


def sides(path: str, found: Sequence[Mapping[str, Any]], across: Sequence[str]) -> dict[Key, Side]:
    """The runs of a file by configuration, the fields of `across` left out of what tells configurations apart.

    Args:
        path: the file's, to name it.
        found: its records, as `records.gather` gives them.
        across: fields that may differ between the files.

    Raises:
        UsageError: the file holds nothing to compare, a record of another version, or runs that differ in a field of
            `across`, whose median would be that of a mixture.
    """
    groups: dict[Key, list[tuple[dict[str, str], float]]] = {}
    others: Counter[str] = Counter()
    for record in found:
        if record.get("version") != records.VERSION:
            raise UsageError(
                f"{path} holds a record of version {record.get('version')}; "
                f"only those of version {records.VERSION} are compared"
            )
        if record["script"] == "versus":
            continue  # what it says follows from the runs before it
        if record["status"] != "ok":
            others[record["status"]] += 1
            continue
        settings = configuration(record)
        key = tuple(settings[field] for field in FIELDS if field not in across)
        groups.setdefault(key, []).append((settings, record["images_per_second"]))
    left_out = ", ".join(f"{number} of status {status}" for status, number in sorted(others.items()))
    if not groups:
        raise UsageError(f"{path} holds no record of status ok of its own{f', but {left_out}' if left_out else ''}")
    for runs in groups.values():
        for field in across:
            values = sorted({settings[field] for settings, _ in runs})
            if len(values) > 1:
                raise UsageError(
                    f"{path} holds {runs[0][0]['arch']} with {field} {' and '.join(values)}; "
                    f"with --across={field} each file must hold one of them, or their median is of a mixture"
                )
    if left_out:
        console.say(f"{path}: not compared are {left_out}")
    return {key: Side(runs[0][0], tuple(rate for _, rate in runs)) for key, runs in groups.items()}


def configuration(record: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a record that its rate depends on, as text."""
    environment, arguments = record["environment"], record.get("optimizer_arguments") or {}
    cores = f"{environment['cpu_cores']} cores of {environment['cpu']}"
    values = {
        **{field: record.get(field) for field in FIELDS},
        # Of a key that is given twice the last counts, and their order does not.
        "overrides": " ".join(sorted({text.partition("=")[0]: text for text in record["overrides"]}.values())) or None,
        "optimizer_arguments": " ".join(f"{key}={value}" for key, value in sorted(arguments.items())) or None,
        "data": record["data"].partition(":")[0],  # npz:PATH: where the file lies is no matter
        "device": cores if environment["device"] == "CPU" else f"{environment['device']} with {cores}",
    }
    words = {None: "none", True: "on", False: "off"}
    return {
        field: words[value] if value is None or isinstance(value, bool) else str(value)
        for field, value in values.items()
    }


def pair(a: Mapping[Key, Side], b: Mapping[Key, Side], across: Sequence[str]) -> list[Row]:
    """The configurations that both have.

    Raises:
        UsageError: there are none; or what one has, the other has on another device.
    """
    lone = itertools.product(*([mine[key] for key in mine if key not in theirs] for mine, theirs in ((a, b), (b, a))))
    apart = sorted(((differing(*both, across), both) for both in lone), key=lambda each: len(each[0]))
    rows = [Row(side, b[key]) for key, side in a.items() if key in b]
    moved = [each for each in apart if each[0] == ["device"]]
    if rows and not moved:
        return rows
    fields, (mine, theirs) = (moved or apart)[0]
    told = " and ".join(f"{field} ({mine.configuration[field]} and {theirs.configuration[field]})" for field in fields)
    which = "the closest rows" if len(apart) > 1 else "the rows"
    raise UsageError(f"{which} differ in {told}; --across={','.join([*across, *fields])} compares them all the same")


def differing(a: Side, b: Side, across: Sequence[str]) -> list[str]:
    """The fields, but for those of `across`, that keep two sides apart."""
    return [field for field in FIELDS if field not in across and a.configuration[field] != b.configuration[field]]


def judge(rows: Sequence[Row]) -> list[Row]:
    """The rows with p-values where there are runs enough."""
    tested = [row for row in rows if row.has_enough]
    p_values = iter(holm([u_test(row.a.rates, row.b.rates) for row in tested]))
    return [Row(row.a, row.b, next(p_values)) if row.has_enough else row for row in rows]


def check_scipy() -> None:
    """Raises a `UsageError` if SciPy is not there."""
    try:
        import scipy.stats  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError("the comparison needs the package scipy: pip install -e '.[report]'") from None


def u_test(a: Sequence[float], b: Sequence[float]) -> float:
    """The two-sided p-value of the Mann–Whitney U test: of ranks, so no rate need be normal, nor every run undisturbed.

    Raises:
        UsageError: SciPy is not there.
    """
    check_scipy()
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(a, b, alternative="two-sided").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the k-th smallest of m times m - k + 1, none below the one before, none above 1."""
    # Of twenty rows without any difference one would pass at 5 % by chance. Corrected so, the chance that any such row
    # passes is at most 5 % over the whole table, whatever the rows have in common.
    adjusted = [1.0] * len(p_values)
    least = 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, (len(p_values) - done) * p_values[index])
        adjusted[index] = min(least, 1.0)
    return adjusted


def too_many(rows: Sequence[Row]) -> str | None:
    """A hint where the correction leaves no row a chance, however far apart its sides are."""
    tested = [row for row in rows if row.has_enough]
    # Of two sides that don't overlap: both orders of them, among all ways to share out the runs.
    least = [2 / math.comb(len(row.a.rates) + len(row.b.rates), len(row.a.rates)) for row in tested]
    if not tested or len(tested) * min(least) < LEVEL:
        return None
    needed = next(runs for runs in itertools.count(RUNS) if len(tested) * 2 / math.comb(2 * runs, runs) < LEVEL)
    return f"with {len(tested)} rows no difference can show: at least {needed} runs a side are needed"


def verdict(row: Row) -> str:
    """Whether the difference is real."""
    if row.p_value is None:
        return f"too few runs ({len(row.a.rates)}, {len(row.b.rates)}): at least five a side are needed"
    p_value = "p < 0.001" if row.p_value < 0.001 else f"p = {row.p_value:.2g}"
    if row.p_value >= LEVEL:
        return f"no difference shown, {p_value}"
    return f"B is {'faster' if row.ratio > 1 else 'slower'}, {p_value}"


def fails(row: Row, floor: float) -> bool:
    """Whether a row's ratio is below the floor, and its whole interval too where it has one."""
    _, high = row.interval
    return row.ratio < floor and (high is None or high < floor)


def grid(rows: Sequence[Row], vary: Sequence[str]) -> Table:
    """The table of the rows, each named by the fields that vary."""
    table = Table()
    table.add_column("configuration", overflow="fold")
    for heading in ("runs", "A, images/s", "B, images/s", "B/A", "95 % interval"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("difference", overflow="fold")
    for row in rows:
        low, high = row.interval
        cells = (
            name(row.a, row.b, vary),
            f"{len(row.a.rates)}, {len(row.b.rates)}",
            f"{statistics.median(row.a.rates):,.0f}",
            f"{statistics.median(row.b.rates):,.0f}",
            f"{row.ratio:.3f}",
            "" if low is None else f"{low:.3f} to {high:.3f}",
            verdict(row),
        )
        table.add_row(*cells)
    return table


def name(a: Side, b: Side, vary: Sequence[str]) -> str:
    """Two sides in the words of the fields that vary; the architecture without its field's name."""
    words = []
    for field in vary:
        values = dict.fromkeys((a.configuration[field], b.configuration[field]))
        if list(values) != ["none"]:
            words.append(f"{'' if field == 'arch' else f'{field} '}{' / '.join(values)}")
    return ", ".join(words)


def count(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {what}{'s' * (number != 1)}"


if __name__ == "__main__":
    launch(main, positional=True)
