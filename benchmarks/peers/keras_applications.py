"""A network of keras.applications in place of ours, on the same engine."""

import inspect
import math
from collections.abc import Iterator

import keras

from benchmarks.peers import KERAS_APPLICATIONS as PREFIX
from benchmarks.terminal.errors import UsageError, closest
from kblocks.graph.calls import calls


def application(name: str, model: keras.Model) -> keras.Model:
    """Keras's own network for the images and classes of ours, with random weights.

    Args:
        name: of the function in `keras.applications`, as `ResNet50`.
        model: ours, of one input and one output.

    Returns:
        The network; it ends in logits.

    Raises:
        UsageError: there is no such function, it does not take such images, or the two networks differ in size.
    """
    makers = {
        key: value
        for key, value in vars(keras.applications).items()
        if inspect.isfunction(value) and "weights" in inspect.signature(value).parameters
    }
    if name not in makers:
        raise UsageError(f"--peer={PREFIX}{name}: keras.applications has no {name}{closest(name, makers)}")
    try:
        peer = makers[name](
            weights=None,
            input_shape=model.input_shape[1:],
            classes=model.output_shape[-1],
            classifier_activation=None,
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"--peer={PREFIX}{name}: {' '.join(str(error).split())}") from None
    ours, theirs = (effective_params(each) for each in (model, peer))
    if ours != theirs:
        raise UsageError(
            f"--peer={PREFIX}{name} has {theirs:,} trainable parameters and {model.name} {ours:,} (biases before a "
            "normalisation not counted): no comparison"
        )
    return peer


def effective_params(model: keras.Model) -> int:
    """Number of trainable parameters, without the biases that a batch normalisation cancels."""
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return int(trainable) - sum(_idle_biases(model))


def _idle_biases(model: keras.Model) -> Iterator[int]:
    """The sizes of biases whose sum a batch normalisation, and nothing else, takes in."""
    readers: dict[int, set[type | None]] = {id(y): {None} for y in model.outputs}
    for call in calls(model):
        for x in call.inputs:
            readers.setdefault(id(x), set()).add(type(call.operation))
    # Of a shared layer all calls count.
    of_layer: dict[int, set[type | None]] = {}
    for call in calls(model):
        of_layer.setdefault(id(call.operation), set()).update(*(readers.get(id(y), set()) for y in call.outputs))
    for layer in model.layers:
        is_linear = getattr(layer, "activation", None) is keras.activations.linear
        normalised = of_layer.get(id(layer)) == {keras.layers.BatchNormalization}
        if getattr(layer, "use_bias", False) and is_linear and normalised:
            yield math.prod(layer.bias.shape)
