"""The graph of a functional or Sequential model as data: its calls in order, and running them with other functions.

    for call in calls(model):
        call.operation, call.args, call.kwargs, call.outputs

A layer that is shared has several calls. What Keras records of a call it keeps in attributes without public names;
only this file reads them. Neither `get_config` nor serialisation is used, so layers and models of a user's
own are read as any other.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import KerasTensor

__all__ = ["Call", "calls", "check_graph", "is_graph", "producers", "run", "sources", "structure"]


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an operation in a graph.

    Attributes:
        name: the operation's, with the prefix `model/` within a nested model; `name#2` for its second call in a graph.
        operation: a layer, a model or an operation of `keras.ops`.
        args: positional arguments; tensors are those of the graph.
        kwargs: keyword arguments.
        outputs: tensors of the graph that the call produces, flattened.
    """

    name: str
    operation: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: Sequence[KerasTensor]

    @property
    def inputs(self) -> list[KerasTensor]:
        """The tensors among the arguments, in order."""
        return [x for x in keras.tree.flatten((self.args, self.kwargs)) if isinstance(x, KerasTensor)]


def is_graph(model: Any) -> bool:
    """Whether `model` is a model whose calls can be read: functional, or Sequential and built."""
    # Sequential models have no such attributes before they are built; subclassed ones have none or empty ones.
    return isinstance(model, keras.Model) and bool(getattr(model, "inputs", None) and getattr(model, "outputs", None))


def check_graph(model: Any, argument: str = "model") -> None:
    """Raise unless `model` is a model whose calls can be read.

    Raises:
        TypeError: it is not a functional or Sequential model.
        ValueError: it is a Sequential model that is not built.
    """
    if is_graph(model):
        return
    if isinstance(model, keras.Sequential):
        raise ValueError(
            f"`{argument}` must be built, so that its graph is known; got the Sequential model {model.name} (start it "
            "with keras.Input, or call its build)"
        )
    raise TypeError(f"`{argument}` must be a functional or Sequential keras.Model; got {model!r}")


def calls(model: keras.Model, prefix: str = "") -> list[Call]:
    """The calls of a model's graph, each after those that produce its inputs; a nested model is one call.

    Args:
        model: functional or Sequential.
        prefix: of the names.

    Raises:
        TypeError: it is neither.
        ValueError: it is a Sequential model that is not built.

    >>> x = keras.Input((4,))
    >>> dense = keras.layers.Dense(4, name="dense")
    >>> [call.name for call in calls(keras.Model(x, keras.layers.ReLU(name="relu")(dense(dense(x)))))]
    ['dense', 'dense#2', 'relu']
    """
    check_graph(model)
    given = {id(x) for x in model.inputs}
    done: set[int] = set()
    found: list[Call] = []
    count: Counter[str] = Counter()
    # Depth first, with a stack in place of recursion.
    pending = [(x, False) for x in reversed(model.outputs)]
    while pending:
        tensor, inputs_are_done = pending.pop()
        if id(tensor) in given:
            continue
        operation, index, _ = tensor._keras_history
        node = operation._inbound_nodes[index]
        if id(node) in done:
            continue
        if not inputs_are_done:
            pending.append((tensor, True))
            pending += [(x, False) for x in reversed(node.input_tensors)]
            continue
        done.add(id(node))
        count[operation.name] += 1
        times = f"#{count[operation.name]}" if count[operation.name] > 1 else ""
        args, kwargs = tuple(node.arguments.args), dict(node.arguments.kwargs)
        found.append(Call(f"{prefix}{operation.name}{times}", operation, args, kwargs, tuple(node.output_tensors)))
    return found


def producers(model: keras.Model) -> dict[int, Call]:
    """The call that produces each tensor of a graph but its inputs, by the tensor's identity."""
    return {id(y): call for call in calls(model) for y in call.outputs}


def run(
    model: keras.Model,
    inputs: Any,
    execute: Callable[[Call, tuple[Any, ...], dict[str, Any]], Any],
    *,
    prefix: str = "",
) -> Any:
    """The outputs of `model`, computed by `execute`, also within nested models.

    Args:
        model: functional or Sequential.
        inputs: what stands for the tensors of the inputs, in their structure or as a flat list.
        execute: a function `(call, args, kwargs)` of a call and its arguments, with values in the place of the graph's
            tensors, that returns what stands for its outputs. `training` and `mask` of a nested model's call do not
            reach the calls within.
        prefix: of the names of the calls.

    Returns:
        The outputs, in the structure of the model's outputs.

    >>> x = keras.Input((4,))
    >>> model = keras.Model(x, keras.layers.Rescaling(2.0)(keras.layers.Rescaling(3.0)(x)))
    >>> run(model, 1, lambda call, args, kwargs: call.operation.scale * args[0])
    6.0
    """
    values = dict(zip(map(id, model.inputs), _flat(model, inputs), strict=True))

    def value(x: Any) -> Any:
        return values[id(x)] if isinstance(x, KerasTensor) else x

    for call in calls(model, prefix):
        args, kwargs = keras.tree.map_structure(value, (call.args, dict(call.kwargs)))
        if is_graph(call.operation):
            given = args[0] if args else kwargs["inputs"]
            result = run(call.operation, given, execute, prefix=f"{call.name}/")
        else:
            result = execute(call, args, kwargs)
        values.update(zip(map(id, call.outputs), keras.tree.flatten(result), strict=True))
    return keras.tree.map_structure(value, structure(model)[1])


def structure(model: keras.Model) -> tuple[Any, Any]:
    """The tensors of a model's inputs and those of its outputs as it takes and returns them: one, a list or a dict."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def _flat(model: keras.Model, given: Any) -> list[Any]:
    """What a call of `model` is given, in the order of `model.inputs`."""
    if isinstance(given, Mapping):
        expected, _ = structure(model)
        # A model takes a dict by the keys of its own, or else by the names of its inputs.
        return [given[key] for key in (sorted(expected) if isinstance(expected, Mapping) else _names(model))]
    flat: list[Any] = keras.tree.flatten(given)
    return flat


def _names(model: keras.Model) -> list[str]:
    return [x.name for x in model.inputs]


def sources(x: KerasTensor) -> list[KerasTensor]:
    """The inputs of the graph that a tensor is computed from.

    Each tensor is visited once; `keras.utils.get_source_inputs` follows every path, of which residual networks have
    exponentially many.

    >>> a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    >>> [x.name for x in sources(keras.layers.Add()([a, b]))]
    ['a', 'b']
    """
    found: list[KerasTensor] = []
    pending, seen = [x], set()
    while pending:
        tensor = pending.pop()
        operation, index, _ = tensor._keras_history
        node = operation._inbound_nodes[index]
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.is_input:
            found.append(tensor)
        else:
            pending += reversed(node.input_tensors)
    return found
