"""Executes the graph of a functional model call by call, with a given function in place of each layer's own call.

The configuration of a functional model lists every call with the sources of its tensors. An engine can therefore run
the same weights with other kernels without changing the model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from kblocks.graph.calls import Key, calls, is_tensor

Call = Callable[..., Any]
"""A function `(operation, *args, **kwargs) -> tensor or tensors`; `operation(*args, **kwargs)` is the graph's own."""


def replay(model: keras.Model, inputs: Sequence[Any], call: Call) -> list[Any]:
    """The outputs of `model`, computed by `call`, also inside nested models.

    Args:
        model: functional or sequential.
        inputs: a tensor for each of the model's inputs.
        call: runs one operation of the graph.

    Returns:
        A tensor for each of the model's outputs.
    """
    if isinstance(model, keras.Sequential):
        (x,) = inputs
        for layer in model.layers:
            x = _call(layer, call, x)
        return [x]
    config = model.get_config()
    operations = {operation.name: operation for operation in model.operations}
    starts = _as_list(config["input_layers"])
    results: dict[Key, Any] = {(name, i): x for (name, i, _), x in zip(starts, inputs, strict=True)}
    for entry, i, node in calls(config):
        args, kwargs = (_fill(part, results) for part in (list(node["args"]), node["kwargs"]))
        results[entry["name"], i] = _call(operations[entry["name"]], call, *args, **kwargs)
    return [_tensor(results, source) for source in _as_list(config["output_layers"])]


def _call(operation: Any, call: Call, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(operation, keras.Model):
        return call(operation, *args, **kwargs)
    inputs = args[0] if isinstance(args[0], list | tuple) else [args[0]]
    outputs = replay(operation, inputs, call)
    return outputs if len(outputs) > 1 else outputs[0]


def _fill(value: Any, results: dict[Key, Any]) -> Any:
    """The arguments of a call with the tensors in place."""
    if is_tensor(value):
        return _tensor(results, value["config"]["keras_history"])
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {key: _fill(item, results) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_fill(item, results) for item in value)
    return value


def _tensor(results: dict[Key, Any], history: Sequence[Any]) -> Any:
    name, call, output = history
    result = results[name, call]
    return result[output] if isinstance(result, list | tuple) else result


def _as_list(outputs: Any) -> list[Sequence[Any]]:
    """The configuration holds one output as `[name, call, output]`, several as a list of such."""
    return [outputs] if isinstance(outputs[0], str) else list(outputs)
