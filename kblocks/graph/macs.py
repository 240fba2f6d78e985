"""Multiply-adds of one call of a layer or operation, from the shapes of its tensors."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
from keras import KerasTensor, layers

__all__ = ["macs"]


def __dir__() -> list[str]:
    return __all__


Shape = tuple[int | None, ...]


def macs(operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | None:
    """Multiply-adds of a call in products: convolutions, dense and recurrent layers, attention, matrix products.

    Biases, normalisation, activations, pooling and elementwise products count as none.

    Args:
        operation: a layer or an operation of `keras.ops`, no nested model.
        args: positional arguments of the call, tensors of known shapes among them; the batch counts.
        kwargs: keyword arguments.

    Returns:
        The number; `None` if the operation is not known, so that it may hold products.

    Raises:
        ValueError: a size on which the number depends is unknown.
    """
    if isinstance(operation, keras.Model):
        return None
    if not isinstance(operation, keras.layers.Layer):
        return _of_operation(operation, args, kwargs)
    signature = inspect.signature(operation.call)
    arguments = signature.bind_partial(*args, **kwargs).arguments
    shapes = {name: _shapes(value) for name, value in arguments.items()}
    return _of_layer(operation, {name: shape for name, shape in shapes.items() if shape is not None})


def _shapes(value: Any) -> Any:
    """The shape of a tensor, those of a list of tensors; `None` of anything else."""
    if isinstance(value, KerasTensor):
        return tuple(value.shape)
    if isinstance(value, list | tuple) and value and all(isinstance(x, KerasTensor) for x in value):
        return [tuple(x.shape) for x in value]
    return None


def _of_layer(layer: Any, shapes: dict[str, Any]) -> int | None:
    if isinstance(layer, layers.TimeDistributed):
        (inputs,) = shapes.values()
        if isinstance(layer.layer, keras.Model):
            return None
        name = next(iter(inspect.signature(layer.layer.call).parameters))
        each = _of_layer(layer.layer, {name: (inputs[0], *inputs[2:])})
        return each if each is None else _size(layer, inputs[1:2]) * each
    if isinstance(layer, layers.Bidirectional):
        both = [_of_layer(each, shapes) for each in (layer.forward_layer, layer.backward_layer)]
        return None if None in both else sum(filter(None, both))
    if isinstance(layer, layers.SpectralNormalization):
        return _of_layer(layer.layer, shapes)
    for kinds, count in COUNTS.items():
        if isinstance(layer, kinds):
            return count(layer, **shapes)
    # Layers of others may compute products without weights; those of Keras that do are listed.
    is_known = type(layer).__module__.startswith("keras.") and type(layer).__name__ not in CUSTOM
    if is_known and (isinstance(layer, FREE) or all(len(weight.shape) < 2 for weight in layer.weights)):
        return 0
    return None


def _of_operation(operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | None:
    name = type(operation).__name__
    if name in UNKNOWN_OPERATIONS:
        return None
    count = OPERATIONS.get(name)
    if count is None:
        return 0
    values = (*args, *kwargs.values())
    shapes = [tuple(x.shape) for x in keras.tree.flatten(values) if hasattr(x, "shape")]
    output = operation.compute_output_spec(*args, **kwargs)
    return count(operation, shapes, tuple(output.shape))


def _conv(layer: Any, inputs: Shape) -> int:
    """Each output value costs the kernel's size without the number of filters."""
    return _size(layer, layer.compute_output_shape(inputs)) * _prod(layer.kernel.shape[:-1])


def _depthwise(layer: Any, inputs: Shape) -> int:
    return _size(layer, layer.compute_output_shape(inputs)) * _prod(layer.kernel.shape[:-2])


def _separable(layer: Any, inputs: Shape) -> int:
    positions = _size(layer, _positions(layer, layer.compute_output_shape(inputs)))
    return positions * (_prod(layer.depthwise_kernel.shape) + _prod(layer.pointwise_kernel.shape))


def _conv_transpose(layer: Any, inputs: Shape) -> int:
    """Each input position is multiplied by the whole kernel."""
    return _size(layer, _positions(layer, inputs)) * _prod(layer.kernel.shape)


