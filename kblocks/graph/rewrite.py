"""Copies a model call by call, with changes: what folding and surgery have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import KerasTensor

from kblocks.graph.calls import Call, calls, is_graph, structure

__all__ = ["Change", "Copies", "rewrite"]


def __dir__() -> list[str]:
    return __all__


class Copies:
    """The copies of a model's operations; weights are copied at the end, when all copies are built."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}
        self._fresh: set[int] = set()

    def copy(
        self,
        operation: Any,
        make: Callable[[Any], Any] | None = None,
        *,
        fresh: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> Any:
        """The copy of an operation, one for all of its calls.

        Args:
            operation: a layer or an operation of `keras.ops`.
            make: makes the copy, by default from the configuration.
            fresh: whether the copy keeps its initial weights.
            config: values of the configuration that differ in the copy.
        """
        if id(operation) not in self._made:
            self._made[id(operation)] = operation, make(operation) if make else _again(operation, config or {})
            if fresh:
                self._fresh.add(id(operation))
        return self._made[id(operation)][1]

    def copy_weights(self) -> None:
        for key, (old, new) in self._made.items():
            if key in self._fresh or is_graph(old) or not all(isinstance(x, keras.layers.Layer) for x in (old, new)):
                continue
            if old.weights and [tuple(w.shape) for w in old.weights] == [tuple(w.shape) for w in new.weights]:
                new.set_weights(old.get_weights())


Change = Callable[[Call, tuple[Any, ...], dict[str, Any], Copies], Any]
"""A function `(call, args, kwargs, copies)` that returns the outputs of a call in the copy for arguments there;
`NotImplemented` leaves the call as it is.
"""


def _unchanged(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], copies: Copies) -> Any:
    return NotImplemented


def rewrite(
    model: keras.Model,
    change: Change = _unchanged,
    *,
    inputs: Sequence[KerasTensor] | None = None,
    given: Mapping[int, KerasTensor] | None = None,
) -> keras.Model:
    """A copy of a model with changes; the model itself stays as it is.

    Layers are copied from their configuration, with their weights, trainability and names; those that `change` makes of
    other shapes get their weights from it. A functional model of a class of its own is copied as that class if it is
    made like a `keras.Model`, and so keeps its training step.

    Args:
        model: functional or Sequential.
        change: see `Change`; by default nothing.
        inputs: of the copy; by default inputs like the model's.
        given: tensors of the copy in place of tensors of the graph, by the identity of these.

    Raises:
        ValueError: a layer can't be copied.
    """
    copies = Copies()
    copy = _rewrite(model, change, copies, inputs, given or {}, "")
    copies.copy_weights()
    return copy


def _rewrite(
    model: keras.Model,
    change: Change,
    copies: Copies,
    inputs: Sequence[KerasTensor] | None,
    given: Mapping[int, KerasTensor],
    prefix: str,
) -> keras.Model:
    if inputs is None:
        inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]
    values = dict(zip(map(id, model.inputs), inputs, strict=True)) | dict(given)

    def value(x: Any) -> Any:
        return values[id(x)] if isinstance(x, KerasTensor) else x

    for call in calls(model, prefix):
        if all(id(y) in given for y in call.outputs) or any(id(x) not in values for x in call.inputs):
            continue
        args, kwargs = keras.tree.map_structure(value, (call.args, call.kwargs))
        result = change(call, args, kwargs, copies)
        if result is NotImplemented:
            if is_graph(call.operation):
                name = call.name

                def nested(operation: Any, name: str = name) -> keras.Model:
                    return _rewrite(operation, change, copies, None, {}, f"{name}/")

                operation = copies.copy(call.operation, nested)
            else:
                operation = copies.copy(call.operation)
            result = operation(*args, **kwargs)
        values.update(
            (key, y)
            for key, y in zip(map(id, call.outputs), keras.tree.flatten(result), strict=True)
            if key not in given
        )
    expected, outputs = structure(model)
    packed = keras.tree.pack_sequence_as(expected, list(inputs)) if len(inputs) == len(model.inputs) else list(inputs)
    return _like(model, packed, keras.tree.map_structure(value, outputs))


def _like(model: keras.Model, inputs: Any, outputs: Any) -> keras.Model:
    """A model of the same class, if that is made of inputs and outputs alone."""
    own = type(model)
    if not isinstance(model, keras.Sequential) and "__init__" not in vars(own):
        return own(inputs, outputs, name=model.name)
    return keras.Model(inputs, outputs, name=model.name)


def _again(operation: Any, config: Mapping[str, Any]) -> Any:
    """The operation made anew from its configuration."""
    try:
        return type(operation).from_config({**operation.get_config(), **config})
    except (NotImplementedError, TypeError, ValueError) as error:
        if not isinstance(operation, keras.layers.Layer) and not config:
            return operation  # it has no weights, and may have further calls
        raise ValueError(
            f"`model` must consist of layers that can be copied; {operation.name}, a {type(operation).__name__}, can't "
            f"be made from its configuration ({' '.join(str(error).split())[:200]})"
        ) from error
