"""All families in one place: `create`, `names` and `variant` look rows up by name."""

import dataclasses
import difflib
import fnmatch
import os
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

import kblocks as kb
from architectures import googlenet, lenet, mlp, multi_input, resnet, shared_dense, siamese
from architectures.variant import Shape, Variant, shapes

# What an override must be, by what it replaces; the first that fits.
KINDS = (
    (kb.Style, "a kblocks.Style"),
    (Callable, "a function of a tensor"),
    (tuple, "a tuple"),
    (bool, "True or False"),
    (Real, "a number"),
    (str, "a string"),
)

FAMILIES: tuple[ModuleType, ...] = (mlp, multi_input, shared_dense, lenet, resnet, googlenet, siamese)


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


def names(pattern: str = "*") -> list[str]:
    """The names of all rows that match a shell pattern, family by family.

    >>> names("resnet*_v1_5")
    ['resnet50_v1_5']
    """
    return [name for name in _FAMILY_OF if fnmatch.fnmatchcase(name, pattern)]


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
        weights: a file that Keras saved of such a network, `.weights.h5` or `.keras`.
        name: the model's name; `None` for `arch`.
        **overrides: fields of the row's spec, as `stem=`, `style=`, `dropout=`.

    Returns:
        A functional model of stock Keras layers.

    Raises:
        ValueError: no row has that name, an argument is out of its range, or the input is too small for the network.
        TypeError: an override is no field of the spec.
        FileNotFoundError: there is no file `weights`.

    >>> create("lenet5").count_params()
    61706
    """
    module, row = _family_of(arch), variant(arch)
    wanted = row.input_shapes if input_shape is None else shapes(input_shape)
    if len(wanted) != len(row.input_shapes):
        raise ValueError(f"`input_shape` must give {len(row.input_shapes)} input(s) for {arch}; got {input_shape!r}")
    classes = row.classes if classes is None else classes
    if not isinstance(classes, Integral) or isinstance(classes, bool) or classes < 0:
        raise ValueError(f"`classes` must be an integer of at least 0; got {classes!r}")
    if pooling not in (None, "avg", "max", "flatten"):
        raise ValueError(f"`pooling` must be 'avg', 'max', 'flatten' or None; got {pooling!r}")
    path = None if weights is None else _weights_file(weights)
    spec = _override(arch, row.spec, overrides)
    inputs = [
        keras.Input(shape, name="input" if len(wanted) == 1 else f"input{i}") for i, shape in enumerate(wanted, 1)
    ]
    try:
        outputs = module.build(spec, inputs, int(classes), pooling)
    except ValueError as error:
        raise ValueError(f"{arch} can't be built for inputs of {_text(wanted)}: {error}") from error
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=name or arch)
    if path is not None:
        model.load_weights(path)
    return model


def _family_of(arch: str) -> ModuleType:
    if arch not in _FAMILY_OF:
        close = difflib.get_close_matches(str(arch), _FAMILY_OF, n=3)
        hint = f"the closest are {', '.join(close)}" if close else "python -m architectures lists them"
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
    return dataclasses.replace(spec, **overrides)


def _weights_file(weights: str | os.PathLike[str]) -> Path:
    path = Path(weights)
    if not path.name.endswith((".weights.h5", ".keras")):
        raise ValueError(f"`weights` must be a file that ends in .weights.h5 or .keras; got {str(weights)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"`weights` must be a file that exists; got {str(weights)!r}")
    return path


def _text(several: tuple[Shape, ...]) -> str:
    return " and ".join("×".join("any" if n is None else str(n) for n in shape) for shape in several)
