"""Records as rows: the runs of one configuration as a row, rows that may be compared as a section."""

import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.measure import stats
from benchmarks.records import identity
from benchmarks.records.identity import Device

RUNS = 5  # fewer have no interval; bootstrap intervals of 5 to 10 runs contain the median in 88 to 94 of 100 cases
KINDS = ("real images", "drawn digits", "random numbers")

# What all rows of a section have in common, and what those of a line in a plot have besides.
SECTION = ("device", "mode", "kind")
LINE = (*SECTION, "epochs", "network", "dataset", "how")

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Row:
    """A configuration and its runs, each in its own process.

    Attributes:
        settings: see `configuration`.
        runs: its records.
        note: what distinguishes it from rows that look the same.
        peak: the highest FLOP/s that any run measured on an equal device in the same precision, if its device is known.
    """

    settings: Mapping[str, Any]
    runs: Sequence[Record]
    note: str = ""
    peak: float | None = None

    @property
    def how(self) -> str:
        """Backend, input, peer and precision; and what distinguishes it from rows that look the same."""
        return ", ".join(filter(None, (self.settings["how"], self.note)))

    @property
    def is_ok(self) -> bool:
        """Whether there are measurements."""
        return bool(self.settings["status"] == "ok")

    @property
    def is_timed(self) -> bool:
        """Whether it is a timing of steps, not a training with its score."""
        return self.settings["epochs"] is None

    @property
    def rate(self) -> float:
        """Images per second, of a row with measurements."""
        return self.known("images_per_second")

    @property
    def own_peak(self) -> float | None:
        """The highest peak that its own runs measured, in FLOP/s."""
        return max(self._values("peak_flops_per_second"), default=None)

    @property
    def peak_share(self) -> float | None:
        """Achieved FLOP/s over `peak`, or without it over the peak that the same run measured; the median over runs."""
        both = [(run.get("flops_per_second"), self.peak or run.get("peak_flops_per_second")) for run in self.runs]
        shares = [achieved / peak for achieved, peak in both if achieved and peak]
        return statistics.median(shares) if shares else None

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """95 % confidence interval of the rate: of one run over its blocks, of at least `RUNS` over the runs."""
        if len(self.runs) == 1 and self.blocks[0]:
            return stats.rate_interval(*self.blocks, self.settings["batch_size"])
        if len(self.runs) < RUNS:
            return None, None
        # With a constant side, the ratio of medians is the median of the other.
        return stats.ratio_interval([1.0, 1.0], [run["images_per_second"] for run in self.runs])

    @property
    def blocks(self) -> tuple[list[int], list[float]]:
        """Steps and seconds of the blocks of all runs."""
        steps = [each for run in self.runs for each in run.get("block_steps") or ()]
        return steps, [each for run in self.runs for each in run.get("block_seconds") or ()]

    @property
    def score(self) -> tuple[str, float] | tuple[None, None]:
        """The name and the value of the test score, from 0 to 1."""
        field = next((field for field in self.runs[0] if field.startswith("test_")), None)
        return (None, None) if field is None else (field.removeprefix("test_").replace("_", " "), self.known(field))

    def figure(self, field: str) -> float | None:
        """The median of a field over the runs that have it."""
        return statistics.median(self._values(field)) if self._values(field) else None

    def known(self, field: str) -> float:
        """The same, of a field that at least one run has."""
        return statistics.median(self._values(field))

    def _values(self, field: str) -> list[float]:
        return [run[field] for run in self.runs if run.get(field) is not None]


@dataclass(frozen=True)
class Section:
    """Rows of one device, one mode and one kind of images; those of a network together, by their batch size."""

    device: str
    mode: str
    kind: str
    rows: Sequence[Row]

    @property
    def title(self) -> str:
        """Mode and kind."""
        return f"{self.mode.capitalize()} on {self.kind}"


