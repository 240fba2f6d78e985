"""Whether runs of one side are faster than those of another: runs by configuration, their ratio, and its significance.

The unit is the run, each in its own process: the blocks of one run share all that differs from process to process.
"""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import records
from benchmarks.measure import stats
from benchmarks.records import identity
from benchmarks.records.identity import FIELDS, Values
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError

RUNS = 5  # per side: with three no difference could be significant, with four none in a table of two rows
LEVEL = 0.05

Key = tuple[Hashable, ...]


@dataclass(frozen=True)
class Side:
    """The runs of one configuration in one file."""

    configuration: Values
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """A configuration's runs in both files, and the p-value of their difference if there are enough runs."""

    a: Side
    b: Side
    p_value: float | None = None

    @property
    def ratio(self) -> float:
        """Ratio of the medians, B over A."""
        return statistics.median(self.b.rates) / statistics.median(self.a.rates)

    @property
    def has_enough(self) -> bool:
        """Whether each side has at least `RUNS` runs."""
        return min(len(self.a.rates), len(self.b.rates)) >= RUNS

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """95 % confidence interval of the ratio, if there are enough runs."""
        return stats.ratio_interval(self.a.rates, self.b.rates) if self.has_enough else (None, None)


def sides(path: str, found: Iterable[Mapping[str, Any]], across: Sequence[str]) -> dict[Key, Side]:
    """The runs of a file by configuration, ignoring the fields of `across`.

    Args:
        path: the file, for messages.
        found: its records, from `records.gather`.
        across: fields that may differ between the files.

    Raises:
        UsageError: the file has nothing to compare or a record of another version, or its runs of a configuration
            differ in a field of `across`, so that their median would be that of a mixture.
    """
    groups: dict[Key, list[tuple[Values, Values, float]]] = {}
    others: Counter[str] = Counter()
    for record in found:
        if record.get("version") != records.VERSION:
            raise UsageError(
                f"{path} holds a record of version {record.get('version')}; "
                f"only those of version {records.VERSION} are compared"
            )
        if record["script"] == "versus":
            continue  # it is computed from the runs before it
        if record["status"] != "ok":
            others[record["status"]] += 1
            continue
        settings = identity.configuration(record)
        key = tuple(settings[field] for field in FIELDS if field not in across)
        run = settings, identity.software(record), record["images_per_second"]
        groups.setdefault(key, []).append(run)
    skipped = ", ".join(f"{number} of status {status}" for status, number in sorted(others.items()))
    if not groups:
        raise UsageError(f"{path} holds no record of status ok of its own{f', but {skipped}' if skipped else ''}")
    for runs in groups.values():
        arch = runs[0][0]["arch"]
        for field in across:
            values = sorted(words(field, [settings[field] for settings, _, _ in runs]))
            if len(values) > 1:
                raise UsageError(
                    f"{path} holds {arch} with {field} {' and '.join(values)}; "
                    f"with --across={field} each file must hold one of them, or their median is of a mixture"
                )
        for field in runs[0][1]:
            if len({software[field] for _, software, _ in runs}) > 1:
                console.note(f"{path} holds runs of {arch} that differ in {field}; their median is of a mixture")
    if skipped:
        console.say(f"{path}: not compared are {skipped}")
    return {key: Side(runs[0][0], tuple(rate for _, _, rate in runs)) for key, runs in groups.items()}


def pair(a: Mapping[Key, Side], b: Mapping[Key, Side], across: Sequence[str]) -> list[Row]:
    """The configurations that both files have.

    Raises:
        UsageError: there are none, or a configuration of one file is in the other on another device.
    """
    lone = itertools.product(*([mine[key] for key in mine if key not in theirs] for mine, theirs in ((a, b), (b, a))))
    apart = sorted(((differing(x, y, across), (x, y)) for x, y in lone), key=lambda each: len(each[0]))
    rows = [Row(side, b[key]) for key, side in a.items() if key in b]
    moved = [each for each in apart if each[0] == ["device"]]
    if rows and not moved:
        return rows
    fields, both = (moved or apart)[0]
    values = {field: words(field, [side.configuration[field] for side in both]) for field in fields}
    differences = " and ".join(f"{field} ({' and '.join(different)})" for field, different in values.items())
    which = "the closest rows" if len(apart) > 1 else "the rows"
    names = ",".join([*across, *fields])
    raise UsageError(f"{which} differ in {differences}; --across={names} compares them all the same")


