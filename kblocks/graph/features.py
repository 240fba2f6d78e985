"""What can be taken out of a network: its tensors with their strides, and models that return some of them."""

import fnmatch
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from typing import Any

import keras
from keras import KerasTensor, layers

from kblocks.graph import geometry
from kblocks.graph.calls import Call, calls, check_graph, is_graph, structure
from kblocks.graph.geometry import Geometry, Trace, Unknown

__all__ = ["Endpoint", "end", "endpoints", "features", "locate"]


def __dir__() -> list[str]:
    return __all__


# They prepare an image for the next layer.
PADDING = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D, layers.Cropping1D, layers.Cropping2D)


@dataclass(frozen=True)
class Endpoint:
    """A tensor that `features` can take out of a model.

    Attributes:
        name: of its operation; within a nested model `model/operation`. A shared layer's second call is `name#2`, the
            second output of an operation `name[1]`.
        shape: of the tensor, the batch included.
        stride: input pixels from one position to the next; `None` if it is no image, differs between the axes, or is
            not known.
        receptive_field: pixels along each axis on which a value depends; `None` if it is no image, depends on the whole
            image, or is not known. Factors computed from the whole image, as squeeze-and-excitation's, are left out.
    """

    name: str
    shape: tuple[int | None, ...]
    stride: int | float | None
    receptive_field: tuple[int, ...] | None


def endpoints(model: keras.Model) -> list[Endpoint]:
    """The tensors of a model, in the order of its calls, nested models included.

    Args:
        model: functional or Sequential.

    Raises:
        TypeError: `model` is neither.
        ValueError: a Sequential model is not built.

    >>> x = keras.Input((32, 32, 3))
    >>> y = layers.Conv2D(8, 3, strides=2, name="conv")(x)
    >>> endpoints(keras.Model(x, layers.MaxPooling2D(name="pool")(y)))[-1]
    Endpoint(name='pool', shape=(None, 7, 7, 8), stride=4, receptive_field=(5, 5))
    """
    check_graph(model)
    traced = geometry.trace(model, geometry.images(model))
    return [each.endpoint() for each in _places(traced)]


def features(
    model: keras.Model,
    strides: int | Sequence[int] | None = None,
    *,
    names: str | Sequence[str] | None = None,
) -> keras.Model:
    """A model that returns tensors from within `model`; the weights are shared.

    By stride it returns the last tensor before the network steps to a greater stride: the last one through which every
    path to the deeper tensors leads. Branches that leave the network's main path, as auxiliary classifiers, attention
    masks, decoders and feature pyramids, do not count. At the greatest stride it is the input of the head, or of the
    decoder. A stride is the number of input pixels from one position of a tensor to the next: cropping and padding keep
    it, and resizing multiplies it by the ratio of the sizes.

    The tensors are those of `model` itself, so a new model may return them together with the model's own outputs, and
    gradients of one with respect to the other exist. A nested model's inner tensors are not part of the outer graph:
    they are computed by another call of the nested model.

    Args:
        model: functional or Sequential, of any number of inputs; with `strides` one of them at least is an image.
        strides: in pixels, all of which the network has; by default 4, 8, 16 and 32.
        names: names of `endpoints`, or shell patterns as `"stage*_out"`, in place of `strides`.

    Returns:
        A model of the inputs of `model`, in their structure. Its output is a tensor if a single one was asked for, else
        a list in the order in which they were asked for; tensors of one pattern are in the order of the graph.

    Raises:
        TypeError: `model` is not a functional or Sequential model, or both or unfit `strides` and `names` are given.
        ValueError: the network does not have a stride or name, no input is an image, or a Sequential model is not
            built.

    >>> from kblocks import residual, stem
    >>> x = keras.Input((32, 32, 3))
    >>> y = residual.basic(stem.cifar(x, 16), 32, stride=2)
    >>> [each.shape for each in features(keras.Model(x, y), strides=(1, 2)).outputs]
    [(None, 32, 32, 16), (None, 16, 16, 32)]
    """
    tensors = _tensors(_chosen(model, strides, names), 0)
    inputs, _ = structure(model)
    return keras.Model(inputs, tensors if len(tensors) > 1 else tensors[0], name=f"{model.name}_features")


