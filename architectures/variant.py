"""What a row of a family's table holds, and what every family's `build` does with its features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from keras import KerasTensor, Model

from kblocks import RELU_BN, Style, check, head
from kblocks.pool import global_pool
from kblocks.stem import HINT

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Variant:
    """One row: what can be turned, and what is known of it as it stands.

    Attributes:
        spec: the family's dataclass, which `create` varies by its overrides.
        input_shape: without the batch axis; a tuple of shapes for several inputs.
        classes: the width of the logits.
        params: trainable parameters.
        macs: multiply-adds of one image at `input_shape`.
        source: the paper, and its own figure.
        departures: where the network is not the paper's; empty where it is.
        keras: the function that makes keras.applications' network of the same row, where there is one.
        preprocessing: what that network was trained on, one of `architectures.preprocessing.MEANS_AND_VARIANCES`.
    """

    spec: Any
    input_shape: Shape | tuple[Shape, ...]
    classes: int
    params: int
    macs: int
    source: str
    departures: str = ""
    keras: Callable[..., Model] | None = None
    preprocessing: str | None = None

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """One shape for each input."""
        return shapes(self.input_shape)


def shapes(input_shape: Shape | Sequence[Shape]) -> tuple[Shape, ...]:
    """`input_shape` as one shape for each input.

    Raises:
        ValueError: it is neither a tuple of sizes nor a tuple of such tuples.

    >>> shapes((32, 32, 3)), shapes(((32,), (16,)))
    (((32, 32, 3),), ((32,), (16,)))
    """
    if isinstance(input_shape, list | tuple) and input_shape:
        several = tuple(input_shape) if isinstance(input_shape[0], list | tuple) else (input_shape,)
        if all(_is_shape(shape) for shape in several):
            return tuple(tuple(None if n is None else int(n) for n in shape) for shape in several)
    raise ValueError(
        f"`input_shape` must be a tuple of positive sizes, or one such tuple for each input; got {input_shape!r}"
    )


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list | tuple)
        and len(shape) > 0
        and all(n is None or (isinstance(n, Integral) and not isinstance(n, bool) and n > 0) for n in shape)
    )


def check_depths(depths: Any, widths: Any) -> None:
    """Raise unless there is a number of units and a width for each stage, and a stage."""
    for sizes, argument in ((depths, "depths"), (widths, "widths")):
        if not isinstance(sizes, tuple) or not sizes:
            raise ValueError(f"`{argument}` must hold at least one stage; got {sizes!r}")
        for size in sizes:
            check.positive(size, argument)
    if len(depths) != len(widths):
        raise ValueError(f"`depths` and `widths` must be of one length; got {depths} and {widths}")


def check_halvings(x: KerasTensor, stages: int) -> None:
    """Raise if `x`, which leaves a stem, is too small to be halved between as many stages."""
    check.min_size(x, 2 ** (stages - 1), f"{stages} stages", HINT, "what leaves the stem")


def check_stages(stages: Any, fields: str = "") -> None:
    """Raise unless there is a stage and each is a tuple, of as many values as `fields` names, or of at least one."""
    wanted = len(fields.split(", ")) if fields else None
    for stage in stages or [None]:
        if not isinstance(stage, tuple) or not stage or len(stage) != (wanted or len(stage)):
            rule = f"tuples ({fields})" if fields else "tuples of units"
            raise ValueError(f"`stages` must hold at least one stage, all {rule}; got {stages!r}")


def classify(
    x: KerasTensor,
    classes: int,
    pooling: str | None,
    *,
    style: Style = RELU_BN,
    default: str = "avg",
    dropout: float = 0.0,
) -> KerasTensor:
    """The end of a network: logits of the pooled features, or with no classes the features themselves.

    Args:
        x: a family's features.
        classes: number of logits; 0 for none.
        pooling: `"avg"`, `"max"` or `"flatten"`; `None` for the family's own before logits, and for none without.
        style: the spec's, whose regulariser is read.
        default: the family's own pooling.
        dropout: the share of features left out in training.

    Returns:
        `(batch, classes)`, or the features.

    Raises:
        ValueError: `pooling` is given for features that are vectors already.
    """
    if pooling is not None and len(x.shape) == 2:
        raise ValueError(f"`pooling` must be None where the features are vectors already; got {pooling!r}")
    if classes:
        return head.classifier(x, classes, pooling=pooling or default, dropout=dropout, style=style, name="")
    return x if pooling is None else global_pool(x, pooling, name="pool")
