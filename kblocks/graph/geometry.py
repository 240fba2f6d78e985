"""Stride and receptive field of every tensor in a graph: where its positions lie in the input image.

Convolution and pooling multiply the stride; cropping and padding keep it; resizing multiplies it by the ratio of the
sizes. A layer that is not listed here keeps it if it keeps the size; of any other, such as a layer of one's own, the
shapes are computed for two sizes of image, and the growth of the output gives the factor.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import keras
from keras import KerasTensor, layers

from kblocks.graph.calls import Call, calls, is_graph

__all__ = ["Geometry", "Trace", "Unknown", "images", "trace"]


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True)
class Geometry:
    """Where the positions of a tensor lie in the image.

    Attributes:
        axes: the tensor's image axes, as `(1, 2)`; a single one for an image flattened to a sequence.
        strides: input pixels from one position to the next, along each axis of the image.
        fields: the receptive field in input pixels, along each axis; `None` if it is the whole image or unknown.
            Factors computed from the whole image, as those of squeeze-and-excitation, are left out.
    """

    axes: tuple[int, ...]
    strides: tuple[Fraction, ...]
    fields: tuple[Fraction, ...] | None

    @property
    def is_image(self) -> bool:
        return len(self.axes) == len(self.strides)

    @property
    def stride(self) -> Fraction | None:
        """The stride along all axes; `None` where they differ."""
        return self.strides[0] if len(set(self.strides)) == 1 else None


@dataclass(frozen=True)
class Unknown:
    """An image whose stride is not known because of an operation."""

    operation: Any


Where = Geometry | Unknown | None
"""`None` stands for what is no image: vectors, and factors computed from the whole image."""


@dataclass
class Trace:
    """The calls of a model with the geometry of their tensors.

    Attributes:
        model: the model.
        calls: its calls, in order.
        of: geometry by the identity of a tensor.
        within: the traces of nested models, by the identity of their call.
    """

    model: keras.Model
    calls: list[Call]
    of: dict[int, Where]
    within: dict[int, "Trace"] = field(default_factory=dict)

    def __getitem__(self, tensor: KerasTensor) -> Where:
        return self.of.get(id(tensor))


def images(model: keras.Model) -> list[Where]:
    """The geometry of a model's inputs: each of rank 3 and more is an image or a sequence of stride 1."""
    found: list[Where] = []
    for x in model.inputs:
        rank = len(x.shape) - 2
        if rank < 1:
            found.append(None)
            continue
        first = 2 if _channels_first(model) else 1
        found.append(Geometry(tuple(range(first, first + rank)), (Fraction(1),) * rank, (Fraction(1),) * rank))
    return found


def _channels_first(model: keras.Model) -> bool:
    """The data format of the first layer that has one, else Keras's global one."""
    for call in calls(model):
        if is_graph(call.operation):
            return _channels_first(call.operation)
        if form := getattr(call.operation, "data_format", None):
            return str(form) == "channels_first"
    return str(keras.config.image_data_format()) == "channels_first"


def trace(model: keras.Model, inputs: Sequence[Where]) -> Trace:
    """Follows the geometry of a model's inputs through all of its calls, nested models included."""
    found = Trace(model, calls(model), dict(zip(map(id, model.inputs), inputs, strict=True)))
    for call in found.calls:
        if is_graph(call.operation):
            inner = trace(call.operation, [found[x] for x in call.inputs])
            found.within[id(call)] = inner
            after = [inner[y] for y in call.operation.outputs]
        else:
            after = [_after(call, y, found) for y in call.outputs]
        found.of.update(zip(map(id, call.outputs), after, strict=True))
    return found


