"""Fills a network with weights: those that keras.applications has, or those of a file."""

import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


def prepares(arch: str, weights: str | os.PathLike[str]) -> bool:
    """Whether the network of these weights is to prepare its images itself: Keras's own, and one saved that does.

    Raises:
        ValueError: the file is none that Keras saved.
    """
    if is_keras(weights):
        return True
    with _reading(arch, weights):
        if str(weights).endswith(".keras"):
            with zipfile.ZipFile(weights) as file:
                saved = json.loads(file.read("config.json"))["config"].get("layers", [])
            return any(layer["config"].get("name") == PREPROCESS for layer in saved)
        with h5py.File(weights) as file:
            # A layer without weights has its place too, under the name of its class.
            return "layers/normalization" in file


@contextmanager
def _reading(arch: str, weights: str | os.PathLike[str]) -> Iterator[None]:
    """Makes one error of the many kinds that a damaged or foreign file raises within."""
    try:
        yield
    except Exception as error:
        of = "keras.applications has" if is_keras(weights) else "Keras saved"
        cause = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"`weights` must be a file that {of} of {arch}; got {str(weights)!r} ({cause})") from error


def check(arch: str, row: Variant, weights: str | os.PathLike[str]) -> None:
    """Raises what is wrong with the argument by itself, before anything is built.

    Raises:
        ValueError: it is neither `"imagenet"` nor a file of a known kind, or keras.applications has no such network.
        FileNotFoundError: there is no such file.
    """
    if is_keras(weights) and row.keras is None:
        raise ValueError(
            f"`weights` of keras.applications are for its own networks; {arch} is none of them "
            "(one of ours is saved as .keras or .weights.h5)"
        )
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
    arch: str,
    row: Variant,
    weights: str | os.PathLike[str],
    *,
    prepared: bool,
    sibling: Callable[..., keras.Model],
    families: Sequence[ModuleType],
) -> None:
    """Fills a network; heads that the weights have not, or for another number of classes, stay as they are.

    Args:
        model: to be filled.
        arch: the name of its row.
        row: it.
        weights: see `architectures.create`.
        prepared: whether the network of the weights prepares its images.
        sibling: makes the network with other arguments that prepares its images as that of the weights does.
        families: those that keras.applications has too.

    Raises:
        ValueError: the weights don't fit the network.
    """
    if is_keras(weights):
        keras_model = _keras_model(model, arch, row, weights)
        # Without a head its networks end in images.
        classes = keras_model.output_shape[-1] if len(keras_model.output_shape) == 2 else 0
        _check_head(model, row, classes, weights)
        widths = dict.fromkeys(_heads(model), classes) if classes else {}
        with _fitting(arch):
            porting.port(model, keras_model, families, skip=_new(model, widths, ()))
        return
    whole = str(weights).endswith(".keras")
    saved = _whole(model, arch, weights) if whole else _filled(model, arch, row, weights, prepared, sibling)
    if saved is model:
        return
    widths = _heads(saved)
    _check_head(model, row, len(widths), weights)
    with _fitting(arch):
        porting.restore(saved, model, skip=_new(model, widths, porting.leaves(saved)))
    if swaps_colours(saved) != swaps_colours(model):
        porting.turn_colours(porting.image_convs(model))


@contextmanager
def _fitting(arch: str) -> Iterator[None]:
    """Says of what raises within that it is the weights that don't fit, and what takes them nevertheless."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"`weights` don't fit {arch} as it is built: {error} (`copy_weights`, or `port_from_keras` from a network "
            "of keras.applications, takes `skip=` for layers that are to stay new)"
        ) from error


def _new(model: keras.Model, widths: Mapping[str, int], found: Collection[str]) -> list[str]:
    """The layers of heads that stay as they are: all without trained logits, else those of another width or lacking.

    Args:
        model: ours.
        widths: of the trained logits, by name.
        found: the names of the trained layers.
    """
    ours = _heads(model)
    return [
        name
        for name in porting.head(model)
        if not widths or ours.get(name) != widths.get(name) or (porting.AUXILIARY.fullmatch(name) and name not in found)
    ]


def _check_head(model: keras.Model, row: Variant, found: int, weights: str | os.PathLike[str]) -> None:
    """Raises where the row's own classifier is asked for and would not be a trained one."""
    if not found and row.classes in _heads(model).values():
        raise ValueError(
            f"`weights` must have logits for {row.classes} classes; got {str(weights)!r}, which holds the features "
            "alone (`classes=0` takes those, another number a new head)"
        )


