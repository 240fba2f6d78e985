"""Checks of arguments: each raises an error that names the argument, the rule and the value."""

import inspect
from collections.abc import Mapping, Sequence
from math import inf
from numbers import Integral, Real
from typing import Any

import keras

from kblocks.contracts import Block

__all__ = [
    "activation",
    "block",
    "channels_last",
    "choice",
    "divisible",
    "fraction",
    "function",
    "functions",
    "joinable",
    "known",
    "min_size",
    "model",
    "positive",
    "positive_number",
    "rank",
    "takes",
    "tensors",
    "unchanged",
    "widths",
]


def __dir__() -> list[str]:
    return __all__


def rank(x: Any, expected: int, argument: str = "x") -> None:
    """Raise unless `x` is a tensor of `expected` dimensions, the batch axis included, channels last."""
    shape = getattr(x, "shape", None)
    if shape is None:
        raise TypeError(f"`{argument}` must be a tensor; got {x!r}")
    if len(shape) != expected:
        layout = {
            2: "(batch, features)",
            3: "(batch, tokens, channels)",
            4: "(batch, height, width, channels)",
        }
        form = f" {layout[expected]}" if expected in layout else ""
        raise ValueError(f"`{argument}` must have rank {expected}{form}; got rank {len(shape)}, shape {tuple(shape)}")
    if shape[-1] is None:
        raise ValueError(f"`{argument}` must have a known last dimension; got shape {tuple(shape)}")
    if expected > 3:
        channels_last()


def known(x: Any, argument: str = "x") -> None:
    """Raise unless all sizes of `x` but the batch are known."""
    if None in x.shape[1:]:
        raise ValueError(f"`{argument}` must have known sizes; got shape {tuple(x.shape)}")


def unchanged(x: Any, filters: int, stride: int) -> None:
    """Raise unless a unit of these arguments keeps the shape of the tokens `x`."""
    if stride != 1:
        raise ValueError(f"`stride` must be 1 for tokens, whose number stays; got {stride!r}")
    if x.shape[-1] != filters:
        raise ValueError(f"`filters` must be the channels of tokens; got {filters} for shape {tuple(x.shape)}")


def channels_last() -> None:
    """Raise if Keras's global image data format is not channels last."""
    if keras.config.image_data_format() == "channels_first":
        raise ValueError(
            "blocks are channels last only; got the global image data format 'channels_first' "
            "(keras.config.set_image_data_format('channels_last') changes it back)"
        )


def min_size(x: Any, least: int, what: str, hint: str = "", subject: str = "`x`") -> None:
    """Raise if the height or width of the image `x` is known and below `least`, which `what` needs."""
    if any(size is not None and size < least for size in x.shape[1:3]):
        height, width = x.shape[1:3]
        raise ValueError(f"{subject} must be at least {least}×{least} for {what}; got {height}×{width}{hint}")


def positive(value: Any, argument: str) -> None:
    """Raise unless `value` is an integer of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{argument}` must be a positive integer; got {value!r}")


def positive_number(value: Any, argument: str) -> None:
    """Raise unless `value` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < inf:
        raise ValueError(f"`{argument}` must be a positive number; got {value!r}")


def fraction(value: Any, argument: str) -> None:
    """Raise unless `value` is a number with 0 <= value < 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise ValueError(f"`{argument}` must be at least 0 and below 1; got {value!r}")


def divisible(value: int, divisor: int, argument: str, by: str) -> None:
    """Raise unless `divisor` divides `value`."""
    positive(value, argument)
    positive(divisor, by)
    if value % divisor:
        raise ValueError(f"`{argument}` must be divisible by `{by}`; got {value} and {divisor}")


def choice(value: Any, options: Sequence[Any], argument: str) -> None:
    """Raise unless `value` is one of `options`."""
    if value not in options:
        raise ValueError(f"`{argument}` must be one of {', '.join(map(repr, options))}; got {value!r}")


def function(value: Any, argument: str) -> None:
    """Raise unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"`{argument}` must be a function of a tensor; got {value!r}")