def _positions(layer: Any, shape: Shape) -> Shape:
    """The batch and the image axes."""
    return (shape[0], *shape[2:]) if layer.data_format == "channels_first" else shape[:-1]


def _dense(layer: Any, inputs: Shape) -> int:
    return _size(layer, inputs[:-1]) * _prod(layer.kernel.shape)


def _recurrent(layer: Any, sequences: Shape, **others: Shape) -> int:
    """One product with the kernel and one with the recurrent kernel per step."""
    products = _prod(layer.cell.kernel.shape) + _prod(layer.cell.recurrent_kernel.shape)
    return _size(layer, sequences[:2]) * products


def _einsum_dense(layer: Any, inputs: Shape) -> int:
    """The product of the sizes of all indices of the equation."""
    operands, output = layer.equation.replace(" ", "").split("->")
    first, second = operands.split(",")
    left, _, right = first.partition("...")
    sizes = dict(zip(left, inputs, strict=False)) | dict(zip(right[::-1], inputs[::-1], strict=False))
    sizes |= dict(zip(second, layer.kernel.shape, strict=True))
    contracted = tuple(size for index, size in sizes.items() if index not in output)
    return _size(layer, layer.compute_output_shape(inputs) + contracted)


def _multi_head(layer: Any, query: Shape, value: Shape, key: Shape | None = None, **masks: Shape) -> int:
    """Projections of query, key, value and output, and the two products of every query with every key."""
    key = value if key is None else key
    config = layer.get_config()
    heads, width = int(config["num_heads"]), int(config["key_dim"])
    value_width = int(config["value_dim"] or width)
    axes = config["attention_axes"] or range(1, len(key) - 1)
    axes = (axes,) if isinstance(axes, int) else axes
    attended = tuple(key[axis] for axis in axes)
    output = layer.compute_output_shape(query, value, key)
    projections = (
        _size(layer, query) * heads * width
        + _size(layer, key) * heads * width
        + _size(layer, value) * heads * value_width
        + _size(layer, output) * heads * value_width
    )
    return projections + _size(layer, query[:-1] + attended) * heads * (width + value_width)


def _grouped(layer: Any, query: Shape, value: Shape, key: Shape | None = None, **masks: Shape) -> int:
    """As `_multi_head`, with fewer heads of keys and values than of queries."""
    key = value if key is None else key
    config = layer.get_config()
    width, heads = int(config["head_dim"]), int(config["num_query_heads"])
    shared = int(config["num_key_value_heads"])
    projections = 2 * _size(layer, query) * heads * width + (_size(layer, key) + _size(layer, value)) * shared * width
    return projections + 2 * _size(layer, (*query[:-1], key[1])) * heads * width


def _dot_attention(layer: Any, inputs: list[Shape], **masks: Any) -> int:
    """The product, or for additive attention the sum, of every query with every key, and the weighted sum of values."""
    query, value, *rest = inputs
    key = rest[0] if rest else value
    pairs = _size(layer, (*query[:-1], key[-2]))
    return pairs * (_size(layer, query[-1:]) + _size(layer, value[-1:]))


def _dot(layer: Any, inputs: list[Shape]) -> int:
    """The output's size times the length of the sums."""
    first, second = inputs
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    output = layer.compute_output_shape([first, second])
    # A product of vectors has an axis of size 1 in the place of none.
    return _size(layer, output) * _size(layer, (first[axis],))


def _prod(sizes: Iterable[int]) -> int:
    return math.prod(sizes)


def _size(layer: Any, shape: Iterable[int | None]) -> int:
    sizes = tuple(shape)
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        raise ValueError(
            f"`model` must have known sizes for its multiply-adds to be counted; layer {layer.name} has shape "
            f"{(None, *sizes[1:])} (give `input_shape`, or build the model with a full input shape)"
        )
    return math.prod(known)


def _product(operation: Any, shapes: list[Shape], output: Shape) -> int:
    """`matmul` and `dot`: the output's size times the length of the sums."""
    return _size(operation, output) * _size(operation, shapes[0][-1:])