def _after(call: Call, output: KerasTensor, known: Trace) -> Where:
    """The geometry of an output of a call."""
    sources = [(x, where) for x in call.inputs if (where := known[x]) is not None]
    if not sources or len(output.shape) < 3:
        return None
    # Of a sum or product the largest operand has the output's size; the others are broadcast to it.
    largest, where = max(sources, key=lambda source: _positions(source[0], source[1]))
    if isinstance(where, Unknown):
        return where
    equal = [other for x, other in sources if tuple(x.shape) == tuple(largest.shape)]
    if any(isinstance(other, Geometry) and other.strides != where.strides for other in equal):
        return Unknown(call.operation)
    for kinds, rule in RULES:
        if isinstance(call.operation, kinds):
            result = rule(call, where, largest, output)
            break
    else:
        name = type(call.operation).__name__ if _is_operation(call.operation) else ""
        result = OPERATIONS.get(name, _other)(call, where, largest, output)
    if not isinstance(result, Geometry) or result.fields is None:
        return result
    fields = [other.fields for _, other in sources if isinstance(other, Geometry) and other.is_image == where.is_image]
    if any(each is None or len(each) != len(result.fields) for each in fields):
        return replace(result, fields=None) if None in fields else result
    # What the rule adds to the field of the largest operand, on top of the widest operand.
    assert where.fields is not None
    widest = [max(each) for each in zip(*(each for each in fields if each), strict=True)]
    return replace(
        result, fields=tuple(r - w + most for r, w, most in zip(result.fields, where.fields, widest, strict=True))
    )


def _positions(x: KerasTensor, where: Where) -> tuple[int, int, int]:
    if isinstance(where, Unknown):
        return (-1, math.prod(n or 1 for n in x.shape[1:-1]), 0)
    assert where is not None
    sizes = [x.shape[axis] for axis in where.axes]
    # An unknown size is that of an image, not of a factor.
    return (sum(n is None for n in sizes), math.prod(n or 1 for n in sizes), len(x.shape))


def _is_operation(operation: Any) -> bool:
    return not isinstance(operation, layers.Layer)


Rule = Callable[[Call, Geometry, KerasTensor, KerasTensor], Where]


