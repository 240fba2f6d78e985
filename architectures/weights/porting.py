"""Copies weights layer by layer: from a network of ours by layer name, from keras.applications by a family's name map.

Names and not order, because another head, stem or depth changes the order of the weights, but no names.
"""

import re
from collections.abc import Collection, Mapping, Sequence

import keras
import numpy as np

from architectures.common.family import KerasNames
from architectures.weights.preprocessing import swaps_colours
from kblocks import check
from kblocks.graph.calls import calls, sources

Pair = tuple[str, keras.layers.Layer, keras.layers.Layer]
"""The name of a layer, the layer, and its counterpart in another network."""

HEADS = re.compile(r"(auxiliary\d+_)?logits\d*")
"""The names of layers that output logits."""

HIDDEN = re.compile(r"hidden_dense\d+|head_dense")
"""The names of the hidden layers between pooling and logits."""

AUXILIARY = re.compile(r"auxiliary\d+_.+")
"""The names of the layers of auxiliary classifiers."""

KERAS_HEADS = ("hidden_dense1", "hidden_dense2", "head_dense", "logits")
"""Our names of the layers in the heads of keras.applications."""


def copy_weights(source: keras.Model, target: keras.Model, *, skip: Collection[str] = ()) -> None:
    """Copies the weights of each layer of `target` from the layer of the same name in `source`.

    Args:
        source: a built model; its layers that `target` lacks are ignored.
        target: a built model.
        skip: names of layers of `target` that keep their weights; `tower/conv1` for a layer of a nested model.

    Raises:
        TypeError: an argument is not a model, or `skip` is a string.
        ValueError: `target` has no layer of a name in `skip`, or a layer of `target` has no counterpart in `source` or
            one of other shapes. No weights are changed then.

    >>> import architectures
    >>> ten, three = architectures.create("resnet_tiny"), architectures.create("resnet_tiny", classes=3)
    >>> copy_weights(ten, three, skip=["logits"])
    """
    check.model(source, "source")
    check.model(target, "target")
    _copy(_paired(source, target, {name: name for name in leaves(target)}, skip))


def restore(source: keras.Model, target: keras.Model, *, skip: Collection[str] = ()) -> None:
    """`copy_weights` between two networks that may differ in their heads alone.

    Raises:
        ValueError: as `copy_weights`, or `source` differs in more than the head. No weights are changed then.
    """
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
                raise _misfit(layer, weight, f"one of shape {shape}")
        found += zip(layer.weights, from_layer.get_weights(), strict=True)
    for weight, value in found:
        weight.assign(value)


def port(model: keras.Model, keras_model: keras.Model, keras_names: KerasNames, *, skip: Collection[str] = ()) -> None:
    """Copies the weights of a network of keras.applications, see `architectures.port_from_keras`."""
    names = keras_names([*leaves(model), *KERAS_HEADS], keras_model)
    pairs = _paired(keras_model, model, names, skip)
    heads = [names[name] for name in KERAS_HEADS if name in names]
    known = [names[name] for name in leaves(model) if name in names]
    _check_same(keras_model, model, pairs, {*known, *_spare(model, skip, heads)})
    first = [layer for layer in image_convs(model) if layer.name not in skip] if swaps_colours(model) else []
    _port(model, pairs)
    turn_colours(first)


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
    by_name = {layer.name: layer for layer in model.layers}
    images = {(layer.name, 0) for layer in model.layers if isinstance(layer, keras.layers.InputLayer)}
    found = []
    for entry, i, node in calls(model.get_config()):
        if images.isdisjoint(sources(node)):
            continue
        layer = by_name.get(entry["name"])
        if layer is None or not layer.weights:
            images.add((entry["name"], i))
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
    if isinstance(skip, str) or not isinstance(skip, Collection):
        raise TypeError(f"`skip` must be a collection of names; got {skip!r}")
    sources, targets = leaves(source), leaves(target)
    unknown = [name for name in skip if name not in targets]
    if unknown:
        raise ValueError(f"`skip` must hold names of layers of {target.name} with weights; got {unknown[0]!r}")
    wanted = [name for name in targets if name not in skip]
    lone = [name for name in wanted if names.get(name) not in sources]
    if lone:
        raise ValueError(
            f"`{target.name}` has layers without a counterpart in the network of the weights, `{source.name}`: "
            f"{_some(lone)}"
        )
    return [(name, targets[name], sources[names[name]]) for name in wanted]


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
            f"{_some(unused)}"
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


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _port(target: keras.Model, pairs: Sequence[Pair]) -> None:
    """Copies by the names of the weights, as the layers may be of different classes."""
    targets = {name: layer for name, layer, _ in pairs}
    found: list[tuple[keras.Variable, np.ndarray]] = []
    shifts: dict[str, np.ndarray] = {}
    for name, layer, from_layer in pairs:
        theirs = {w.name: value for w, value in zip(from_layer.weights, from_layer.get_weights(), strict=True)}
        if len(theirs) == len(layer.weights) == 1:
            # A scale or a table in layers of different classes.
            theirs = {layer.weights[0].name: next(iter(theirs.values()))}
        found += [(weight, _fitting(theirs.pop(weight.name, None), weight, layer)) for weight in layer.weights]
        bias = theirs.pop("bias", None)
        if bias is not None:
            # Ours has no bias before a normalisation: γ (x + b − μ) / σ = γ (x − (μ − b)) / σ.
            if not isinstance(targets.get(f"{name}_norm"), keras.layers.BatchNormalization):
                raise ValueError(
                    f"layer {name} of `{target.name}` has no bias, and no batch normalisation to absorb one"
                )
            shifts[f"{name}_norm"] = bias
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
        raise _misfit(layer, weight, "none" if value is None else f"one of shape {value.shape}")
    return value.reshape(weight.shape)


def _misfit(layer: keras.layers.Layer, weight: keras.Variable, found: str) -> ValueError:
    return ValueError(f"layer {layer.name} needs a {weight.name} of shape {tuple(weight.shape)}; got {found}")
