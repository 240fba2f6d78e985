"""Copies weights layer by layer: from a network of ours by layer name, from keras.applications by a family's name map.

Names and not order, because another head, stem or depth changes the order of the weights, but no names.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import keras
import numpy as np

from architectures.common.family import KerasNames
from architectures.weights.preprocessing import swaps_colours
from kblocks import check
from kblocks.graph.calls import Call, calls, is_graph

Pair = tuple[str, keras.layers.Layer, keras.layers.Layer]
"""The name of a layer, the layer, and its counterpart in another network."""

HEADS = re.compile(r"(auxiliary\d+_)?logits\d*(_conv)?")
"""The names of layers that output logits."""

HIDDEN = re.compile(r"hidden_dense\d+|head_dense")
"""The names of the hidden layers between pooling and logits."""

AUXILIARY = re.compile(r"auxiliary\d+_.+")
"""The names of the layers of auxiliary classifiers."""

KERAS_HEADS = ("hidden_dense1", "hidden_dense2", "head_dense", "logits")
"""Our names of the layers in the heads of keras.applications."""


def copy_weights(
    source: keras.Model, target: keras.Model, *, prefix: str | None = None, skip: Collection[str] = ()
) -> None:
    """Copies the weights of each layer of `target` from the layer of the same name in `source`.

    Args:
        source: a built model; its layers that `target` lacks are ignored.
        target: a built model.
        prefix: the name of a part of one of the models: the `name` that a backbone was built with, or the name of a
            nested model, such as the tower of a siamese network. Of a model with such a part, only the layers of that
            part are considered, and under their names without the prefix.
        skip: names of layers of `target` that keep their weights; `tower/conv1` for a layer of a nested model.

    Raises:
        TypeError: an argument is not a model, `prefix` is not a string, or `skip` is a string.
        ValueError: `target` has no layer of a name in `skip`, no model has a part named `prefix`, or a layer of
            `target` has no counterpart in `source` or one of other shapes. No weights are changed then.

    >>> import architectures
    >>> ten, three = architectures.create("resnet_tiny"), architectures.create("resnet_tiny", classes=3)
    >>> copy_weights(ten, three, skip=["logits"])
    >>> pair = architectures.create("siamese_tiny")
    >>> copy_weights(architectures.create("lenet_tiny", input_shape=(28, 28, 1)), pair, prefix="tower")
    """
    check.model(source, "source")
    check.model(target, "target")
    wanted(target, skip)  # raises for a wrong name
    names = {name: name for name in leaves(target)}
    if prefix is not None:
        names = _in_part(source, target, prefix)
    _copy(_paired(source, target, names, [*skip, *(leaves(target).keys() - names.keys())]))


def _in_part(source: keras.Model, target: keras.Model, prefix: str) -> dict[str, str]:
    """For each layer of the target that is to be copied the name of its counterpart in the source, which may lack it.

    Raises:
        TypeError: `prefix` is not a string.
        ValueError: it is the name of no part of either model.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"`prefix` must be a string or None; got {prefix!r}")
    parts = [_part(model, prefix) for model in (source, target)]
    if not any(parts):
        raise ValueError(
            f"`prefix` must be the name of a part of {source.name} or {target.name}: a nested model, or what the names "
            f"of layers begin with; got {prefix!r}"
        )
    (from_source, from_target) = (
        part or {name: name for name in leaves(model)} for part, model in zip(parts, (source, target), strict=True)
    )
    # The empty name is that of no layer.
    return {name: from_source.get(short, "") for short, name in from_target.items()}


def _part(model: keras.Model, prefix: str) -> dict[str, str]:
    """The names of the layers of a part of a model, by their names without the prefix.

    A tower named `tower` has layers `tower/tower_conv`, a network built with this name `tower/conv`, and a backbone
    `tower_conv`.
    """
    last = prefix.rpartition("/")[2]
    starts = (f"{prefix}/{last}_", f"{prefix}/", f"{prefix}_")
    found: dict[str, str] = {}
    for name in leaves(model):
        start = next((start for start in starts if prefix and name.startswith(start)), None)
        if start:
            found[name.removeprefix(start)] = name
    return found


def restore(source: keras.Model, target: keras.Model, *, skip: Collection[str] = ()) -> None:
    """`copy_weights` between two networks that may differ in their heads alone.

    Raises:
        ValueError: as `copy_weights`, or `source` differs in more than the head. No weights are changed then.
    """
    wanted(target, skip)  # raises for a wrong name
    names = {name: name for name in leaves(target)}
    pairs = _paired(source, target, names, skip)
    _check_same(source, target, pairs, {*names, *_spare(target, skip, head(source))})
    _copy(pairs)


