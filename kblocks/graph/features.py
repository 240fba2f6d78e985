"""Cuts a network at its strides: the pyramid that detection and segmentation build on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import KerasTensor, layers

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
    takes. Models within the model are opened: their tensors are among them.

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
    images = _Walk(model, [1]).images()
    found: dict[float, list[_Image]] = {}
    for each in images:
        found.setdefault(each.stride, []).append(each)
    for stride in strides:
        if stride not in found:
            those = ", ".join(f"{each:g}" for each in sorted(found)) or "none, there is no image behind the input,"
            raise ValueError(f"`strides` must be of {those} for {model.name}; got {stride}")
    # Of the tensors of a stride the last that ends a block, else the last.
    ends = {stride: ([y for y in of if y.name.endswith("_out")] or of)[-1].tensor for stride, of in found.items()}
    ends |= {each.stride: each.tensor for each in [y for y in images if y.is_on_the_way][-1:]}
    return keras.Model(image, [ends[stride] for stride in strides], name=f"{model.name}_features")


@dataclass(frozen=True)
class _Image:
    """A tensor of positions: the name of its operation, its stride, whether the model's first output is made of it."""

    name: str
    stride: float
    tensor: KerasTensor
    is_on_the_way: bool = True


class _Walk:
    """Calls each operation of a graph anew and notes the strides.

    Args:
        model: functional or sequential.
        strides: of its inputs; `None` of those that are no images.
    """

    def __init__(self, model: keras.Model, strides: Sequence[float | None]) -> None:
        self.stride_of: dict[int, float | None] = dict(zip(map(id, model.inputs), strides, strict=True))
        # What goes into each call, what comes out, and the images among that and within it.
        self._calls: list[tuple[list[KerasTensor], list[KerasTensor], list[_Image]]] = []
        self._opened: dict[int, tuple[_Walk, list[_Image], keras.Model]] = {}
        # A plain functional model of the same tensors: a sequential one can't be called layer by layer.
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
            found += [replace(x, is_on_the_way=x.is_on_the_way and is_needed) for x in reversed(images)]
        return found[::-1]

    def _call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        before = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, KerasTensor)]
        # Of sums and products the largest operand has the positions; others are factors of channels.
        sources = [x for x in before if self.stride_of.get(id(x)) is not None]
        largest = max(sources, key=lambda x: math.prod(n or 1 for n in x.shape[1:-1]), default=None)
        reached = None if largest is None else self.stride_of[id(largest)]
        if reached is not None and isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
            return self._call_model(operation, before, reached, kwargs)
        result = operation(*args, **kwargs)
        after, images = keras.tree.flatten(result), []
        for y in after:
            stride = None if reached is None else _stride(operation, reached, largest.shape, y.shape)
            self.stride_of[id(y)] = stride
            # What is framed belongs to the convolution that follows.
            if stride is not None and len(y.shape) == 4 and not isinstance(operation, FRAMING):
                images.append(_Image(operation.name, stride, y))
        self._calls.append((before, after, images))
        return result

    def _call_model(self, model: keras.Model, before: list[KerasTensor], stride: float, kwargs: dict) -> Any:
        """Calls, in the place of a model, one of the same layers that gives the images within as well."""
        if id(model) not in self._opened:
            walk = _Walk(model, [None if self.stride_of.get(id(x)) is None else 1 for x in before])
            within = walk.images()
            every = [*(image.tensor for image in within), *walk.outputs]
            self._opened[id(model)] = walk, within, keras.Model(model.inputs, every, name=model.name)
        walk, within, opened = self._opened[id(model)]
        after = keras.tree.flatten(opened(before if len(before) > 1 else before[0], **kwargs))
        result = after[len(within) :]
        for own, y in zip(walk.outputs, result, strict=True):
            reached = walk.stride_of[id(own)]
            self.stride_of[id(y)] = reached and reached * stride
        images = [replace(x, stride=x.stride * stride, tensor=y) for x, y in zip(within, after, strict=False)]
        self._calls.append((before, after, images))
        return keras.tree.pack_sequence_as(model.output, result)


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
    if after[1:-1] == before[1:-1] or (
        None not in (*before[1:], *after[1:]) and math.prod(after[1:-1]) == math.prod(before[1:-1])
    ):
        return stride  # whatever it does, position by position; or a reordering of all positions
    if len(before) == len(after) == 4 and before[1] and after[1]:
        return stride * 2 ** round(math.log2(before[1] / after[1]))  # a resizing
    return None
