"""Multilayer perceptrons: a flattened image, dense layers, logits."""

from dataclasses import dataclass
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify
from kblocks import Style
from kblocks.naming import scope


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """Configuration.

    Attributes:
        units: widths of the hidden layers.
        dropout: dropout rate after each of them.
        style: style of all layers.
    """

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
        x: `(batch, features)`, or images of known size, which are flattened.
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


FAMILY = Family("mlp", VARIANTS, backbone, head=partial(classify, dropout=0.0))
