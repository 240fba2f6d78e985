"""MobileNetV3: stages of inverted residuals, some with squeeze-and-excite, and a head with a hidden layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.dilation import replace_strides
from architectures.common.family import Family, Variant
from architectures.common.head import classify, pool
from architectures.common.stages import check_stages
from architectures.weights.names import unit_layers
from kblocks import Style
from kblocks.attention import squeeze_excite
from kblocks.contracts import Attention, Stem
from kblocks.mobile import inverted_residual
from kblocks.naming import scope
from kblocks.rounding import make_divisible
from kblocks.style import activate, batch_norm, hard_sigmoid, hard_swish, relu

Unit = tuple[int, int, int, bool, bool, int]
"""A line of the paper's tables: kernel size, expanded channels ("exp size"), output channels, whether it has attention,
whether its activation is that of the style ("HS") or ReLU, stride."""

Stages = tuple[tuple[Unit, ...], ...]

LARGE: Stages = (
    (
        (3,  16,  16, False, False, 1),  # 112 × 112 × 16
    ), (
        (3,  64,  24, False, False, 2),  # 56 × 56 × 24
        (3,  72,  24, False, False, 1),
    ), (
        (5,  72,  40, True,  False, 2),  # 28 × 28 × 40
        (5, 120,  40, True,  False, 1),
        (5, 120,  40, True,  False, 1),
    ), (
        (3, 240,  80, False, True,  2),  # 14 × 14 × 80
        (3, 200,  80, False, True,  1),
        (3, 184,  80, False, True,  1),
        (3, 184,  80, False, True,  1),
    ), (
        (3, 480, 112, True,  True,  1),  # 14 × 14 × 112
        (3, 672, 112, True,  True,  1),
    ), (
        (5, 672, 160, True,  True,  2),  # 7 × 7 × 160
        (5, 960, 160, True,  True,  1),
        (5, 960, 160, True,  True,  1),
    ),
)  # fmt: skip
"""Table 1 of the paper."""

SMALL: Stages = (
    (
        (3,  16,  16, True,  False, 2),  # 56 × 56 × 16
    ), (
        (3,  72,  24, False, False, 2),  # 28 × 28 × 24
        (3,  88,  24, False, False, 1),
    ), (
        (5,  96,  40, True,  True,  2),  # 14 × 14 × 40
        (5, 240,  40, True,  True,  1),
        (5, 240,  40, True,  True,  1),
    ), (
        (5, 120,  48, True,  True,  1),  # 14 × 14 × 48
        (5, 144,  48, True,  True,  1),
    ), (
        (5, 288,  96, True,  True,  2),  # 7 × 7 × 96
        (5, 576,  96, True,  True,  1),
        (5, 576,  96, True,  True,  1),
    ),
)  # fmt: skip
"""Table 2 of the paper."""


STYLE = replace(
    kb.RELU_BN,
    activation=hard_swish,
    norm=partial(batch_norm, momentum=0.999, epsilon=1e-3),
    initializer="glorot_uniform",
)


@dataclass(frozen=True, kw_only=True)
class MobileNetV3:
    """Configuration.

    Attributes:
        stages: the units, stage by stage.
        head_units: width of the hidden layer between pooling and logits.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        alpha: width multiplier; the products are rounded to multiples of 8. The hidden layer is never narrowed.
        attention: the attention of the units that have one.
        output_stride: total stride of the network; further strides are replaced by dilations; `None` to replace none.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    stages: Stages
    head_units: int
    stem: Stem = kb.stem.mobile
    stem_filters: int = 16
    alpha: float = 1.0
    attention: Attention = partial(squeeze_excite, ratio=1 / 4, divisor=8, activation=relu, gate=hard_sigmoid)
    output_stride: int | None = None
    dropout: float = 0.2
    style: Style = STYLE


def _minimalistic(spec: MobileNetV3) -> MobileNetV3:
    """The same widths, but without attention, and with 3×3 kernels and ReLU alone."""
    stages = tuple(
        tuple((3, width, filters, False, False, stride) for _, width, filters, _, _, stride in stage)
        for stage in spec.stages
    )
    return replace(spec, stages=stages, style=replace(spec.style, activation=relu))


_SMALL = MobileNetV3(stages=SMALL, head_units=1024)
_LARGE = MobileNetV3(stages=LARGE, head_units=1280)
_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000, preprocessing="tf")
_PAPER = "Howard et al. 2019, arXiv 1905.02244"
_T3 = f"{_PAPER}, Table 3: "
_TIMM = f"{_PAPER}, in the authors' own code; timm counts "

