"""Weights from elsewhere, layer by layer: from a sibling by name, from keras.applications by a family's map.

Files pair weights by order, and a network with another head, stem or cut has another order; names stay.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from types import ModuleType

import keras
import numpy as np

from architectures.preprocessing import swaps_colours
from kblocks import check

HEAD = "logits"
"""The layer whose width is the number of classes, in every family."""


def copy_weights(source: keras.Model, target: keras.Model, *, skip: Collection[str] = ()) -> None:
    """Copies the weights of each layer of `target` from the layer of that name in `source`, as they are.

    Args:
        source: a built model; layers that `target` has not are left aside.
        target: a built model.
        skip: names of layers of `target` that keep the weights they have.

    Raises:
        TypeError: one of the two is no model.
        ValueError: a layer of `target` has weights and no counterpart in `source`, or one of another shape. Nothing has
            been copied then.

    >>> import architectures
    >>> ten, three = architectures.create("resnet_tiny"), architectures.create("resnet_tiny", classes=3)
    >>> copy_weights(ten, three, skip=["logits"])
    """
    check.model(source, "source")
    check.model(target, "target")
    _copy(source, target, {name: name for name in _leaves(target)}, skip)


def port(
    model: keras.Model, keras_model: keras.Model, families: Sequence[ModuleType], *, skip: Collection[str] = ()
) -> None:
    """Copies a keras.applications network's weights into ours, see `architectures.port_from_keras`."""
    check.model(model, "model")
    check.model(keras_model, "keras_model")
    names = [name for name in _leaves(model) if name not in skip]
    theirs = {layer.name for layer in keras_model.layers}
    maps = [family.keras_names(names, keras_model) for family in families]
    # The family is that whose map leads somewhere for most layers; that of another one leads nearly nowhere.
    _copy(keras_model, model, max(maps, key=lambda found: len(theirs.intersection(found.values()))), skip)
    if swaps_colours(model) and first_conv(model).name not in skip:
        turn_colours(model)


def first_conv(model: keras.Model) -> keras.layers.Layer:
    """The convolution that takes the images."""
    return next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))


def turn_colours(model: keras.Model) -> None:
    """Lets a network take red, green and blue that took blue, green and red, or the other way."""
    kernel, *bias = first_conv(model).get_weights()
    first_conv(model).set_weights([kernel[:, :, ::-1], *bias])


def numbered(keras_model: keras.Model, kind: type, prefix: str) -> list[str]:
    """The names of a model's automatically named layers, `prefix`, `prefix_1`, …, in the order they were made.

    Args:
        keras_model: a built model.
        kind: the layers' class.
        prefix: the name before the number.

    Returns:
        The names, the lowest number first. Numbers begin anywhere: Keras counts over a whole process.
    """

    def number(name: str) -> int | None:
        rest = name.removeprefix(prefix)
        return 0 if not rest else int(rest[1:]) if rest[0] == "_" and rest[1:].isdecimal() else None

    found = {layer.name: number(layer.name) for layer in keras_model.layers if type(layer) is kind}
    found = {name: value for name, value in found.items() if name.startswith(prefix) and value is not None}
    return sorted(found, key=found.__getitem__)


def unit_layers(names: Sequence[str]) -> dict[str, tuple[int, str]]:
    """For each layer `stage{i}_unit{j}_{part}` the unit's place in the whole network, from 0, and the part."""
    matches = [match for name in names if (match := re.fullmatch(r"stage(\d+)_unit(\d+)_(\w+)", name))]
    units = sorted({(int(match[1]), int(match[2])) for match in matches})
    return {match[0]: (units.index((int(match[1]), int(match[2]))), match[3]) for match in matches}


def _copy(source: keras.Model, target: keras.Model, names: Mapping[str, str], skip: Collection[str]) -> None:
    """Copies layer by layer, by a map from target's names to source's, once all is known to fit."""
    sources = _leaves(source)
    targets = {name: layer for name, layer in _leaves(target).items() if name not in skip}
    lone = [name for name in targets if names.get(name) not in sources]
    if lone:
        more = f" and {len(lone) - 3} more" if len(lone) > 3 else ""
        raise ValueError(
            f"`{target.name}` has layers without a counterpart in `{source.name}`: {', '.join(lone[:3])}{more}"
        )
    values, shifts = {}, {}
    for name, layer in targets.items():
        from_layer = sources[names[name]]
        theirs = {w.name: value for w, value in zip(from_layer.weights, from_layer.get_weights(), strict=True)}
        if len(theirs) == len(layer.weights) == 1:
            # A scale or a table that the two keep in layers of different kinds.
            theirs = {layer.weights[0].name: next(iter(theirs.values()))}
        for weight in layer.weights:
            values[weight.path] = _fitting(theirs.pop(weight.name, None), weight, layer)
        bias = theirs.pop("bias", None)
        if bias is not None:
            # Ours leaves the bias to the normalisation that follows: γ (x + b − μ) / σ is γ (x − (μ − b)) / σ.
            norm = targets.get(f"{name}_norm")
            if not isinstance(norm, keras.layers.BatchNormalization):
                raise ValueError(f"layer {name} of `{target.name}` has no bias, and no normalisation that takes one in")
            shifts[norm.moving_mean.path] = bias
        if theirs:
            raise ValueError(f"layer {name} of `{target.name}` has no place for {', '.join(sorted(theirs))}")
    for layer in targets.values():
        for weight in layer.weights:
            weight.assign(values[weight.path] - shifts.get(weight.path, 0))


def _leaves(model: keras.Model, prefix: str = "") -> dict[str, keras.layers.Layer]:
    """The layers that hold weights, by name; those of a model within the model by `its_name/name`."""
    found: dict[str, keras.layers.Layer] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _leaves(layer, f"{prefix}{layer.name}/")
        # What a preprocessing subtracts and divides by is no weight of ours.
        elif layer.weights and not isinstance(layer, keras.layers.Normalization):
            found[prefix + layer.name] = layer
    return found


def _fitting(value: np.ndarray | None, weight: keras.Variable, layer: keras.layers.Layer) -> np.ndarray:
    """A weight's new value. What theirs has not is what it is without: a scale of one, a shift of zero."""
    if value is None and weight.name in ("gamma", "beta", "bias"):
        return np.full(weight.shape, float(weight.name == "gamma"), "float32")
    # A 1×1 convolution of a vector is a dense layer.
    if value is None or [n for n in value.shape if n > 1] != [n for n in weight.shape if n > 1]:
        found = "none" if value is None else f"one of shape {value.shape}"
        raise ValueError(f"layer {layer.name} needs a {weight.name} of shape {tuple(weight.shape)}; got {found}")
    return value.reshape(weight.shape)