def locate(
    model: keras.Model, strides: int | Sequence[int] | None = None, *, names: str | Sequence[str] | None = None
) -> list[Endpoint]:
    """The endpoints that `features` takes for the same arguments; a nested model's output is that within it."""
    return [_innermost(place).endpoint() for place in _chosen(model, strides, names)]


def _innermost(place: "_Place") -> "_Place":
    """The place of a nested model's output within it."""
    if not is_graph(place.call.operation):
        return place
    nested, outputs = place.call.operation, [id(y) for y in place.call.outputs]
    own = nested.outputs[outputs.index(id(place.tensor))]
    (inner,) = (call for call in calls(nested) if any(y is own for y in call.outputs))
    return _innermost(replace(place, tensor=own, call=inner, name=f"{place.name.partition('[')[0]}/{inner.name}"))


def _chosen(model: keras.Model, strides: Any, names: Any) -> list["_Place"]:
    check_graph(model)
    if names is not None and strides is not None:
        raise TypeError(f"either `strides` or `names` must be given; got {strides!r} and {names!r}")
    traced = geometry.trace(model, geometry.images(model))
    if names is None:
        return _by_stride(traced, _checked_strides((4, 8, 16, 32) if strides is None else strides))
    return _by_name(traced, _checked_names(names))


def end(model: keras.Model) -> Endpoint | None:
    """The features that the head takes, or a decoder; `None` if the model computes no image from an image."""
    check_graph(model)
    graph = _Graph(geometry.trace(model, geometry.images(model)))
    if graph.end is None:
        return None
    # A nested model's output is that of a call within it.
    *_, last = (place for place in graph.opened(graph.cuts(graph.end)) if not is_graph(place.call.operation))
    return last.endpoint()


def _checked_strides(strides: Any) -> Sequence[int]:
    if isinstance(strides, int) and not isinstance(strides, bool):
        return (strides,)
    if not isinstance(strides, Sequence) or isinstance(strides, str) or not strides:
        raise TypeError(f"`strides` must be an integer, or a list or tuple of at least one; got {strides!r}")
    return strides


def _checked_names(names: Any) -> Sequence[str]:
    if isinstance(names, str):
        return (names,)
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`names` must be a name, a pattern, or a list or tuple of at least one; got {names!r}")
    return names


@dataclass(frozen=True, eq=False)
class _Place:
    """A tensor and where it is: the calls of nested models around it, from the outermost."""

    tensor: KerasTensor
    call: Call
    path: tuple[Call, ...]
    name: str
    where: geometry.Where

    @property
    def stride(self) -> Fraction | None:
        """`None` if it is no image that could be a feature."""
        if not isinstance(self.where, Geometry) or not self.where.is_image:
            return None
        return self.where.stride if len(self.tensor.shape) == len(self.where.strides) + 2 else None

    def endpoint(self) -> Endpoint:
        fields = self.where.fields if isinstance(self.where, Geometry) else None
        pixels = None if fields is None or self.stride is None else tuple(math.ceil(each) for each in fields)
        return Endpoint(self.name, tuple(self.tensor.shape), _plain(self.stride), pixels)


def _plain(stride: Fraction | None) -> int | float | None:
    if stride is None:
        return None
    return int(stride) if stride.denominator == 1 else float(stride)


def _places(traced: Trace, path: tuple[Call, ...] = (), prefix: str = "") -> Iterator[_Place]:
    """All tensors behind the inputs, those within a nested model before its own outputs."""
    for call in traced.calls:
        if id(call) in traced.within:
            yield from _places(traced.within[id(call)], (*path, call), f"{prefix}{call.name}/")
        yield from _of(call, traced, path, prefix)


def _of(call: Call, traced: Trace, path: tuple[Call, ...], prefix: str) -> Iterator[_Place]:
    """The outputs of a call."""
    for i, tensor in enumerate(call.outputs):
        name = f"{prefix}{call.name}" + (f"[{i}]" if len(call.outputs) > 1 else "")
        yield _Place(tensor, call, path, name, traced[tensor])


