"""The preprocessing of pretrained networks as a stock layer, so that a saved network is complete."""

from collections.abc import Callable
from functools import partial

import numpy as np
from keras import KerasTensor, Model, layers

from kblocks.graph.calls import Call, calls

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

PREPROCESS = "preprocess"
"""The layer's name."""

MEANS_AND_VARIANCES = {
    # keras.applications also reverses the channels to blue, green, red; `turn_colours` does so in the first kernel.
    "caffe": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "torch": (tuple(255 * m for m in _MEAN), tuple((255 * s) ** 2 for s in _STD)),
    "tf": ((127.5,) * 3, (127.5**2,) * 3),
    "unit128": ((128.0,) * 3, (128.0**2,) * 3),
}
"""Mean and variance of red, green and blue in each mode of keras.applications."""


def preprocess(x: KerasTensor, mode: str, *, name: str | None = None) -> KerasTensor:
    """`(x − mean) / sqrt(variance)` for each channel, in float32.

    Args:
        x: `(batch, height, width, 3)`, red, green and blue in 0 to 255.
        mode: a key of `MEANS_AND_VARIANCES`.
        name: the layer's name.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: `x` does not have three channels.

    >>> from keras import Input
    >>> preprocess(Input((224, 224, 3)), "torch").shape
    (None, 224, 224, 3)
    """
    if len(x.shape) != 4 or x.shape[-1] != 3:
        raise ValueError(f"`preprocessing` must be False unless images have 3 channels; got shape {tuple(x.shape)}")
    mean, variance = MEANS_AND_VARIANCES[mode]
    return layers.Normalization(mean=mean, variance=variance, dtype="float32", name=name)(x)


def in_row(mode: str | None) -> Callable[[KerasTensor], KerasTensor] | None:
    """The preprocessing of a row, as a function of the images; `None` if it has none."""
    return None if mode is None else partial(preprocess, mode=mode, name=PREPROCESS)


def leading(model: Model) -> list[Call]:
    """The calls at the beginning of a network that prepare its inputs: preprocessing layers, and operations."""
    inputs = {id(x) for x in model.inputs}
    found = []
    for call in calls(model):
        if inputs.isdisjoint(map(id, call.inputs)):
            continue
        prepares = not isinstance(call.operation, layers.Layer) or ".preprocessing." in type(call.operation).__module__
        if prepares or not call.operation.weights:
            inputs |= set(map(id, call.outputs))
        if prepares:
            found.append(call)
    return found


def has_preprocessing(model: Model) -> bool:
    """Whether a network of `create` takes images of 0 to 255."""
    return any(layer.name == PREPROCESS for layer in model.layers)


def swaps_colours(model: Model) -> bool:
    """Whether a network takes red, green, blue where the weights of Keras are for blue, green, red."""
    # Layers of other names come from models of somebody's own, whose order of the channels is not ours to change.
    own = [layer for layer in model.layers if isinstance(layer, layers.Normalization) and layer.name == PREPROCESS]
    return any(np.array_equal(layer.get_config()["mean"], MEANS_AND_VARIANCES["caffe"][0]) for layer in own)
