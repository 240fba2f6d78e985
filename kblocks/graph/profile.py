"""Parameter and multiply-add counts, read from a model's graph; nothing is built or run."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from kblocks.graph.calls import Key, calls, is_tensor, sources

__all__ = ["COUNTS", "FREE", "Profile", "layer_macs", "profile"]


def __dir__() -> list[str]:
    return __all__


Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Profile:
    """Parameter and multiply-add counts of a model.

    Attributes:
        params: number of parameters.
        trainable_params: number of trainable parameters.
        macs: multiply-adds of one example in convolutions, dense and recurrent layers, and attention; a shared layer
            counts once per call. Biases, normalisation, activations and pooling are not counted.
    """

    params: int
    trainable_params: int
    macs: int


def profile(model: keras.Model) -> Profile:
    """Counts parameters and multiply-adds.

    Args:
        model: a functional or sequential model of known sizes, the batch excepted.

    Returns:
        The counts.

    Raises:
        TypeError: `model` is not a functional or sequential model.
        ValueError: a size on which the count depends is unknown, or the products of a layer are.

    >>> x = keras.Input((784,))
    >>> profile(keras.Model(x, layers.Dense(10)(layers.Dense(64)(x))))
    Profile(params=50890, trainable_params=50890, macs=50816)
    """
    macs = _model_macs(model)
    return Profile(
        params=sum(math.prod(weight.shape) for weight in model.weights),
        trainable_params=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        macs=macs,
    )


def _model_macs(model: keras.Model) -> int:
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise ValueError(f"`model` must be built, so that its sizes are known; got {model!r}")
        # `layer.input` is that of the layer's first call, which may be in another model.
        shape, total = tuple(model.input_shape), 0
        for layer in model.layers:
            total += layer_macs(layer, {_first_argument(layer): shape})
            shape = tuple(layer.compute_output_shape(shape))
        return total
    # The configuration of a subclassed model never holds a graph.
    config = model.get_config() if hasattr(model, "operations") else {}
    if "layers" not in config:
        raise TypeError(f"`model` must be a functional or sequential keras.Model; got {model!r}")
    by_name = {layer.name: layer for layer in model.layers}
    return sum(
        examples * layer_macs(by_name[name], _shapes(by_name[name], node))
        for name, node, examples in _examples(config)
        # Operations of keras.ops are in the graph too, but are not layers and have no weights.
        if name in by_name
    )


def _examples(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], int]]:
    """The name, the arguments and the number of examples of each call in a graph, for one example of the model.

    Several examples are those of tensors concatenated along the batch axis, until they are split again.
    """
    examples: dict[Key, int] = {}
    for entry, i, node in calls(config):
        counts = [examples.get(source, 1) for source in sources(node)] or [1]
        count = max(counts)
        if entry["class_name"] == "Concatenate" and entry["config"]["axis"] == 0:
            count = sum(counts)
        elif entry["class_name"] == "Split" and entry["config"]["axis"] == 0:
            sections = entry["config"]["indices_or_sections"]
            count //= sections if isinstance(sections, int) else len(sections) + 1
        examples[entry["name"], i] = count
        yield entry["name"], node, count


def _shapes(layer: keras.layers.Layer, node: dict[str, Any]) -> dict[str, Shape]:
    """The shapes of a call's tensors by argument; tensors in lists are skipped, as no counted layer takes a list."""
    arguments = inspect.signature(layer.call).bind_partial(*node["args"], **node["kwargs"]).arguments
    return {argument: tuple(value["config"]["shape"]) for argument, value in arguments.items() if is_tensor(value)}


def _first_argument(layer: keras.layers.Layer) -> str:
    return next(iter(inspect.signature(layer.call).parameters))


def layer_macs(layer: keras.layers.Layer, shapes: dict[str, Shape]) -> int:
    """Multiply-adds of one example in one call of a layer, given the shapes of the call's tensors by argument."""
    if isinstance(layer, keras.Model):
        return _model_macs(_rebuilt(layer, list(shapes.values())))
    if isinstance(layer, layers.TimeDistributed):
        (inputs,) = shapes.values()
        return _size(layer, inputs[1:2]) * layer_macs(layer.layer, {"inputs": (inputs[0], *inputs[2:])})
    if isinstance(layer, layers.Bidirectional):
        return layer_macs(layer.forward_layer, shapes) + layer_macs(layer.backward_layer, shapes)
    for kinds, count in COUNTS.items():
        if isinstance(layer, kinds):
            return count(layer, **shapes)
    if not isinstance(layer, FREE) and any(len(weight.shape) > 1 for weight in layer.weights):
        raise ValueError(f"`model` must consist of layers whose multiply-adds are known; got {layer!r}")
    return 0


