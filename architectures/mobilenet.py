"""MobileNet: a stem, stages of depthwise-separable convolutions with a stride of 2 between, and a global average."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_halvings, check_stages
from architectures.weights.names import unit_layers
from kblocks import Style, check
from kblocks.contracts import Stem
from kblocks.naming import scope
from kblocks.style import batch_norm

STYLE = replace(kb.RELU6_BN, norm=partial(batch_norm, momentum=0.99, epsilon=1e-3), initializer="glorot_uniform")


@dataclass(frozen=True, kw_only=True)
class MobileNet:
    """Configuration.

    Attributes:
        stages: filters and depth of each; all but the first begin with a stride of 2.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        alpha: width multiplier; the products are rounded down.
        padding: padding of the stages' convolutions; that of the stem is `style.padding`.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    stages: tuple[tuple[int, int], ...] = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))
    stem: Stem = kb.stem.mobile
    stem_filters: int = 32
    alpha: float = 1.0
    padding: str = "floor"
    dropout: float = 0.001
    style: Style = STYLE


_SOURCE = "Howard et al. 2017, arXiv 1704.04861, Table 6: "

_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000, preprocessing="tf")


def _row(alpha: float, params: int, macs: int, figures: str) -> Variant:
    return _imagenet(
        MobileNet(alpha=alpha), params=params, macs=macs, source=f"{_SOURCE}{figures}",
        keras=partial(keras.applications.MobileNet, alpha=alpha),
    )  # fmt: skip


VARIANTS = {
    "mobilenet":     _row(1.0,  params=4_231_976, macs=568_740_352, figures="569 M multiply-adds, 4.2 M"),
    "mobilenet_075": _row(0.75, params=2_585_560, macs=325_400_448, figures="325 M multiply-adds, 2.6 M"),
    "mobilenet_050": _row(0.5,  params=1_331_592, macs=149_497_088, figures="149 M multiply-adds, 1.3 M"),
    "mobilenet_025": _row(0.25, params=470_072,   macs=41_030_272,  figures="41 M multiply-adds, 0.5 M"),
    "mobilenet_cifar": Variant(
        MobileNet(stem=kb.stem.cifar, padding="same", style=kb.RELU_BN),
        input_shape=(32, 32, 3), classes=10, params=3_217_226, macs=46_354_432,
        source="Howard et al. 2017, arXiv 1704.04861, Table 1, for 32×32 images: a stem of stride 1",
        departures="the stride of the stem"),
    "mobilenet_tiny": Variant(
        MobileNet(stages=((8, 1), (16, 2)), stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=1_090, macs=21_024, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: MobileNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, alpha · filters)` with the filters of the last stage; `s` is the stride of the
        stem times 2 for each stage after the first. The stem rounds up, the stages round down.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the strides, or `alpha` is not a positive number.
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
    """For each of our layers its counterpart in keras.applications."""
    found = {"stem_conv": "conv1", "stem_conv_norm": "conv1_bn", "logits": "conv_preds"}
    parts = {"depthwise": "dw_{}", "depthwise_norm": "dw_{}_bn", "pointwise": "pw_{}", "pointwise_norm": "pw_{}_bn"}
    for name, (i, part) in unit_layers(names).items():
        if part in parts:
            found[name] = f"conv_{parts[part].format(i + 1)}"
    return found


FAMILY = Family("mobilenet", VARIANTS, backbone, keras_names=keras_names, downsampling="stem")
