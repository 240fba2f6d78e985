"""Surgery: new models from old ones, with the weights of the old wherever the shapes are the same."""

import fnmatch
import inspect
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers

from kblocks import check, pool
from kblocks.graph.calls import Call, calls, check_graph, is_graph, producers
from kblocks.graph.rewrite import Copies, rewrite

__all__ = ["Where", "freeze", "insert_after", "replace", "replace_head", "widen_input"]


def __dir__() -> list[str]:
    return __all__


Where = str | type | Callable[[Any], bool]
"""Which operations: a name or shell pattern as `"stage*_relu"`, a class of layers, or a predicate of an operation."""


def replace(model: keras.Model, where: Where, by: Callable[..., Any]) -> keras.Model:
    """A copy in which something else stands in the place of some layers.

    Args:
        model: functional or Sequential.
        where: which layers, also within nested models: a name or pattern, a class or a predicate. A pattern is matched
            with the layer's name, and with `model/layer` for one of a nested model.
        by: a function `(layer) -> callable`: of the old layer, to a layer or a function of tensors that takes its
            place, as `lambda old: keras.layers.Activation("gelu", name=old.name)`. It is called once for each layer, so
            what is shared stays shared.

    Returns:
        A new model with weights of its own; its layers have those of the old, the new ones too if the shapes are equal.

    Raises:
        TypeError: `model` is no graph, `where` none of the three, or `by` no function.
        ValueError: nothing is found, or what `by` makes does not fit.

    >>> x = keras.Input((8,))
    >>> net = keras.Model(x, layers.ReLU(name="act")(layers.Dense(4, name="dense")(x)))
    >>> new = replace(net, layers.ReLU, lambda old: layers.Activation("gelu", name=old.name))
    >>> new.get_layer("act").activation.__name__
    'gelu'
    """
    chosen = _chosen(model, where)
    check.function(by, "by")

    def change(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], copies: Copies) -> Any:
        if id(call.operation) not in chosen:
            return NotImplemented
        new = copies.copy(call.operation, lambda old: _made(by(old), old))
        # What takes the place may not know the options of the old call, as `mask`.
        known = inspect.signature(new.call).parameters if isinstance(new, layers.Layer) else ()
        return new(*args, **{key: value for key, value in kwargs.items() if key in known or value is not None})

    return rewrite(model, change)


def _made(new: Any, old: Any) -> Any:
    if not callable(new):
        raise TypeError(f"`by` must return a layer or a function of tensors; got {new!r} for {old.name}")
    return new


def insert_after(model: keras.Model, where: Where, make: Callable[[Any], Any]) -> keras.Model:
    """A copy in which a new layer reads the output of each of some layers, and everything behind them reads its output.

    Args:
        model: functional or Sequential.
        where: which layers, as in `replace`; of one output each.
        make: a function `(layer) -> callable`: of the layer before, to the new one, a layer or a function of tensors.

    Returns:
        A new model with weights of its own; those of the old layers are the same.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: nothing is found.

    >>> x = keras.Input((8,))
    >>> net = keras.Model(x, layers.Dense(4, name="dense")(x))
    >>> [layer.name for layer in insert_after(net, "dense", lambda old: layers.Dropout(0.5, name="drop")).layers[1:]]
    ['dense', 'drop']
    """
    chosen = _chosen(model, where)
    check.function(make, "make")
    made: dict[int, Any] = {}

    def change(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], copies: Copies) -> Any:
        if id(call.operation) not in chosen:
            return NotImplemented
        if len(call.outputs) > 1:
            raise ValueError(f"`where` must choose layers of one output; {call.name} has {len(call.outputs)}")
        operation = call.operation
        if id(operation) not in made:
            made[id(operation)] = _made(make(operation), operation)
        return made[id(operation)](copies.copy(operation)(*args, **kwargs))

    return rewrite(model, change)