def _copy(pairs: Sequence[Pair]) -> None:
    """Copies each layer's weights, or none at all if a shape differs."""
    found: list[tuple[keras.Variable, np.ndarray]] = []
    for _, layer, from_layer in pairs:
        ours, theirs = ([tuple(weight.shape) for weight in each.weights] for each in (layer, from_layer))
        if len(ours) != len(theirs):
            raise ValueError(f"layer {layer.name} needs {len(ours)} weights; got {len(theirs)}")
        for weight, shape in zip(layer.weights, theirs, strict=True):
            if tuple(weight.shape) != shape:
                raise misfit(layer, weight, f"one of shape {shape}")
        found += zip(layer.weights, from_layer.get_weights(), strict=True)
    for weight, value in found:
        weight.assign(value)


def port(model: keras.Model, keras_model: keras.Model, keras_names: KerasNames, *, skip: Collection[str] = ()) -> None:
    """Copies the weights of a network of keras.applications, see `architectures.port_from_keras`."""
    wanted(model, skip)  # raises for a wrong name
    network = _holding(model, keras_model, keras_names)
    names = keras_names([*leaves(model), *KERAS_HEADS], network)
    pairs = _paired(network, model, names, skip)
    heads = [names[name] for name in KERAS_HEADS if name in names]
    known = [names[name] for name in leaves(model) if name in names]
    new = new_head(network, known)
    _check_same(network, model, pairs, {*known, *new, *_spare(model, skip, heads)})
    _check_in_front(keras_model, network)
    first = [layer for layer in image_convs(model) if layer.name not in skip] if swaps_colours(model) else []
    _port(model, pairs)
    turn_colours(first)


def _holding(model: keras.Model, keras_model: keras.Model, keras_names: KerasNames) -> keras.Model:
    """`keras_model` or the model nested in it that has most counterparts of our layers.

    Raises:
        ValueError: several have equally many.
    """
    ours = leaves(model)

    def count(each: keras.Model) -> int:
        names, theirs = keras_names([*ours], each), leaves(each)
        return sum(names.get(name) in theirs for name in ours)

    found = best(models(keras_model), count)
    if len(found) > 1:
        raise ValueError(
            f"`keras_model` must hold one network of this architecture; got {keras_model.name} with "
            f"{some([each.name for each in found])} (`get_layer({found[0].name!r})` returns one of them)"
        )
    return found[0]


def best(candidates: Sequence[keras.Model], count: Callable[[keras.Model], int]) -> list[keras.Model]:
    """The models of the highest count; the first candidate alone if all counts are 0."""
    counts = [count(each) for each in candidates]
    most = max(counts)
    return [each for each, n in zip(candidates, counts, strict=True) if n == most] if most else [candidates[0]]


def models(model: keras.Model) -> list[keras.Model]:
    """The model and the models nested in it, each once, outer ones first."""
    found = {id(model): model}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= {id(each): each for each in models(layer)}
    return list(found.values())


def new_head(network: keras.Model, known: Collection[str]) -> list[str]:
    """The layers with weights of a head that was added to a network: their inputs are vectors, and none of the layers
    `known` follows.
    """
    if not is_graph(network):
        return []
    leads_on: set[int] = set()
    found: list[str] = []
    others: set[str] = set()
    for call in reversed(calls(network)):
        names = _with_weights(call)
        if not leads_on.isdisjoint(map(id, call.outputs)) or not names.isdisjoint(known):
            leads_on |= set(map(id, call.inputs))
            others |= names
        elif all(len(x.shape) == 2 for x in call.inputs):
            found += names
        else:
            others |= names
    return [name for name in found if name not in others]


def _with_weights(call: Call) -> set[str]:
    """The layers with weights that a call runs, by their names in `leaves`."""
    layer = call.operation
    if isinstance(layer, keras.Model):
        return set(leaves(layer, f"{layer.name}/"))
    return {layer.name} if getattr(layer, "weights", ()) else set()


