"""All families in one place: `create`, `names` and `variant` look rows up by name."""

import dataclasses
import difflib
import fnmatch
import os
from collections.abc import Callable, Collection
from numbers import Integral, Real
from types import ModuleType
from typing import Any

import keras

import kblocks as kb
from architectures import (
    convnext,
    densenet,
    efficientnet,
    googlenet,
    inception,
    inception_resnet,
    lenet,
    loading,
    mlp,
    mobilenet,
    mobilenet_v2,
    mobilenet_v3,
    multi_input,
    nasnet,
    porting,
    resnet,
    shared_dense,
    siamese,
    vgg,
    xception,
)
from architectures.preprocessing import PREPROCESS, preprocess
from architectures.variant import Shape, Variant, shapes
from kblocks import check
from kblocks.naming import resolve

# What an override must be, by what it replaces; the first that fits.
KINDS = (
    (kb.Style, "a kblocks.Style"),
    (Callable, "a function of a tensor"),
    (tuple, "a tuple"),
    (bool, "True or False"),
    (Real, "a number"),
    (str, "a string"),
)

# The overrides that are shares, of which 1 would leave nothing.
RATES = ("dropout", "drop_path")

# The sides of images for which the networks of larger ones were not made: those of MNIST and CIFAR, and below.
SMALL = 32

# The overrides that say how small an image becomes, each with what leaves more of it.
DOWN_SAMPLING = {
    "stem": "`stem=kblocks.stem.mnist` at 28×28 and `kblocks.stem.cifar` at 32×32, before activations "
    "`kblocks.stem.bare`, leave more, any `stem=` asks for it",
    "pools": "fewer `pools=` leave more, any `pools=` asks for it",
}

FAMILIES: tuple[ModuleType, ...] = (
    mlp,
    multi_input,
    shared_dense,
    lenet,
    resnet,
    googlenet,
    vgg,
    inception,
    inception_resnet,
    xception,
    mobilenet,
    mobilenet_v2,
    mobilenet_v3,
    densenet,
    nasnet,
    efficientnet,
    convnext,
    siamese,
)


def _index(families: tuple[ModuleType, ...]) -> dict[str, ModuleType]:
    """The family of each row.

    Raises:
        ValueError: two rows have one name.
    """
    index: dict[str, ModuleType] = {}
    for module in families:
        for name in module.VARIANTS:
            if name in index:
                raise ValueError(f"two rows are called {name!r}: in {index[name].__name__} and {module.__name__}")
            index[name] = module
    return index


_FAMILY_OF = _index(FAMILIES)
_KERAS_FAMILIES = tuple(module for module in FAMILIES if hasattr(module, "keras_names"))


def names(pattern: str = "*") -> list[str]:
    """The names of all rows that match a shell pattern, family by family.

    Raises:
        TypeError: the pattern is no string.

    >>> names("resnet*_v1_5")
    ['resnet50_v1_5']
    """
    if not isinstance(pattern, str):
        raise TypeError(f"`pattern` must be a shell pattern; got {pattern!r}")
    return [name for name in _FAMILY_OF if fnmatch.fnmatchcase(name, pattern)]


def closest(name: str) -> str:
    """Which rows' names are nearly this one, for errors; empty where none is."""
    close = difflib.get_close_matches(name, _FAMILY_OF, n=3)
    return f"the closest are {', '.join(close)}" if close else ""


def family(arch: str) -> str:
    """The name of a row's family.

    Raises:
        ValueError: no row has that name; the closest are named.

    >>> family("resnet20")
    'resnet'
    """
    return _family_of(arch).__name__.rpartition(".")[-1]


def variant(arch: str) -> Variant:
    """A row of a family's table.

    Raises:
        ValueError: no row has that name; the closest are named.

    >>> variant("resnet20").params
    269722
    """
    return _family_of(arch).VARIANTS[arch]


