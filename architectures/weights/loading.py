"""Loads pretrained weights into a network: those of keras.applications, or those of a file.

A `.keras` file or one of keras.applications may be of a network with another head: layers are paired by name. A
`.weights.h5` must be of exactly the same network.
"""

import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras

from architectures.common.family import KerasNames, Variant
from architectures.weights import porting
from architectures.weights.preprocessing import PREPROCESS, has_preprocessing, swaps_colours

IMAGENET = "imagenet"

Weights = str | os.PathLike[str]


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


def has_layer(arch: str, weights: Weights) -> bool:
    """Whether the network of the weights contains its preprocessing; those of keras.applications count as such.

    Raises:
        ValueError: the file was not saved by Keras.
    """
    if _is_keras(weights):
        return True
    with _reading(arch, weights):
        if str(weights).endswith(".keras"):
            with zipfile.ZipFile(weights) as file:
                saved = json.loads(file.read("config.json"))["config"].get("layers", [])
            return any(layer["config"].get("name") == PREPROCESS for layer in saved)
        with h5py.File(weights) as file:
            # Keras makes a group for each layer, with weights or without.
            return PREPROCESS in (_layer_name(group) for group in file.get("layers", {}).values())


def load(model: keras.Model, arch: str, row: Variant, weights: Weights, keras_names: KerasNames | None) -> None:
    """Fills a network with weights. Layers of a head that the weights lack keep their initial values.

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
    elif str(weights).endswith(".keras"):
        saved = _saved_model(model, arch, weights)
        widths = _heads(saved)
        _check_head(model, row, len(widths), weights)
        with _fitting(arch):
            porting.restore(saved, model, skip=_new(model, widths, porting.leaves(saved)))
        if swaps_colours(saved) != swaps_colours(model):
            porting.turn_colours(porting.image_convs(model))
    elif row.keras is not None and keras_names is not None:
        keras_model = _keras_model(model, arch, row.keras, weights)
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
        saved = _saved_shapes(file)
    ours = Counter((weight.path.split("/")[-2], tuple(weight.shape)) for weight in model.weights)
    differences = [
        f"{what} {name} of shape {shape}"
        for what, shapes in (("the file has", saved - ours), ("the network has", ours - saved))
        for name, shape in list(shapes)[:2]
    ]
    if has_layer(arch, weights) != has_preprocessing(model):
        differences.append(f"`preprocessing` is {not has_preprocessing(model)} in the file")
    if differences:
        raise ValueError(
            f"`weights` must be a .weights.h5 of exactly this network; got {str(weights)!r}: {', '.join(differences)} "
            "(to take over a part, create the network as it was saved with this file, then "
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


def _layer_name(group: h5py.Group) -> str | None:
    return group["vars"].attrs.get("name") if "vars" in group else None


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
        keras_model.load_weights(weights)
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


def _saved_model(model: keras.Model, arch: str, weights: Weights) -> keras.Model:
    """The network in a `.keras` file."""
    with _reading(arch, weights):
        saved = keras.models.load_model(weights, compile=False)
    if porting.leaves(saved).keys().isdisjoint(porting.leaves(model)):
        raise ValueError(
            f"`weights` must be of a network that `create` built; got {str(weights)!r} of {saved.name}, which has "
            "other layers (`port_from_keras` copies from networks of keras.applications)"
        )
    return saved


def _heads(model: keras.Model) -> dict[str, int]:
    """The layers of logits of a network of ours, and their number."""
    return {layer.name: layer.units for layer in model.layers if porting.HEADS.fullmatch(layer.name)}