def in_front(model: keras.Model, network: keras.Model) -> list[Call]:
    """The calls on the way from the inputs of a model to a network that is nested in it, also within models between.

    Raises:
        TypeError: a model around the network is not functional.
    """
    if model is network:
        return []
    needed: set[int] = set()
    found: list[Call] = []
    for call in reversed(calls(model)):
        around = isinstance(call.operation, keras.Model) and any(each is network for each in models(call.operation))
        if around:
            found = [*in_front(call.operation, network), *found]
        elif not needed.isdisjoint(map(id, call.outputs)):
            found = [call, *found]
        else:
            continue
        needed |= set(map(id, call.inputs))
    return found


def _check_in_front(keras_model: keras.Model, network: keras.Model) -> None:
    """Raise if a network has layers with weights in front of it that it does not hold itself."""
    lost = [
        name
        for call in in_front(keras_model, network)
        if not isinstance(call.operation, keras.layers.Normalization)
        for name in sorted(_with_weights(call))
    ]
    if lost:
        raise ValueError(
            f"`keras_model` must have no layers with weights in front of {network.name}, the network in it; got "
            f"{keras_model.name} with {some(lost)} (`get_layer({network.name!r})` returns the network without them)"
        )


def turn_colours(convs: Sequence[keras.layers.Layer]) -> None:
    """Reverses the order of the input channels, from blue, green, red to red, green, blue or back."""
    for layer in convs:
        kernel, *bias = layer.get_weights()
        layer.set_weights([kernel[:, :, ::-1], *bias])


def image_convs(model: keras.Model) -> list[keras.layers.Layer]:
    """The first layers with weights behind the images.

    Raises:
        ValueError: one of them is not an ordinary convolution.
    """
    images = {id(x) for x in model.inputs}
    found = []
    for call in calls(model):
        if images.isdisjoint(map(id, call.inputs)):
            continue
        layer = call.operation
        if not getattr(layer, "weights", ()):
            images |= set(map(id, call.outputs))
            continue
        if type(layer) is not keras.layers.Conv2D or layer.groups > 1:
            raise ValueError(
                f"`{model.name}` can't take weights for images with another order of the channels: its first layer, "
                f"{layer.name}, is not an ordinary convolution"
            )
        found.append(layer)
    return found


def leaves(model: keras.Model, prefix: str = "") -> dict[str, keras.layers.Layer]:
    """The layers with weights, by name; `model/layer` for those of a nested model."""
    found: dict[str, keras.layers.Layer] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= leaves(layer, f"{prefix}{layer.name}/")
        elif layer.weights:
            found[prefix + layer.name] = layer
    return found


def wanted(target: keras.Model, skip: Collection[str]) -> dict[str, keras.layers.Layer]:
    """The layers with weights, by name, but for those of `skip`.

    Raises:
        TypeError: `skip` is not a collection of names.
        ValueError: `target` has no layer of a name in `skip`.
    """
    if isinstance(skip, str) or not isinstance(skip, Collection):
        raise TypeError(f"`skip` must be a collection of names; got {skip!r}")
    found = leaves(target)
    unknown = [name for name in skip if name not in found]
    if unknown:
        raise ValueError(f"`skip` must hold names of layers of {target.name} with weights; got {unknown[0]!r}")
    return {name: layer for name, layer in found.items() if name not in skip}


def head(model: keras.Model) -> list[str]:
    """The layers with weights that a network of ours has on top of the same network with `classes=0`."""
    # Without a layer of this name the hidden layers are features.
    pooled = any(layer.name == "pool" for layer in model.layers)
    kinds = (HEADS, AUXILIARY, HIDDEN) if pooled else (HEADS, AUXILIARY)
    return [name for name in leaves(model) if any(kind.fullmatch(name) for kind in kinds)]


def _spare(target: keras.Model, skip: Collection[str], heads: Sequence[str]) -> list[str]:
    """Which layers of `heads` may stay unused: all, or if the logits are copied the auxiliary classifiers."""
    taken = any(HEADS.fullmatch(name) and name not in skip for name in leaves(target))
    return [name for name in heads if not taken or AUXILIARY.fullmatch(name)]


def _paired(source: keras.Model, target: keras.Model, names: Mapping[str, str], skip: Collection[str]) -> list[Pair]:
    """The layers of `target` with their counterparts in `source`; `names` maps from target to source."""
    sources, targets = leaves(source), wanted(target, skip)
    lone = [name for name in targets if names.get(name) not in sources]
    if lone:
        raise ValueError(
            f"`{target.name}` has layers without a counterpart in the network of the weights, `{source.name}`: "
            f"{some(lone)}"
        )
    return [(name, layer, sources[names[name]]) for name, layer in targets.items()]


