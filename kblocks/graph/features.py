"""Feature extraction: a network's outputs at several strides, the feature pyramid of detection and segmentation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import KerasTensor, layers

__all__ = ["features"]


def __dir__() -> list[str]:
    return __all__


Shape = tuple[int | None, ...]

# Layers that change the stride or the size; all others keep each position.
STRIDED = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
)
UPSAMPLING = (layers.Conv2DTranspose, layers.UpSampling2D)
PADDING = (layers.ZeroPadding2D, layers.Cropping2D)
GLOBAL_POOLING = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)


def features(model: keras.Model, strides: Sequence[int] = (4, 8, 16, 32)) -> keras.Model:
    """A model with one output per stride, the network's last tensor at that stride; the weights are shared.

    The stride of a tensor is the product of the strides of all convolutions and pooling layers before it. Its last
    tensor is the last one that ends a block, whose name ends in `_out`, or the last of all where no name does. At the
    network's final stride it is the input of the head. Nested models are searched too.

    Args:
        model: a functional or sequential model of one image.
        strides: strides in pixels, all of which the network has.

    Returns:
        A model from the image to a list of tensors, one for each stride; for a single stride, to the tensor.

    Raises:
        TypeError: `model` is not a functional model of one input, or `strides` not a sequence.
        ValueError: the input is not an image, or the network does not have a stride.

    >>> from kblocks import residual, stem
    >>> x = keras.Input((32, 32, 3))
    >>> y = residual.basic(stem.cifar(x, 16), 32, stride=2)
    >>> [each.shape for each in features(keras.Model(x, y), strides=(1, 2)).outputs]
    [(None, 32, 32, 16), (None, 16, 16, 32)]
    """
    if not isinstance(model, keras.Model) or len(getattr(model, "inputs", None) or ()) != 1:
        raise TypeError(f"`model` must be a functional keras.Model of one input; got {model!r}")
    if not isinstance(strides, Sequence) or isinstance(strides, str) or not strides:
        raise TypeError(f"`strides` must be a list or tuple of integers, at least one; got {strides!r}")
    (image,) = model.inputs
    if len(image.shape) != 4:
        raise ValueError(f"`model` must take an image; got inputs of shape {tuple(image.shape)}")
    images = _Walk(model, [1]).images()
    found: dict[float, list[_Image]] = {}
    for each in images:
        found.setdefault(each.stride, []).append(each)
    if not found:
        raise ValueError(f"`model` must compute at least one image from its input; {model.name} computes none")
    for stride in strides:
        if stride not in found:
            available = ", ".join(f"{each:g}" for each in sorted(found))
            raise ValueError(f"`strides` must be among {available}, the strides of {model.name}; got {stride}")
    ends = {stride: ([y for y in of if y.name.endswith("_out")] or of)[-1].tensor for stride, of in found.items()}
    ends |= {each.stride: each.tensor for each in [y for y in images if y.is_needed][-1:]}
    return keras.Model(image, [ends[stride] for stride in strides], name=f"{model.name}_features")


@dataclass(frozen=True)
class _Image:
    """An image in the graph: the name of its operation, its stride, whether the model's first output depends on it."""

    name: str
    stride: float
    tensor: KerasTensor
    is_needed: bool = True