def _by_name(traced: Trace, names: Sequence[str]) -> list[_Place]:
    known = {place.name: place for place in _places(traced)}
    chosen = []
    for name in names:
        # A name may hold brackets, which are special in patterns.
        found = [name] if name in known else fnmatch.filter(known, name)
        if not found:
            near = get_close_matches(name, known, 3)
            hint = f"the closest are {', '.join(near)}" if near else "kblocks.graph.endpoints lists all"
            raise ValueError(f"`names` must be among the endpoints of {traced.model.name}; got {name!r} ({hint})")
        chosen += [known[each] for each in found]
    return chosen


def _by_stride(traced: Trace, strides: Sequence[int]) -> list[_Place]:
    model = traced.model
    if not any(isinstance(traced[x], Geometry) for x in model.inputs):
        shapes = " and ".join(str(tuple(x.shape)) for x in model.inputs)
        raise ValueError(f"`model` must take an image; got inputs of shape {shapes}")
    levels = _levels(traced)
    if not levels:
        raise ValueError(
            f"`model` must compute at least one image from its input; {model.name} computes none{_reason(traced)}"
        )
    for stride in strides:
        if stride not in levels:
            available = ", ".join(f"{_plain(each)}" for each in sorted(levels))
            raise ValueError(
                f"`strides` must be among {available}, the strides of {model.name}; got {stride}{_reason(traced)}"
            )
    return [levels[Fraction(stride)] for stride in strides]


def _reason(traced: Trace) -> str:
    """The first operation behind which strides are not known, if there is one."""
    unknown = [place.where for place in _places(traced) if isinstance(place.where, Unknown)]
    if not unknown:
        return ""
    operation = unknown[0].operation
    kind = type(operation).__name__
    return f" (the stride behind {operation.name}, a {kind}, is not known; `names` takes tensors there)"


Levels = dict[Fraction, _Place]


def _levels(traced: Trace) -> Levels:
    """The feature of each stride: on the main path, or else the last join of what the main path comes from."""
    graph = _Graph(traced)
    end = graph.end
    if end is None:
        return {}
    main: Levels = {}
    for place in graph.opened(graph.cuts(end)):
        if place.stride is not None and not isinstance(place.call.operation, PADDING):
            main[place.stride] = place
    others: Levels = {}
    # What is finer than the image is no decoder's, which would lead back to the image's size.
    output = graph.main_output()
    for place in graph.opened(graph.before(output) if output else ()):
        if place.stride is not None and place.stride < 1:
            others[place.stride] = place
    for call in graph.before(end):
        # The last sum or concatenation before the stride rises, else the last tensor of all.
        for place in graph.opened([call]):
            if place.stride is None or isinstance(place.call.operation, PADDING):
                continue
            former = others.get(place.stride)
            if former is None or len(place.call.inputs) > 1 or len(former.call.inputs) == 1:
                others[place.stride] = place
    return others | main