def _check_same(source: keras.Model, target: keras.Model, pairs: Sequence[Pair], known: Collection[str]) -> None:
    """Raise if `source` has layers with weights besides `known`, or if strides differ."""
    # Preprocessing may differ.
    unused = [
        name
        for name, layer in leaves(source).items()
        if name not in known and not isinstance(layer, keras.layers.Normalization)
    ]
    if unused:
        raise ValueError(
            f"the network of the weights, `{source.name}`, has layers without a counterpart in `{target.name}`: "
            f"{some(unused)}"
        )
    dilated, from_dilated = (any(_most(pair[i], "dilation_rate") > 1 for pair in pairs) for i in (1, 2))
    for name, layer, from_layer in pairs:
        ours, theirs = _most(layer, "strides"), _most(from_layer, "strides")
        # Stems may differ, a dilation may replace a stride, and a pooling the stride of a 1×1 convolution.
        point = _most(layer, "kernel_size") == 1
        lawful = point or name.startswith("stem") or (dilated if ours < theirs else from_dilated)
        if ours != theirs and not lawful:
            raise ValueError(
                f"layer {name} of `{target.name}` has stride {ours}; got one of stride {theirs}, {from_layer.name} of "
                f"the network of the weights, `{source.name}`"
            )


def _most(layer: keras.layers.Layer, what: str) -> int:
    return max(getattr(layer, what, (1,)))


def some(names: Sequence[str]) -> str:
    """The first of several names, for an error."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _port(target: keras.Model, pairs: Sequence[Pair]) -> None:
    """Copies by the names of the weights, as the layers may be of different classes."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, layer, from_layer in pairs:
        theirs = {w.name: value for w, value in zip(from_layer.weights, from_layer.get_weights(), strict=True)}
        if len(theirs) == len(layer.weights) == 1:
            # A scale or a table in layers of different classes.
            theirs = {layer.weights[0].name: next(iter(theirs.values()))}
        found[name] = theirs
    assign(target, found)


def assign(target: keras.Model, weights: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Assigns the weights of several layers.

    Args:
        target: a built model.
        weights: for each of these layers the values by the names of its weights. A bias may be among them that the
            layer lacks, if a batch normalisation follows, which absorbs it.

    Raises:
        ValueError: a value does not fit. No weights are changed then.
    """
    targets = {name: layer for name, layer in leaves(target).items() if name in weights}
    found: list[tuple[keras.Variable, np.ndarray]] = []
    shifts: dict[str, np.ndarray] = {}
    for name, layer in targets.items():
        theirs = dict(weights[name])
        found += [(weight, _fitting(theirs.pop(weight.name, None), weight, layer)) for weight in layer.weights]
        bias = theirs.pop("bias", None)
        if bias is not None:
            # Ours has no bias before a normalisation: γ (x + b − μ) / σ = γ (x − (μ − b)) / σ.
            if not isinstance(targets.get(f"{name}_norm"), keras.layers.BatchNormalization):
                raise ValueError(
                    f"layer {name} of `{target.name}` has no bias, and no batch normalisation to absorb one"
                )
            norm = targets[f"{name}_norm"]
            shifts[f"{name}_norm"] = _fitting(bias, norm.moving_mean, norm)
        if theirs:
            raise ValueError(f"layer {name} of `{target.name}` has no {', '.join(sorted(theirs))}")
    for weight, value in found:
        weight.assign(value)
    for name, bias in shifts.items():
        targets[name].moving_mean.assign_sub(bias)


def _fitting(value: np.ndarray | None, weight: keras.Variable, layer: keras.layers.Layer) -> np.ndarray:
    """A weight's new value: theirs, or if they have none the neutral one, a scale of one or a shift of zero."""
    if value is None and weight.name in ("gamma", "beta", "bias"):
        return np.full(weight.shape, float(weight.name == "gamma"), "float32")
    # A 1×1 convolution of a vector is a dense layer.
    if value is None or [n for n in value.shape if n > 1] != [n for n in weight.shape if n > 1]:
        raise misfit(layer, weight, "none" if value is None else f"one of shape {value.shape}")
    return value.reshape(weight.shape)


def misfit(layer: keras.layers.Layer, weight: keras.Variable, found: str) -> ValueError:
    """The error about a weight for which one of another shape was found."""
    return ValueError(f"layer {layer.name} needs a {weight.name} of shape {tuple(weight.shape)}; got {found}")
