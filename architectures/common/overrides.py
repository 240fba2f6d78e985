"""Overrides: keyword arguments of `create` that replace fields of a spec."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from numbers import Real
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

import kblocks as kb
from kblocks import check, contracts

Spec = TypeVar("Spec")

# The type of an override, by that of the value it replaces; the first that matches.
KINDS: tuple[tuple[Any, str], ...] = (
    (kb.Style, "a kblocks.Style"),
    (Callable, "a function of a tensor"),
    (tuple, "a tuple"),
    (bool, "True or False"),
    (Real, "a number"),
    (str, "a string"),
)

RATES = ("dropout", "drop_path")

# The arguments of `create` itself, for hints.
ARGUMENTS = ("input_shape", "classes", "pooling", "weights", "preprocessing", "name")

# Arguments of keras.applications, timm and torchvision, and what replaces them here.
ELSEWHERE = {
    "include_top": "classes=0",
    "num_classes": "classes=",
    "n_classes": "classes=",
    "pretrained": 'weights="imagenet"',
    "include_preprocessing": "preprocessing=",
    "global_pool": "pooling=",
    "in_chans": "input_shape=",
    "width": "alpha=",
    "width_mult": "alpha=",
    "width_multiplier": "alpha=",
    "width_coefficient": "alpha=",
    "depth_coefficient": "depth=",
    "drop_rate": "dropout=",
    "dropout_rate": "dropout=",
    "drop_path_rate": "drop_path=",
    "drop_connect_rate": "drop_path=",
}


def override(arch: str, spec: Spec, overrides: Mapping[str, Any]) -> Spec:
    """`spec` with some fields replaced.

    Args:
        arch: the name of its row, for errors.
        spec: a family's dataclass.
        overrides: new values by field name.

    Returns:
        Another spec.

    Raises:
        TypeError: the spec has no such field, or the value has another type than the field, or is a function that
            lacks an argument of the field's contract.
        ValueError: a rate is not at least 0 and below 1.
    """
    fields = {field.name: field for field in dataclasses.fields(spec)}  # type: ignore[arg-type]
    functions = _contracts(type(spec))
    for key, value in overrides.items():
        if key not in fields:
            raise TypeError(f"{arch} takes no override `{key}`: {_hint(key, list(fields))}")
        if value is None and fields[key].default is None:
            continue
        kind, what = next(
            ((kind, what) for kind, what in KINDS if isinstance(getattr(spec, key), kind)), (object, "anything")
        )
        if not isinstance(value, kind):
            raise TypeError(f"{arch} takes {what} for the override `{key}`; got {value!r}")
        if key in RATES:
            check.fraction(value, key)
        if key in functions:
            check.block(value, key, functions[key])
    return dataclasses.replace(spec, **overrides)  # type: ignore[type-var]


def _hint(key: str, fields: list[str]) -> str:
    """What to write in place of an unknown override."""
    known, hint = [*fields, *ARGUMENTS], ""
    if (use := ELSEWHERE.get(key, "")) and use.partition("=")[0] in known:
        hint = f"use `{use}`; "
    elif close := difflib.get_close_matches(key, known, n=1):
        hint = f"did you mean `{close[0]}`? "
    return f"{hint}it takes {', '.join(fields)}"


def _contracts(spec: type) -> dict[str, type]:
    """The protocols of `kblocks.contracts` among the types of a spec's fields, by field."""
    protocols = {getattr(contracts, name) for name in contracts.__all__}
    return {
        name: kind
        for name, hint in get_type_hints(spec).items()
        for kind in (get_args(hint) if isinstance(hint, UnionType) else (hint,))
        if kind in protocols
    }
