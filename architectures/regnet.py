"""RegNet: stages of bottleneck units with groups of one width, as regular design spaces have them; Y adds attention."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths
from kblocks import Style, check
from kblocks.attention import squeeze_excite
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem
from kblocks.naming import scope
from kblocks.residual import bottleneck


@dataclass(frozen=True, kw_only=True)
class RegNet:
    """Configuration.

    Attributes:
        depths: number of units of each stage.
        widths: output channels of each stage.
        group_width: channels of each group of the 3×3 convolutions, at most the stage's width.
        attention_ratio: width of the squeeze-and-excitation, as a fraction of the unit's input channels; 0 for none.
        strides: stride of each stage's first unit.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    group_width: int
    attention_ratio: float = 0.0
    strides: tuple[int, ...] = (2, 2, 2, 2)
    stem: Stem = kb.stem.mobile
    stem_filters: int = 32
    drop_path: float = 0.0
    dropout: float = 0.0
    style: Style = replace(kb.RELU_BN, padding="symmetric")


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_x = RegNet
_y = partial(RegNet, attention_ratio=1 / 4)
# The size is kept up to the third stage.
_small: dict[str, Any] = {"strides": (1, 1, 2, 2), "stem": kb.stem.cifar, "stem_filters": 64}

_PAPER = "Radosavovic et al. 2020, arXiv 2003.13678"
_X = f"{_PAPER}, Table 2 and Figure 16: "
_Y = f"{_PAPER}, Table 3 and Figure 17: "
_KL = f"{_PAPER}, in the form for CIFAR of kuangliu/pytorch-cifar"

