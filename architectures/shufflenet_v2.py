"""ShuffleNetV2: a stem, three stages of units that convolve half of the channels, a 1×1 convolution and an average."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths
from kblocks import Style
from kblocks.contracts import Stem
from kblocks.mobile import shuffle_v2
from kblocks.naming import scope
from kblocks.style import activate

STYLE = replace(kb.RELU_BN, padding="symmetric")


@dataclass(frozen=True, kw_only=True)
class ShuffleNetV2:
    """Configuration.

    Attributes:
        widths: output channels of each stage.
        depths: number of units of each stage; the first of each has a stride of 2.
        head_filters: output channels of the last convolution.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...] = (4, 8, 4)
    head_filters: int = 1024
    stem: Stem = partial(kb.stem.imagenet, kernel_size=3)
    stem_filters: int = 24
    dropout: float = 0.0
    style: Style = STYLE


_050 = ShuffleNetV2(widths=(48, 96, 192))
_100 = ShuffleNetV2(widths=(116, 232, 464))
_150 = ShuffleNetV2(widths=(176, 352, 704))
_200 = ShuffleNetV2(widths=(244, 488, 976), head_filters=2048)

_T5 = "Ma et al. 2018, arXiv 1807.11164, Tables 5 and 8: "
_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)


def _cifar(spec: ShuffleNetV2, params: int, macs: int, figures: str) -> Variant:
    return Variant(
        replace(spec, stem=kb.stem.cifar),
        input_shape=(32, 32, 3), classes=10, params=params, macs=macs,
        source=f"Ma et al. 2018, arXiv 1807.11164, Table 5, for 32×32 images: a 3×3 convolution for a stem; {figures}",
        departures="the stem",
    )  # fmt: skip


VARIANTS = {
    "shufflenet_v2_050": _imagenet(
        _050, params=1_366_792, macs=40_476_448,  source=f"{_T5}41 MFLOPs, 1.4 M"),
    "shufflenet_v2_100": _imagenet(
        _100, params=2_278_604, macs=144_907_992, source=f"{_T5}146 MFLOPs, 2.3 M"),
    "shufflenet_v2_150": _imagenet(
        _150, params=3_503_624, macs=295_759_392, source=f"{_T5}299 MFLOPs, 3.5 M"),
    "shufflenet_v2_200": _imagenet(
        _200, params=7_393_996, macs=583_253_464, source=f"{_T5}591 MFLOPs, 7.4 M"),
    "shufflenet_v2_050_cifar": _cifar(_050, params=352_042,   macs=10_902_016, figures="0.35 M elsewhere"),
    "shufflenet_v2_100_cifar": _cifar(_100, params=1_263_854, macs=45_002_112, figures="1.26 M elsewhere"),
    "shufflenet_v2_150_cifar": _cifar(_150, params=2_488_874, macs=94_259_712, figures="2.49 M elsewhere"),
    "shufflenet_v2_200_cifar": _cifar(_200, params=5_365_486, macs=187_811_200, figures="5.37 M elsewhere"),
    "shufflenet_v2_tiny": Variant(
        ShuffleNetV2(widths=(8, 12), depths=(2, 1), head_filters=16, stem=kb.stem.cifar, stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=1_084, macs=52_416, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: ShuffleNetV2, *, name: str | None = None) -> KerasTensor:
    """The features of the last convolution.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.head_filters)`, rounded up; `s` is the stride of the stem times 2 for each
        stage.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, `depths` and `widths` differ in length, or a width
            is odd.
    """
    check_depths(spec.depths, spec.widths)
    part = scope(name, "shufflenet_v2")
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))  # 56 × 56 × 24
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        # 28 × 28 × 116, 14 × 14 × 232, 7 × 7 × 464
        x = kb.compose.stage(x, shuffle_v2, width, depth, stride=2, style=spec.style, name=part(f"stage{i}"))
    x = kb.conv.conv_norm(x, spec.head_filters, 1, style=spec.style, name=part("head_conv"))  # 7 × 7 × 1024
    return activate(x, style=spec.style, name=part("head_out"))


FAMILY = Family("shufflenet_v2", VARIANTS, backbone, downsampling="stem")
