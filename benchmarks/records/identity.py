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
    """What a run was on: equal only where all that is known of it is.

    Attributes:
        values: its fields of the table, in normal form.
    """

    values: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        """Its name: that of the accelerator, if there is one, and of the processor."""
        known = dict(self.values)
        cores = f"{known['cpu_cores']} cores of {known['cpu']}"
        return cores if known["device"] == "CPU" else f"{known['device']} with {cores}"

    @property
    def is_known(self) -> bool:
        """Whether its record tells it from other devices of its name; the first versions did not."""
        return dict(self.values)["kernel"] is not None


def configuration(record: Record) -> Values:
    """What a run's rate depends on, apart from the software: `FIELDS`.

    A seed or a learning rate changes what is computed, not how fast.
    """
    return _values(record, CONFIGURATION) | {"device": device(record)}


def training(record: Record) -> Values:
    """What the score of a trained network depends on besides."""
    return _values(record, TRAINING)


def software(record: Record) -> Values:
    """The versions and the commit: what one often compares, and never takes a median over."""
    return _values(record, SOFTWARE)


def device(record: Record) -> Device:
    """What a run was on."""
    return Device(tuple(_values(record, DEVICE).items()))


def names(devices: Iterable[Device]) -> dict[Device, str]:
    """A name for each device; where several have the same name, with the fields in which these differ."""
    found = list(dict.fromkeys(devices))
    answer = {}
    for each in found:
        known, same = dict(each.values), [dict(other.values) for other in found if str(other) == str(each)]
        differ = {field: known[field] for field in known if any(other[field] != known[field] for other in same)}
        flags = differ.get("cpu_flags")
        if isinstance(flags, tuple):  # of dozens only those that not all have
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
