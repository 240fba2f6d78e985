"""When two runs are the same: the fields of `schema` that identify a run, in normal form."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.records.schema import CONFIGURATION, DEVICE, SOFTWARE, TRAINING, Identity, Record, identifying

Values = dict[str, Any]
"""Hashable values by field."""

FIELDS = (*(field.name for field, _ in identifying(CONFIGURATION)), "device")
"""What a rate depends on: the keys of `configuration`."""


@dataclass(frozen=True)
class Device:
    """The device of a run; two are equal if all their fields are.

    Attributes:
        values: the fields of the table that identify it, in normal form.
    """

    values: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        """Name of the accelerator, if there is one, and of the processor."""
        known = dict(self.values)
        cores = f"{known['cpu_cores']} cores of {known['cpu']}"
        return cores if known["device"] == "CPU" else f"{known['device']} with {cores}"

    @property
    def is_known(self) -> bool:
        """Whether its record distinguishes it from others of the same name; early versions did not."""
        return dict(self.values)["kernel"] is not None


def configuration(record: Record) -> Values:
    """What a run's rate depends on, apart from the software: `FIELDS`.

    A seed or a learning rate changes what is computed, not how fast.
    """
    return _values(record, CONFIGURATION) | {"device": device(record)}


def training(record: Record) -> Values:
    """What the score of a trained network depends on, besides the configuration."""
    return _values(record, TRAINING)


def software(record: Record) -> Values:
    """Versions and commit, which differ in many comparisons, but not within a row of a report."""
    return _values(record, SOFTWARE)


def device(record: Record) -> Device:
    """The device of a run."""
    return Device(tuple(_values(record, DEVICE).items()))


def names(devices: Iterable[Device]) -> dict[Device, str]:
    """A name for each device; those of the same name are followed by the fields in which they differ."""
    found = list(dict.fromkeys(devices))
    answer = {}
    for each in found:
        known, same = dict(each.values), [dict(other.values) for other in found if str(other) == str(each)]
        differ = {field: known[field] for field in known if any(other[field] != known[field] for other in same)}
        flags = differ.get("cpu_flags")
        if isinstance(flags, tuple):  # of dozens, only those that some of the devices lack
            own = [flag for flag in flags if any(flag not in (other["cpu_flags"] or ()) for other in same)]
            differ["cpu_flags"] = " ".join(own) or "fewer"
        words = ", ".join(f"{field} {'unknown' if value is None else value}" for field, value in differ.items())
        answer[each] = f"{each} ({textwrap.shorten(words, 100)})" if words else str(each)
    return answer


def _values(record: Record, group: Identity) -> Values:
    environment = record["environment"]
    return {
        field.name: field.normal((environment if inside else record).get(field.name), record)
        for field, inside in identifying(group)
    }