class _Graph:
    """The calls that depend on an image, as nodes; `None` is the source of all of them."""

    def __init__(self, traced: Trace, path: tuple[Call, ...] = (), prefix: str = "") -> None:
        self.traced, self.path = traced, path
        self.places = {id(place.tensor): place for call in traced.calls for place in _of(call, traced, path, prefix)}
        # Of nested models.
        self.within = {
            id(call): _Graph(traced.within[id(call)], (*path, call), f"{prefix}{call.name}/")
            for call in traced.calls
            if id(call) in traced.within
        }
        producer: dict[int, Call | None] = {id(x): None for x in traced.model.inputs if traced[x] is not None}
        self.calls: list[Call] = []
        self.sources: dict[int, list[Call | None]] = {}
        self.depth: dict[int, int] = {}
        for call in traced.calls:
            sources = list({id(producer[id(x)]): producer[id(x)] for x in call.inputs if id(x) in producer}.values())
            if not sources:
                continue
            self.calls.append(call)
            self.sources[id(call)] = sources
            self.depth[id(call)] = 1 + max(self._depth(source) for source in sources)
            producer |= dict.fromkeys(map(id, call.outputs), call)
        self.producer = producer

    def _depth(self, call: Call | None) -> int:
        return 0 if call is None else self.depth[id(call)]

    def main_output(self) -> Call | None:
        """The producer of the output that has the longest path from the image; of equal ones the first."""
        made = [self.producer[id(y)] for y in self.traced.model.outputs if id(y) in self.producer]
        return max(made, key=self._depth, default=None)

    def before(self, call: Call) -> list[Call]:
        """The calls on which `call` depends, and itself, in order."""
        needed = {id(call)}
        for each in reversed(self.calls):
            if id(each) in needed:
                needed |= {id(source) for source in self.sources[id(each)]}
        return [each for each in self.calls if id(each) in needed]

    def cuts(self, end: Call) -> list[Call]:
        """The calls through which every path from the images to `end` leads, in order; `end` is the last.

        These are the dominators of `end`. Each call's immediate dominator is the closest common one of its sources.
        """
        immediate: dict[int, Call | None] = {}
        level: dict[int, int] = {id(None): 0}
        for call in self.before(end):
            common, *others = self.sources[id(call)]
            for other in others:
                while common is not other:
                    if level[id(common)] >= level[id(other)]:
                        common = immediate[id(common)]
                    else:
                        other = immediate[id(other)]
            immediate[id(call)] = common
            level[id(call)] = level[id(common)] + 1
        found: list[Call] = []
        at: Call | None = end
        while at is not None:
            found.append(at)
            at = immediate[id(at)]
        return found[::-1]

    @cached_property
    def end(self) -> Call | None:
        """The last image of the main path: what a head takes, or a decoder."""
        output = self.main_output()
        if output is None:
            return None
        cuts = [call for call in self.cuts(output) if self._stride(call) is not None]
        before = [call for call in self.before(output) if self._stride(call) is not None]
        if not before:
            return None
        greatest = max(self._stride(call) or 0 for call in before)
        if self._stride(output) is None and cuts:
            return cuts[-1]
        if self._stride(output) == greatest:
            return output
        end = max((call for call in before if self._stride(call) == greatest), key=self._depth)
        if self._stride(output) is not None:
            end = self._without_projections(end, greatest)
        return end

    def _without_projections(self, end: Call, stride: Fraction | int) -> Call:
        """Linear 1×1 convolutions at the end belong to the decoder that reads them."""
        linear = end
        while type(linear.operation) is layers.Conv2D and _is_projection(linear.operation):
            (source,) = self.sources[id(linear)]
            if source is None or self._stride(source) != stride:
                break
            linear = source
        return linear

    def _stride(self, call: Call) -> Fraction | None:
        """The greatest stride that the call reaches, within a nested model too."""
        found = [self.places[id(y)].stride for y in call.outputs]
        if inner := self.within.get(id(call)):
            end = inner.end
            found.append(None if end is None else inner._stride(end))
        return max((each for each in found if each is not None), default=None)

    def opened(self, calls: Sequence[Call]) -> Iterator[_Place]:
        """The tensors of calls in a row, nested models replaced by what is on the main path within them."""
        for call in calls:
            if inner := self.within.get(id(call)):
                end = inner.end
                if end is not None:
                    yield from inner.opened(inner.cuts(end))
            yield from (self.places[id(y)] for y in call.outputs)


def _is_projection(layer: layers.Conv2D) -> bool:
    activation = keras.activations.serialize(layer.activation)
    return set(layer.kernel_size) == {1} and activation == "linear"


def _reopened(call: Call, within: Sequence[_Place], depth: int) -> list[KerasTensor]:
    """The tensors of a nested model for the arguments of its call."""
    nested = call.operation
    # Another name than the nested model's, which may be in the same graph; of a second call `model#2`.
    name = f"{call.name.rpartition('/')[2].replace('#', '_')}_features"
    opened = keras.Model(structure(nested)[0], _tensors(within, depth), name=name)
    return list(keras.tree.flatten(opened(*call.args, **call.kwargs)))


def _tensors(places: Sequence[_Place], depth: int) -> list[KerasTensor]:
    """The tensors in the graph of the nested model `depth` levels deep: their own, or of another call of a model."""
    found: dict[int, KerasTensor] = {id(place): place.tensor for place in places if len(place.path) == depth}
    for call in {id(place.path[depth]): place.path[depth] for place in places if len(place.path) > depth}.values():
        within = [place for place in places if len(place.path) > depth and place.path[depth] is call]
        found.update(zip(map(id, within), _reopened(call, within, depth + 1), strict=True))
    return [found[id(place)] for place in places]
