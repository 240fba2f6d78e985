"""Executes the graph of a functional model call by call, with a given function in place of each layer's own call.

An engine can so run the same weights with other kernels without changing the model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from kblocks.graph.calls import run

Execute = Callable[..., Any]
"""A function `(operation, *args, **kwargs) -> tensor or tensors`; `operation(*args, **kwargs)` is the graph's own."""


def replay(model: keras.Model, inputs: Sequence[Any], call: Execute) -> list[Any]:
    """The outputs of `model`, computed by `call`, also inside nested models.

    Args:
        model: functional or Sequential.
        inputs: a tensor for each of the model's inputs.
        call: runs one operation of the graph.

    Returns:
        A tensor for each of the model's outputs.
    """
    outputs = run(model, list(inputs), lambda each, args, kwargs: call(each.operation, *args, **kwargs))
    flat: list[Any] = keras.tree.flatten(outputs)
    return flat
