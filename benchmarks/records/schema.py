"""What is read of a record, field by field: there, of its type and in its range."""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

Form = Callable[[Any], bool]
"""Whether a value has the form that its field asks for."""


def text(value: Any) -> bool:
    return isinstance(value, str)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def positive(value: Any) -> bool:
    return number(value) and value > 0


def size(value: Any) -> bool:
    return number(value) and value >= 0


def count(value: Any) -> bool:
    return isinstance(value, int) and positive(value) and value < 2**63


def table(value: Any) -> bool:
    return isinstance(value, dict)


def maybe(form: Form) -> Form:
    """Of a field that may be `null`, or was not yet there in the first versions."""
    return lambda value: value is None or form(value)


def each(form: Form, least: int = 0) -> Form:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(form, value))


# What the first versions did not tell.
UNTOLD = {"status": "ok", "mode": "training", "peer": None, "examples": None}

# What is read of a record, by who wrote it.
COMMON = {
    "script": ("train", "throughput", "versus").__contains__,
    "status": text,
    "arch": text,
    "overrides": each(text),
    "dataset": text,
    "mode": text,
    "peer": maybe(text),
    "batch_size": count,
    "backend": text,
    "dtype_policy": text,
    "environment": {
        "time": text,
        "device": text,
        "cpu": text,
        "cpu_cores": count,
        "memory_bytes": maybe(count),
        "versions": {"keras": text},
        "tf32": flag,
        "commit": maybe(text),
        "commit_is_changed": maybe(flag),
        "command": each(text, 1),
    },
}
RUN = COMMON | {
    "data": text,
    "examples": maybe(count),
    "input": text,
    "augment": flag,
    "jit": flag,
    "optimizer": maybe(text),
    "optimizer_arguments": maybe(table),
    "learning_rate": maybe(number),
    "params": size,
    "trainable_params": size,
    "macs": size,
    "block_steps": maybe(each(count)),
    "block_seconds": maybe(each(positive)),
    "is_steady": maybe(flag),
    "peak_memory_bytes": maybe(size),
    "peak_resident_bytes": maybe(size),
    "bytes_per_step": maybe(size),
    "flops_per_step": maybe(size),
    "flops_per_second": maybe(size),
    "peak_flops_per_second": maybe(positive),
    "peak_bytes_per_second": maybe(positive),
    "test_accuracy": maybe(size),
    "test_pair_accuracy": maybe(size),
}
# And besides, where there are figures.
TRAINED = {"images_per_second": positive, "epochs": count, "train_seconds": positive}
TIMED = {
    "images_per_second": positive,
    "block_steps": each(count, 1),
    "block_seconds": each(positive, 1),
    "flops_per_step": size,
    "flops_per_second": size,
}
COMPARISON = COMMON | {
    "peer": text,
    "runs": count,
    "images_per_second": positive,
    "peer_images_per_second": positive,
    "ratio": positive,
    "ratio_low": maybe(positive),
    "ratio_high": maybe(positive),
    "p_value": maybe(number),
}

# Fields that go together, and in what they must be alike.
PAIRS = (
    ("block_steps", "block_seconds", lambda value: value and len(value)),
    ("ratio_low", "ratio_high", lambda value: value is None),
)


def check(record: Mapping[str, Any]) -> None:
    """Raises a `ValueError` that names a field of a record which is not there, or of no form that can be read."""
    script = record["script"]
    _check(record, COMPARISON if script == "versus" else RUN)
    if script != "versus" and record["status"] == "ok":
        _check(record, TRAINED if script == "train" else TIMED)
    for one, other, alike in PAIRS:
        if alike(record.get(one)) != alike(record.get(other)):
            raise ValueError(f"{one!r} and {other!r} don't go together")


def _check(values: Any, wanted: Mapping[str, Any]) -> None:
    for name, form in wanted.items():
        value = values.get(name)
        if isinstance(form, dict) and isinstance(value, dict):
            _check(value, form)
        elif isinstance(form, dict) or not form(value):
            told = f"is {reprlib.repr(value)}" if name in values else "is missing"
            raise ValueError(f"{name!r} {told}")