def _rebuilt(model: keras.Model, shapes: list[Shape]) -> keras.Model:
    """The model rebuilt for the shapes of a call, if its own are not all known."""
    own = getattr(model, "inputs", None) or ()
    if len(shapes) != len(own) or not any(None in x.shape[1:] for x in own):
        return model
    inputs = [keras.Input(shape[1:], dtype=x.dtype) for x, shape in zip(own, shapes, strict=True)]
    plain = keras.Model(model.inputs, model.outputs)
    return keras.models.clone_model(plain, input_tensors=inputs, clone_function=lambda layer: layer)


def _conv(layer: Any, inputs: Shape) -> int:
    """Each output value costs the kernel's size without the number of filters."""
    return _size(layer, layer.compute_output_shape(inputs)[1:]) * _product(layer.kernel.shape[:-1])


def _depthwise(layer: Any, inputs: Shape) -> int:
    return _size(layer, layer.compute_output_shape(inputs)[1:]) * _product(layer.kernel.shape[:-2])


def _separable(layer: Any, inputs: Shape) -> int:
    positions = _size(layer, layer.compute_output_shape(inputs)[1:-1])
    return positions * (_product(layer.depthwise_kernel.shape) + _product(layer.pointwise_kernel.shape))


def _conv_transpose(layer: Any, inputs: Shape) -> int:
    """Each input position is multiplied by the whole kernel."""
    return _size(layer, inputs[1:-1]) * _product(layer.kernel.shape)


def _dense(layer: Any, inputs: Shape) -> int:
    return _size(layer, inputs[1:-1]) * _product(layer.kernel.shape)


def _recurrent(layer: Any, sequences: Shape) -> int:
    """One product with the kernel and one with the recurrent kernel per step."""
    products = _product(layer.cell.kernel.shape) + _product(layer.cell.recurrent_kernel.shape)
    return _size(layer, sequences[1:2]) * products


def _einsum_dense(layer: Any, inputs: Shape) -> int:
    """The product of the sizes of all indices of the equation, the batch excepted."""
    operands, output = layer.equation.replace(" ", "").split("->")
    first, second = operands.split(",")
    left, _, right = first.partition("...")
    sizes = dict(zip(left, inputs, strict=False)) | dict(zip(right[::-1], inputs[::-1], strict=False))
    sizes |= dict(zip(second, layer.kernel.shape, strict=True))
    contracted = tuple(size for index, size in sizes.items() if index not in output)
    return _size(layer, layer.compute_output_shape(inputs)[1:] + contracted)


def _attention(layer: Any, query: Shape, value: Shape, key: Shape | None = None, **masks: Shape) -> int:
    """Projections of query, key, value and output, and the two products of every query with every key."""
    key = value if key is None else key
    config = layer.get_config()
    heads, width = int(config["num_heads"]), int(config["key_dim"])
    value_width = int(config["value_dim"] or width)
    attended = tuple(key[axis] for axis in config["attention_axes"] or range(1, len(key) - 1))
    output = layer.compute_output_shape(query, value, key)
    projections = (
        _size(layer, query[1:]) * heads * width
        + _size(layer, key[1:]) * heads * width
        + _size(layer, value[1:]) * heads * value_width
        + _size(layer, output[1:]) * heads * value_width
    )
    return projections + _size(layer, query[1:-1] + attended) * heads * (width + value_width)


def _size(layer: keras.layers.Layer, shape: Shape) -> int:
    known = [size for size in shape if size is not None]
    if len(known) < len(shape):
        raise ValueError(
            f"`model` must have known sizes for its multiply-adds to be counted; layer {layer.name} has shape {shape} "
            "(build the model with a full input shape)"
        )
    return math.prod(known)


def _product(sizes: Iterable[int]) -> int:
    return math.prod(sizes)


# DepthwiseConv, SeparableConv and the transposed layers do not derive from Conv, so the order does not matter.
COUNTS: dict[tuple[type, ...], Callable[..., int]] = {
    (layers.Conv1D, layers.Conv2D, layers.Conv3D): _conv,
    (layers.DepthwiseConv1D, layers.DepthwiseConv2D): _depthwise,
    (layers.SeparableConv1D, layers.SeparableConv2D): _separable,
    (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose): _conv_transpose,
    (layers.Dense,): _dense,
    (layers.EinsumDense,): _einsum_dense,
    (layers.MultiHeadAttention,): _attention,
    (layers.LSTM, layers.GRU, layers.SimpleRNN): _recurrent,
}

# Weights that are looked up, added, or multiplied elementwise: no multiply-adds are counted.
FREE = (
    *(layers.Embedding, layers.PReLU, layers.Normalization),
    *(layers.LayerNormalization, layers.RMSNormalization, layers.BatchNormalization, layers.GroupNormalization),
)
