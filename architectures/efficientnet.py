"""EfficientNet: a stem, stages of inverted residuals, a wide 1×1 convolution, and a global average pooling.

Version 1 scales one network in width, depth and image size. Version 2 has fused inverted residuals in the first stages,
and a table for each of the large networks.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.dilation import replace_strides
from architectures.common.family import Family, Variant
from architectures.common.stages import check_stages
from architectures.weights.names import timm_units, torchvision_ends
from kblocks import Style, check
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem
from kblocks.mobile import fused_inverted_residual as fused_mbconv
from kblocks.mobile import mbconv
from kblocks.naming import scope
from kblocks.rounding import make_divisible
from kblocks.style import activate, batch_norm, swish

STYLE = Style(
    norm=partial(batch_norm, momentum=0.99, epsilon=1e-3),
    activation=swish,
    # Untruncated as in the authors' code; sampling a truncated normal is also slower.
    initializer={
        "class_name": "VarianceScaling",
        "config": {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
    },
)
STYLE_V2 = replace(STYLE, norm=partial(batch_norm, momentum=0.9, epsilon=1e-3))


class KernelUnit(Protocol):
    """A `kblocks.contracts.Unit` that also takes `kernel_size=` and `expansion=`."""

    def __call__(
        self,
        x: KerasTensor,
        filters: int,
        /,
        *,
        stride: int = 1,
        kernel_size: int,
        expansion: float,
        drop_path: float = 0.0,
        style: Style,
        name: str | None,
    ) -> KerasTensor: ...


Stages = tuple[tuple[KernelUnit, int, float, int, int, int], ...]

B0: Stages = (
    (mbconv, 3, 1,  16, 1, 1),  # 112 × 112 × 16
    (mbconv, 3, 6,  24, 2, 2),  # 56 × 56 × 24
    (mbconv, 5, 6,  40, 2, 2),  # 28 × 28 × 40
    (mbconv, 3, 6,  80, 3, 2),  # 14 × 14 × 80
    (mbconv, 5, 6, 112, 3, 1),  # 14 × 14 × 112
    (mbconv, 5, 6, 192, 4, 2),  # 7 × 7 × 192
    (mbconv, 3, 6, 320, 1, 1),  # 7 × 7 × 320
)  # fmt: skip
"""Unit, kernel size, expansion, filters, depth and stride of each: Table 1 of the first paper."""

V2_B0: Stages = (
    (fused_mbconv, 3, 1,  16, 1, 1),  # 112 × 112 × 16
    (fused_mbconv, 3, 4,  32, 2, 2),  # 56 × 56 × 32
    (fused_mbconv, 3, 4,  48, 2, 2),  # 28 × 28 × 48
    (mbconv,       3, 4,  96, 3, 2),  # 14 × 14 × 96
    (mbconv,       3, 6, 112, 5, 1),  # 14 × 14 × 112
    (mbconv,       3, 6, 192, 8, 2),  # 7 × 7 × 192
)  # fmt: skip
"""The second paper's network of B0's size, from its authors' code."""

V2_S: Stages = (
    (fused_mbconv, 3, 1,  24,  2, 1),  # 192 × 192 × 24
    (fused_mbconv, 3, 4,  48,  4, 2),  # 96 × 96 × 48
    (fused_mbconv, 3, 4,  64,  4, 2),  # 48 × 48 × 64
    (mbconv,       3, 4, 128,  6, 2),  # 24 × 24 × 128
    (mbconv,       3, 6, 160,  9, 1),  # 24 × 24 × 160
    (mbconv,       3, 6, 256, 15, 2),  # 12 × 12 × 256
)  # fmt: skip
"""Table 4 of the second paper."""

V2_M: Stages = (
    (fused_mbconv, 3, 1,  24,  3, 1),  # 240 × 240 × 24
    (fused_mbconv, 3, 4,  48,  5, 2),  # 120 × 120 × 48
    (fused_mbconv, 3, 4,  80,  5, 2),  # 60 × 60 × 80
    (mbconv,       3, 4, 160,  7, 2),  # 30 × 30 × 160
    (mbconv,       3, 6, 176, 14, 1),  # 30 × 30 × 176
    (mbconv,       3, 6, 304, 18, 2),  # 15 × 15 × 304
    (mbconv,       3, 6, 512,  5, 1),  # 15 × 15 × 512
)  # fmt: skip
"""From the authors' code, as is the next."""

