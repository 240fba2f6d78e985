"""Cuts a network at its strides: the pyramid that detection and segmentation build on."""

import math
from collections import Counter
from collections.abc import Sequence

import keras
from keras import KerasTensor

from kblocks.graph.calls import calls


def features(model: keras.Model, strides: Sequence[int] = (4, 8, 16, 32)) -> keras.Model:
    """The last tensor of a network at each stride, as a model with as many outputs; the weights are shared.

    A tensor's stride is what its height is smaller by than the image's, rounded to a power of two. Of the tensors of a
    stride the last is taken that ends a block, which is called `…_out`; in a network that names none so, the last. At
    the stride at which the network ends it is what the head takes.

    Args:
        model: functional, of one image of known height.
        strides: powers of two, each of which the network has.

    Returns:
        A model from the image to a list of tensors, one for each stride.

    Raises:
        TypeError: `model` is no functional model of one input, or `strides` no sequence.
        ValueError: the image's height is unknown, or the network has none of a stride; those that it has are named.

    >>> from kblocks import residual, stem
    >>> x = keras.Input((32, 32, 3))
    >>> y = residual.basic(stem.cifar(x, 16), 32, stride=2)
    >>> [each.shape for each in features(keras.Model(x, y), strides=(1, 2)).outputs]
    [(None, 32, 32, 16), (None, 16, 16, 32)]
    """
    if not isinstance(model, keras.Model) or len(getattr(model, "inputs", None) or ()) != 1:
        raise TypeError(f"`model` must be a functional keras.Model of one input; got {model!r}")
    if not isinstance(strides, Sequence) or isinstance(strides, str) or not strides:
        raise TypeError(f"`strides` must be a tuple of powers of two; got {strides!r}")
    (image,) = model.inputs
    if len(image.shape) != 4 or image.shape[1] is None:
        raise ValueError(f"`model` must take an image of known height; got inputs of shape {tuple(image.shape)}")
    found: dict[int, dict[str, KerasTensor]] = {}
    for name, y in _images(model).items():
        found.setdefault(_stride(image, y), {})[name] = y
    for stride in strides:
        if stride not in found:
            raise ValueError(
                f"`strides` must be of {', '.join(map(str, sorted(found)))} for {model.name}; got {stride}"
            )
    ends = {stride: _end(tensors) for stride, tensors in found.items()}
    # Only the first output's: others come from the middle.
    last = [image, *_images(keras.Model(image, model.outputs[0])).values()][-1]
    ends[_stride(image, last)] = last
    return keras.Model(image, [ends[stride] for stride in strides], name=f"{model.name}_features")


def _stride(image: KerasTensor, y: KerasTensor) -> int:
    return 2 ** round(math.log2(image.shape[1] / y.shape[1]))


def _images(model: keras.Model) -> dict[str, KerasTensor]:
    """What the layers give that stand at one place of the graph, where it is an image, in the order of the calls."""
    names = [entry["name"] for entry, _, _ in calls(model.get_config())]
    layers = {layer.name: layer for layer in model.layers}
    tensors = {name: layers[name].output for name, count in Counter(names).items() if count == 1 and name in layers}
    return {name: y for name, y in tensors.items() if isinstance(y, KerasTensor) and len(y.shape) == 4 and y.shape[1]}


def _end(tensors: dict[str, KerasTensor]) -> KerasTensor:
    """The last tensor that ends a block, else the last."""
    ends = [name for name in tensors if name.endswith("_out")]
    return tensors[(ends or list(tensors))[-1]]