def _outer(operation: Any, shapes: list[Shape], output: Shape) -> int:
    return _size(operation, output)


def _tensordot(operation: Any, shapes: list[Shape], output: Shape) -> int:
    first, second = (_size(operation, shape) for shape in shapes)
    # Every contracted size stands in both operands and not in the output.
    return math.isqrt(first * second * _size(operation, output))


def _einsum(operation: Any, shapes: list[Shape], output: Shape) -> int:
    """The product of the sizes of all indices, once for each operand beyond the first."""
    operands, _, _result = operation.subscripts.replace(" ", "").partition("->")
    sizes: dict[str, int | None] = {}
    free: Shape = ()
    for indices, shape in zip(operands.split(","), shapes, strict=True):
        left, dots, right = indices.partition("...")
        sizes |= dict(zip(left, shape, strict=False)) | dict(zip(right[::-1], shape[::-1], strict=False))
        if dots:
            free = max(free, shape[len(left) : len(shape) - len(right)], key=len)
    return _size(operation, (*sizes.values(), *free)) * max(0, len(shapes) - 1)


def _conv_op(operation: Any, shapes: list[Shape], output: Shape) -> int:
    return _size(operation, output) * _size(operation, shapes[1][:-1])


def _depthwise_op(operation: Any, shapes: list[Shape], output: Shape) -> int:
    return _size(operation, output) * _size(operation, shapes[1][:-2])


def _attention_op(operation: Any, shapes: list[Shape], output: Shape) -> int:
    """Of shapes `(batch, tokens, heads, width)`."""
    query, key = shapes[:2]
    return 2 * _size(operation, query) * _size(operation, key[1:2])


CUSTOM = frozenset({"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"})
"""Layers of Keras that run code of others."""

# DepthwiseConv, SeparableConv and the transposed layers do not derive from Conv, so the order does not matter.
COUNTS: dict[tuple[type, ...], Callable[..., int]] = {
    (layers.Conv1D, layers.Conv2D, layers.Conv3D): _conv,
    (layers.DepthwiseConv1D, layers.DepthwiseConv2D): _depthwise,
    (layers.SeparableConv1D, layers.SeparableConv2D): _separable,
    (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose): _conv_transpose,
    (layers.Dense,): _dense,
    (layers.EinsumDense,): _einsum_dense,
    (layers.MultiHeadAttention,): _multi_head,
    (layers.GroupQueryAttention,): _grouped,
    (layers.Attention, layers.AdditiveAttention): _dot_attention,
    (layers.Dot,): _dot,
    (layers.LSTM, layers.GRU, layers.SimpleRNN): _recurrent,
}

# Weights that are looked up, added, or multiplied elementwise: no multiply-adds are counted.
FREE = (
    *(layers.Embedding, layers.PReLU, layers.Normalization),
    *(layers.LayerNormalization, layers.RMSNormalization, layers.BatchNormalization, layers.GroupNormalization),
)

OPERATIONS: dict[str, Callable[[Any, list[Shape], Shape], int]] = {
    "Matmul": _product,
    "Dot": _product,
    "Inner": _product,
    "Vdot": _product,
    "Outer": _outer,
    "Tensordot": _tensordot,
    "Einsum": _einsum,
    "Conv": _conv_op,
    "DepthwiseConv": _depthwise_op,
    "DotProductAttention": _attention_op,
}
"""Operations of `keras.ops`, whose classes have no public names."""

UNKNOWN_OPERATIONS = frozenset(
    {"ConvTranspose", "SeparableConv", "Correlate", "FFT", "FFT2", "IFFT2", "RFFT", "IRFFT", "STFT", "ISTFT"}
    | {"Cholesky", "CholeskyInverse", "Det", "Eig", "Eigh", "Inv", "LuFactor", "Lstsq", "Norm", "QR", "Qr", "SVD"}
    | {"Solve", "SolveTriangular", "Map", "Scan", "WhileLoop", "Cond", "VectorizedMap", "ForiLoop", "AssociativeScan"}
    | {"Kron"}
)
"""Operations that hold products that are not counted here."""
