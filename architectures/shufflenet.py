"""ShuffleNet: a stem, three stages of units of grouped 1×1 convolutions and channel shuffles, a global average."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths
from kblocks import Style, check
from kblocks.contracts import Stem
from kblocks.mobile import shuffle_v1
from kblocks.naming import scope

STYLE = replace(kb.RELU_BN, padding="symmetric")


@dataclass(frozen=True, kw_only=True)
class ShuffleNet:
    """Configuration.

    Attributes:
        groups: number of groups of the 1×1 convolutions; the first of the network is not grouped.
        widths: output channels of each stage.
        depths: number of units of each stage; the first of each has a stride of 2.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        alpha: width multiplier; the products are rounded down.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    groups: int
    widths: tuple[int, ...]
    depths: tuple[int, ...] = (4, 8, 4)
    stem: Stem = partial(kb.stem.imagenet, kernel_size=3)
    stem_filters: int = 24
    alpha: float = 1.0
    dropout: float = 0.0
    style: Style = STYLE


_G1 = ShuffleNet(groups=1, widths=(144, 288, 576))
_G2 = ShuffleNet(groups=2, widths=(200, 400, 800))
_G3 = ShuffleNet(groups=3, widths=(240, 480, 960))
_G4 = ShuffleNet(groups=4, widths=(272, 544, 1088))
_G8 = ShuffleNet(groups=8, widths=(384, 768, 1536))

_PAPER = "Zhang et al. 2017, arXiv 1707.01083"
_SOURCE = f"{_PAPER}, Table 1: "
_T2 = f"{_PAPER}, Table 2: "
_SMALL = f"{_PAPER}, Table 1, for 32×32 images: a 3×3 convolution for a stem"
_STEM = "the stem"
_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)

VARIANTS = {
    "shufflenet_g1": _imagenet(
        _G1, params=1_531_936, macs=143_078_976, source=f"{_SOURCE}143 MFLOPs"),
    "shufflenet_g2": _imagenet(
        _G2, params=1_733_848, macs=140_836_512, source=f"{_SOURCE}140 MFLOPs"),
    "shufflenet_g3": _imagenet(
        _G3, params=1_865_728, macs=137_460_672, source=f"{_SOURCE}137 MFLOPs"),
    "shufflenet_g4": _imagenet(
        _G4, params=1_968_344, macs=134_339_776, source=f"{_SOURCE}133 MFLOPs"),
    "shufflenet_g8": _imagenet(
        _G8, params=2_434_768, macs=138_365_952, source=f"{_SOURCE}137 MFLOPs"),
    "shufflenet_g3_050": _imagenet(
        replace(_G3, alpha=0.5), params=718_324, macs=37_589_856, source=f"{_T2}38 MFLOPs"),
    "shufflenet_g3_025": _imagenet(
        replace(_G3, alpha=0.25), params=305_902, macs=11_009_808, source=f"{_T2}13 MFLOPs"),
    "shufflenet_g2_cifar": _cifar(
        replace(_G2, stem=kb.stem.cifar), params=940_858, macs=43_743_552, source=f"{_SMALL}",
        departures=_STEM),
    "shufflenet_g3_cifar": _cifar(
        replace(_G3, stem=kb.stem.cifar), params=914_338, macs=42_590_592, source=f"{_SMALL}",
        departures=_STEM),
    "shufflenet_tiny": Variant(
        ShuffleNet(groups=2, widths=(16, 32), depths=(2, 1), stem=kb.stem.cifar, stem_filters=8),
        input_shape=(16, 16, 3), classes=10, params=1_090, macs=79_808, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: ShuffleNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, alpha · width)`, rounded up, with the width of the last stage; `s` is the stride
        of the stem times 2 for each stage.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, `depths` and `widths` differ in length, `alpha` is
            not a positive number, or `groups` does not divide the channels of a convolution.
    """
    check_depths(spec.depths, spec.widths)
    check.positive_number(spec.alpha, "alpha")
    part = scope(name, "shufflenet")
    x = spec.stem(x, int(spec.alpha * spec.stem_filters), style=spec.style, name=part("stem"))  # 56 × 56 × 24
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        # 28 × 28 × 240, 14 × 14 × 480, 7 × 7 × 960
        for j in range(1, depth + 1):
            x = shuffle_v1(
                x,
                int(spec.alpha * width),
                stride=2 if j == 1 else 1,
                groups=spec.groups,
                group_first=(i, j) != (1, 1),
                style=spec.style,
                name=part(f"stage{i}_unit{j}"),
            )
    return x


FAMILY = Family("shufflenet", VARIANTS, backbone, downsampling="stem")