class _Walk:
    """Calls each operation of a model again and records the strides.

    Args:
        model: functional or sequential.
        strides: of its inputs; `None` for those that are not images.
    """

    def __init__(self, model: keras.Model, strides: Sequence[float | None]) -> None:
        self.stride_of: dict[int, float | None] = dict(zip(map(id, model.inputs), strides, strict=True))
        # Of each call: its inputs, its outputs, and the images among the outputs and in nested models.
        self._calls: list[tuple[list[KerasTensor], list[KerasTensor], list[_Image]]] = []
        self._opened: dict[int, tuple[_Walk, list[_Image], keras.Model]] = {}
        # A functional model of the same tensors, as a sequential one can't be called layer by layer.
        self.outputs = keras.models.clone_model(
            keras.Model(model.inputs, model.outputs),
            input_tensors=model.inputs,
            clone_function=lambda operation: operation,
            call_function=self._call,
        ).outputs

    def images(self) -> list[_Image]:
        """The images, in the order of their calls."""
        needed, found = {id(self.outputs[0])}, []
        for before, after, images in reversed(self._calls):
            is_needed = not needed.isdisjoint(map(id, after))
            if is_needed:
                needed |= set(map(id, before))
            found += [replace(x, is_needed=x.is_needed and is_needed) for x in reversed(images)]
        return found[::-1]

    def _call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        before = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, KerasTensor)]
        # The largest operand of a sum or product has the image's size; the others are broadcast to it.
        sources = [x for x in before if self.stride_of.get(id(x)) is not None]
        largest = max(sources, key=lambda x: math.prod(n or 1 for n in x.shape[1:-1]), default=None)
        reached = None if largest is None else self.stride_of[id(largest)]
        if reached is not None and isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
            return self._call_model(operation, before, reached, kwargs)
        result = operation(*args, **kwargs)
        after, images = keras.tree.flatten(result), []
        for y in after:
            stride = None if largest is None or reached is None else _stride(operation, reached, largest.shape, y.shape)
            self.stride_of[id(y)] = stride
            # Padding and cropping belong to the convolution that follows.
            if stride is not None and len(y.shape) == 4 and not isinstance(operation, PADDING):
                images.append(_Image(operation.name, stride, y))
        self._calls.append((before, after, images))
        return result

    def _call_model(self, model: keras.Model, before: list[KerasTensor], stride: float, kwargs: dict[str, Any]) -> Any:
        """Calls, in place of `model`, a model of the same layers that also returns the images within."""
        if id(model) not in self._opened:
            walk = _Walk(model, [None if self.stride_of.get(id(x)) is None else 1 for x in before])
            within = walk.images()
            every = [*(image.tensor for image in within), *walk.outputs]
            self._opened[id(model)] = walk, within, keras.Model(model.inputs, every, name=model.name)
        walk, within, opened = self._opened[id(model)]
        after = keras.tree.flatten(opened(before if len(before) > 1 else before[0], **kwargs))
        result = after[len(within) :]
        for own, y in zip(walk.outputs, result, strict=True):
            inner = walk.stride_of[id(own)]
            self.stride_of[id(y)] = inner and inner * stride
        images = [replace(x, stride=x.stride * stride, tensor=y) for x, y in zip(within, after, strict=False)]
        self._calls.append((before, after, images))
        return keras.tree.pack_sequence_as(model.output, result)


def _stride(layer: Any, stride: float, before: Shape, after: Shape) -> float | None:
    """The stride of a call's output, given that of its largest input and both shapes; `None` if it is not an image."""
    if isinstance(layer, STRIDED):
        return stride * int(layer.strides[0])
    if isinstance(layer, UPSAMPLING):
        factor = int((layer.size if isinstance(layer, layers.UpSampling2D) else layer.strides)[0])
        return stride // factor if stride % factor == 0 else stride / factor
    if isinstance(layer, PADDING):
        return stride
    if isinstance(layer, GLOBAL_POOLING):
        return None
    if after[1:-1] == before[1:-1] or _positions(after) == _positions(before) is not None:
        return stride  # the same positions, or a reshape of all of them
    if len(before) == len(after) == 4 and before[1] and after[1]:
        return stride * 2.0 ** round(math.log2(before[1] / after[1]))  # a resizing
    return None


def _positions(shape: Shape) -> int | None:
    """The number of positions, `None` if a size is unknown."""
    sizes = [size for size in shape[1:] if size is not None]
    return math.prod(sizes[:-1]) if len(sizes) == len(shape) - 1 else None
