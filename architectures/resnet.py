"""ResNet: a stem, stages of residual units, a stride of 2 between two stages, and a global average pooling."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.dilation import replace_strides
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths
from kblocks import Style, check
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Shortcut, Stem, Unit
from kblocks.naming import scope
from kblocks.residual import basic, bottleneck, linear_projection, padded, preact_bottleneck
from kblocks.style import activate, batch_norm, normalize

STYLE = replace(kb.RELU_BN, padding="symmetric")
STYLE_KERAS = replace(STYLE, norm=partial(batch_norm, momentum=0.99, epsilon=1.001e-5))


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """Configuration.

    Attributes:
        unit: the residual unit.
        depths: number of units of each stage; between two stages the stride is 2.
        widths: output channels of each stage.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        shortcut: passed to the unit as `shortcut=` if it has this argument; `None` for the unit's default.
        stride_last: whether the last unit of a stage has the stride of 2, not the first unit of the next stage.
        output_stride: total stride of the network; further strides are replaced by dilations, which the unit must have
            as an argument; `None` to replace none. The weights stay valid.
        final_norm: whether a normalisation and an activation follow the last stage, as pre-activation units need it.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        dropout: dropout rate before the logits.
        style: style of all layers.
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


_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)

_NARROW, _WIDE = (64, 128, 256, 512), (256, 512, 1024, 2048)
_thin = partial(ResNet, unit=basic, shortcut=padded, widths=(16, 32, 64), stem=kb.stem.cifar, stem_filters=16)
_basic = partial(ResNet, unit=basic, widths=_NARROW, stem=kb.stem.imagenet, stem_filters=64)
_bottleneck = partial(ResNet, unit=bottleneck, widths=_WIDE, stem=kb.stem.imagenet, stem_filters=64)
_keras = partial(_bottleneck, unit=partial(bottleneck, stride_first=True), style=STYLE_KERAS)
_v2 = partial(
    ResNet,
    unit=partial(preact_bottleneck, use_bias=True),
    shortcut=partial(linear_projection, use_bias=True),
    widths=_WIDE,
    stem=kb.stem.preact,
    stem_filters=64,
    stride_last=True,
    final_norm=True,
    style=STYLE_KERAS,
)

_HE = "He et al. 2015, arXiv 1512.03385"
_T6 = f"{_HE}, Table 6: "
_T1 = f"{_HE}, Table 1: "
_V2 = "He et al. 2016, arXiv 1603.05027, Figure 1 (b), in the networks of arXiv 1512.03385, Table 1"
_LAST = "the last unit of a stage has the stride, not the first of the next; a bias where no normalisation follows"

