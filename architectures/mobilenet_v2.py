"""MobileNetV2: a stem, stages of inverted residuals, a wide 1×1 convolution, and a global average pooling."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.dilation import replace_strides
from architectures.common.family import Family, Variant
from architectures.common.stages import check_stages
from architectures.weights.names import timm_units, torchvision_ends, unit_layers
from kblocks import Style
from kblocks.contracts import Stem
from kblocks.mobile import inverted_residual
from kblocks.naming import scope
from kblocks.rounding import make_divisible
from kblocks.style import activate, batch_norm

STAGES = (
    (1,  16, 1, 1),  # 112 × 112 × 16
    (6,  24, 2, 2),  # 56 × 56 × 24
    (6,  32, 3, 2),  # 28 × 28 × 32
    (6,  64, 4, 2),  # 14 × 14 × 64
    (6,  96, 3, 1),  # 14 × 14 × 96
    (6, 160, 3, 2),  # 7 × 7 × 160
    (6, 320, 1, 1),  # 7 × 7 × 320
)  # fmt: skip
"""Expansion, filters, depth and stride of each: Table 2 of the paper."""

STAGES_CIFAR = (STAGES[0], (6, 24, 2, 1), *STAGES[2:])
"""The same without the second stage's stride, for 32×32 images."""


STYLE = replace(kb.RELU6_BN, norm=partial(batch_norm, momentum=0.999, epsilon=1e-3), initializer="glorot_uniform")


