"""Checks of functions against the protocols of `kblocks.contracts`."""

import inspect
from collections.abc import Callable
from typing import Any

import keras


def check_contract(value: Any, contract: type, argument: str) -> None:
    """Raise unless `value` is a function with all keyword arguments of a protocol of `kblocks.contracts`.

    Raises:
        TypeError: it is not; the error names the missing arguments.
    """
    wanted = list(inspect.signature(contract.__call__).parameters.values())[1:]  # without `self`
    keywords = [p.name for p in wanted if p.kind is p.KEYWORD_ONLY]
    form = ", ".join([p.name for p in wanted if p.kind is not p.KEYWORD_ONLY] + ["*", *keywords])
    if not callable(value) or isinstance(value, type | keras.Layer):
        raise TypeError(f"`{argument}` must be a function ({form}) -> tensor; got {value!r}")
    missing = [f"`{name}`" for name in keywords if not takes(value, name)]
    if missing:
        name = getattr(value, "__name__", repr(value))
        raise TypeError(
            f"`{argument}` must be a function ({form}) -> tensor; {name} takes no {' and no '.join(missing)}"
        )


def takes(function: Callable[..., Any], argument: str) -> bool:
    """Whether a function has a keyword argument."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.kind is p.VAR_KEYWORD or (p.name == argument and p.kind is not p.POSITIONAL_ONLY) for p in parameters)