def _keras_model(model: keras.Model, arch: str, row: Variant, weights: str | os.PathLike[str]) -> keras.Model:
    """The network of keras.applications with these weights, whatever its number of classes."""
    if weights == IMAGENET:
        return row.keras(weights=IMAGENET)
    keras_model = row.keras(weights=None)
    theirs = [layer.name for layer in keras_model.layers if layer.weights]
    with _reading(arch, weights):
        saved = _widths(weights)
        if saved.keys() & porting.leaves(model).keys() - set(theirs):
            raise ValueError("it holds a network of `create`, which is saved as .keras or .weights.h5")
        classes = saved.get(theirs[-1])
        if not classes:
            keras_model = row.keras(weights=None, include_top=False)
        elif classes != keras_model.output_shape[-1]:
            keras_model = row.keras(weights=None, classes=classes)
        keras_model.load_weights(weights)
    return keras_model


def _widths(weights: str | os.PathLike[str]) -> dict[str, int]:
    """The layers with weights in a file of keras.applications, and their widths."""
    shapes: dict[str, tuple[int, ...]] = {}
    with h5py.File(weights) as file:
        for name, layer in file.get("model_weights", file).items():
            layer.visititems(
                lambda _, item, name=name: shapes.update({name: item.shape} if isinstance(item, h5py.Dataset) else {})
            )
    return {name: shape[-1] for name, shape in shapes.items() if shape}


def _whole(model: keras.Model, arch: str, weights: str | os.PathLike[str]) -> keras.Model:
    """The network that a .keras file is, whose layers are then paired by name."""
    with _reading(arch, weights):
        saved = keras.models.load_model(weights, compile=False)
    if porting.leaves(saved).keys().isdisjoint(porting.leaves(model)):
        raise ValueError(
            f"`weights` must be of a network that `create` made; got {str(weights)!r}, which holds {saved.name} with "
            "other layers (`port_from_keras` copies from one of keras.applications)"
        )
    return saved


def _filled(
    model: keras.Model,
    arch: str,
    row: Variant,
    weights: str | os.PathLike[str],
    prepared: bool,
    sibling: Callable[..., keras.Model],
) -> keras.Model:
    """The network that a .weights.h5 is of, whatever its head: maybe `model` itself.

    Such a file pairs weights by order and kind of layer, and what it has too many of Keras leaves out without a word.
    """
    saved: Counter[tuple[int, ...]] = Counter()
    with _reading(arch, weights), h5py.File(weights) as file:
        file.visititems(lambda path, item: saved.update([item.shape] if _is_weight(path, item) else []))
    wanted, ours = max(_heads(model).values(), default=0), _shapes(model)
    more, fewer = saved - ours, ours - saved
    widths = [shape[-1] for shape in more if len(shape) == 2 and shape[-1:] in more]
    auxiliaries = [{}, {"auxiliary": True}, {"auxiliary": False}] if hasattr(row.spec, "auxiliary") else [{}]
    for auxiliary in auxiliaries:
        for pooling in ({}, {"pooling": None}, {"pooling": "avg"}, {"pooling": "flatten"}):
            changes, near = auxiliary | pooling, False
            for classes in (wanted, *(widths or [0])):
                same = not changes and classes == wanted and prepared == has_preprocessing(model)
                try:
                    candidate = model if same else sibling(classes=classes, **changes)
                except ValueError:
                    # Vectors take no pooling, and images of any size are not put in a row.
                    continue
                if _shapes(candidate) == saved:
                    with _reading(arch, weights):
                        candidate.load_weights(weights)
                    return candidate
                near |= _kernels(_shapes(candidate)) == _kernels(saved)
            if not near:
                break
    raise ValueError(
        f"`weights` must be of {arch} as it is built now, but for its head; got {str(weights)!r}, of which weights of "
        f"shape {', '.join(map(str, [*more, *fewer][:3]))} have no place or are missing"
    )


def _kernels(shapes: Mapping[tuple[int, ...], int]) -> dict[tuple[int, ...], int]:
    """Those of convolutions, which no pooling changes."""
    return {shape: count for shape, count in shapes.items() if len(shape) > 2}


def _is_weight(path: str, item: h5py.Group | h5py.Dataset) -> bool:
    """Whether something in a .weights.h5 is a layer's weight, and neither an optimiser's nor a random generator's."""
    return isinstance(item, h5py.Dataset) and not path.startswith("optimizer/") and "seed_generator" not in path


def _shapes(model: keras.Model) -> Counter[tuple[int, ...]]:
    """How many weights of each shape a network has."""
    return Counter(tuple(weight.shape) for weight in model.weights)


def _heads(model: keras.Model) -> dict[str, int]:
    """The layers that give the logits of a network of ours, and their widths."""
    return {layer.name: layer.units for layer in model.layers if porting.HEADS.fullmatch(layer.name)}
