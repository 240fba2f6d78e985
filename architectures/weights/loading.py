"""Loads pretrained weights into a network: those of keras.applications, or those of a file.

A `.keras` file or one of keras.applications may be of a network with another head: layers are paired by name. A
`.keras` file may also be of a model that the network is nested in. A `.weights.h5` must be of exactly the same network.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import KerasTensor, layers

from architectures.common.family import KerasNames, Variant
from architectures.weights import porting
from architectures.weights.preprocessing import (
    MEANS_AND_VARIANCES,
    PREPROCESS,
    has_preprocessing,
    in_row,
    leading,
    swaps_colours,
)
from kblocks.check import takes

IMAGENET = "imagenet"

Weights = str | os.PathLike[str]

Preparation = Callable[[KerasTensor], KerasTensor] | None
"""What prepares an input of a network."""


def check(arch: str, row: Variant, weights: Weights) -> None:
    """Raise what can be said of the argument alone, before anything is built.

    Raises:
        ValueError: it is neither `"imagenet"` nor a file of a known format, or keras.applications has no such network.
        FileNotFoundError: there is no such file.
    """
    if _is_keras(weights) and row.keras is None:
        raise ValueError(
            f"`weights` must be a .keras or .weights.h5 file for {arch}, which is not in keras.applications; "
            f"got {str(weights)!r}"
        )
    if weights == IMAGENET:
        return
    if not str(weights).endswith((".h5", ".keras")):
        raise ValueError(
            f"`weights` must be 'imagenet' or a file that ends in .weights.h5, .keras or .h5; got {str(weights)!r}"
        )
    if not Path(weights).is_file():
        raise FileNotFoundError(f"`weights` must be a file that exists; got {str(weights)!r}")


def check_preprocessing(arch: str, row: Variant) -> None:
    """Raise if there is no preprocessing for a network.

    Raises:
        ValueError: keras.applications has no such network.
    """
    if row.preprocessing is None:
        raise ValueError(f"`preprocessing` must be False for {arch}, which has no weights in keras.applications")


def has_layer(arch: str, row: Variant, weights: Weights) -> bool:
    """Whether the network of the weights contains its preprocessing; those of keras.applications count as such, unless
    the file says otherwise.

    Raises:
        ValueError: the file was not saved by Keras.
    """
    if weights == IMAGENET:
        return True
    with _reading(arch, weights), h5py.File(weights) as file:
        if _is_keras(weights):
            # Where `include_preprocessing=False` exists, a complete model tells whether it was given.
            saved = _saved_layers(file)
            optional = row.keras is not None and takes(row.keras, "include_preprocessing")
            return saved is None or not optional or bool(_rescaling(saved))
        return PREPROCESS in _layer_names(file).values()


def from_model(
    arch: str, row: Variant, weights: Weights, preprocessing: bool | None, build: Callable[[Preparation], keras.Model]
) -> keras.Model:
    """A network with the weights of a `.keras` file, of the network itself or of a model that it is nested in.

    Args:
        arch: the name of the network's row.
        row: the row.
        weights: see `architectures.create`.
        preprocessing: see `architectures.create`.
        build: builds the network; called with what prepares its inputs.

    Raises:
        ValueError: the weights do not fit the network, or the layers in front of it can't be kept.
    """
    with _reading(arch, weights):
        saved = keras.models.load_model(weights, compile=False)
    network = _network(saved, build, weights)
    front = _in_front(saved, network, weights)
    kept = None if preprocessing is False else _copy_of(front, network)
    if preprocessing and not front:
        check_preprocessing(arch, row)
    model = build(kept or (in_row(row.preprocessing) if preprocessing and not front else None))
    if porting.leaves(network).keys().isdisjoint(porting.leaves(model)):
        raise ValueError(
            f"`weights` must be of a network that `create` built; got {str(weights)!r} of {saved.name}, which has "
            "other layers (`port_from_keras` copies from networks of keras.applications)"
        )
    if front and not kept and preprocessing is not False:
        raise ValueError(
            f"`weights` must be of a network with at most one Rescaling or Normalization in front; got "
            f"{str(weights)!r} with {', '.join(dict.fromkeys(each.name for each in front))} "
            "(`preprocessing=False` loads the network without them)"
        )
    widths = _heads(network)
    _check_head(model, row, len(widths), weights)
    with _fitting(arch):
        porting.restore(network, model, skip=_new(model, widths, porting.leaves(network)))
    if swaps_colours(network) != swaps_colours(model):
        porting.turn_colours(porting.image_convs(model))
    return model


def _network(saved: keras.Model, build: Callable[[Preparation], keras.Model], weights: Weights) -> keras.Model:
    """The model in a file, or the one nested in it that has most layers of ours.

    Raises:
        ValueError: several have equally many.
    """
    candidates = porting.models(saved)
    if len(candidates) == 1:
        return saved
    ours = porting.leaves(build(None)).keys()
    best = porting.best(candidates, lambda each: len(ours & porting.leaves(each).keys()))
    if len(best) > 1:
        raise ValueError(
            f"`weights` must be of a model with one network of these layers; got {str(weights)!r} with "
            f"{', '.join(each.name for each in best)} (`copy_weights(keras.models.load_model(PATH), model, "
            f"prefix={best[0].name!r})` copies from one of them)"
        )
    return best[0]


def _in_front(saved: keras.Model, network: keras.Model, weights: Weights) -> list[layers.Layer]:
    """What prepares the inputs of the network in a file, one entry for each call."""
    try:
        found = [*porting.in_front(saved, network), *leading(network)]
    except TypeError as error:
        raise ValueError(
            f"`weights` must be of a functional or Sequential model; got {str(weights)!r}: {error} "
            "(`copy_weights` copies from any model)"
        ) from error
    return [call.operation for call in found]


def _copy_of(front: list[layers.Layer], network: keras.Model) -> layers.Layer | None:
    """A copy of the one layer that prepares all inputs of a network; `None` if there is no layer, or more."""
    (first, *others) = front or [None]
    single = all(each is first for each in others) and len(front) % len(network.inputs) == 0
    if type(first) not in (layers.Rescaling, layers.Normalization) or not single:
        return None
    config = first.get_config()
    if first.weights:  # a normalisation that was adapted to data
        mean, variance, *_ = first.get_weights()
        config |= {"mean": mean.tolist(), "variance": variance.tolist()}
    return type(first).from_config(config)


def load(model: keras.Model, arch: str, row: Variant, weights: Weights, keras_names: KerasNames | None) -> None:
    """Fills a network with weights that are not in a `.keras` file. Layers of a head that the weights lack keep their
    initial values.

    Args:
        model: the network.
        arch: the name of its row.
        row: the row.
        weights: see `architectures.create`.
        keras_names: the family's map of layer names.

    Raises:
        ValueError: the weights do not fit the network.
    """
    if str(weights).endswith(".weights.h5"):
        _load_same(model, arch, weights)
    elif row.keras is not None and keras_names is not None:
        keras_model = _keras_model(model, arch, row.keras, weights)
        if has_preprocessing(model) and weights != IMAGENET:
            _check_rescaling(arch, row, weights)
        # Without a head the output is an image.
        classes = keras_model.output_shape[-1] if len(keras_model.output_shape) == 2 else 0
        _check_head(model, row, classes, weights)
        widths = dict.fromkeys(_heads(model), classes) if classes else {}
        with _fitting(arch):
            porting.port(model, keras_model, keras_names, skip=_new(model, widths, ()))


def _is_keras(weights: Weights) -> bool:
    """Whether these are weights of keras.applications: their name, or a file as it downloads them."""
    return weights == IMAGENET or (str(weights).endswith(".h5") and not str(weights).endswith(".weights.h5"))


def _load_same(model: keras.Model, arch: str, weights: Weights) -> None:
    """Loads a `.weights.h5`, after a comparison with the network: Keras ignores what a file has too many."""
    with _reading(arch, weights), h5py.File(weights) as file:
        saved, names = _saved_shapes(file), _layer_names(file)
    ours = Counter((weight.path.split("/")[-2], tuple(weight.shape)) for weight in model.weights)
    differences = [
        f"the {which} has {', '.join(f'{name} of shape {shape}' for name, shape in list(others)[:2])}"
        for which, others in (("file", saved - ours), ("network", ours - saved))
        if others
    ]
    if (PREPROCESS in names.values()) != has_preprocessing(model):
        differences.append(f"`preprocessing` is {not has_preprocessing(model)} in the file")
    # A layer of another name came from the `.keras` file of a model that prepares its inputs in a way of its own.
    front = [name for kind, name in names.items() if kind.startswith(("normalization", "rescaling"))]
    if lost := sorted({*front} - {PREPROCESS, *(layer.name for layer in model.layers)}):
        differences.append(f"the file has {', '.join(lost)} in front, whose numbers only a .keras file holds")
    if differences:
        raise ValueError(
            f"`weights` must be a .weights.h5 of exactly this network; got {str(weights)!r}: {'; '.join(differences)} "
            "(to transfer between networks, create the one that was saved, with this file, and use "
            "`copy_weights(source, target, skip=…)`)"
        )
    with _reading(arch, weights):
        model.load_weights(weights)


def _saved_shapes(file: h5py.File) -> Counter[tuple[str, tuple[int, ...]]]:
    """Name of the layer and shape of each weight in a `.weights.h5`, without those of optimiser and random seeds."""
    found: Counter[tuple[str, tuple[int, ...]]] = Counter()

    def visit(path: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and not path.startswith("optimizer/") and "seed_generator" not in path:
            found[str(item.parent.attrs.get("name")), item.shape] += 1

    file.visititems(visit)
    return found


def _saved_layers(file: h5py.File) -> list[dict[str, Any]] | None:
    """The configurations of the layers of a model in an `.h5` file; `None` if it holds weights alone."""
    config = file.attrs.get("model_config")
    return None if config is None else list(json.loads(config)["config"]["layers"])


def _rescaling(saved: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Class and configuration of the layers that rescale."""
    return [
        (layer["class_name"], layer["config"])
        for layer in saved
        if layer["class_name"] in ("Rescaling", "Normalization")
    ]


