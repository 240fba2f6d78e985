"""ResNet: a stem, stages of residual units, each half the size and twice the width of the one before, and a mean."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.dilation import replace_strides
from architectures.variant import Variant, check_depths, classify
from kblocks import Style
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Shortcut, Stem, Unit
from kblocks.naming import scope
from kblocks.residual import basic, bottleneck, linear_projection, padded, preact_bottleneck
from kblocks.style import activate, batch_norm, normalize

STYLE = replace(kb.RELU_BN, padding="symmetric")
STYLE_KERAS = replace(STYLE, norm=partial(batch_norm, momentum=0.99, epsilon=1.001e-5))


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """What can be turned.

    Attributes:
        unit: a function `(x, filters, *, stride, drop_path, style, name) -> tensor`.
        depths: number of units of each stage; between two stages the image is halved.
        widths: channels that come out of each stage.
        stem: a function `(x, filters, *, style, name) -> tensor`.
        stem_filters: channels that come out of the stem.
        shortcut: given to the unit as `shortcut=`; `None` for the unit's own.
        stride_last: whether the last unit of a stage halves the image, and not the first of the next one.
        output_stride: what the features' sides are smaller by than the image's: where they would be smaller yet, a
            dilation replaces the stride, which takes a unit with that argument; `None` for no such limit. The weights
            are those of the plain network, and with symmetric padding every second (fourth, …) pixel has its features.
        final_norm: whether a normalisation and an activation follow the last stage, as pre-activation units need it.
        drop_path: the last unit's rate; those before rise to it linearly.
        dropout: the share of features left out before the logits, in training.
        style: see `kblocks.style`.
    """

    unit: Unit
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Stem
    stem_filters: int
    shortcut: Shortcut | None = None
    stride_last: bool = False
    output_stride: int | None = None
    final_norm: bool = False
    drop_path: float = 0.0
    dropout: float = 0.0
    style: Style = STYLE


def _cifar(n: int, **options) -> ResNet:
    return ResNet(
        **{"unit": basic, "shortcut": padded, "widths": (16, 32, 64), "stem": kb.stem.cifar, **options},
        depths=(n, n, n), stem_filters=16,
    )  # fmt: skip


def _imagenet(unit: Unit, depths: tuple[int, ...], widths: tuple[int, ...], style: Style = STYLE) -> ResNet:
    return ResNet(unit=unit, depths=depths, widths=widths, stem=kb.stem.imagenet, stem_filters=64, style=style)


def _v2(*depths: int) -> ResNet:
    return ResNet(
        unit=partial(preact_bottleneck, use_bias=True), shortcut=partial(linear_projection, use_bias=True),
        depths=depths, widths=_WIDE, stem=kb.stem.preact, stem_filters=64, stride_last=True, final_norm=True,
        style=STYLE_KERAS,
    )  # fmt: skip


_PAPER = partial(bottleneck, stride_first=True)
_NARROW = (64, 128, 256, 512)
_WIDE = (256, 512, 1024, 2048)
_SMALL = {"input_shape": (32, 32, 3), "classes": 10}
_LARGE = {"input_shape": (224, 224, 3), "classes": 1000}
_HE = "He et al. 2015, arXiv 1512.03385"
_T6 = f"{_HE}, Table 6: "
_T1 = f"{_HE}, Table 1: "
_V2 = "He et al. 2016, arXiv 1603.05027, Figure 1 (b), in the networks of arXiv 1512.03385, Table 1"
_LAST = "a stage's last unit halves the image, not the next one's first; a bias where no normalisation follows"

VARIANTS = {
    "resnet20":  Variant(_cifar(3),  **_SMALL, params=269_722,   macs=40_551_040,  source=f"{_T6}8.75 % error, 0.27 M"),
    "resnet32":  Variant(_cifar(5),  **_SMALL, params=464_154,   macs=68_862_592,  source=f"{_T6}7.51 % error, 0.46 M"),
    "resnet44":  Variant(_cifar(7),  **_SMALL, params=658_586,   macs=97_174_144,  source=f"{_T6}7.17 % error, 0.66 M"),
    "resnet56":  Variant(_cifar(9),  **_SMALL, params=853_018,   macs=125_485_696, source=f"{_T6}6.97 % error, 0.85 M"),
    "resnet110": Variant(_cifar(18), **_SMALL, params=1_727_962, macs=252_887_680, source=f"{_T6}6.43 % error, 1.7 M"),
    "resnet20_projection": Variant(
        _cifar(3, shortcut=None), **_SMALL, params=272_474, macs=40_813_184,
        source=f"{_HE}, section 3.3: option B in the network of Table 6"),
    "resnet164_preact": Variant(
        _cifar(18, unit=preact_bottleneck, shortcut=None, widths=(64, 128, 256), stem=kb.stem.bare, final_norm=True),
        **_SMALL, params=1_703_258, macs=247_646_720,
        source="He et al. 2016, arXiv 1603.05027, Table 4: 5.46 % error, 1.7 M"),

    "resnet18": Variant(
        _imagenet(basic,  (2, 2, 2, 2),  _NARROW), **_LARGE, params=11_689_512, macs=1_814_073_344,
        source=f"{_T1}1.8 GFLOPs"),
    "resnet34": Variant(
        _imagenet(basic,  (3, 4, 6, 3),  _NARROW), **_LARGE, params=21_797_672, macs=3_663_761_408,
        source=f"{_T1}3.6 GFLOPs"),
    "resnet50": Variant(
        _imagenet(_PAPER, (3, 4, 6, 3),  _WIDE, STYLE_KERAS), **_LARGE, params=25_557_032, macs=3_857_973_248,
        source=f"{_T1}3.8 GFLOPs", keras=keras.applications.ResNet50, preprocessing="caffe"),
    "resnet101": Variant(
        _imagenet(_PAPER, (3, 4, 23, 3), _WIDE, STYLE_KERAS), **_LARGE, params=44_549_160, macs=7_570_194_432,
        source=f"{_T1}7.6 GFLOPs", keras=keras.applications.ResNet101, preprocessing="caffe"),
    "resnet152": Variant(
        _imagenet(_PAPER, (3, 8, 36, 3), _WIDE, STYLE_KERAS), **_LARGE, params=60_192_808, macs=11_282_415_616,
        source=f"{_T1}11.3 GFLOPs", keras=keras.applications.ResNet152, preprocessing="caffe"),
    "resnet50_v1_5": Variant(
        _imagenet(bottleneck, (3, 4, 6, 3), _WIDE), **_LARGE, params=25_557_032, macs=4_089_184_256,
        source=f"{_HE}, Table 1, with the stride in the 3×3 convolution as in torchvision"),

    "resnet50_v2": Variant(
        _v2(3, 4, 6, 3),  **_LARGE, params=25_568_360, macs=3_482_255_360,
        source=f"{_V2}; 25.6 M in keras.applications", departures=_LAST,
        keras=keras.applications.ResNet50V2, preprocessing="tf"),
    "resnet101_v2": Variant(
        _v2(3, 4, 23, 3), **_LARGE, params=44_577_896, macs=7_194_476_544,
        source=f"{_V2}; 44.7 M in keras.applications", departures=_LAST,
        keras=keras.applications.ResNet101V2, preprocessing="tf"),
    "resnet152_v2": Variant(
        _v2(3, 8, 36, 3), **_LARGE, params=60_236_904, macs=10_906_697_728,
        source=f"{_V2}; 60.4 M in keras.applications", departures=_LAST,
        keras=keras.applications.ResNet152V2, preprocessing="tf"),

    "resnet_tiny": Variant(
        ResNet(unit=basic, depths=(1, 1), widths=(4, 8), shortcut=padded, stem=kb.stem.cifar, stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=1_406, macs=156_752, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: ResNet, *, name: str | None = None) -> KerasTensor:
    """The last stage's features.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.widths[-1])`, rounded up, with `s` the output stride, or without one the
        stem's stride times 2 for each stage after the first.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, `depths` and `widths` differ in length, or the
            output stride is not one that the network passes.
    """
    check_depths(spec.depths, spec.widths)
    part = scope(name, "resnet")
    unit = spec.unit if spec.shortcut is None else partial(spec.unit, shortcut=spec.shortcut)
    halvings = _strides(spec)
    stages = zip(halvings, spec.widths, drop_path_schedule(spec.drop_path, spec.depths), strict=True)
    dilations = iter(replace_strides(spec, list(chain.from_iterable(halvings)), x, spec.stem_filters))
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    for i, (strides, width, rates) in enumerate(stages, 1):
        # resnet20: 32 × 32 × 16, 16 × 16 × 32, 8 × 8 × 64; resnet50: 56 × 56 × 256, …, 7 × 7 × 2048
        for j, (stride, rate) in enumerate(zip(strides, rates, strict=True), 1):
            if (dilation := next(dilations)) > 1:
                unit = partial(unit, dilation=dilation)
            x = unit(x, width, stride=stride, drop_path=rate, style=spec.style, name=part(f"stage{i}_unit{j}"))
    if spec.final_norm:
        x = activate(normalize(x, style=spec.style, name=part("norm")), style=spec.style, name=part("act"))
    return x


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """The layer of keras.applications' network for each of ours."""
    found = {"stem_conv": "conv1_conv", "stem_conv_norm": "conv1_bn", "norm": "post_bn", "logits": "predictions"}
    for name in names:
        match = re.fullmatch(r"stage(\d)_unit(\d+)_(?:(conv\d|shortcut)(_norm)?|norm)", name)
        if match:
            stage, unit, conv, norm = match.groups()
            number = "0" if conv == "shortcut" else conv and conv[-1]
            part = f"{number}_{'bn' if norm else 'conv'}" if conv else "preact_bn"
            found[name] = f"conv{int(stage) + 1}_block{unit}_{part}"
    return found


def build(spec: ResNet, inputs: Sequence[KerasTensor], classes: int, pooling: str | None) -> KerasTensor:
    """Backbone and head."""
    return classify(backbone(inputs[0], spec, name=""), classes, pooling, style=spec.style, dropout=spec.dropout)


def _strides(spec: ResNet) -> list[list[int]]:
    """Each unit's stride, stage by stage."""
    strides = [[1] * depth for depth in spec.depths]
    for before, after in pairwise(strides):
        if spec.stride_last:
            before[-1] = 2
        else:
            after[0] = 2
    return strides