def create(
    arch: str,
    /,
    *,
    input_shape: Shape | tuple[Shape, ...] | None = None,
    classes: int | None = None,
    pooling: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    preprocessing: bool | None = None,
    name: str | None = None,
    **overrides: Any,
) -> keras.Model:
    """Builds a network.

    Args:
        arch: a row's name, see `names`.
        input_shape: without the batch axis, a tuple of shapes for several inputs; `None` for the row's own.
        classes: the width of the logits, 0 for the features without a head; `None` for the row's own.
        pooling: how the features become a vector, `"avg"`, `"max"` or `"flatten"`; `None` for the family's own way, and
            with `classes=0` for none.
        weights: `"imagenet"` for those of keras.applications, which Keras fetches; or a file: one that Keras saved of
            this very network, `.weights.h5` or `.keras`, or a download of keras.applications, `.h5`. Its head may be
            another: what of ours it has not, or for another number of classes, stays new. Strides are told from those
            of another network by `.keras` alone.
        preprocessing: whether the network takes images of 0 to 255 and itself prepares them as the weights of
            keras.applications want them; `None` where such weights are asked for, or a file of a network that does.
            Without, it takes what that network's `preprocess_input` gives, or the layers with which it begins
            (EfficientNet, ConvNeXt, MobileNetV3).
        name: the model's name; `None` for `arch`.
        **overrides: fields of the row's spec, as `stem=`, `style=`, `dropout=`.

    Returns:
        A functional model of stock Keras layers.

    Raises:
        ValueError: no row has that name, an argument is out of its range, or the input is too small for the network: of
            images of up to 32×32 more than 1×1 must be left, unless a `stem=` or `pools=` is given; or the weights
            are of another network, or in a file that can't be read.
        TypeError: an override is no field of the spec, or an argument of the wrong type.
        FileNotFoundError: there is no file `weights`.

    >>> create("lenet5").count_params()
    61706
    """
    module, row = _family_of(arch), variant(arch)
    if name == "":
        raise ValueError("`name` must not be empty; got ''")
    name = resolve(arch if name is None else name, "")
    wanted = row.input_shapes if input_shape is None else shapes(input_shape)
    if len(wanted) != len(row.input_shapes):
        raise ValueError(f"`input_shape` must give {len(row.input_shapes)} input(s) for {arch}; got {input_shape!r}")
    classes = row.classes if classes is None else classes
    if not isinstance(classes, Integral) or isinstance(classes, bool) or classes < 0:
        raise ValueError(f"`classes` must be an integer of at least 0; got {classes!r}")
    if pooling not in (None, "avg", "max", "flatten"):
        raise ValueError(f"`pooling` must be 'avg', 'max', 'flatten' or None; got {pooling!r}")
    if preprocessing not in (None, True, False):
        raise TypeError(f"`preprocessing` must be True, False or None; got {preprocessing!r}")
    if weights is not None:
        loading.check(arch, row, weights)
    prepared = weights is not None and loading.prepares(arch, weights) and row.preprocessing is not None
    if preprocessing is None:
        preprocessing = prepared
    if preprocessing and row.preprocessing is None:
        raise ValueError(f"`preprocessing` must be False for {arch}, which has no weights in keras.applications")
    spec = _override(arch, row.spec, overrides)
    inputs = [
        keras.Input(shape, name="input" if len(wanted) == 1 else f"input{i}") for i, shape in enumerate(wanted, 1)
    ]
    try:
        images = [preprocess(inputs[0], row.preprocessing, name=PREPROCESS)] if preprocessing else inputs
        outputs = module.build(spec, images, int(classes), pooling)
        model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=name)
        _check_end(model, spec, overrides)
    except ValueError as error:
        raise ValueError(f"{arch} can't be built for inputs of {_text(wanted)}: {error}") from error
    if weights is not None:

        def sibling(**changes: Any) -> keras.Model:
            shape = wanted if len(wanted) > 1 else wanted[0]
            options = {"input_shape": shape, "pooling": pooling, "preprocessing": prepared}
            return create(arch, **options | overrides | changes)

        loading.load(model, arch, row, weights, prepared=prepared, sibling=sibling, families=_KERAS_FAMILIES)
    return model


def port_from_keras(model: keras.Model, keras_model: keras.Model, *, skip: Collection[str] = ()) -> None:
    """Copies the weights of a network of keras.applications into ours of the same row, layer by layer.

    Where theirs has a bias before a normalisation and ours has none, the bias goes into the moving mean. Ours then
    gives what theirs gives: made with `preprocessing=True` for images of 0 to 255, else for what the `preprocess_input`
    of theirs makes of them, or the layers with which theirs begins (EfficientNet, ConvNeXt, MobileNetV3).

    Args:
        model: ours.
        keras_model: theirs, with its head or without.
        skip: names of our layers that keep the weights they have, as `logits` where the classes differ.

    Raises:
        TypeError: one of the two is no model, or `skip` a string.
        ValueError: a layer of ours has no counterpart or one of another shape or stride, or one of theirs has no place
            in ours, its head aside. Nothing has been copied then.
    """
    porting.port(model, keras_model, _KERAS_FAMILIES, skip=skip)


def _family_of(arch: str) -> ModuleType:
    if not isinstance(arch, str) or arch not in _FAMILY_OF:
        hint = closest(str(arch)) or "python -m architectures lists them"
        raise ValueError(f"`arch` must be the name of an architecture; got {arch!r} ({hint})")
    return _FAMILY_OF[arch]


def _override(arch: str, spec: Any, overrides: dict[str, Any]) -> Any:
    fields = {field.name: field for field in dataclasses.fields(spec)}
    for key, value in overrides.items():
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean `{close[0]}`? " if close else ""
            raise TypeError(f"{arch} takes no override `{key}`: {hint}it takes {', '.join(fields)}")
        if value is None and fields[key].default is None:
            continue
        kind, what = next(
            ((kind, what) for kind, what in KINDS if isinstance(getattr(spec, key), kind)), (object, "anything")
        )
        if not isinstance(value, kind):
            raise TypeError(f"{arch} takes {what} for the override `{key}`; got {value!r}")
        if key in RATES:
            check.fraction(value, key)
    return dataclasses.replace(spec, **overrides)


def _check_end(model: keras.Model, spec: Any, overrides: Collection[str]) -> None:
    """Raises where of a small image a single position is left, which nobody asked for."""
    ways = [way for field, way in DOWN_SAMPLING.items() if hasattr(spec, field)]
    if getattr(spec, "stem", None) in (kb.stem.mnist, kb.stem.cifar, kb.stem.bare):
        ways = ["any `stem=` asks for it"]
    if not ways or not DOWN_SAMPLING.keys().isdisjoint(overrides):
        return
    pools = [layer.input for layer in model.layers if layer.name == "pool"]
    size, features = model.inputs[0].shape[1:3], [*pools, model.outputs[0]][0]
    if None not in size and 1 < max(size) <= SMALL and features.shape[1:-1] == (1, 1):
        raise ValueError(f"its features would be of 1×1 ({'; '.join(ways)})")


def _text(several: tuple[Shape, ...]) -> str:
    return " and ".join("×".join("any" if n is None else str(n) for n in shape) for shape in several)
