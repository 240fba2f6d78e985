"""Checks of functions against the protocols of `kblocks.contracts`."""

import inspect
from collections.abc import Callable
from typing import Any


def check_contract(value: Any, contract: type, argument: str) -> None:
    """Raise unless a function takes all keyword arguments of a protocol of `kblocks.contracts`."""
    wanted = list(inspect.signature(contract.__call__).parameters.values())[1:]  # without `self`
    keywords = [p.name for p in wanted if p.kind is p.KEYWORD_ONLY]
    missing = [f"`{name}`" for name in keywords if not takes(value, name)]
    if missing:
        form = ", ".join([p.name for p in wanted if p.kind is not p.KEYWORD_ONLY] + ["*", *keywords])
        name = getattr(value, "__name__", repr(value))
        raise TypeError(
            f"`{argument}` must be a function ({form}) -> tensor; {name} takes no {' and no '.join(missing)}"
        )


def takes(function: Callable[..., Any], argument: str) -> bool:
    """Whether a function can be called with a keyword argument."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.kind is p.VAR_KEYWORD or (p.name == argument and p.kind is not p.POSITIONAL_ONLY) for p in parameters)