def block(value: Any, argument: str, contract: type[Any] = Block, *, without: Sequence[str] = ()) -> None:
    """Raise unless `value` is a function that can be called as `contract` says, apart from the arguments `without`."""
    wanted = list(inspect.signature(contract.__call__).parameters.values())[1:]
    positional = [p.name for p in wanted if p.kind is p.POSITIONAL_ONLY]
    keywords = [p.name for p in wanted if p.kind is p.KEYWORD_ONLY]
    form = f"`{argument}` must be a function ({', '.join([*positional, '*', *keywords])}) -> tensor"
    parameters = list(_parameters(value).values())
    if not parameters or isinstance(value, type | keras.layers.Layer):
        raise TypeError(f"{form}; got {value!r}")
    name = getattr(value, "__name__", repr(value))
    by_position = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    missing = [] if variadic else positional[len(by_position) :]
    missing += [keyword for keyword in keywords if keyword not in without and not takes(value, keyword)]
    if missing:
        raise TypeError(f"{form}; {name} takes no {' and no '.join(f'`{each}`' for each in missing)}")
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    more = [each for each in required if each not in {*by_position[: len(positional)], *keywords}]
    if more:
        raise TypeError(
            f"{form}; {name} needs {' and '.join(f'`{each}`' for each in more)} too, which functools.partial can bind"
        )


def takes(function: Any, argument: str) -> bool:
    """Whether a function has a keyword argument of this name."""
    parameters = _parameters(function).values()
    return any(p.kind is p.VAR_KEYWORD or (p.name == argument and p.kind is not p.POSITIONAL_ONLY) for p in parameters)


def _parameters(value: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(value).parameters
    except (TypeError, ValueError):
        return {}


def activation(value: Any, argument: str) -> None:
    """Raise unless `value` is the name of a function of `keras.activations`."""
    if not isinstance(value, str) or not callable(getattr(keras.activations, value, None)):
        raise ValueError(f"`{argument}` must be a name that keras.activations knows, as 'relu'; got {value!r}")


def model(value: Any, argument: str) -> None:
    """Raise unless `value` is a Keras model."""
    if not isinstance(value, keras.Model):
        raise TypeError(f"`{argument}` must be a keras.Model; got {value!r}")


def functions(values: Any, argument: str) -> None:
    """Raise unless `values` is a list or tuple of blocks, and holds one."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"`{argument}` must be a list or tuple of functions; got {values!r}")
    if not values:
        raise ValueError(f"`{argument}` must hold at least one function; got an empty {type(values).__name__}")
    for value in values:
        block(value, argument)


def tensors(values: Any, argument: str, count: int | None = None) -> None:
    """Raise unless `values` is a list or tuple of tensors, `count` of them where a count is given."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"`{argument}` must be a list or tuple of tensors; got {values!r}")
    if not values:
        raise ValueError(f"`{argument}` must hold at least one tensor; got an empty {type(values).__name__}")
    for value in values:
        if getattr(value, "shape", None) is None:
            raise TypeError(f"`{argument}` must hold tensors; got {value!r}")
    if count is not None and len(values) != count:
        raise ValueError(f"`{argument}` must hold {count} tensors; got {len(values)}")


def joinable(values: Any, argument: str, *, free_axis: int | None = None) -> None:
    """Raise unless all tensors have one shape, except along `free_axis`; an unknown size fits any other."""
    tensors(values, argument)
    shapes = [tuple(value.shape) for value in values]
    rule = "have equal shapes" if free_axis is None else f"have equal shapes but for axis {free_axis}"
    rank = len(shapes[0])
    free = None if free_axis is None else free_axis % rank
    if any(len(shape) != rank for shape in shapes) or any(
        len({shape[axis] for shape in shapes} - {None}) > 1 for axis in range(rank) if axis != free
    ):
        raise ValueError(f"`{argument}` must {rule}; got {', '.join(map(str, shapes))}")


def widths(**branches: tuple[Any, int]) -> None:
    """Raise unless each argument holds the widths of its branch; of `argument=(value, count)`, `count` of them."""
    forms = {
        2: "a pair of widths (reduction, out)",
        3: "three widths (reduction, middle, out)",
        4: "four widths (reduction, two middle, out)",
        5: "five widths (reduction, three middle, out)",
    }
    for argument, (value, count) in branches.items():
        if count > 1 and not (isinstance(value, list | tuple) and len(value) == count):
            raise ValueError(f"`{argument}` must be {forms[count]}; got {value!r}")
        for width in value if count > 1 else (value,):
            positive(width, argument)
