"""Cuts a network at its strides: the pyramid that detection and segmentation build on."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import KerasTensor, layers

from kblocks.graph.calls import Key, calls, is_tensor, sources

Shape = tuple[int | None, ...]

# What layers do to the stride, but for those that leave positions as they are.
STRIDED = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
)
ENLARGING = (layers.Conv2DTranspose, layers.UpSampling2D)
FRAMING = (layers.ZeroPadding2D, layers.Cropping2D)
SUMMING = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)


def features(model: keras.Model, strides: Sequence[int] = (4, 8, 16, 32)) -> keras.Model:
    """The last tensor of a network at each stride, as a model with as many outputs; the weights are shared.

    A tensor's stride is how many pixels of the image lie between two of its own: the product of the strides of the
    convolutions and poolings before it. Of the tensors of a stride the last is taken that ends a block, which is called
    `…_out`; in a network that names none so, the last. At the stride at which the network ends it is what the head
    takes.

    Args:
        model: functional or sequential, of one image.
        strides: in pixels, each of which the network has.

    Returns:
        A model from the image to a list of tensors, one for each stride; of a single stride Keras gives the tensor.

    Raises:
        TypeError: `model` is no functional model of one input, or `strides` no sequence.
        ValueError: the model takes no image, or has none of a stride; those that it has are named.

    >>> from kblocks import residual, stem
    >>> x = keras.Input((32, 32, 3))
    >>> y = residual.basic(stem.cifar(x, 16), 32, stride=2)
    >>> [each.shape for each in features(keras.Model(x, y), strides=(1, 2)).outputs]
    [(None, 32, 32, 16), (None, 16, 16, 32)]
    """
    if not isinstance(model, keras.Model) or len(getattr(model, "inputs", None) or ()) != 1:
        raise TypeError(f"`model` must be a functional keras.Model of one input; got {model!r}")
    if not isinstance(strides, Sequence) or isinstance(strides, str) or not strides:
        raise TypeError(f"`strides` must be a tuple of numbers of pixels; got {strides!r}")
    (image,) = model.inputs
    if len(image.shape) != 4:
        raise ValueError(f"`model` must take an image; got inputs of shape {tuple(image.shape)}")
    found: dict[float, dict[str, KerasTensor]] = {}
    # A plain functional model of the same tensors: a sequential one's configuration has no graph.
    for name, stride, y in _images(keras.Model(image, model.outputs)):
        found.setdefault(stride, {})[name] = y
    for stride in strides:
        if stride not in found:
            raise ValueError(
                f"`strides` must be of {', '.join(map(str, sorted(found)))} for {model.name}; got {stride}"
            )
    ends = {stride: _end(tensors) for stride, tensors in found.items()}
    # Only the first output's: others come from the middle.
    *_, (_, stride, last) = [("", 1, image), *_images(keras.Model(image, model.outputs[:1]))]
    ends[stride] = last
    return keras.Model(image, [ends[stride] for stride in strides], name=f"{model.name}_features")


def _end(tensors: dict[str, KerasTensor]) -> KerasTensor:
    """The last tensor that ends a block, else the last."""
    ends = [name for name in tensors if name.endswith("_out")]
    return tensors[(ends or list(tensors))[-1]]


def _images(model: keras.Model) -> Iterator[tuple[str, float, KerasTensor]]:
    """The name, stride and tensor of each call that gives an image, in order; a layer's that is called once."""
    config = model.get_config()
    nodes = list(calls(config))
    counts = Counter(entry["name"] for entry, _, _ in nodes)
    by_name = {layer.name: layer for layer in model.layers}
    (image,) = (entry["name"] for entry in config["layers"] if entry["class_name"] == "InputLayer")
    # Keras counts the calls of a model within the model from 1 here, and from 0 in the nodes.
    ends = [(name, i if counts[name] > 1 else 0) for name, i, _ in config["output_layers"]]
    tensors = {(image, 0): model.inputs[0]} | dict(zip(ends, model.outputs, strict=True))
    shapes = {key: shape for _, _, node in nodes for key, shape in _shapes(node)}
    shapes |= {key: tuple(y.shape) for key, y in tensors.items()}
    strides: dict[Key, float | None] = {(image, 0): 1}
    for entry, i, node in nodes:
        key, layer = (entry["name"], i), by_name.get(entry["name"])
        before = list(sources(node))
        images = [source for source in before if strides[source] is not None]
        if not images:
            strides[key] = None
            continue
        largest = max(images, key=lambda source: math.prod(n or 1 for n in shapes[source][1:-1]))
        strides[key] = _stride(layer, strides[largest], shapes[largest], shapes[key])
        if layer is None or counts[layer.name] > 1 or strides[key] is None or len(shapes[key]) != 4:
            continue
        # `layer.output` is that of the layer's first call, which may be in another model.
        inputs = zip(keras.tree.flatten(layer.input), before, strict=False)
        if all(tensor is tensors.get(source, tensor) for tensor, source in inputs):
            tensors.setdefault(key, layer.output)
        if key in tensors:
            yield layer.name, strides[key], tensors[key]


def _shapes(value: Any) -> Iterator[tuple[Key, Shape]]:
    """The call that each tensor in serialised arguments comes from, and its shape."""
    if is_tensor(value):
        yield next(sources(value)), tuple(value["config"]["shape"])
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _shapes(item)


def _stride(layer: Any, stride: float, before: Shape, after: Shape) -> float | None:
    """The stride of a call's output, by that of its largest input and the shapes of both; `None` if it is no image."""
    if isinstance(layer, STRIDED):
        return stride * layer.strides[0]
    if isinstance(layer, ENLARGING):
        factor = (layer.size if isinstance(layer, layers.UpSampling2D) else layer.strides)[0]
        return stride // factor if stride % factor == 0 else stride / factor
    if isinstance(layer, FRAMING):
        return stride
    if isinstance(layer, SUMMING):
        return None
    if after[1:-1] == before[1:-1] or (None not in after[1:] and math.prod(after[1:-1]) == math.prod(before[1:-1])):
        return stride  # whatever it does, position by position; or a reordering of all positions
    if len(before) == len(after) == 4 and before[1] and after[1]:
        return stride * 2 ** round(math.log2(before[1] / after[1]))  # a model within the model, a resizing
    return None