def sections(found: Iterable[Record]) -> list[Section]:
    """The records of runs by section; devices and networks in the order of the records."""
    runs: dict[Hashable, tuple[dict[str, Any], list[Record]]] = {}
    for record in found:
        if record["script"] != "versus":
            settings = configuration(record)
            runs.setdefault(tuple(settings.items()), (settings, []))[1].append(record)
    rows = tell_apart(with_peaks([Row(settings, same) for settings, same in runs.values()]))
    apart = group(rows, lambda row: tuple(row.settings[field] for field in SECTION))
    names = identity.names(row.settings["device"] for row in rows)
    devices = list(names)
    keys = sorted(apart, key=lambda key: (devices.index(key[0]), key[1] != "training", KINDS.index(key[2])))
    return [Section(names[device], mode, kind, in_order(apart[device, mode, kind])) for device, mode, kind in keys]


def comparisons(found: Iterable[Record]) -> list[Record]:
    """The records of comparisons with a peer, in their order."""
    return [record for record in found if record["script"] == "versus"]


def with_peaks(rows: Sequence[Row]) -> list[Row]:
    """The rows with the highest peak that any run measured on an equal device in the same precision."""
    found = {}
    for where, same in group(rows, place).items():
        found[where] = max((row.own_peak for row in same if row.own_peak), default=None)
    # Without its identity, a device may be another of the same name: then a peak is that of the run itself.
    return [replace(row, peak=found[place(row)]) if row.settings["device"].is_known else row for row in rows]


def place(row: Row) -> tuple[Device, str]:
    """What a peak is measured of."""
    return row.settings["device"], row.settings["precision"]


def configuration(record: Record) -> dict[str, Any]:
    """The settings of a row: what its runs have in common, first as a reader sees it.

    It shows all of `identity`, which alone decides: records with equal settings are runs of one row.
    """
    same = identity.configuration(record) | identity.training(record)
    keras, backend = identity.software(record)["versions"]
    precision = same["dtype_policy"] + (" with TF32" if same["tf32"] else "")
    how = (
        f"{same['backend']} {backend}".rstrip(),
        same["input"],
        same["peer"] and f"peer {same['peer']}",
        precision,
        same["jit"] and "XLA",
    )
    shown = {
        "device": same["device"],
        "mode": same["mode"],
        "kind": {"generated": KINDS[1], "synthetic": KINDS[2]}.get(same["data"], KINDS[0]),
        "epochs": same["epochs"],
        "network": " ".join(filter(None, (same["arch"], same["overrides"]))),
        "dataset": same["dataset"],
        "how": ", ".join(filter(None, how)),
        "precision": precision,
        "batch_size": same["batch_size"],
        "status": record["status"],
    }
    # The rest is shown only where nothing else tells rows apart.
    return shown | same | {"keras": keras, "commit": commit(record["environment"])}


def commit(environment: Mapping[str, Any]) -> str:
    """The short commit, and whether files differed from it."""
    return (environment.get("commit") or "unknown")[:7] + (" changed" if environment.get("commit_is_changed") else "")


def tell_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows; where two of a line look the same, each of it has a note of what differs."""
    noted = []
    for line in group(rows, lambda row: tuple(row.settings[field] for field in LINE)).values():
        differ = []
        for same in group(line, lambda row: (row.settings["batch_size"], row.settings["status"])).values():
            differ += [
                field for field, value in same[0].settings.items() if any(r.settings[field] != value for r in same)
            ]
        for row in line:
            words = [f"{field.replace('_', ' ')} {row.settings[field]}" for field in row.settings if field in differ]
            noted.append(replace(row, note=", ".join(words)))
    return noted


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Rows of a network together, by batch size."""
    networks = list(group(rows, network))
    return sorted(rows, key=lambda row: (networks.index(network(row)), row.settings["batch_size"]))


def network(row: Row) -> tuple[str, str]:
    """The network and what it was trained on."""
    return row.settings["network"], row.settings["dataset"]


def rounded(value: float) -> str:
    """Three significant digits, or all before the decimal point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def group(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> dict[Any, list[Row]]:
    """The rows by their `key`, in their order."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found
