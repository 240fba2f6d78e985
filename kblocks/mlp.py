"""Fully connected layers."""

from collections.abc import Sequence

from keras import KerasTensor, layers

from kblocks import check
from kblocks.naming import resolve, scope
from kblocks.style import RELU, Style, carried, norm_act

__all__ = ["dense_norm_act", "mlp"]


def __dir__() -> list[str]:
    return __all__


def dense_norm_act(x: KerasTensor, units: int, *, style: Style = RELU, name: str | None = None) -> KerasTensor:
    """`act(norm(W x + b))`.

    Args:
        x: `(batch, …, features)`.
        units: output features.

    Returns:
        `(batch, …, units)`.

    Raises:
        ValueError: `units` is not a positive integer.

    >>> from keras import Input
    >>> dense_norm_act(Input((784,)), 64).shape
    (None, 64)
    """
    check.tensors([x], "x")
    check.positive(units, "units")
    name = resolve(name, "dense_norm_act")
    x = layers.Dense(
        int(units),
        activation=carried(style),
        use_bias=style.norm is None,
        kernel_initializer=style.initializer,
        kernel_regularizer=style.regularizer,
        name=name,
    )(x)
    return x if carried(style) else norm_act(x, style=style, name=name)


def mlp(
    x: KerasTensor, units: Sequence[int], *, dropout: float = 0.0, style: Style = RELU, name: str | None = None
) -> KerasTensor:
    """`act(W_n … act(W_1 x + b_1) … + b_n)`, with dropout after each activation.

    Args:
        x: `(batch, …, features)`.
        units: output features of each layer.
        dropout: dropout rate.

    Returns:
        `(batch, …, units[-1])`.

    Raises:
        ValueError: `units` is not a list or tuple of positive integers, or `dropout` is not in [0, 1).

    >>> from keras import Input
    >>> mlp(Input((784,)), (128, 64)).shape
    (None, 64)
    """
    if not isinstance(units, list | tuple) or not units:
        raise ValueError(f"`units` must be a list or tuple of at least one width; got {units!r}")
    check.fraction(dropout, "dropout")
    part = scope(name, "mlp")
    for i, width in enumerate(units, 1):
        x = dense_norm_act(x, width, style=style, name=part(f"dense{i}"))
        if dropout:
            x = layers.Dropout(dropout, name=part(f"dropout{i}"))(x)
    return x