VARIANTS = {
    "resnet20": _cifar(
        _thin(depths=(3, 3, 3)),    params=269_722,   macs=40_551_040,  source=f"{_T6}8.75 % error, 0.27 M"),
    "resnet32": _cifar(
        _thin(depths=(5, 5, 5)),    params=464_154,   macs=68_862_592,  source=f"{_T6}7.51 % error, 0.46 M"),
    "resnet44": _cifar(
        _thin(depths=(7, 7, 7)),    params=658_586,   macs=97_174_144,  source=f"{_T6}7.17 % error, 0.66 M"),
    "resnet56": _cifar(
        _thin(depths=(9, 9, 9)),    params=853_018,   macs=125_485_696, source=f"{_T6}6.97 % error, 0.85 M"),
    "resnet110": _cifar(
        _thin(depths=(18, 18, 18)), params=1_727_962, macs=252_887_680, source=f"{_T6}6.43 % error, 1.7 M"),
    "resnet20_projection": _cifar(
        _thin(depths=(3, 3, 3), shortcut=None), params=272_474, macs=40_813_184,
        source=f"{_HE}, section 3.3: option B in the network of Table 6"),
    "resnet164_preact": _cifar(
        ResNet(unit=preact_bottleneck, depths=(18, 18, 18), widths=(64, 128, 256), stem=kb.stem.bare, stem_filters=16,
               final_norm=True),
        params=1_703_258, macs=247_646_720,
        source="He et al. 2016, arXiv 1603.05027, Table 4: 5.46 % error, 1.7 M"),

    "resnet18": _imagenet(
        _basic(depths=(2, 2, 2, 2)), params=11_689_512, macs=1_814_073_344,
        source=f"{_T1}1.8 GFLOPs"),
    "resnet34": _imagenet(
        _basic(depths=(3, 4, 6, 3)), params=21_797_672, macs=3_663_761_408,
        source=f"{_T1}3.6 GFLOPs"),
    "resnet50": _imagenet(
        _keras(depths=(3, 4, 6, 3)), params=25_557_032, macs=3_857_973_248,
        source=f"{_T1}3.8 GFLOPs", keras=keras.applications.ResNet50, preprocessing="caffe"),
    "resnet101": _imagenet(
        _keras(depths=(3, 4, 23, 3)), params=44_549_160, macs=7_570_194_432,
        source=f"{_T1}7.6 GFLOPs", keras=keras.applications.ResNet101, preprocessing="caffe"),
    "resnet152": _imagenet(
        _keras(depths=(3, 8, 36, 3)), params=60_192_808, macs=11_282_415_616,
        source=f"{_T1}11.3 GFLOPs", keras=keras.applications.ResNet152, preprocessing="caffe"),
    "resnet50_v1_5": _imagenet(
        _bottleneck(depths=(3, 4, 6, 3)), params=25_557_032, macs=4_089_184_256,
        source=f"{_HE}, Table 1, with the stride in the 3×3 convolution as in torchvision"),

    "resnet50_v2": _imagenet(
        _v2(depths=(3, 4, 6, 3)), params=25_568_360, macs=3_482_255_360,
        source=f"{_V2}; 25.6 M in keras.applications", departures=_LAST,
        keras=keras.applications.ResNet50V2, preprocessing="tf"),
    "resnet101_v2": _imagenet(
        _v2(depths=(3, 4, 23, 3)), params=44_577_896, macs=7_194_476_544,
        source=f"{_V2}; 44.7 M in keras.applications", departures=_LAST,
        keras=keras.applications.ResNet101V2, preprocessing="tf"),
    "resnet152_v2": _imagenet(
        _v2(depths=(3, 8, 36, 3)), params=60_236_904, macs=10_906_697_728,
        source=f"{_V2}; 60.4 M in keras.applications", departures=_LAST,
        keras=keras.applications.ResNet152V2, preprocessing="tf"),

    "resnet_tiny": Variant(
        ResNet(unit=basic, depths=(1, 1), widths=(4, 8), shortcut=padded, stem=kb.stem.cifar, stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=1_406, macs=156_752, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: ResNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.widths[-1])`, rounded up; `s` is the output stride, or without one the
        stride of the stem times 2 for each stage after the first.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, `depths` and `widths` differ in length, or the
            output stride is not one of the network's.
        TypeError: the unit takes no `dilation=` where a stride is replaced.
    """
    check_depths(spec.depths, spec.widths)
    part = scope(name, "resnet")
    unit: Callable[..., KerasTensor] = spec.unit
    if spec.shortcut is not None and check.takes(unit, "shortcut"):
        unit = partial(unit, shortcut=spec.shortcut)
    strides = _strides(spec)
    dilations = iter(replace_strides(spec, list(chain.from_iterable(strides)), x, spec.stem_filters))
    rates = drop_path_schedule(spec.drop_path, spec.depths)
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    for i, width in enumerate(spec.widths, 1):
        # resnet20: 32 × 32 × 16, 16 × 16 × 32, 8 × 8 × 64; resnet50: 56 × 56 × 256, …, 7 × 7 × 2048
        for j, (stride, rate) in enumerate(zip(strides[i - 1], rates[i - 1], strict=True), 1):
            if (dilation := next(dilations)) > 1:
                if not check.takes(unit, "dilation"):
                    raise TypeError(f"`unit` must take `dilation=` for an `output_stride`; got {spec.unit!r}")
                unit = partial(unit, dilation=dilation)
            x = unit(x, width, stride=stride, drop_path=rate, style=spec.style, name=part(f"stage{i}_unit{j}"))
    if spec.final_norm:
        x = activate(normalize(x, style=spec.style, name=part("norm")), style=spec.style, name=part("act"))
    return x


def _strides(spec: ResNet) -> list[list[int]]:
    """Each unit's stride, stage by stage."""
    strides = [[1] * depth for depth in spec.depths]
    for before, after in pairwise(strides):
        if spec.stride_last:
            before[-1] = 2
        else:
            after[0] = 2
    return strides


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    found = {"stem_conv": "conv1_conv", "stem_conv_norm": "conv1_bn", "norm": "post_bn", "logits": "predictions"}
    for name in names:
        match = re.fullmatch(r"stage(\d)_unit(\d+)_(?:(conv\d|shortcut)(_norm)?|norm)", name)
        if match:
            stage, unit, conv, norm = match.groups()
            number = "0" if conv == "shortcut" else conv and conv[-1]
            part = f"{number}_{'bn' if norm else 'conv'}" if conv else "preact_bn"
            found[name] = f"conv{int(stage) + 1}_block{unit}_{part}"
    return found


def torch_names(names: Sequence[str], source: str) -> dict[str, str]:
    """For each of our layers its counterpart in torchvision and timm, which have the same names."""
    found = {"stem_conv": "conv1", "stem_conv_norm": "bn1", "logits": "fc"}
    for name in names:
        if match := re.fullmatch(r"stage(\d)_unit(\d+)_(?:conv(\d)|shortcut)(_norm)?", name):
            stage, unit, conv, norm = match.groups()
            part = f"{'bn' if norm else 'conv'}{conv}" if conv else f"downsample.{1 if norm else 0}"
            found[name] = f"layer{stage}.{int(unit) - 1}.{part}"
    return found


FAMILY = Family("resnet", VARIANTS, backbone, keras_names=keras_names, torch_names=torch_names, downsampling="stem")
