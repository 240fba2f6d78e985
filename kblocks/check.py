"""Checks of arguments: each raises an error that names the argument, the rule and the value."""

import inspect
from collections.abc import Sequence
from math import inf
from numbers import Integral, Real
from typing import Any

import keras


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
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < inf:
        raise ValueError(f"`{argument}` must be a positive number; got {value!r}")


def fraction(value: Any, argument: str) -> None:
    """Raise unless `value` is a number with 0 <= value < 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < 1:
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


def block(value: Any, argument: str) -> None:
    """Raise unless `value` is a function that takes a tensor and a name, as no layer and no function of Keras does."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    takes_name = any(p.name == "name" or p.kind is p.VAR_KEYWORD for p in parameters)
    if not takes_name or isinstance(value, type | keras.layers.Layer):
        raise TypeError(
            f"`{argument}` must be a function (x, *, name) -> tensor, as those of kblocks.style; got {value!r}"
        )


def activation(value: Any, argument: str) -> None:
    """Raise unless `value` is the name of a function of `keras.activations`."""
    if not isinstance(value, str) or not callable(getattr(keras.activations, value, None)):
        raise ValueError(f"`{argument}` must be a name that keras.activations knows, as 'relu'; got {value!r}")


def model(value: Any, argument: str) -> None:
    """Raise unless `value` is a Keras model."""
    if not isinstance(value, keras.Model):
        raise TypeError(f"`{argument}` must be a keras.Model; got {value!r}")


def functions(values: Any, argument: str) -> None:
    """Raise unless `values` is a list or tuple of functions, and holds one."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"`{argument}` must be a list or tuple of functions; got {values!r}")
    if not values:
        raise ValueError(f"`{argument}` must hold at least one function; got an empty {type(values).__name__}")
    for value in values:
        function(value, argument)


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
    """Raise unless all tensors have one shape, the axis `free_axis` left aside; an unknown size fits any other."""
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
    forms = {2: "a pair of widths (reduction, out)", 3: "three widths (reduction, middle, out)"}
    for argument, (value, count) in branches.items():
        if count > 1 and not (isinstance(value, list | tuple) and len(value) == count):
            raise ValueError(f"`{argument}` must be {forms[count]}; got {value!r}")
        for width in value if count > 1 else (value,):
            positive(width, argument)
