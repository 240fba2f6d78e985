"""Fills a network with weights: those that keras.applications has, or those of a file."""

import json
import os
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import h5py
import keras

from architectures import porting
from architectures.preprocessing import PREPROCESS, has_preprocessing, swaps_colours
from architectures.variant import Variant

IMAGENET = "imagenet"


def is_keras(weights: str | os.PathLike[str]) -> bool:
    """Whether these are weights of keras.applications: its own name for them, or one of its downloads."""
    return weights == IMAGENET or (str(weights).endswith(".h5") and not str(weights).endswith(".weights.h5"))


def prepares(weights: str | os.PathLike[str]) -> bool:
    """Whether the network of these weights is to prepare its images itself: Keras's own, and one saved that does.

    Raises:
        ValueError: the file is none that Keras saved.
    """
    if is_keras(weights):
        return True
    try:
        if str(weights).endswith(".keras"):
            with zipfile.ZipFile(weights) as file:
                saved = json.loads(file.read("config.json"))["config"].get("layers", [])
            return any(layer["config"].get("name") == PREPROCESS for layer in saved)
        with h5py.File(weights) as file:
            # A layer without weights has its place too, under the name of its class.
            return "layers/normalization" in file
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"`weights` must be a file that Keras saved; got {str(weights)!r} ({error})") from error


def check(arch: str, row: Variant, weights: str | os.PathLike[str]) -> None:
    """Raises what is wrong with the argument by itself, before anything is built.

    Raises:
        ValueError: it is neither `"imagenet"` nor a file of a known kind, or keras.applications has no such network.
        FileNotFoundError: there is no such file.
    """
    if is_keras(weights) and row.keras is None:
        raise ValueError(f"`weights` of keras.applications are for its own networks; {arch} is none of them")
    if weights == IMAGENET:
        return
    if not str(weights).endswith((".h5", ".keras")):
        raise ValueError(
            f"`weights` must be 'imagenet' or a file that ends in .weights.h5, .keras or .h5; got {str(weights)!r}"
        )
    if not Path(weights).is_file():
        raise FileNotFoundError(f"`weights` must be a file that exists; got {str(weights)!r}")


def load(
    model: keras.Model,
    row: Variant,
    weights: str | os.PathLike[str],
    *,
    sibling: Callable[[int], keras.Model],
    families: Sequence[ModuleType],
) -> None:
    """Fills a network; a head of another number of classes stays as it is.

    Args:
        model: to be filled.
        row: of its architecture.
        weights: see `architectures.create`.
        sibling: makes the network of that number of classes that prepares its images as that of the weights does.
        families: those that keras.applications has too.

    Raises:
        ValueError: the weights don't fit the network.
    """
    if not is_keras(weights):
        _load_ours(model, row, weights, sibling)
        return
    keras_model = _keras_model(row, weights)
    skip = [porting.HEAD] if _head_differs(model, keras_model) else []
    porting.port(model, keras_model, families, skip=skip)


def _keras_model(row: Variant, weights: str | os.PathLike[str]) -> keras.Model:
    if weights == IMAGENET:
        return row.keras(weights=IMAGENET)
    keras_model = row.keras(weights=None, include_top="notop" not in Path(weights).name)
    keras_model.load_weights(weights)
    return keras_model


def _load_ours(
    model: keras.Model, row: Variant, weights: str | os.PathLike[str], sibling: Callable[[int], keras.Model]
) -> None:
    # A .keras file tells its own network, so that layers are paired by name.
    is_whole = str(weights).endswith(".keras")
    saved = keras.models.load_model(weights, compile=False) if is_whole else _saved(model, row, weights, sibling)
    if saved is model:
        return
    porting.copy_weights(saved, model, skip=[porting.HEAD] if _head_differs(model, saved) else [])
    if swaps_colours(saved) != swaps_colours(model):
        porting.turn_colours(model)


def _saved(
    model: keras.Model, row: Variant, weights: str | os.PathLike[str], sibling: Callable[[int], keras.Model]
) -> keras.Model:
    """The network that a .weights.h5 is of: with as many classes as the row, or as are asked for now; maybe `model`."""
    wanted, first_error = _classes(model), None
    for classes in dict.fromkeys((row.classes, wanted)):
        same = classes == wanted and prepares(weights) == has_preprocessing(model)
        saved = model if same else sibling(classes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default" if same else "ignore")
                saved.load_weights(weights)
        except ValueError as error:
            first_error = first_error or error
        else:
            return saved
    raise first_error


def _head_differs(model: keras.Model, source: keras.Model) -> bool:
    """Whether the model has a head and the source one of another width, or none."""
    return _classes(model) not in (0, _classes(source))


def _classes(model: keras.Model) -> int:
    """The width of a network's logits; 0 where it ends in features."""
    if any(layer.name == porting.HEAD for layer in model.layers):
        return model.get_layer(porting.HEAD).units
    # Keras's heads have their own names; without one its networks end in images.
    return model.output_shape[-1] if len(model.outputs) == 1 and len(model.output_shape) == 2 else 0