def _check_rescaling(arch: str, row: Variant, weights: Weights) -> None:
    """Raise if a complete model in an `.h5` file rescales images otherwise than the weights of keras.applications need.

    A network that was trained from scratch may.
    """
    with _reading(arch, weights), h5py.File(weights) as file:
        rescaling = _rescaling(_saved_layers(file) or [])
        # The darkest and the brightest image.
        found = np.array([[0.0] * 3, [255.0] * 3])
        for kind, config in rescaling:
            if kind == "Rescaling":
                found = found * np.array(config["scale"]) + np.array(config["offset"])
                continue
            mean, variance = config.get("mean"), config.get("variance")
            if mean is None:
                group = file["model_weights"][config["name"]]
                mean, variance, *_ = (group[name][()] for name in group.attrs["weight_names"])
            found = (found - np.array(mean)) / np.sqrt(np.array(variance))
    mean, variance = MEANS_AND_VARIANCES[str(row.preprocessing)]
    expected = (np.array([[0.0] * 3, [255.0] * 3]) - mean) / np.sqrt(variance)
    if rescaling and not np.allclose(found, expected, rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"`preprocessing` must be False for {str(weights)!r}, whose network rescales images to "
            f"{found.min():.4g} … {found.max():.4g}; that of {arch} rescales them to {expected.min():.4g} … "
            f"{expected.max():.4g} (without it the network takes what the first layers there return)"
        )