def replace_head(model: keras.Model, classes: int) -> keras.Model:
    """A copy for another number of classes: the last layer with weights before each output is new, with random weights.

    Args:
        model: functional or Sequential. Each output ends in a dense layer or a 1×1 convolution, behind which stand only
            layers without weights, as a softmax; or it is an image, whose mean over all positions goes to a new dense
            layer, `logits`.
        classes: number of outputs of the new layers.

    Returns:
        A new model; all other weights are those of the old.

    Raises:
        TypeError: `model` is not a functional or Sequential model.
        ValueError: `classes` is no positive integer, or a head is of another kind.

    >>> x = keras.Input((8,))
    >>> net = keras.Model(x, layers.Softmax()(layers.Dense(10, name="logits")(x)))
    >>> replace_head(net, 3).output_shape
    (None, 3)
    """
    check_graph(model)
    check.positive(classes, "classes")
    heads: dict[int, Any] = {}
    bare: list[KerasTensor] = []
    for y in model.outputs:
        last = _last_weighted(model, y)
        if last is None and len(y.shape) == 4:
            bare.append(y)
        elif last is None:
            raise ValueError(
                f"`model` must end in a dense layer or a 1×1 convolution, or in an image, for its head to be replaced; "
                f"output {y.name} of {model.name} has shape {tuple(y.shape)} and ends in neither"
            )
        else:
            heads[id(last.operation)] = last.operation
    old = {id(head): _units(head) for head in heads.values()}

    def change(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], copies: Copies) -> Any:
        operation = call.operation
        if id(operation) in heads:
            size = "filters" if isinstance(operation, layers.Conv2D) else "units"
            return copies.copy(operation, fresh=True, config={size: classes})(*args, **kwargs)
        if isinstance(operation, layers.Reshape) and operation.target_shape[-1] in old.values():
            shape = (*operation.target_shape[:-1], classes)
            return copies.copy(operation, config={"target_shape": shape})(*args, **kwargs)
        if any(y is call.outputs[0] for y in bare):
            x = pool.global_pool(copies.copy(operation)(*args, **kwargs), name="pool")
            return layers.Dense(classes, dtype="float32", name="logits")(x)
        return NotImplemented

    return rewrite(model, change)


def _units(layer: Any) -> int:
    return int(layer.filters if isinstance(layer, layers.Conv2D) else layer.units)


def _last_weighted(model: keras.Model, output: KerasTensor) -> Call | None:
    """The dense layer or 1×1 convolution before an output; `None` if another layer with weights comes first."""
    producer = producers(model)
    at = producer.get(id(output))
    while at is not None:
        operation = at.operation
        if is_graph(operation):
            (inner, *others) = operation.outputs
            return None if others else _last_weighted(operation, inner)
        if type(operation) is layers.Dense:
            return at
        if type(operation) is layers.Conv2D and set(operation.kernel_size) == {1} and 1 in _sizes(at.inputs[0]):
            return at
        if getattr(operation, "weights", ()) or len(at.inputs) != 1:
            return None
        at = producer.get(id(at.inputs[0]))
    return None


def _sizes(x: KerasTensor) -> tuple[int | None, ...]:
    return tuple(x.shape[1:3])


def freeze(model: keras.Model, upto: str | None = None) -> keras.Model:
    """A copy whose layers up to a certain one are not trained; its normalisations there use their moving statistics.

    Args:
        model: functional or Sequential.
        upto: name of the last frozen layer, `model/layer` within a nested model; everything on which it depends is
            frozen too. By default all layers but those behind the last global pooling or flattening.

    Returns:
        A new model with weights of its own, equal to those of the old.

    Raises:
        TypeError: `model` is not a functional or Sequential model.
        ValueError: there is no layer of the name.

    >>> x = keras.Input((8,))
    >>> net = keras.Model(x, layers.Dense(2, name="top")(layers.Dense(4, name="base")(x)))
    >>> [len(layer.trainable_weights) for layer in freeze(net, "base").layers[1:]]
    [0, 2]
    """
    check_graph(model)
    copy = rewrite(model)
    for layer in _before(copy, _default_end(copy) if upto is None else upto):
        layer.trainable = False
    return copy


def _default_end(model: keras.Model) -> str:
    flattening = [
        call.name
        for call in calls(model)
        if isinstance(call.operation, layers.Flatten) or "Global" in type(call.operation).__name__
    ]
    if not flattening:
        raise ValueError(
            f"`upto` must name the last frozen layer of {model.name}, which has no global pooling; got None"
        )
    return flattening[-1]


def _before(model: keras.Model, end: str, prefix: str = "") -> list[Any]:
    """The layer of a name and all on which it depends."""
    everything = calls(model, prefix)
    found = [call for call in everything if call.name == end or end.startswith(f"{call.name}/")]
    inner: list[Any] = []
    if found and found[0].name != end and is_graph(found[0].operation):
        inner = _before(found[0].operation, end, f"{found[0].name}/")
    elif not found or found[0].name != end:
        near = get_close_matches(end, [call.name for call in everything], 3)
        hint = f" (the closest are {', '.join(near)})" if near else ""
        raise ValueError(f"`upto` must be the name of a layer of {model.name}; got {end!r}{hint}")
    needed = {id(x) for x in found[0].inputs}
    before: list[Any] = [] if inner else [found[0].operation]
    for call in reversed(everything):
        if not needed.isdisjoint(map(id, call.outputs)):
            needed |= {id(x) for x in call.inputs}
            before.append(call.operation)
    return [each for each in (*before, *inner) if isinstance(each, layers.Layer)]


