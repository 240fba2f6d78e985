"""The end of most networks: pooling, dropout and logits."""

from typing import Any

from keras import KerasTensor, layers

from kblocks import Style, head
from kblocks.pool import global_pool


def classify(
    x: KerasTensor,
    spec: Any,
    classes: int,
    pooling: str | None,
    /,
    *,
    default: str = "avg",
    dropout: float | None = None,
    style: Style | None = None,
) -> KerasTensor:
    """`logits(dropout(pool(x)))`, or with no classes the features themselves, pooled if `pooling` is given.

    Args:
        x: a family's features, `(batch, height, width, channels)` or `(batch, features)`.
        spec: a row's spec.
        classes: number of logits; 0 for none.
        pooling: `"avg"`, `"max"` or `"flatten"`; `None` for `default` before logits, and for none without.
        default: the family's pooling.
        dropout: dropout rate; `None` for `spec.dropout`, or 0 if the spec has no such field.
        style: its regulariser applies to the logits; `None` for `spec.style`.

    Returns:
        `(batch, classes)`, or the features.

    Raises:
        ValueError: `pooling` is given for features that are vectors already, or `"flatten"` for images of unknown size.
    """
    if pooling is not None and len(x.shape) == 2:
        raise ValueError(f"`pooling` must be None where the features are vectors already; got {pooling!r}")
    if not classes:
        return x if pooling is None else pool(x, pooling)
    x = pool(x, pooling or default)
    return head.classifier(
        x,
        classes,
        dropout=getattr(spec, "dropout", 0.0) if dropout is None else dropout,
        style=spec.style if style is None else style,
        name="",
    )


def pool(x: KerasTensor, pooling: str) -> KerasTensor:
    """The layer `pool`, which makes a vector of a family's features.

    Raises:
        ValueError: features of unknown size are to be flattened.
    """
    if pooling == "flatten" and None in x.shape[1:]:
        raise ValueError(
            f"`x` must have known sizes to be flattened; got shape {tuple(x.shape)} "
            '(`pooling="avg"` takes images of any size)'
        )
    return global_pool(x, pooling, name="pool")


def classify_maps(
    x: KerasTensor,
    spec: Any,
    classes: int,
    pooling: str | None,
    /,
    *,
    activation: str | None = "relu",
    dropout: float | None = None,
) -> KerasTensor:
    """`avgpool(act(conv1×1(dropout(x))))`, one map for each class; as `classify` where `pooling` is given.

    Args:
        x: a family's features, `(batch, height, width, channels)`.
        spec: a row's spec.
        classes: number of logits; 0 for none.
        pooling: as in `classify`; `None` for class maps.
        activation: activation of the class maps.
        dropout: dropout rate; `None` for `spec.dropout`.

    Returns:
        `(batch, classes)`, or the features.
    """
    dropout = spec.dropout if dropout is None else dropout
    if not classes or pooling is not None:
        return classify(x, spec, classes, pooling, dropout=dropout)
    return head.conv_classifier(x, classes, activation=activation, dropout=dropout, style=spec.style, name="")


def classify_scaled(x: KerasTensor, spec: Any, classes: int, pooling: str | None, /) -> KerasTensor:
    """`W (spec.scale · maxpool(x))`: logits without a bias, of features scaled by a constant, as the logits then are.

    Args:
        x: a family's features, `(batch, height, width, channels)`.
        spec: a row's spec.
        classes: number of logits; 0 for none.
        pooling: as in `classify`, with a default of `"max"`.

    Returns:
        `(batch, classes)`, or the features.
    """
    if not classes:
        return classify(x, spec, classes, pooling)
    x = pool(x, pooling or "max")
    x = layers.Rescaling(spec.scale, dtype="float32", name="scale")(x)
    return head.logits(x, classes, use_bias=False, style=spec.style, name="logits")