def _keep(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    return where


def _no_image(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    return None


def _window(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    """Convolutions and poolings."""
    layer = call.operation
    kernel = getattr(layer, "kernel_size", None) or layer.pool_size
    dilations = getattr(layer, "dilation_rate", 1)
    return _strided(call, where, _each(kernel, where), _each(layer.strides, where), _each(dilations, where))


def _strided(
    call: Call, where: Geometry, kernel: Sequence[int], steps: Sequence[int], dilations: Sequence[int]
) -> Where:
    if not where.is_image:
        one = all(n == 1 for n in (*kernel, *steps))
        return where if one else Unknown(call.operation)
    grown = _grown(where, [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)])
    return replace(grown, strides=tuple(s * n for s, n in zip(where.strides, steps, strict=True)))


def _each(value: Any, where: Geometry) -> tuple[int, ...]:
    """A value for each axis, of a layer's that may be one for all."""
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    return tuple(map(int, values * len(where.axes) if len(values) == 1 else values))


def _grown(where: Geometry, taps: Sequence[int | Fraction]) -> Geometry:
    """The receptive field after a window of `taps + 1` positions."""
    if where.fields is None or not where.is_image:
        return where
    return replace(where, fields=tuple(f + n * s for f, n, s in zip(where.fields, taps, where.strides, strict=True)))


def _transposed(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    layer = call.operation
    kernel, steps = _each(layer.kernel_size, where), _each(layer.strides, where)
    grown = _grown(where, [math.ceil(k / n) - 1 for k, n in zip(kernel, steps, strict=True)])
    return replace(grown, strides=tuple(s / n for s, n in zip(where.strides, steps, strict=True)))


def _upsampled(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    layer = call.operation
    # A nearest neighbour is a copy, any other interpolation reads two positions or more.
    grown = _grown(where, [int(getattr(layer, "interpolation", "nearest") != "nearest")] * len(where.strides))
    return replace(grown, strides=tuple(s / n for s, n in zip(where.strides, _each(layer.size, where), strict=True)))


def _resized(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    """By the ratio of the sizes."""
    sizes = [(before.shape[axis], after.shape[axis]) for axis in where.axes]
    keeps_ratio = any(getattr(call.operation, f"{how}_to_aspect_ratio", False) for how in ("crop", "pad"))
    square = len({Fraction(a, b) for a, b in sizes if a and b}) == 1
    if not where.is_image or any(not a or not b for a, b in sizes) or (keeps_ratio and not square):
        return Unknown(call.operation)
    ratios = [Fraction(a, b) for a, b in sizes]
    taps = [max(1, math.ceil(ratio) - 1) if ratio != 1 else 0 for ratio in ratios]
    return replace(_grown(where, taps), strides=tuple(s * r for s, r in zip(where.strides, ratios, strict=True)))


def _center_crop(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    """Smaller images are resized."""
    sizes = [(before.shape[axis], after.shape[axis]) for axis in where.axes]
    return where if all(a and b and a >= b for a, b in sizes) else Unknown(call.operation)


def _reshaped(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    """Of the same axes, or all positions in one axis, or back."""
    sizes, count = [before.shape[axis] for axis in where.axes], len(where.strides)
    first, rank = where.axes[0], len(after.shape)
    leading = first == 1
    same_axes = leading and rank > len(sizes) + 1 and list(after.shape[1 : 1 + len(sizes)]) == sizes
    if same_axes and (None not in sizes or before.shape[-1] == after.shape[-1]):
        return where
    total = None if None in sizes else math.prod(sizes)
    if leading and where.is_image and rank == 3 and after.shape[1] == total and before.shape[-1] == after.shape[-1]:
        return replace(where, axes=(1,))
    back = after.shape[1 : 1 + count]
    product = None if None in back else math.prod(back)
    if not where.is_image and leading and rank == count + 2 and product == total:
        return replace(where, axes=tuple(range(1, 1 + count)))
    return Unknown(call.operation)


def _permuted(order: Sequence[int] | None, call: Call, where: Geometry, after: KerasTensor) -> Where:
    order = [axis % len(after.shape) for axis in order or reversed(range(len(after.shape)))]
    places = [order.index(axis) for axis in where.axes]
    # Height and width may have changed places.
    sequence = sorted(range(len(places)), key=lambda i: places[i])

    def sort(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[i] for i in sequence) if where.is_image else tuple(values)

    return Geometry(tuple(sorted(places)), sort(where.strides), where.fields and sort(where.fields))


def _permute_layer(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    return _permuted([0, *call.operation.dims], call, where, after)


def _transpose_op(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    return _permuted(call.operation.axes, call, where, after)


def _sliced(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    """A slice keeps the stride, or multiplies it by its step."""
    key = call.args[1] if len(call.args) > 1 else call.kwargs.get("key")
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(part is None or not isinstance(part, slice | int | type(...)) for part in parts):
        return Unknown(call.operation)
    if ... in parts:
        at = parts.index(...)
        parts[at : at + 1] = [slice(None)] * (len(before.shape) - len(parts) + 1)
    parts += [slice(None)] * (len(before.shape) - len(parts))
    chosen = [parts[axis] for axis in where.axes]
    if not all(isinstance(part, slice) for part in chosen):
        return None
    steps = [abs(int(part.step or 1)) for part in chosen if isinstance(part, slice)]
    if not where.is_image and steps != [1]:
        return Unknown(call.operation)
    axes = tuple(axis - sum(isinstance(part, int) for part in parts[:axis]) for axis in where.axes)
    factors = steps if where.is_image else [1] * len(where.strides)
    return replace(where, axes=axes, strides=tuple(s * n for s, n in zip(where.strides, factors, strict=True)))


def _attended(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    kept = _other(call, where, before, after)
    return replace(kept, fields=None) if isinstance(kept, Geometry) else kept


def _other(call: Call, where: Geometry, before: KerasTensor, after: KerasTensor) -> Where:
    """What is not listed: of the same size, or by the growth of its output with its input."""
    if max(where.axes) >= len(after.shape):
        return Unknown(call.operation)
    sizes, result = ([x.shape[axis] for axis in where.axes] for x in (before, after))
    module = type(call.operation).__module__
    stock = module.startswith("keras.")
    mixes = type(call.operation).__name__ in MIXING
    kept = where if stock and not mixes else replace(where, fields=None)
    if sizes == result and (None not in sizes or (isinstance(call.operation, layers.Layer) and stock)):
        return kept
    if all(n == 1 for n in result) and any(n != 1 for n in sizes):
        return None
    growth = _growth(call, before, where) if where.is_image else None
    if growth is None or not all(growth):
        return Unknown(call.operation)
    return replace(where, fields=None, strides=tuple(s / n for s, n in zip(where.strides, growth, strict=True)))


def _growth(call: Call, tensor: KerasTensor, where: Geometry) -> list[Fraction] | None:
    """How many positions the output grows by for each that `tensor` grows by; `None` if that can't be computed."""
    grow = 840  # divisible by every stride up to 8

    def sizes(more: int) -> list[int | None]:
        def larger(x: Any) -> Any:
            if not isinstance(x, KerasTensor):
                return x
            shape = list(x.shape)
            for axis in where.axes if len(shape) == len(tensor.shape) else ():
                if shape[axis] != 1:
                    shape[axis] = (shape[axis] or grow) + more
            return KerasTensor(tuple(shape), x.dtype)

        args, kwargs = keras.tree.map_structure(larger, (call.args, dict(call.kwargs)))
        result = call.operation.compute_output_spec(*args, **kwargs)
        (y,) = keras.tree.flatten(result)[:1]
        return [y.shape[axis] for axis in where.axes]

    try:
        small, large = sizes(0), sizes(grow)
    except Exception:  # whatever a layer raises that can't take other sizes
        return None
    if None in small or None in large:
        return None
    return [Fraction(b - a, grow) for a, b in zip(small, large, strict=True)]  # type: ignore[operator]


RULES: Sequence[tuple[tuple[type, ...], Rule]] = (
    (
        (
            *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
            *(layers.SeparableConv1D, layers.SeparableConv2D),
            *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
            *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
        ),
        _window,
    ),
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    ((layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D), _upsampled),
    (
        (
            *(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D),
            *(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D, layers.RandomCrop),
        ),
        _keep,
    ),
    ((layers.CenterCrop,), _center_crop),
    (
        (
            layers.Resizing,
            *(layers.AdaptiveAveragePooling1D, layers.AdaptiveAveragePooling2D, layers.AdaptiveAveragePooling3D),
            *(layers.AdaptiveMaxPooling1D, layers.AdaptiveMaxPooling2D, layers.AdaptiveMaxPooling3D),
        ),
        _resized,
    ),
    (
        (
            *(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
            *(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D, layers.Flatten),
        ),
        _no_image,
    ),
    ((layers.Reshape,), _reshaped),
    ((layers.Permute,), _permute_layer),
    ((layers.MultiHeadAttention, layers.GroupQueryAttention, layers.Attention, layers.AdditiveAttention), _attended),
)

OPERATIONS: dict[str, Rule] = {
    "GetItem": _sliced,
    "Reshape": _reshaped,
    "Transpose": _transpose_op,
    "Resize": _resized,
    "CropImages": _keep,
    "PadImages": _keep,
    "Pad": _keep,
}
"""Operations of `keras.ops`, whose classes have no public names."""

MIXING = frozenset({"Conv", "DepthwiseConv", "SeparableConv", "ConvTranspose", "MaxPool", "AveragePool", "Matmul"})
"""Operations that read more than one position, by a window that their attributes do not tell alike."""
