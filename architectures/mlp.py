"""Multilayer perceptrons: an image in a row, dense layers, logits."""

from collections.abc import Sequence
from dataclasses import dataclass

from keras import KerasTensor

import kblocks as kb
from architectures.variant import Variant, classify
from kblocks import Style
from kblocks.naming import scope


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """What can be turned: the widths of the hidden layers, the dropout after each, the style."""

    units: tuple[int, ...]
    dropout: float = 0.0
    style: Style = kb.PLAIN


VARIANTS = {
    "mlp_784_64_10": Variant(
        Mlp(units=(64,)), input_shape=(784,), classes=10, params=50_890, macs=50_816,
        source="the first network of every functional-API tutorial"),
    "mlp_tiny": Variant(
        Mlp(units=(8,)), input_shape=(28, 28, 1), classes=10, params=6_370, macs=6_352,
        source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: Mlp, *, name: str | None = None) -> KerasTensor:
    """The activations of the last hidden layer.

    Args:
        x: `(batch, features)`, or an image of known size, which is put in a row.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, spec.units[-1])`.

    Raises:
        ValueError: a size of the image is unknown.
    """
    part = scope(name, "mlp")
    x = kb.pool.global_pool(x, "flatten", name=part("flatten"))
    return kb.mlp.mlp(x, spec.units, dropout=spec.dropout, style=spec.style, name=part("hidden"))


def build(spec: Mlp, inputs: Sequence[KerasTensor], classes: int, pooling: str | None) -> KerasTensor:
    """Backbone and head."""
    return classify(backbone(inputs[0], spec, name=""), classes, pooling, style=spec.style)
