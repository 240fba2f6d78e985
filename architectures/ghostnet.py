"""GhostNet: a stem, stages of ghost bottlenecks, some with squeeze-and-excite, and a head with a hidden layer."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify, pool
from architectures.common.stages import check_stages
from kblocks import Style
from kblocks.attention import squeeze_excite
from kblocks.contracts import Attention, Stem
from kblocks.mobile import ghost_bottleneck
from kblocks.naming import scope
from kblocks.rounding import make_divisible
from kblocks.style import activate, hard_sigmoid, relu

Unit = tuple[int, int, int, bool, int]
"""A line of the paper's table: kernel size, expanded channels ("#exp"), output channels, whether it has attention,
stride."""

STAGES: tuple[tuple[Unit, ...], ...] = (
    (
        (3,  16,  16, False, 1),  # 112 × 112 × 16
    ), (
        (3,  48,  24, False, 2),  # 56 × 56 × 24
        (3,  72,  24, False, 1),
    ), (
        (5,  72,  40, True,  2),  # 28 × 28 × 40
        (5, 120,  40, True,  1),
    ), (
        (3, 240,  80, False, 2),  # 14 × 14 × 80
        (3, 200,  80, False, 1),
        (3, 184,  80, False, 1),
        (3, 184,  80, False, 1),
        (3, 480, 112, True,  1),
        (3, 672, 112, True,  1),
    ), (
        (5, 672, 160, True,  2),  # 7 × 7 × 160
        (5, 960, 160, False, 1),
        (5, 960, 160, True,  1),
        (5, 960, 160, False, 1),
        (5, 960, 160, True,  1),
    ),
)  # fmt: skip
"""Table 1 of the paper."""

STYLE = replace(kb.RELU_BN, padding="symmetric")


@dataclass(frozen=True, kw_only=True)
class GhostNet:
    """Configuration.

    Attributes:
        stages: the units, stage by stage.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        head_units: width of the hidden layer between pooling and logits.
        alpha: width multiplier; the products are rounded to multiples of 4. The hidden layer keeps its width.
        attention: the attention of the units that have one.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    stages: tuple[tuple[Unit, ...], ...] = STAGES
    stem: Stem = kb.stem.mobile
    stem_filters: int = 16
    head_units: int = 1280
    alpha: float = 1.0
    attention: Attention = partial(squeeze_excite, ratio=1 / 4, divisor=4, activation=relu, gate=hard_sigmoid)
    dropout: float = 0.2
    style: Style = STYLE


_PAPER = "Han et al. 2019, arXiv 1911.11907, Tables 1 and 7: "
_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_CODE = "the shortcuts and the squeeze-and-excite are those of the authors' code"

VARIANTS = {
    "ghostnet_050": _imagenet(
        GhostNet(alpha=0.5), params=2_587_292, macs=42_328_152, source=f"{_PAPER}42 M FLOPs, 2.6 M",
        departures=_CODE),
    "ghostnet_100": _imagenet(
        GhostNet(), params=5_182_508, macs=141_150_512, source=f"{_PAPER}141 M FLOPs, 5.2 M",
        departures=_CODE),
    "ghostnet_130": _imagenet(
        GhostNet(alpha=1.3), params=7_358_820, macs=227_003_256, source=f"{_PAPER}226 M FLOPs, 7.3 M",
        departures=_CODE),
    "ghostnet_cifar": Variant(
        GhostNet(stem=kb.stem.cifar), input_shape=(32, 32, 3), classes=10, params=3_914_318, macs=13_935_872,
        source=f"{_PAPER}for 32×32 images: a 3×3 convolution of stride 1 for a stem",
        departures=f"the stem; {_CODE}"),
    "ghostnet_tiny": Variant(
        GhostNet(
            stages=(((3, 8, 8, False, 1),), ((3, 12, 8, True, 2), (5, 16, 8, False, 1))),
            stem=kb.stem.cifar, stem_filters=8, head_units=16),
        input_shape=(16, 16, 3), classes=10, params=1_924, macs=161_024, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: GhostNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last convolution.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, alpha · width)`, rounded up, with the expanded channels of the last unit; `s` is
        the product of all strides.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, or `alpha` is not a positive number.
    """
    check_stages(spec.stages)
    for stage in spec.stages:
        check_stages(stage, "kernel_size, width, filters, attended, stride")
    part = scope(name, "ghostnet")
    scale = partial(make_divisible, factor=spec.alpha, divisor=4, argument="alpha")
    x = spec.stem(x, scale(spec.stem_filters), style=spec.style, name=part("stem"))  # 112 × 112 × 16
    for i, stage in enumerate(spec.stages, 1):
        for j, (kernel_size, width, filters, attended, stride) in enumerate(stage, 1):
            x = ghost_bottleneck(
                x,
                scale(filters),
                stride=stride,
                kernel_size=kernel_size,
                expansion=scale(width) / x.shape[-1],
                attention=spec.attention if attended else None,
                style=spec.style,
                name=part(f"stage{i}_unit{j}"),
            )
    x = kb.conv.conv_norm(x, scale(spec.stages[-1][-1][1]), 1, style=spec.style, name=part("head_conv"))  # 7 × 7 × 960
    return activate(x, style=spec.style, name=part("head_out"))


def head(x: KerasTensor, spec: GhostNet, classes: int, pooling: str | None, /) -> KerasTensor:
    """A dense layer and logits."""
    if classes:
        x, pooling = pool(x, pooling or "avg"), None
        x = kb.mlp.dense_norm_act(x, spec.head_units, style=replace(spec.style, norm=None), name="head_dense")
    return classify(x, spec, classes, pooling)


FAMILY = Family("ghostnet", VARIANTS, backbone, head, downsampling="stem")
