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
from kblocks.attention import cbam, eca, gather_excite, squeeze_excite
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Attention, Shortcut, Stem, Unit
from kblocks.naming import scope
from kblocks.residual import (
    basic,
    bottleneck,
    linear_projection,
    padded,
    pooled_projection,
    preact_basic,
    preact_bottleneck,
    shake_shake,
)
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

# Networks of three stages for 32×32 images.
_THIN, _DEEP = (16, 32, 64), (64, 128, 256)
_before = partial(ResNet, stem=kb.stem.bare, stem_filters=16, final_norm=True)  # with pre-activation
_after = partial(ResNet, stem=kb.stem.cifar, stem_filters=16)
_thin = partial(_after, unit=basic, shortcut=padded, widths=_THIN)
_thin_se = partial(_thin, unit=partial(basic, attention=squeeze_excite))
_deep = partial(_after, unit=bottleneck, widths=_DEEP)
_thin_preact = partial(_before, unit=preact_basic, widths=_THIN)
_thin_se_preact = partial(_thin_preact, unit=partial(preact_basic, attention=squeeze_excite))
_deep_preact = partial(_before, unit=preact_bottleneck, widths=_DEEP)


def _wrn(depth: int, factor: int, dropout: float = 0.0) -> ResNet:
    """A wide ResNet; the dropout is that between the convolutions of a unit."""
    widths = (16 * factor, 32 * factor, 64 * factor)
    return _before(unit=partial(preact_basic, dropout=dropout), depths=((depth - 4) // 6,) * 3, widths=widths)


def _resnext(depth: int, groups: int, width: int, attention: Attention | None = None) -> ResNet:
    """A ResNeXt, whose groups have `width` channels each in the first stage."""
    unit = partial(bottleneck, groups=groups, ratio=groups * width / 256, attention=attention)
    return _after(unit=unit, depths=((depth - 2) // 9,) * 3, widths=(256, 512, 1024), stem_filters=64)


def _shake(width: int) -> ResNet:
    return _after(unit=shake_shake, depths=(4, 4, 4), widths=(width, 2 * width, 4 * width))


# Networks of four stages.
_NARROW, _WIDE = (64, 128, 256, 512), (256, 512, 1024, 2048)
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
_basic_cifar, _bottleneck_cifar = partial(_basic, stem=kb.stem.cifar), partial(_bottleneck, stem=kb.stem.cifar)
_basic_preact = partial(_before, unit=preact_basic, widths=_NARROW, stem_filters=64)
_bottleneck_preact = partial(_before, unit=preact_bottleneck, widths=_WIDE, stem_filters=64)
_ge = partial(gather_excite, depthwise=True, ratio=1 / 16)

_HE = "He et al. 2015, arXiv 1512.03385"
_T6 = f"{_HE}, Table 6"
_T1 = f"{_HE}, Table 1: "
_P3 = "He et al. 2016, arXiv 1603.05027, Table 3"
_P = "the units of He et al. 2016, arXiv 1603.05027, Figure 1 (b), in the network of arXiv 1512.03385, "
_V2 = "He et al. 2016, arXiv 1603.05027, Figure 1 (b), in the networks of arXiv 1512.03385, Table 1"
_SMALL = "with the stem of Table 6, for 32×32 images"
_WRN = "Zagoruyko and Komodakis 2016, arXiv 1605.07146"
_XT = "Xie et al. 2016, arXiv 1611.05431"
_XT7 = f"{_XT}, Table 7"
_XT_AS = f"{_XT}, section 5.2, with the depth and widths of pytorchcv's"
_SE = "Hu et al. 2017, arXiv 1709.01507"
_SE6 = f"{_SE}, Figure 3, in the network of arXiv 1512.03385, Table 6"
_IN7 = "in the network of arXiv 1611.05431, Table 7"
_SD = "Huang et al. 2016, arXiv 1603.09382, Table 1, linear decay to 0.5"
_BAG = "He et al. 2018, arXiv 1812.01187, Table 5"
_SS = "Gastaldi 2017, arXiv 1705.07485, Table 1, Shake-Shake-Image"
_LAST = "the last unit of a stage has the stride, not the first of the next; a bias where no normalisation follows"
_RAW = "the shortcut of the first unit starts before its normalisation, not after its activation"
_STRIDED = "the 3×3 convolutions have the strides, as in timm"
_RISES = "the first rate is 0, the paper's 0.5 / 54"
_POST = "an activation follows each addition, as in pytorchcv, where the paper has one at the start of each branch"

_CIFAR = {
    "resnet20": _cifar(
        _thin(depths=(3, 3, 3)), params=269_722, macs=40_551_040, source=f"{_T6}: 0.27 M", errors={"cifar10": 8.75}),
    "resnet32": _cifar(
        _thin(depths=(5, 5, 5)), params=464_154, macs=68_862_592, source=f"{_T6}: 0.46 M", errors={"cifar10": 7.51}),
    "resnet44": _cifar(
        _thin(depths=(7, 7, 7)), params=658_586, macs=97_174_144, source=f"{_T6}: 0.66 M", errors={"cifar10": 7.17}),
    "resnet56": _cifar(
        _thin(depths=(9, 9, 9)), params=853_018, macs=125_485_696, source=f"{_T6}: 0.85 M", errors={"cifar10": 6.97}),
    "resnet110": _cifar(
        _thin(depths=(18, 18, 18)), params=1_727_962, macs=252_887_680,
        source=f"{_T6}: 1.7 M", errors={"cifar10": 6.43}),
    "resnet20_projection": _cifar(
        _thin(depths=(3, 3, 3), shortcut=None), params=272_474, macs=40_813_184,
        source=f"{_HE}, section 3.3: option B in the network of Table 6"),
    "resnet110_stochastic_depth": _cifar(
        _thin(depths=(18, 18, 18), drop_path=0.5), params=1_727_962, macs=252_887_680,
        source=_SD, errors={"cifar10": 5.23, "cifar100": 24.58}, departures=_RISES),
    "resnet164": _cifar(
        _deep(depths=(18, 18, 18)), params=1_704_154, macs=247_646_720,
        source=_P3, errors={"cifar10": 5.93, "cifar100": 25.16}),
    "resnet1001": _cifar(
        _deep(depths=(111, 111, 111)), params=10_328_602, macs=1_490_995_712,
        source=_P3, errors={"cifar10": 7.61, "cifar100": 27.82}),

    "resnet20_preact": _cifar(
        _thin_preact(depths=(3, 3, 3)), params=272_282, macs=40_813_184, source=f"{_P}Table 6", departures=_RAW),
    "resnet56_preact": _cifar(
        _thin_preact(depths=(9, 9, 9)), params=855_578, macs=125_747_840, source=f"{_P}Table 6", departures=_RAW),
    "resnet110_preact": _cifar(
        _thin_preact(depths=(18, 18, 18)), params=1_730_522, macs=253_149_824,
        source=_P3, errors={"cifar10": 6.37}, departures=_RAW),
    "resnet164_preact": _cifar(
        _deep_preact(depths=(18, 18, 18)), params=1_703_258, macs=247_646_720,
        source=f"{_P3}: 1.7 M", errors={"cifar10": 5.46, "cifar100": 24.33}),
    "resnet1001_preact": _cifar(
        _deep_preact(depths=(111, 111, 111)), params=10_327_706, macs=1_490_995_712,
        source=f"{_P3}: 10.2 M", errors={"cifar10": 4.92, "cifar100": 22.71}),

    "wrn16_8": _cifar(
        _wrn(16, 8), params=10_961_370, macs=1_548_145_664,
        source=f"{_WRN}, Table 5: 11.0 M", errors={"cifar10": 4.27, "cifar100": 20.43}),
    "wrn16_10": _cifar(
        _wrn(16, 10), params=17_116_634, macs=2_412_173_568,
        source=f"{_WRN}, Table 4: 17.1 M, ZCA whitening", errors={"cifar10": 4.56, "cifar100": 21.59}),
    "wrn28_8": _cifar(
        _wrn(28, 8), params=23_354_842, macs=3_360_084_992, source=f"{_WRN}, section 3.1"),
    "wrn28_10": _cifar(
        _wrn(28, 10), params=36_479_194, macs=5_243_328_768,
        source=f"{_WRN}, Table 5: 36.5 M", errors={"cifar10": 4.00, "cifar100": 19.25}),
    "wrn28_10_dropout": _cifar(
        _wrn(28, 10, dropout=0.3), params=36_479_194, macs=5_243_328_768,
        source=f"{_WRN}, Table 6", errors={"cifar10": 3.89, "cifar100": 18.85}),
    "wrn40_4": _cifar(
        _wrn(40, 4), params=8_949_210, macs=1_298_582_016,
        source=f"{_WRN}, Table 5: 8.9 M", errors={"cifar10": 4.53, "cifar100": 21.18}),
    "wrn40_8": _cifar(
        _wrn(40, 8), params=35_748_314, macs=5_172_024_320,
        source=f"{_WRN}, Table 4: 35.7 M, ZCA whitening", errors={"cifar10": 4.66}),
    "wrn40_10": _cifar(
        _wrn(40, 10), params=55_841_754, macs=8_074_483_968, source=f"{_WRN}, section 3.1"),

    "resnext20_1x64d": _cifar(
        _resnext(20, 1, 64), params=3_446_602, macs=534_456_320, source=_XT_AS),
    "resnext20_2x32d": _cifar(
        _resnext(20, 2, 32), params=2_672_458, macs=421_210_112, source=_XT_AS),
    "resnext20_4x16d": _cifar(
        _resnext(20, 4, 16), params=2_285_386, macs=364_587_008, source=_XT_AS),
    "resnext20_8x8d": _cifar(
        _resnext(20, 8, 8), params=2_091_850, macs=336_275_456, source=_XT_AS),
    "resnext20_16x4d": _cifar(
        _resnext(20, 16, 4), params=1_995_082, macs=322_119_680, source=_XT_AS),
    "resnext20_32x2d": _cifar(
        _resnext(20, 32, 2), params=1_946_698, macs=315_041_792, source=_XT_AS),
    "resnext20_64x1d": _cifar(
        _resnext(20, 64, 1), params=1_922_506, macs=311_502_848, source=_XT_AS),
    "resnext20_2x64d": _cifar(
        _resnext(20, 2, 64), params=6_198_602, macs=983_246_848, source=_XT_AS),
    "resnext20_4x32d": _cifar(
        _resnext(20, 4, 32), params=4_650_314, macs=756_754_432, source=_XT_AS),
    "resnext20_8x16d": _cifar(
        _resnext(20, 8, 16), params=3_876_170, macs=643_508_224, source=_XT_AS),
    "resnext20_16x8d": _cifar(
        _resnext(20, 16, 8), params=3_489_098, macs=586_885_120, source=_XT_AS),
    "resnext20_32x4d": _cifar(
        _resnext(20, 32, 4), params=3_295_562, macs=558_573_568, source=_XT_AS),
    "resnext20_64x2d": _cifar(
        _resnext(20, 64, 2), params=3_198_794, macs=544_417_792, source=_XT_AS),
    "resnext29_32x4d": _cifar(
        _resnext(29, 32, 4), params=4_775_754, macs=774_055_936, source=_XT_AS),
    "resnext29_2x64d": _cifar(
        _resnext(29, 2, 64), params=9_130_314, macs=1_411_065_856, source=f"{_XT}, section 5.2"),
    "resnext29_4x64d": _cifar(
        _resnext(29, 4, 64), params=17_562_442, macs=2_736_465_920, source=f"{_XT}, section 5.2"),
    "resnext29_8x64d": _cifar(
        _resnext(29, 8, 64), params=34_426_698, macs=5_387_266_048,
        source=f"{_XT7}: 34.4 M", errors={"cifar10": 3.65, "cifar100": 17.77}),
    "resnext29_16x64d": _cifar(
        _resnext(29, 16, 64), params=68_155_210, macs=10_688_866_304,
        source=f"{_XT7}: 68.1 M", errors={"cifar10": 3.58, "cifar100": 17.31}),
    "resnext56_1x64d": _cifar(
        _resnext(56, 1, 64), params=9_317_194, macs=1_390_094_336, source=_XT_AS),
    "resnext56_2x32d": _cifar(
        _resnext(56, 2, 32), params=6_994_762, macs=1_050_355_712, source=_XT_AS),
    "resnext56_4x16d": _cifar(
        _resnext(56, 4, 16), params=5_833_546, macs=880_486_400, source=_XT_AS),
    "resnext56_8x8d": _cifar(
        _resnext(56, 8, 8), params=5_252_938, macs=795_551_744, source=_XT_AS),
    "resnext56_16x4d": _cifar(
        _resnext(56, 16, 4), params=4_962_634, macs=753_084_416, source=_XT_AS),
    "resnext56_32x2d": _cifar(
        _resnext(56, 32, 2), params=4_817_482, macs=731_850_752, source=_XT_AS),
    "resnext56_64x1d": _cifar(
        _resnext(56, 64, 1), params=4_744_906, macs=721_233_920, source=_XT_AS),

    "se_resnet20": _cifar(
        _thin_se(depths=(3, 3, 3)), params=272_095, macs=40_553_056, source=_SE6),
    "se_resnet56": _cifar(
        _thin_se(depths=(9, 9, 9)), params=860_137, macs=125_491_744, source=_SE6),
    "se_resnet110": _cifar(
        _thin_se(depths=(18, 18, 18)), params=1_742_200, macs=252_899_776, source=_SE6),
    "se_resnet164": _cifar(
        _deep(unit=partial(bottleneck, attention=squeeze_excite), depths=(18, 18, 18)),
        params=1_906_258, macs=247_840_256, source=f"{_SE}, Figure 3, in the original network of {_P3}"),
    "se_resnet20_preact": _cifar(
        _thin_se_preact(depths=(3, 3, 3)), params=274_655, macs=40_815_200,
        source=f"{_SE}, Figure 3, in the networks of pytorchcv", departures=_RAW),
    "se_resnet56_preact": _cifar(
        _thin_se_preact(depths=(9, 9, 9)), params=862_697, macs=125_753_888,
        source=f"{_SE}, Figure 3, in the networks of pytorchcv", departures=_RAW),
    "se_resnet110_preact": _cifar(
        _thin_se_preact(depths=(18, 18, 18)), params=1_744_760, macs=253_161_920,
        source=f"{_SE}, Tables 4 and 5", errors={"cifar10": 5.21, "cifar100": 23.85}, departures=_RAW),
    "se_resnet164_preact": _cifar(
        _deep_preact(unit=partial(preact_bottleneck, attention=squeeze_excite), depths=(18, 18, 18)),
        params=1_905_362, macs=247_840_256,
        source=f"{_SE}, Tables 4 and 5", errors={"cifar10": 4.39, "cifar100": 21.31}),
    "se_resnext29_8x64d": _cifar(
        _resnext(29, 8, 64, squeeze_excite), params=34_948_506, macs=5_387_782_144, source=f"{_SE}, Figure 3, {_IN7}"),
    "se_resnext29_16x64d": _cifar(
        _resnext(29, 16, 64, squeeze_excite), params=68_677_018, macs=10_689_382_400,
        source=f"{_SE}, Figure 3, {_IN7}"),
    "cbam_resnext29_8x64d": _cifar(
        _resnext(29, 8, 64, cbam), params=34_949_406, macs=5_388_693_376,
        source=f"Woo et al. 2018, arXiv 1807.06521, Figure 3, {_IN7}"),
    "cbam_resnext29_16x64d": _cifar(
        _resnext(29, 16, 64, cbam), params=68_677_918, macs=10_690_293_632,
        source=f"Woo et al. 2018, arXiv 1807.06521, Figure 3, {_IN7}"),
    "eca_resnext29_8x64d": _cifar(
        _resnext(29, 8, 64, eca), params=34_426_743, macs=5_387_292_928,
        source=f"Wang et al. 2019, arXiv 1910.03151, {_IN7}"),
    "eca_resnext29_16x64d": _cifar(
        _resnext(29, 16, 64, eca), params=68_155_255, macs=10_688_893_184,
        source=f"Wang et al. 2019, arXiv 1910.03151, {_IN7}"),
    "ge_resnext29_8x64d": _cifar(
        _resnext(29, 8, 64, _ge), params=36_335_514, macs=5_389_158_400,
        source=f"Hu et al. 2018, arXiv 1810.12348, GE-θ⁺ of global extent, {_IN7}"),
    "ge_resnext29_16x64d": _cifar(
        _resnext(29, 16, 64, _ge), params=70_064_026, macs=10_690_758_656,
        source=f"Hu et al. 2018, arXiv 1810.12348, GE-θ⁺ of global extent, {_IN7}"),

    "shake_shake26_2x32d": _cifar(
        _shake(32), params=2_923_162, macs=426_689_792, source=_SS, errors={"cifar10": 3.55}, departures=_POST),
    "shake_shake26_2x64d": _cifar(
        _shake(64), params=11_653_978, macs=1_685_506_560, source=_SS, errors={"cifar10": 2.98}, departures=_POST),
    "shake_shake26_2x96d": _cifar(
        _shake(96), params=26_192_922, macs=3_776_892_672, source=_SS, errors={"cifar10": 2.86}, departures=_POST),
}  # fmt: skip

_FOUR_STAGES_CIFAR = {
    "resnet18_cifar": _cifar(
        _basic_cifar(depths=(2, 2, 2, 2)), params=11_173_962, macs=555_422_720, source=f"{_T1}{_SMALL}"),
    "resnet34_cifar": _cifar(
        _basic_cifar(depths=(3, 4, 6, 3)), params=21_282_122, macs=1_159_402_496, source=f"{_T1}{_SMALL}"),
    "resnet50_cifar": _cifar(
        _bottleneck_cifar(depths=(3, 4, 6, 3)), params=23_520_842, macs=1_297_829_888, source=f"{_T1}{_SMALL}"),
    "resnet101_cifar": _cifar(
        _bottleneck_cifar(depths=(3, 4, 23, 3)), params=42_512_970, macs=2_509_983_744, source=f"{_T1}{_SMALL}"),
    "resnet152_cifar": _cifar(
        _bottleneck_cifar(depths=(3, 8, 36, 3)), params=58_156_618, macs=3_722_137_600, source=f"{_T1}{_SMALL}"),
    "resnet18_preact_cifar": _cifar(
        _basic_preact(depths=(2, 2, 2, 2)), params=11_172_170, macs=555_422_720,
        source=f"{_P}Table 1, {_SMALL}", departures=_RAW),
    "resnet34_preact_cifar": _cifar(
        _basic_preact(depths=(3, 4, 6, 3)), params=21_280_330, macs=1_159_402_496,
        source=f"{_P}Table 1, {_SMALL}", departures=_RAW),
    "resnet50_preact_cifar": _cifar(
        _bottleneck_preact(depths=(3, 4, 6, 3)), params=23_513_162, macs=1_297_829_888,
        source=f"{_P}Table 1, {_SMALL}"),
    "resnet101_preact_cifar": _cifar(
        _bottleneck_preact(depths=(3, 4, 23, 3)), params=42_505_290, macs=2_509_983_744,
        source=f"{_P}Table 1, {_SMALL}"),
    "resnet152_preact_cifar": _cifar(
        _bottleneck_preact(depths=(3, 8, 36, 3)), params=58_148_938, macs=3_722_137_600,
        source=f"{_P}Table 1, {_SMALL}"),
}  # fmt: skip

_IMAGENET = {
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
    "resnet50_c": _imagenet(
        _bottleneck(depths=(3, 4, 6, 3), stem=kb.stem.deep), params=25_576_264, macs=4_328_824_832,
        source=f"{_BAG}: 25 M, 4.3 GFLOPs"),
    "resnet50_d": _imagenet(
        _bottleneck(depths=(3, 4, 6, 3), stem=kb.stem.deep, shortcut=pooled_projection),
        params=25_576_264, macs=4_328_824_832, source=f"{_BAG}: 25 M, 4.3 GFLOPs"),
    "resnext50_32x4d": _imagenet(
        _bottleneck(unit=partial(bottleneck, groups=32, ratio=1 / 2), depths=(3, 4, 6, 3)),
        params=25_028_904, macs=4_230_479_872, source=f"{_XT}, Table 1: 25.0 M"),
    "resnext101_32x4d": _imagenet(
        _bottleneck(unit=partial(bottleneck, groups=32, ratio=1 / 2), depths=(3, 4, 23, 3)),
        params=44_177_704, macs=7_969_996_800, source=f"{_XT}, Table 3"),
    "se_resnet50": _imagenet(
        _bottleneck(unit=partial(bottleneck, attention=squeeze_excite), depths=(3, 4, 6, 3)),
        params=28_088_024, macs=4_091_699_200, source=f"{_SE}, Table 2: 3.87 GFLOPs", departures=_STRIDED),

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
}  # fmt: skip

VARIANTS = {
    **_CIFAR,
    **_FOUR_STAGES_CIFAR,
    **_IMAGENET,
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
    found = {"stem_conv": "conv1", "stem_conv_norm": "bn1", "logits": "fc", "stem_conv3_norm": "bn1"}
    deep = ("stem_conv1", "stem_conv1_norm", "", "stem_conv2", "stem_conv2_norm", "", "stem_conv3")
    found |= {name: f"conv1.{i}" for i, name in enumerate(deep) if name}
    for name in names:
        if match := re.fullmatch(r"stage(\d)_unit(\d+)_(?:conv(\d)|shortcut(_conv)?)(_norm)?", name):
            stage, unit, conv, pooled, norm = match.groups()
            # Their pooling, or at a stride of 1 a layer that does nothing, precedes the convolution.
            part = f"{'bn' if norm else 'conv'}{conv}" if conv else f"downsample.{bool(pooled) + bool(norm)}"
            found[name] = f"layer{stage}.{int(unit) - 1}.{part}"
        elif match := re.fullmatch(r"stage(\d)_unit(\d+)_attention_(reduce|expand)", name):
            stage, unit, conv = match.groups()
            found[name] = f"layer{stage}.{int(unit) - 1}.se.fc{1 if conv == 'reduce' else 2}"
    return found


FAMILY = Family("resnet", VARIANTS, backbone, keras_names=keras_names, torch_names=torch_names, downsampling="stem")
