"""What records say together: the runs of one configuration as a row, rows that may be compared as a section."""

import json
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.measure import stats

RUNS = 5  # of fewer no interval is told; by resampling, that of 5 to 10 holds the median in 88 to 94 of 100 cases
KINDS = ("real images", "drawn digits", "random numbers")

# What all rows of a section have in common, and what those of a line in a plot have besides.
SECTION = ("device", "mode", "kind")
LINE = (*SECTION, "epochs", "network", "dataset", "how")

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Row:
    """A configuration and its runs, each in a process of its own.

    Attributes:
        settings: see `configuration`.
        runs: its records.
        note: what tells it from rows that look the same.
        peak: the highest that was measured on its device in its precision, in FLOP/s, by whatever run.
    """

    settings: Mapping[str, Any]
    runs: Sequence[Record]
    note: str = ""
    peak: float | None = None

    @property
    def how(self) -> str:
        """Backend, input, peer and precision; and what tells them from others that look the same."""
        return ", ".join(filter(None, (self.settings["how"], self.note)))

    @property
    def is_ok(self) -> bool:
        """Whether there are figures."""
        return self.settings["status"] == "ok"

    @property
    def is_timed(self) -> bool:
        """Whether steps were timed for their own sake, and not a training with its score."""
        return self.settings["epochs"] is None

    @property
    def rate(self) -> float | None:
        """Images a second."""
        return self.figure("images_per_second")

    @property
    def peak_share(self) -> float | None:
        """The row's arithmetic as a share of `peak`."""
        reached = self.figure("flops_per_second")
        return reached / self.peak if reached and self.peak else None

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """The rate's, of 95 %: of one run over its blocks, of several over the runs if they are enough, see `RUNS`."""
        if len(self.runs) == 1 and self.blocks[0]:
            return stats.rate_interval(*self.blocks, self.settings["batch_size"])
        if len(self.runs) < RUNS:
            return None, None
        # Over a side that does not vary, the ratio of medians is the median of the other.
        return stats.ratio_interval([1.0, 1.0], [run["images_per_second"] for run in self.runs])

    @property
    def blocks(self) -> tuple[list[int], list[float]]:
        """Steps and seconds of the blocks of all runs."""
        steps = [each for run in self.runs for each in run.get("block_steps", ())]
        return steps, [each for run in self.runs for each in run.get("block_seconds", ())]

    @property
    def score(self) -> tuple[str, float] | tuple[None, None]:
        """The name and the value of the test score, from 0 to 1."""
        field = next((field for field in self.runs[0] if field.startswith("test_")), None)
        return (None, None) if field is None else (field.removeprefix("test_").replace("_", " "), self.figure(field))

    def figure(self, field: str) -> float | None:
        """The median of a field over the runs that have it."""
        values = [run[field] for run in self.runs if run.get(field) is not None]
        return statistics.median(values) if values else None


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
    """The records of runs by section; devices and networks are in the order in which they come."""
    runs: dict[str, tuple[dict[str, Any], list[Record]]] = {}
    for record in found:
        if record["script"] != "versus":
            settings = configuration(record)
            runs.setdefault(json.dumps(settings, sort_keys=True), (settings, []))[1].append(record)
    rows = tell_apart(with_peaks([Row(settings, same) for settings, same in runs.values()]))
    apart = group(rows, lambda row: tuple(row.settings[field] for field in SECTION))
    devices = list(group(rows, lambda row: row.settings["device"]))
    keys = sorted(apart, key=lambda key: (devices.index(key[0]), key[1] != "training", KINDS.index(key[2])))
    return [Section(*key, in_order(apart[key])) for key in keys]


def comparisons(found: Iterable[Record]) -> list[Record]:
    """The records of comparisons with a peer, in the order in which they come."""
    return [record for record in found if record["script"] == "versus"]


def with_peaks(rows: Sequence[Row]) -> list[Row]:
    """The rows with the highest peak that was measured on the device of each in its precision."""
    found = {}
    for where, same in group(rows, place).items():
        peaks = [run.get("peak_flops_per_second") for row in same for run in row.runs]
        found[where] = max(filter(None, peaks), default=None)
    return [replace(row, peak=found[place(row)]) for row in rows]


def place(row: Row) -> tuple[str, str]:
    """What a peak is measured of."""
    return row.settings["device"], row.settings["precision"]


def configuration(record: Record) -> dict[str, Any]:
    """What a record's figures depend on, but for chance."""
    environment = record["environment"]
    versions = environment["versions"]
    cores = f"{environment['cpu_cores']} cores of {environment['cpu']}"
    peer, way = record["peer"], record["input"]
    if way == "plain_torch":  # in version 1 an input, and the only peer
        peer, way = "torch", "resident"
    source, precision = record["data"].partition(":")[0], record["dtype_policy"]
    if precision == "float32" and environment["tf32"]:
        precision += " with TF32"
    how = (
        f"{record['backend']} {versions.get(record['backend'], '')}".rstrip(),
        way,
        peer and f"peer {peer}",
        precision,
        record["jit"] and "XLA",
    )
    return {
        "device": cores if environment["device"] == "CPU" else f"{environment['device']} with {cores}",
        "mode": record["mode"],
        "kind": {"generated": KINDS[1], "synthetic": KINDS[2]}.get(source, KINDS[0]),
        "epochs": record.get("epochs"),
        "network": " ".join([record["arch"], *record["overrides"]]),
        "dataset": record["dataset"],
        "how": ", ".join(filter(None, how)),
        "precision": precision,
        "macs": record["macs"],
        "batch_size": record["batch_size"],
        "status": record["status"],
        # From here on, told only where nothing else tells rows apart.
        "data": source,
        "examples": record["examples"],
        "augment": record["augment"],
        "optimizer": record.get("optimizer"),
        "optimizer_arguments": record.get("optimizer_arguments"),
        # It changes what is learned, not how fast.
        "learning_rate": record.get("learning_rate") if "epochs" in record else None,
        "keras": versions["keras"],
        "commit": commit(environment),
    }


def commit(environment: Mapping[str, Any]) -> str:
    """The commit in short, and whether files differed from it."""
    return (environment.get("commit") or "unknown")[:7] + (" changed" if environment.get("commit_is_changed") else "")


def tell_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows; those of a line of which two look the same with a note of what differs in them."""
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
    """Rows of a network together, in order of their batches."""
    networks = list(group(rows, network))
    return sorted(rows, key=lambda row: (networks.index(network(row)), row.settings["batch_size"]))


def network(row: Row) -> tuple[str, str]:
    """The network and what it was trained on."""
    return row.settings["network"], row.settings["dataset"]


def rounded(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def group(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> dict[Any, list[Row]]:
    """The rows by what `key` says of them, in the order in which they come."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found