def _layer_names(file: h5py.File) -> dict[str, str]:
    """The names of the layers in a `.weights.h5`, with weights or without, by their groups: class and number."""
    found = file.get("layers", {}).items()
    return {kind: str(group["vars"].attrs.get("name")) for kind, group in found if "vars" in group}


@contextmanager
def _reading(arch: str, weights: Weights) -> Iterator[None]:
    """Turns whatever a damaged or foreign file raises into one error."""
    try:
        yield
    except Exception as error:
        kind = "of keras.applications" if _is_keras(weights) else "saved by Keras"
        cause = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"`weights` must be a file {kind} for {arch}; got {str(weights)!r} ({cause})") from error


@contextmanager
def _fitting(arch: str) -> Iterator[None]:
    """Adds to an error of `porting` that the weights do not fit, and how to load a part of them."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"`weights` do not fit {arch} as it is configured: {error} (`copy_weights`, or `port_from_keras` from a "
            "network of keras.applications, skip the layers in `skip=`)"
        ) from error


def _new(model: keras.Model, widths: Mapping[str, int], found: Collection[str]) -> list[str]:
    """The layers of the head that keep their initial weights: without trained logits all, else those of another width
    and auxiliary classifiers that are not in `found`.

    Args:
        model: the network.
        widths: numbers of trained logits, by layer name.
        found: names of the trained layers.
    """
    ours = _heads(model)
    return [
        name
        for name in porting.head(model)
        if not widths or ours.get(name) != widths.get(name) or (porting.AUXILIARY.fullmatch(name) and name not in found)
    ]


def _check_head(model: keras.Model, row: Variant, found: int, weights: Weights) -> None:
    """Raise if the default number of classes is asked for, and the weights have no logits."""
    if not found and row.classes in _heads(model).values():
        raise ValueError(
            f"`weights` must have logits for {row.classes} classes; got {str(weights)!r}, which has no head "
            "(use `classes=0` for the features, or another number for a new head)"
        )


def _keras_model(
    model: keras.Model, arch: str, constructor: Callable[..., keras.Model], weights: Weights
) -> keras.Model:
    """The network of keras.applications with these weights, of any number of classes."""
    if weights == IMAGENET:
        return constructor(weights=IMAGENET)
    keras_model = constructor(weights=None)
    theirs = [layer.name for layer in keras_model.layers if layer.weights]
    with _reading(arch, weights):
        saved = _widths(weights)
        if saved.keys() & porting.leaves(model).keys() - set(theirs):
            raise ValueError("it holds a network of `create`; save that as .keras or .weights.h5")
        classes = saved.get(theirs[-1])
        if not classes:
            keras_model = constructor(weights=None, include_top=False)
        elif classes != keras_model.output_shape[-1]:
            keras_model = constructor(weights=None, classes=classes)
        try:
            keras_model.load_weights(weights)
        except ValueError as error:
            cause = str(error).partition("\n")[0]
            raise ValueError(f"{cause} `port_from_keras` copies from models with another head") from error
    return keras_model


def _widths(weights: Weights) -> dict[str, int]:
    """The layers with weights in a file of keras.applications, and the last dimension of each."""
    shapes: dict[str, tuple[int, ...]] = {}
    with h5py.File(weights) as file:
        for name, layer in file.get("model_weights", file).items():
            layer.visititems(
                lambda _, item, name=name: shapes.update({name: item.shape} if isinstance(item, h5py.Dataset) else {})
            )
    return {name: shape[-1] for name, shape in shapes.items() if shape}


def _heads(model: keras.Model) -> dict[str, int]:
    """The layers of logits of a network of ours, and their number."""
    heads = {name: layer for name, layer in porting.leaves(model).items() if porting.HEADS.fullmatch(name)}
    return {name: int(layer.weights[0].shape[-1]) for name, layer in heads.items() if layer.weights}