# Between an image and the first convolution: each channel is treated like the others.
CHANNELWISE = (
    *(layers.ZeroPadding2D, layers.Cropping2D, layers.Resizing, layers.CenterCrop, layers.RandomCrop),
    *(layers.RandomFlip, layers.RandomRotation, layers.RandomZoom, layers.RandomTranslation, layers.Identity),
    *(layers.Dropout, layers.GaussianNoise, layers.Activation, layers.ReLU),
)


def widen_input(model: keras.Model, channels: int) -> keras.Model:
    """A copy for images of another number of channels, as gray or multi-spectral ones.

    The kernels of the first convolutions are summed over the old channels for gray images; else they are repeated in
    turns and divided by the number of repetitions. So for an image whose channels are the old ones repeated in turns
    the copy computes what the model computes for the image, and for a gray one what it computes for that in colour.

    Args:
        model: functional or Sequential, of one image, channels last.
        channels: of the new images. Where the channels are prepared differently before the first convolution, as by
            `keras.layers.Normalization`, only 1 is possible; the copy then repeats the gray channel.

    Returns:
        A new model with weights of its own.

    Raises:
        TypeError: `model` is not a functional or Sequential model.
        ValueError: `channels` is no positive integer, `model` does not take one image, or `channels` is not possible.

    >>> x = keras.Input((32, 32, 3))
    >>> net = keras.Model(x, layers.Conv2D(8, 3, name="conv")(x))
    >>> widen_input(net, 1).input_shape
    (None, 32, 32, 1)
    """
    check_graph(model)
    check.positive(channels, "channels")
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        shapes = " and ".join(str(tuple(x.shape)) for x in model.inputs)
        raise ValueError(f"`model` must take one image, channels last; got inputs of shape {shapes}")
    (image,) = model.inputs
    before = int(image.shape[-1])
    inputs = keras.Input(batch_shape=(*image.shape[:-1], channels), dtype=image.dtype, name=image.name)
    convs = _first_convs(model)
    if convs is None:
        if channels != 1:
            raise ValueError(
                f"`channels` must be 1 for {model.name}, which prepares each channel of its images differently; got "
                f"{channels}"
            )
        repeated = layers.Concatenate(name=f"{image.name}_repeated")([inputs] * before)
        return rewrite(model, inputs=[inputs], given={id(image): repeated})
    turns = [channel % before for channel in range(channels)]
    made: list[tuple[Any, Any]] = []

    def change(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], copies: Copies) -> Any:
        if id(call.operation) not in convs:
            return NotImplemented
        new = copies.copy(call.operation)
        made.append((call.operation, new))
        return new(*args, **kwargs)

    result = rewrite(model, change, inputs=[inputs])
    for old, new in made:
        kernel, *bias = old.get_weights()
        if channels == 1:
            wide = kernel.sum(axis=2, keepdims=True)
        else:
            share = np.array([turns.count(channel) for channel in turns], "float32")
            wide = kernel[:, :, turns] / share[:, None]
        new.set_weights([wide, *bias])
    return result


def _first_convs(model: keras.Model) -> set[int] | None:
    """The convolutions that read the image; `None` if something before them treats channels differently."""
    images, found = {id(x) for x in model.inputs}, set()
    for call in calls(model):
        if images.isdisjoint(map(id, call.inputs)):
            continue
        operation = call.operation
        if is_graph(operation):
            inner = _first_convs(operation)
            if inner is None:
                return None
            found |= inner
        elif type(operation) is layers.Conv2D and operation.groups == 1:
            found.add(id(operation))
        elif isinstance(operation, CHANNELWISE) or (isinstance(operation, layers.Rescaling) and _is_scalar(operation)):
            images |= set(map(id, call.outputs))
        else:
            return None
    return found


def _is_scalar(layer: Any) -> bool:
    return np.ndim(layer.scale) == 0 and np.ndim(layer.offset) == 0


def _chosen(model: keras.Model, where: Where) -> set[int]:
    """The operations that `where` chooses, also of nested models."""
    check_graph(model)
    everything = dict(_operations(model))
    if isinstance(where, str):
        found = [op for name, op in everything.items() if fnmatch.fnmatchcase(name, where) or op.name == where]
    elif isinstance(where, type):
        found = [op for op in everything.values() if isinstance(op, where)]
    elif callable(where):
        found = [op for op in everything.values() if where(op)]
    else:
        raise TypeError(f"`where` must be a name or pattern, a class, or a function of a layer; got {where!r}")
    if not found:
        near = get_close_matches(where, everything, 3) if isinstance(where, str) else ()
        hint = f" (the closest are {', '.join(near)})" if near else ""
        raise ValueError(f"`where` must choose at least one operation of {model.name}; got {where!r}{hint}")
    return {id(operation) for operation in found}


def _operations(model: keras.Model, prefix: str = "") -> Sequence[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for call in calls(model, prefix):
        found.append((call.name, call.operation))
        if is_graph(call.operation):
            found += _operations(call.operation, f"{call.name}/")
    return found
