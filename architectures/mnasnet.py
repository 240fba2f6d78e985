"""MnasNet: a stem, stages of inverted residuals with kernels of two sizes, a wide 1×1 convolution, a global average."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_stages
from kblocks import Style
from kblocks.attention import squeeze_excite
from kblocks.contracts import Stem
from kblocks.mobile import inverted_residual
from kblocks.naming import scope
from kblocks.rounding import make_divisible
from kblocks.style import activate

Stages = tuple[tuple[int, float, float, int, int, int], ...]

B1: Stages = (
    (3, 1, 0,  16, 1, 1),  # 112 × 112 × 16
    (3, 3, 0,  24, 3, 2),  # 56 × 56 × 24
    (5, 3, 0,  40, 3, 2),  # 28 × 28 × 40
    (5, 6, 0,  80, 3, 2),  # 14 × 14 × 80
    (3, 6, 0,  96, 2, 1),  # 14 × 14 × 96
    (5, 6, 0, 192, 4, 2),  # 7 × 7 × 192
    (3, 6, 0, 320, 1, 1),  # 7 × 7 × 320
)  # fmt: skip
"""Kernel size, expansion, ratio of the squeeze-and-excite to the input channels (0 for none), filters, depth and stride
of each: the network without squeeze-and-excite, of the first version of the paper and the authors' code."""

A1: Stages = (
    (3, 1, 0,      16, 1, 1),  # 112 × 112 × 16
    (3, 6, 0,      24, 2, 2),  # 56 × 56 × 24
    (5, 3, 1 / 4,  40, 3, 2),  # 28 × 28 × 40
    (3, 6, 0,      80, 4, 2),  # 14 × 14 × 80
    (3, 6, 1 / 4, 112, 2, 1),  # 14 × 14 × 112
    (5, 6, 1 / 4, 160, 3, 2),  # 7 × 7 × 160
    (3, 6, 0,     320, 1, 1),  # 7 × 7 × 320
)  # fmt: skip
"""Figure 7 of the paper."""

STYLE = replace(kb.RELU_BN, padding="symmetric")


@dataclass(frozen=True, kw_only=True)
class MnasNet:
    """Configuration.

    Attributes:
        stages: kernel size, expansion, attention ratio, filters, depth and stride of each.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        head_filters: output channels of the last convolution.
        alpha: width multiplier; the products are rounded to multiples of 8. The last convolution keeps its width.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    stages: Stages = B1
    stem: Stem = kb.stem.mobile
    stem_filters: int = 32
    head_filters: int = 1280
    alpha: float = 1.0
    dropout: float = 0.2
    style: Style = STYLE


_B1 = "Tan et al. 2018, arXiv 1807.11626, first version, in the authors' code; torchvision counts "
_A1 = "Tan et al. 2018, arXiv 1807.11626, Figure 7 and Table 1: "
_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)

VARIANTS = {
    "mnasnet_050": _imagenet(
        MnasNet(alpha=0.5), params=2_218_512, macs=104_455_968, source=f"{_B1}2.2 M, 0.1 GMACs"),
    "mnasnet_075": _imagenet(
        MnasNet(alpha=0.75), params=3_170_208, macs=215_493_104, source=f"{_B1}3.2 M, 0.21 GMACs"),
    "mnasnet_100": _imagenet(
        MnasNet(), params=4_383_312, macs=314_415_872, source=f"{_B1}4.4 M, 0.31 GMACs"),
    "mnasnet_130": _imagenet(
        MnasNet(alpha=1.3), params=6_282_256, macs=526_362_432, source=f"{_B1}6.3 M, 0.53 GMACs"),
    "mnasnet_a1": _imagenet(
        MnasNet(stages=A1), params=3_887_038, macs=311_579_072, source=f"{_A1}312 M multiply-adds, 3.9 M"),
    "mnasnet_cifar": Variant(
        MnasNet(stem=kb.stem.cifar), input_shape=(32, 32, 3), classes=10, params=3_115_122, macs=25_574_912,
        source="Tan et al. 2018, arXiv 1807.11626, for 32×32 images: a 3×3 convolution of stride 1 for a stem",
        departures="the stem"),
    "mnasnet_tiny": Variant(
        MnasNet(
            stages=((3, 1, 0, 8, 1, 1), (5, 3, 1 / 4, 8, 2, 2)), stem=kb.stem.cifar, stem_filters=8, head_filters=16),
        input_shape=(16, 16, 3), classes=10, params=3_166, macs=261_472, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: MnasNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last convolution.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.head_filters)`, rounded up; `s` is the product of all strides.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, or `alpha` is not a positive number.
    """
    check_stages(spec.stages, "kernel_size, expansion, ratio, filters, depth, stride")
    part = scope(name, "mnasnet")
    scale = partial(make_divisible, factor=spec.alpha, argument="alpha")
    x = spec.stem(x, scale(spec.stem_filters), style=spec.style, name=part("stem"))  # 112 × 112 × 32
    for i, (kernel_size, expansion, ratio, filters, depth, stride) in enumerate(spec.stages, 1):
        # The attention's input are the expanded channels; its width is a share of the unit's input channels.
        attention = partial(squeeze_excite, ratio=ratio / expansion) if ratio else None
        unit = partial(inverted_residual, kernel_size=kernel_size, expansion=expansion, attention=attention)
        x = kb.compose.stage(x, unit, scale(filters), depth, stride=stride, style=spec.style, name=part(f"stage{i}"))
    x = kb.conv.conv_norm(x, spec.head_filters, 1, style=spec.style, name=part("head_conv"))  # 7 × 7 × 1280
    return activate(x, style=spec.style, name=part("head_out"))


FAMILY = Family("mnasnet", VARIANTS, backbone, downsampling="stem")
