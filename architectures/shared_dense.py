"""One dense layer shared by two inputs, and an output for each."""

from collections.abc import Sequence
from dataclasses import dataclass

from keras import KerasTensor, layers

import kblocks as kb
from architectures.common.family import Family, Variant
from kblocks import Style, check
from kblocks.naming import scope
from kblocks.tower import as_model, embed


@dataclass(frozen=True, kw_only=True)
class SharedDense:
    """Configuration.

    Attributes:
        units: width of the shared layer.
        style: style of all layers.
    """

    units: int
    style: Style = kb.PLAIN


VARIANTS = {
    "shared_dense": Variant(
        SharedDense(units=16), input_shape=((32,), (32,)), classes=1, params=562, macs=1_056,
        source="the third network of every functional-API tutorial: a shared layer"),
    "shared_dense_tiny": Variant(
        SharedDense(units=2), input_shape=((3,), (3,)), classes=1, params=14, macs=16,
        source="for tests"),
}  # fmt: skip


def backbone(inputs: Sequence[KerasTensor], spec: SharedDense, *, name: str | None = None) -> list[KerasTensor]:
    """`[dense(a), dense(b), …]`, with one dense layer.

    Args:
        inputs: vectors of one width, `(batch, features)` each.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        A list of `(batch, spec.units)`, one for each input.

    Raises:
        ValueError: no inputs, or inputs of different shapes.
    """
    for x in inputs:
        check.rank(x, 2, "inputs")
    part = scope(name, "shared_dense")

    def dense(x: KerasTensor, *, name: str | None) -> KerasTensor:
        return kb.mlp.dense_norm_act(x, spec.units, style=spec.style, name=name)

    return embed(inputs, as_model(dense, inputs[0].shape[1:], name=part("shared")))


def head(features: list[KerasTensor], spec: SharedDense, classes: int, pooling: str | None, /) -> list[KerasTensor]:
    """For each input logits and a sigmoid, as the network of the tutorials outputs probabilities."""
    if pooling is not None:
        raise ValueError(f"`pooling` must be None where the features are vectors already; got {pooling!r}")
    if not classes:
        return features
    outputs = []
    for i, x in enumerate(features, 1):
        x = kb.head.logits(x, classes, style=spec.style, name=f"logits{i}")
        outputs.append(layers.Activation("sigmoid", dtype="float32", name=f"probability{i}")(x))
    return outputs


FAMILY = Family("shared_dense", VARIANTS, backbone, head)