@dataclass(frozen=True, kw_only=True)
class MobileNetV2:
    """Configuration.

    Attributes:
        stages: expansion, filters, depth and stride of each.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        head_filters: output channels of the last convolution.
        alpha: width multiplier; the products are rounded to multiples of 8. The last convolution is never narrowed.
        output_stride: total stride of the network; further strides are replaced by dilations; `None` to replace none.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    stages: tuple[tuple[int, int, int, int], ...] = STAGES
    stem: Stem = kb.stem.mobile
    stem_filters: int = 32
    head_filters: int = 1280
    alpha: float = 1.0
    output_stride: int | None = None
    dropout: float = 0.0
    style: Style = STYLE


_SOURCE = "Sandler et al. 2018, arXiv 1801.04381, in the authors' own table: "

_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000, preprocessing="tf")


def _row(alpha: float, params: int, macs: int, figures: str) -> Variant:
    return _imagenet(
        MobileNetV2(alpha=alpha), params=params, macs=macs, source=f"{_SOURCE}{figures}",
        keras=partial(keras.applications.MobileNetV2, alpha=alpha),
    )  # fmt: skip


def _cifar(alpha: float, params: int, macs: int, figures: str) -> Variant:
    return Variant(
        MobileNetV2(alpha=alpha, stages=STAGES_CIFAR, stem=kb.stem.cifar, style=kb.RELU6_BN),
        input_shape=(32, 32, 3), classes=10, params=params, macs=macs,
        source=f"Sandler et al. 2018, arXiv 1801.04381, Table 2, for 32×32 images; {figures} elsewhere",
        departures="the stem and the second stage have a stride of 1",
    )  # fmt: skip


VARIANTS = {
    "mobilenet_v2":     _row(1.0,  params=3_504_872, macs=300_774_272, figures="300 M multiply-adds, 3.47 M"),
    "mobilenet_v2_140": _row(1.4,  params=6_108_776, macs=582_195_824, figures="582 M multiply-adds, 6.06 M"),
    "mobilenet_v2_130": _row(1.3,  params=5_386_792, macs=509_374_560, figures="509 M multiply-adds, 5.34 M"),
    "mobilenet_v2_075": _row(0.75, params=2_636_424, macs=209_069_792, figures="209 M multiply-adds, 2.61 M"),
    "mobilenet_v2_050": _row(0.5,  params=1_968_680, macs=97_131_840,  figures="97 M multiply-adds, 1.95 M"),
    "mobilenet_v2_035": _row(0.35, params=1_677_128, macs=59_285_808,  figures="59 M multiply-adds, 1.66 M"),
    "mobilenet_v2_cifar":     _cifar(1.0,  params=2_236_682, macs=87_976_448, figures="2.24 M"),
    "mobilenet_v2_140_cifar": _cifar(1.4,  params=4_333_706, macs=170_073_344, figures="4.33 M"),
    "mobilenet_v2_075_cifar": _cifar(0.75, params=1_368_234, macs=59_310_080, figures="1.37 M"),
    "mobilenet_v2_050_cifar": _cifar(0.5,  params=700_490,   macs=27_969_024, figures="0.70 M"),
    "mobilenet_v2_tiny": Variant(
        MobileNetV2(stages=((1, 8, 1, 1), (3, 16, 2, 2)), stem_filters=8, head_filters=32),
        input_shape=(32, 32, 3), classes=10, params=4_418, macs=336_704, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: MobileNetV2, *, name: str | None = None) -> KerasTensor:
    """The features of the last convolution.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, max(alpha, 1) · spec.head_filters)`, rounded up; `s` is the product of all
        strides, or the output stride.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, `alpha` is not a positive number, or the output
            stride is not one of the network's.
    """
    check_stages(spec.stages, "expansion, filters, depth, stride")
    part = scope(name, "mobilenet_v2")
    scale = partial(make_divisible, factor=spec.alpha, argument="alpha")
    strides = [stride for *_, stride in spec.stages]
    dilations = replace_strides(spec, strides, x, scale(spec.stem_filters))
    x = spec.stem(x, scale(spec.stem_filters), style=spec.style, name=part("stem"))  # 112 × 112 × 32
    for i, ((expansion, filters, depth, stride), dilation) in enumerate(zip(spec.stages, dilations, strict=True), 1):
        unit = partial(inverted_residual, expansion=expansion, dilation=dilation)
        x = kb.compose.stage(x, unit, scale(filters), depth, stride=stride, style=spec.style, name=part(f"stage{i}"))
    filters = make_divisible(spec.head_filters, max(spec.alpha, 1))
    x = kb.conv.conv_norm(x, filters, 1, style=spec.style, name=part("head_conv"))  # 7 × 7 × 1280
    return activate(x, style=spec.style, name=part("head_out"))


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    found = {
        "stem_conv": "Conv1",
        "stem_conv_norm": "bn_Conv1",
        "head_conv": "Conv_1",
        "head_conv_norm": "Conv_1_bn",
        "logits": "predictions",
    }
    for name, (i, part) in unit_layers(names).items():
        found[name] = f"{f'block_{i}' if i else 'expanded_conv'}_{part.replace('_norm', '_BN')}"
    return found


def torch_names(names: Sequence[str], source: str) -> dict[str, str]:
    """For each of our layers its counterpart in torchvision or timm."""
    if source == "timm":
        return timm_units(names)
    units = unit_layers(names)
    parts = {(i, part) for i, part in units.values()}
    last = max((i for i, _ in parts), default=-1) + 2
    found = torchvision_ends(last)
    for name, (i, part) in units.items():
        conv, norm = part.removesuffix("_norm"), part.endswith("_norm")
        before = [each for each in ("expand", "depthwise") if each != conv and (i, each) in parts]
        if conv == "project":  # without a block of its own for convolution and normalisation
            found[name] = f"features.{i + 1}.conv.{len(before) + norm}"
        elif conv == "depthwise":
            found[name] = f"features.{i + 1}.conv.{len(before)}.{int(norm)}"
        elif conv == "expand":
            found[name] = f"features.{i + 1}.conv.0.{int(norm)}"
    return found


FAMILY = Family(
    "mobilenet_v2", VARIANTS, backbone, keras_names=keras_names, torch_names=torch_names, downsampling="stem"
)