VARIANTS = {
    "regnetx_200mf": _imagenet(
        _x(depths=(1, 1, 4, 7),   widths=(24, 56, 152, 368),    group_width=8),   params=2_684_792, macs=199_039_872,
        source=f"{_X}2.7 M"),
    "regnetx_400mf": _imagenet(
        _x(depths=(1, 2, 7, 12),  widths=(32, 64, 160, 384),    group_width=16),  params=5_157_512, macs=397_677_568,
        source=f"{_X}5.2 M"),
    "regnetx_600mf": _imagenet(
        _x(depths=(1, 3, 5, 7),   widths=(48, 96, 240, 528),    group_width=24),  params=6_196_040, macs=600_890_112,
        source=f"{_X}6.2 M"),
    "regnetx_800mf": _imagenet(
        _x(depths=(1, 3, 7, 5),   widths=(64, 128, 288, 672),   group_width=16),  params=7_259_656, macs=799_699_712,
        source=f"{_X}7.3 M"),
    "regnetx_1_6gf": _imagenet(
        _x(depths=(2, 4, 10, 2),  widths=(72, 168, 408, 912),   group_width=24),  params=9_190_136, macs=1_602_849_792,
        source=f"{_X}9.2 M"),
    "regnetx_3_2gf": _imagenet(
        _x(depths=(2, 6, 15, 2),  widths=(96, 192, 432, 1008),  group_width=48),  params=15_296_552, macs=3_176_621_952,
        source=f"{_X}15.3 M"),
    "regnetx_4gf": _imagenet(
        _x(depths=(2, 5, 14, 2),  widths=(80, 240, 560, 1360),  group_width=40),  params=22_118_248, macs=3_964_498_816,
        source=f"{_X}22.1 M"),
    "regnetx_6_4gf": _imagenet(
        _x(depths=(2, 4, 10, 1),  widths=(168, 392, 784, 1624), group_width=56),  params=26_209_256, macs=6_460_291_264,
        source=f"{_X}26.2 M"),
    "regnetx_8gf": _imagenet(
        _x(depths=(2, 5, 15, 1),  widths=(80, 240, 720, 1920),  group_width=120), params=39_572_648, macs=7_995_132_416,
        source=f"{_X}39.6 M"),

    "regnety_200mf": _imagenet(
        _y(depths=(1, 1, 4, 7),   widths=(24, 56, 152, 368),    group_width=8),   params=3_162_996, macs=199_514_080,
        source=f"{_Y}3.2 M"),
    "regnety_400mf": _imagenet(
        _y(depths=(1, 3, 6, 6),   widths=(48, 104, 208, 440),   group_width=8),   params=4_344_144, macs=401_842_848,
        source=f"{_Y}4.3 M"),
    "regnety_600mf": _imagenet(
        _y(depths=(1, 3, 7, 4),   widths=(48, 112, 256, 608),   group_width=16),  params=6_055_160, macs=601_220_992,
        source=f"{_Y}6.1 M"),
    "regnety_800mf": _imagenet(
        _y(depths=(1, 3, 8, 2),   widths=(64, 128, 320, 768),   group_width=16),  params=6_263_168, macs=797_176_832,
        source=f"{_Y}6.3 M"),
    "regnety_1_6gf": _imagenet(
        _y(depths=(2, 6, 17, 2),  widths=(48, 120, 336, 888),   group_width=24),  params=11_202_430, macs=1_612_076_160,
        source=f"{_Y}11.2 M"),
    "regnety_3_2gf": _imagenet(
        _y(depths=(2, 5, 13, 1),  widths=(72, 216, 576, 1512),  group_width=24),  params=19_436_338, macs=3_176_482_752,
        source=f"{_Y}19.4 M"),
    "regnety_4gf": _imagenet(
        _y(depths=(2, 6, 12, 2),  widths=(128, 192, 512, 1088), group_width=64),  params=20_646_656, macs=3_973_288_448,
        source=f"{_Y}20.6 M"),
    "regnety_6_4gf": _imagenet(
        _y(depths=(2, 7, 14, 2),  widths=(144, 288, 576, 1296), group_width=72),  params=30_583_252, macs=6_355_204_992,
        source=f"{_Y}30.6 M"),
    "regnety_8gf": _imagenet(
        _y(depths=(2, 4, 10, 1),  widths=(168, 448, 896, 2016), group_width=56),  params=39_180_068, macs=7_963_057_312,
        source=f"{_Y}39.2 M"),

    "regnetx_200mf_cifar": _cifar(
        _x(depths=(1, 1, 4, 7),   widths=(24, 56, 152, 368),    group_width=8, **_small),
        params=2_321_946, macs=223_317_600,
        source=f"{_KL}: 5.76 % error", errors={"cifar10": 5.76}),
    "regnetx_400mf_cifar": _cifar(
        _x(depths=(1, 2, 7, 12),  widths=(32, 64, 160, 384),    group_width=16, **_small),
        params=4_779_338, macs=466_161_408,
        source=_KL),
    "regnety_400mf_cifar": _cifar(
        _y(depths=(1, 2, 7, 12),  widths=(32, 64, 160, 384),    group_width=16, **_small),
        params=5_714_362, macs=467_089_152,
        source=f"{_KL}: 5.71 % error", errors={"cifar10": 5.71},
        departures="depths and widths are those of RegNetX-400MF, as there"),

    "regnet_tiny": Variant(
        _y(depths=(1, 2), widths=(8, 16), group_width=4, strides=(1, 2), stem=kb.stem.cifar, stem_filters=8),
        input_shape=(16, 16, 3), classes=10, params=3_538, macs=326_016, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: RegNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.widths[-1])`, rounded up; `s` is the stride of the stem times those of the
        stages.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, `depths`, `widths` and `strides` differ in length,
            or the width of the groups does not divide a stage's.
    """
    check_depths(spec.depths, spec.widths)
    check_depths(spec.depths, spec.strides, "strides")
    check.positive(spec.group_width, "group_width")
    part = scope(name, "regnet")
    rates = drop_path_schedule(spec.drop_path, spec.depths)
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    for i, (depth, width, stride) in enumerate(zip(spec.depths, spec.widths, spec.strides, strict=True), 1):
        # regnetx_400mf: 56 × 56 × 32, 28 × 28 × 64, 14 × 14 × 160, 7 × 7 × 384
        group_width = min(spec.group_width, width)
        check.divisible(width, group_width, "widths", "group_width")
        unit: Callable[..., KerasTensor] = partial(bottleneck, ratio=1, groups=width // group_width, attend_inside=True)
        for j in range(1, depth + 1):
            if spec.attention_ratio:
                # Of the unit's input channels, not of those that it weights.
                ratio = spec.attention_ratio * x.shape[-1] / width
                unit = partial(unit, attention=partial(squeeze_excite, ratio=ratio))
            x = unit(
                x,
                width,
                stride=stride if j == 1 else 1,
                drop_path=rates[i - 1][j - 1],
                style=spec.style,
                name=part(f"stage{i}_unit{j}"),
            )
    return x


FAMILY = Family("regnet", VARIANTS, backbone, downsampling="stem")
