"""MobileNet: a stem, stages of depthwise-separable convolutions, each half the size of the one before, and a mean."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.porting import unit_layers
from architectures.variant import Variant, check_halvings, check_stages, classify
from kblocks import Style, check
from kblocks.contracts import Stem
from kblocks.naming import scope
from kblocks.style import batch_norm

STYLE = replace(kb.RELU6_BN, norm=partial(batch_norm, momentum=0.99, epsilon=1e-3), initializer="glorot_uniform")


@dataclass(frozen=True, kw_only=True)
class MobileNet:
    """What can be turned.

    Attributes:
        stages: the filters and the depth of each; all but the first halve the image.
        stem: a function `(x, filters, *, style, name) -> tensor`.
        stem_filters: channels that come out of the stem.
        alpha: the width multiplier: all filters are multiplied by it and rounded down.
        padding: of the stages' convolutions; the stem takes `style.padding`.
        dropout: the share of features left out before the logits, in training.
        style: see `kblocks.style`.
    """

    stages: tuple[tuple[int, int], ...] = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))
    stem: Stem = kb.stem.mobile
    stem_filters: int = 32
    alpha: float = 1.0
    padding: str = "floor"
    dropout: float = 0.001
    style: Style = STYLE


_LARGE = {"input_shape": (224, 224, 3), "classes": 1000}
_SOURCE = "Howard et al. 2017, arXiv 1704.04861, Table 6: "


def _row(alpha: float, params: int, macs: int, figures: str) -> Variant:
    return Variant(
        MobileNet(alpha=alpha), **_LARGE, params=params, macs=macs, source=f"{_SOURCE}{figures}",
        keras=partial(keras.applications.MobileNet, alpha=alpha), preprocessing="tf",
    )  # fmt: skip


VARIANTS = {
    "mobilenet":     _row(1.0,  params=4_231_976, macs=568_740_352, figures="569 M multiply-adds, 4.2 M"),
    "mobilenet_075": _row(0.75, params=2_585_560, macs=325_400_448, figures="325 M multiply-adds, 2.6 M"),
    "mobilenet_050": _row(0.5,  params=1_331_592, macs=149_497_088, figures="149 M multiply-adds, 1.3 M"),
    "mobilenet_025": _row(0.25, params=470_072,   macs=41_030_272,  figures="41 M multiply-adds, 0.5 M"),
    "mobilenet_tiny": Variant(
        MobileNet(stages=((8, 1), (16, 2)), stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=1_090, macs=21_024, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: MobileNet, *, name: str | None = None) -> KerasTensor:
    """The last stage's features.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, alpha · filters)` of the last stage, with `s` the stem's stride times 2 for each
        stage after the first; the stem rounds up, the stages down.

    Raises:
        ValueError: `x` is not of rank 4 or too small to be halved as often, or `alpha` is not a positive number.
    """
    check_stages(spec.stages, "filters, depth")
    check.positive_number(spec.alpha, "alpha")
    part = scope(name, "mobilenet")
    x = spec.stem(x, int(spec.alpha * spec.stem_filters), style=spec.style, name=part("stem"))
    if spec.padding == "floor":
        check_halvings(x, len(spec.stages))
    style = replace(spec.style, padding=spec.padding)
    for i, (filters, depth) in enumerate(spec.stages, 1):
        # 112 × 112 × 64, 56 × 56 × 128, 28 × 28 × 256, 14 × 14 × 512, 7 × 7 × 1024
        x = kb.compose.stage(
            x,
            kb.mobile.depthwise_separable,
            int(spec.alpha * filters),
            depth,
            stride=1 if i == 1 else 2,
            style=style,
            name=part(f"stage{i}"),
        )
    return x


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """The layer of keras.applications' network for each of ours."""
    found = {"stem_conv": "conv1", "stem_conv_norm": "conv1_bn", "logits": "conv_preds"}
    parts = {"depthwise": "dw_{}", "depthwise_norm": "dw_{}_bn", "pointwise": "pw_{}", "pointwise_norm": "pw_{}_bn"}
    for name, (i, part) in unit_layers(names).items():
        if part in parts:
            found[name] = f"conv_{parts[part].format(i + 1)}"
    return found


def build(spec: MobileNet, inputs: Sequence[KerasTensor], classes: int, pooling: str | None) -> KerasTensor:
    """Backbone and head."""
    return classify(backbone(inputs[0], spec, name=""), classes, pooling, style=spec.style, dropout=spec.dropout)