VARIANTS = {
    "mobilenet_v3_small": _imagenet(
        _SMALL, params=2_542_856, macs=56_510_400,
        source=f"{_T3}56 M multiply-adds, 2.5 M", keras=keras.applications.MobileNetV3Small),
    "mobilenet_v3_small_075": _imagenet(
        replace(_SMALL, alpha=0.75), params=2_041_872, macs=43_399_344,
        source=f"{_T3}44 M multiply-adds, 2.0 M",
        keras=partial(keras.applications.MobileNetV3Small, alpha=0.75)),
    "mobilenet_v3_small_minimalistic": _imagenet(
        _minimalistic(_SMALL), params=2_044_736, macs=52_288_448,
        source=f"{_TIMM}2.04 M",
        keras=partial(keras.applications.MobileNetV3Small, minimalistic=True)),
    "mobilenet_v3_large": _imagenet(
        _LARGE, params=5_483_032, macs=216_589_760,
        source=f"{_T3}219 M multiply-adds, 5.4 M", keras=keras.applications.MobileNetV3Large),
    "mobilenet_v3_large_075": _imagenet(
        replace(_LARGE, alpha=0.75), params=3_993_528, macs=154_560_624,
        source=f"{_T3}155 M multiply-adds, 4.0 M",
        keras=partial(keras.applications.MobileNetV3Large, alpha=0.75)),
    "mobilenet_v3_large_minimalistic": _imagenet(
        _minimalistic(_LARGE), params=3_924_288, macs=209_136_704,
        source=f"{_TIMM}3.92 M",
        keras=partial(keras.applications.MobileNetV3Large, minimalistic=True)),
    "mobilenet_v3_small_cifar": Variant(
        replace(_SMALL, stem=kb.stem.cifar, style=replace(STYLE, norm=batch_norm)),
        input_shape=(32, 32, 3), classes=10, params=1_528_106, macs=5_502_720,
        source=f"{_PAPER}, Table 2, for 32×32 images: a stem of stride 1", departures="the stride of the stem"),
    "mobilenet_v3_tiny": Variant(
        MobileNetV3(
            stages=(((3, 8, 8, True, False, 2),), ((5, 16, 8, True, True, 2), (5, 24, 8, False, True, 1))),
            head_units=16, stem_filters=8),
        input_shape=(32, 32, 3), classes=10, params=4_090, macs=103_840, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: MobileNetV3, *, name: str | None = None) -> KerasTensor:
    """The features of the last convolution.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, 6 · channels)`, rounded up, with the output channels of the last unit; `s` is
        the product of all strides, or the output stride.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, `alpha` is not a positive number, or the output
            stride is not one of the network's.
    """
    check_stages(spec.stages)
    for stage in spec.stages:
        check_stages(stage, "kernel_size, width, filters, attended, styled, stride")
    part = scope(name, "mobilenet_v3")
    plain = replace(spec.style, activation=relu)
    strides = [stride for stage in spec.stages for *_, stride in stage]
    dilations = iter(replace_strides(spec, strides, x, spec.stem_filters))
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))  # 112 × 112 × 16
    before = spec.stem_filters
    for i, stage in enumerate(spec.stages, 1):
        for j, (kernel_size, width, filters, attended, styled, stride) in enumerate(stage, 1):
            x = inverted_residual(
                x,
                make_divisible(filters, spec.alpha, argument="alpha"),
                stride=stride,
                kernel_size=kernel_size,
                dilation=next(dilations),
                expansion=width / before,
                divisor=8,
                attention=spec.attention if attended else None,
                style=spec.style if styled else plain,
                name=part(f"stage{i}_unit{j}"),
            )
            before = filters
    # 7 × 7 × 960, 7 × 7 × 576
    x = kb.conv.conv_norm(x, 6 * x.shape[-1], 1, style=spec.style, name=part("head_conv"))
    return activate(x, style=spec.style, name=part("head_out"))


def head(x: KerasTensor, spec: MobileNetV3, classes: int, pooling: str | None, /) -> KerasTensor:
    """A dense layer and logits."""
    if classes:
        x, pooling = pool(x, pooling or "avg"), None
        units = make_divisible(spec.head_units, max(spec.alpha, 1))
        x = kb.mlp.dense_norm_act(x, units, style=replace(spec.style, norm=None), name="head_dense")
    return classify(x, spec, classes, pooling)


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    found = {
        "stem_conv": "conv",
        "stem_conv_norm": "conv_bn",
        "head_conv": "conv_1",
        "head_conv_norm": "conv_1_bn",
        "head_dense": "conv_2",
        "logits": "logits",
    }
    attention = {"attention_reduce": "squeeze_excite_conv", "attention_expand": "squeeze_excite_conv_1"}
    for name, (i, part) in unit_layers(names).items():
        prefix = f"expanded_conv_{i}" if i else "expanded_conv"
        found[name] = f"{prefix}_{attention.get(part, part.replace('_norm', '_bn'))}"
    return found


FAMILY = Family("mobilenet_v3", VARIANTS, backbone, head, keras_names=keras_names, downsampling="stem")