def differing(a: Side, b: Side, across: Sequence[str]) -> list[str]:
    """The fields in which two sides differ, without those of `across`."""
    return [field for field in FIELDS if field not in across and a.configuration[field] != b.configuration[field]]


def words(field: str, values: Iterable[Any]) -> list[str]:
    """The different values of a field as text, in their order."""
    different = list(dict.fromkeys(values))
    if field == "device":
        return list(identity.names(different).values())
    fixed = {None: "none", True: "on", False: "off"}
    return [fixed[each] if each is None or isinstance(each, bool) else str(each) for each in different]


def judge(rows: Sequence[Row]) -> list[Row]:
    """The rows, with p-values where there are enough runs."""
    tested = [row for row in rows if row.has_enough]
    p_values = iter(holm([u_test(row.a.rates, row.b.rates) for row in tested]))
    return [Row(row.a, row.b, next(p_values)) if row.has_enough else row for row in rows]


def check_scipy() -> None:
    """Raises a `UsageError` if SciPy is not installed."""
    try:
        import scipy.stats  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError("the comparison needs the package scipy: pip install -e '.[report]'") from None


def u_test(a: Sequence[float], b: Sequence[float]) -> float:
    """The two-sided p-value of the Mann–Whitney U test, which assumes no distribution and tolerates outliers.

    Raises:
        UsageError: SciPy is not installed.
    """
    check_scipy()
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(a, b, alternative="two-sided").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the k-th smallest of m times m - k + 1, none below the one before, none above 1."""
    # Of twenty rows without any difference one would be significant at 5 % by chance. Corrected, the probability that
    # any such row is significant is at most 5 % over the whole table, whether or not its rows are independent.
    adjusted = [1.0] * len(p_values)
    least = 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, (len(p_values) - done) * p_values[index])
        adjusted[index] = min(least, 1.0)
    return adjusted


def too_many(rows: Sequence[Row]) -> str | None:
    """A hint where, with so many rows, no difference could be significant after the correction."""
    tested = [row for row in rows if row.has_enough]
    # The least p-value, of two sides that don't overlap: both orders of them, among all ways to divide the runs.
    least = [2 / math.comb(len(row.a.rates) + len(row.b.rates), len(row.a.rates)) for row in tested]
    if not tested or len(tested) * min(least) < LEVEL:
        return None
    needed = next(runs for runs in itertools.count(RUNS) if len(tested) * 2 / math.comb(2 * runs, runs) < LEVEL)
    return f"with {len(tested)} rows no difference can show: at least {needed} runs a side are needed"


def verdict(row: Row) -> str:
    """Whether the difference of a row is significant."""
    if row.p_value is None:
        return f"too few runs ({len(row.a.rates)}, {len(row.b.rates)}): at least five a side are needed"
    p_value = "p < 0.001" if row.p_value < 0.001 else f"p = {row.p_value:.2g}"
    if row.p_value >= LEVEL:
        return f"no difference shown, {p_value}"
    return f"B is {'faster' if row.ratio > 1 else 'slower'}, {p_value}"


def check_floor(floor: float | None) -> None:
    """Raises a `UsageError` if `--fail_below` is not a finite number."""
    if floor is not None and not math.isfinite(floor):
        raise UsageError(f"--fail_below must be a number; got {floor}")


def fails(row: Row, floor: float) -> bool:
    """Whether a row's ratio is below the floor, and its whole interval too where it has one."""
    _, high = row.interval
    return row.ratio < floor and (high is None or high < floor)
