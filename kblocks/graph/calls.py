"""The calls of a functional model, read from its configuration."""

from collections.abc import Iterator
from typing import Any

__all__ = ["Key", "calls", "is_tensor", "sources"]


def __dir__() -> list[str]:
    return __all__


Key = tuple[str, int]
"""The name of an operation and the index of its call."""


def calls(config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int, dict[str, Any]]]:
    """The calls of a graph in topological order.

    Args:
        config: result of `get_config` of a functional model.

    Yields:
        The operation's entry in the configuration, the index of the call among the operation's calls, and the call's
        serialised arguments, a dictionary of `args` and `kwargs`.
    """
    pending = [(entry, i, node) for entry in config["layers"] for i, node in enumerate(entry["inbound_nodes"])]
    waiting = {(entry["name"], i) for entry, i, _ in pending}
    # The configuration is in topological order but for shared layers, listed where they are first called.
    while pending:
        later = []
        for entry, i, node in pending:
            if waiting.isdisjoint(sources(node)):
                waiting.remove((entry["name"], i))
                yield entry, i, node
            else:
                later.append((entry, i, node))
        pending = later


def sources(value: Any) -> Iterator[Key]:
    """The calls that produce the tensors in serialised arguments, in order."""
    if is_tensor(value):
        yield tuple(value["config"]["keras_history"][:2])
    elif isinstance(value, dict):
        for item in value.values():
            yield from sources(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from sources(item)


def is_tensor(value: Any) -> bool:
    """Whether a serialised argument is a tensor of the graph."""
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"