V2_L: Stages = (
    (fused_mbconv, 3, 1,  32,  4, 1),  # 240 × 240 × 32
    (fused_mbconv, 3, 4,  64,  7, 2),  # 120 × 120 × 64
    (fused_mbconv, 3, 4,  96,  7, 2),  # 60 × 60 × 96
    (mbconv,       3, 4, 192, 10, 2),  # 30 × 30 × 192
    (mbconv,       3, 6, 224, 19, 1),  # 30 × 30 × 224
    (mbconv,       3, 6, 384, 25, 2),  # 15 × 15 × 384
    (mbconv,       3, 6, 640,  7, 1),  # 15 × 15 × 640
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EfficientNet:
    """Configuration.

    Attributes:
        stages: unit, kernel size, expansion, filters, depth and stride of each.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        head_filters: output channels of the last convolution.
        alpha: width multiplier; the products are rounded to multiples of 8.
        least_share: lower bound of the rounded widths, as a fraction of the products.
        depth: depth multiplier; the products are rounded up.
        output_stride: total stride of the network; further strides are replaced by dilations; `None` to replace none.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    stages: Stages = B0
    stem: Stem = kb.stem.mobile
    stem_filters: int = 32
    head_filters: int = 1280
    alpha: float = 1.0
    least_share: float = 0.9
    depth: float = 1.0
    output_stride: int | None = None
    drop_path: float = 0.2
    dropout: float = 0.2
    style: Style = STYLE


def _row(
    size: str,
    alpha: float,
    depth: float,
    side: int,
    dropout: float,
    *,
    params: int,
    macs: int,
    figures: tuple[float, float],
    source: str,
    preprocessing: str = "torch",
    **spec: Any,
) -> Variant:
    flops, millions = figures
    return Variant(
        EfficientNet(alpha=alpha, depth=depth, dropout=dropout, **spec),
        input_shape=(side, side, 3), classes=1000, params=params, macs=macs,
        source=f"{source}: {flops} B FLOPs, {millions} M parameters",
        keras=getattr(keras.applications, f"EfficientNet{size}"), preprocessing=preprocessing,
    )  # fmt: skip


_v1 = partial(_row, source="Tan and Le 2019, arXiv 1905.11946, Table 2")
_v2 = partial(
    _row,
    stages=V2_B0,
    least_share=0.0,
    style=STYLE_V2,
    source="Tan and Le 2021, arXiv 2104.00298, in the authors' table",
)

VARIANTS = {
    # Width, depth, image and dropout; the papers' own FLOPs in billions and parameters in millions.
    "efficientnet_b0": _v1("B0", 1.0, 1.0, 224, 0.2, params=5_288_548,  macs=385_814_752,    figures=(0.39, 5.3)),
    "efficientnet_b1": _v1("B1", 1.0, 1.1, 240, 0.2, params=7_794_184,  macs=686_802_832,    figures=(0.70, 7.8)),
    "efficientnet_b2": _v1("B2", 1.1, 1.2, 260, 0.3, params=9_109_994,  macs=993_561_872,    figures=(1.0, 9.2)),
    "efficientnet_b3": _v1("B3", 1.2, 1.4, 300, 0.3, params=12_233_232, macs=1_827_141_392,  figures=(1.8, 12)),
    "efficientnet_b4": _v1("B4", 1.4, 1.8, 380, 0.4, params=19_341_616, macs=4_393_771_024,  figures=(4.2, 19)),
    "efficientnet_b5": _v1("B5", 1.6, 2.2, 456, 0.4, params=30_389_784, macs=10_266_384_752, figures=(9.9, 30)),
    "efficientnet_b6": _v1("B6", 1.8, 2.6, 528, 0.5, params=43_040_704, macs=19_067_593_536, figures=(19, 43)),
    "efficientnet_b7": _v1("B7", 2.0, 3.1, 600, 0.5, params=66_347_960, macs=37_745_884_192, figures=(37, 66)),

    "efficientnet_v2_b0": _v2("V2B0", 1.0, 1.0, 224, 0.2, params=7_139_704,  macs=718_086_176,   figures=(0.72, 7.1)),
    "efficientnet_v2_b1": _v2("V2B1", 1.0, 1.1, 240, 0.2, params=8_141_052,  macs=1_196_819_360, figures=(1.2, 8.1)),
    "efficientnet_v2_b2": _v2("V2B2", 1.1, 1.2, 260, 0.3, params=10_096_086, macs=1_697_542_832, figures=(1.7, 10.1)),
    "efficientnet_v2_b3": _v2("V2B3", 1.2, 1.4, 300, 0.3, params=14_358_406, macs=3_011_458_816, figures=(3.0, 14.4)),
    "efficientnet_v2_s": _v2(
        "V2S", 1.0, 1.0, 384, 0.2, params=21_458_488,  macs=8_365_617_152,  figures=(8.4, 21.5),
        stages=V2_S, stem_filters=24, preprocessing="unit128"),
    "efficientnet_v2_m": _v2(
        "V2M", 1.0, 1.0, 480, 0.3, params=54_139_356,  macs=24_582_460_384, figures=(24.7, 54.1),
        stages=V2_M, stem_filters=24, preprocessing="unit128"),
    "efficientnet_v2_l": _v2(
        "V2L", 1.0, 1.0, 480, 0.4, params=118_515_272, macs=56_079_699_008, figures=(56.3, 119.5),
        stages=V2_L, stem_filters=32, preprocessing="unit128"),

    "efficientnet_b0_cifar": Variant(
        EfficientNet(stem=kb.stem.cifar, style=replace(STYLE, norm=batch_norm)),
        input_shape=(32, 32, 3), classes=10, params=4_020_358, macs=31_979_392,
        source="Tan and Le 2019, arXiv 1905.11946, Table 1, for 32×32 images: a stem of stride 1",
        departures="the stride of the stem"),
    "efficientnet_tiny": Variant(
        EfficientNet(
            stages=((fused_mbconv, 3, 1, 8, 1, 1), (fused_mbconv, 3, 2, 8, 1, 2), (mbconv, 5, 2, 8, 2, 2)),
            stem_filters=8, head_filters=16, style=STYLE_V2),
        input_shape=(32, 32, 3), classes=10, params=4_118, macs=314_144, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: EfficientNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last convolution.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.alpha · spec.head_filters)`, rounded up; `s` is the product of all strides,
        or the output stride.

    Raises:
        ValueError: `x` is not of rank 4, `alpha` or `depth` is not a positive number, or the output stride is not one
            of the network's.
    """
    check_stages(spec.stages, "unit, kernel_size, expansion, filters, depth, stride")
    check.positive_number(spec.depth, "depth")
    part = scope(name, "efficientnet")
    scale = partial(make_divisible, factor=spec.alpha, least_share=spec.least_share, argument="alpha")
    depths = [math.ceil(spec.depth * depth) for *_, depth, _ in spec.stages]
    rates = drop_path_schedule(spec.drop_path, depths)
    strides = [stride for *_, stride in spec.stages]
    dilations = replace_strides(spec, strides, x, scale(spec.stem_filters))
    x = spec.stem(x, scale(spec.stem_filters), style=spec.style, name=part("stem"))
    for i, (unit, kernel_size, expansion, filters, _, stride) in enumerate(spec.stages, 1):
        check.block(unit, "stages", KernelUnit)
        bound: Callable[..., KerasTensor] = partial(unit, kernel_size=kernel_size, expansion=expansion)
        x = kb.compose.stage(
            x,
            bound if dilations[i - 1] == 1 else partial(bound, dilation=dilations[i - 1]),
            scale(filters),
            depths[i - 1],
            stride=stride,
            drop_paths=rates[i - 1],
            style=spec.style,
            name=part(f"stage{i}"),
        )
    x = kb.conv.conv_norm(x, scale(spec.head_filters), 1, style=spec.style, name=part("head_conv"))
    return activate(x, style=spec.style, name=part("head_out"))


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    second = any(layer.name.endswith("_dwconv2") for layer in keras_model.layers)
    found = {
        "stem_conv": "stem_conv",
        "stem_conv_norm": "stem_bn",
        "head_conv": "top_conv",
        "head_conv_norm": "top_bn",
        "logits": "predictions",
    }
    parts = {
        "expand": "expand_conv",
        "expand_norm": "expand_bn",
        "depthwise": "dwconv2" if second else "dwconv",
        "depthwise_norm": "bn",
        "attention_reduce": "se_reduce",
        "attention_expand": "se_expand",
        "project": "project_conv",
        "project_norm": "project_bn",
    }
    for name in names:
        match = re.fullmatch(r"stage(\d)_unit(\d+)_(.+)", name)
        if match and match[3] in parts:
            letter = chr(ord("a") + int(match[2]) - 1)
            found[name] = f"block{match[1]}{letter}_{parts[match[3]]}"
    return found


def torch_names(names: Sequence[str], source: str) -> dict[str, str]:
    """For each of our layers its counterpart in torchvision or timm."""
    if source == "timm":
        return timm_units(names)
    matches = {name: match for name in names if (match := re.fullmatch(r"stage(\d)_unit(\d+)_([a-z]+)(_\w+)?", name))}
    blocks: dict[tuple[str, str], set[str]] = {}
    for match in matches.values():
        blocks.setdefault((match[1], match[2]), set()).add(match[3])
    last = max((int(stage) for stage, _ in blocks), default=0) + 1
    found = torchvision_ends(last)
    ends = {None: "0", "_norm": "1", "_reduce": "fc1", "_expand": "fc2"}
    for name, match in matches.items():
        stage, unit, part, end = match.groups()
        order = [each for each in ("expand", "depthwise", "attention", "project") if each in blocks[stage, unit]]
        if part in order and end in ends:
            found[name] = f"features.{stage}.{int(unit) - 1}.block.{order.index(part)}.{ends[end]}"
    return found


def torch_settings(arch: str, source: str) -> Sequence[tuple[str, float]]:
    """Padding and epsilon: timm has versions with those of TensorFlow, whose names begin with `tf_`."""
    if source == "timm":
        return (("symmetric", 1e-5), ("same", 1e-3))
    large = arch.startswith(("efficientnet_v2", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7"))
    return (("symmetric", 1e-3 if large else 1e-5),)


FAMILY = Family(
    "efficientnet",
    VARIANTS,
    backbone,
    keras_names=keras_names,
    torch_names=torch_names,
    torch_settings=torch_settings,
    downsampling="stem",
)
