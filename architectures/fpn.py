"""Feature pyramid networks for segmentation: an encoder, its feature pyramid, and the sum of all levels."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures import resnet
from architectures.common.family import Family, Variant
from architectures.common.pixels import classify_pixels, pyramid
from kblocks import Style
from kblocks.contracts import Block
from kblocks.naming import resolve, scope
from kblocks.style import group_norm


@dataclass(frozen=True, kw_only=True)
class FPN:
    """Configuration.

    Attributes:
        encoder: the network that the features are taken from, such as `partial(resnet.backbone, spec=…)`.
        strides: of its features, each twice the one before; the logits are enlarged by the first.
        filters: output channels of the feature pyramid.
        head_filters: output channels of the convolutions that enlarge its levels.
        style: of the decoder; the encoder has its own.
    """

    encoder: Block
    strides: tuple[int, ...] = (4, 8, 16, 32)
    filters: int = 256
    head_filters: int = 128
    style: Style = replace(resnet.STYLE, norm=group_norm)


def _backbone(row: str) -> Block:
    return partial(resnet.backbone, spec=resnet.VARIANTS[row].spec)


_SOURCE = "Kirillov et al. 2019, arXiv 1901.02446, Figure 3"
_voc = partial(Variant, input_shape=(224, 224, 3), classes=21, source=_SOURCE)

VARIANTS = {
    "fpn_resnet18": _voc(FPN(encoder=_backbone("resnet18")),      params=15_410_133, macs=5_863_366_656),
    "fpn_resnet50": _voc(FPN(encoder=_backbone("resnet50_v1_5")), params=28_478_933, macs=8_425_955_328),
    "fpn_tiny": Variant(
        FPN(encoder=_backbone("resnet_tiny"), strides=(1, 2), filters=6, head_filters=4,
            style=replace(resnet.STYLE, norm=partial(group_norm, groups=2))),
        input_shape=(16, 16, 3), classes=10, params=2_558, macs=348_928, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: FPN, *, name: str | None = None) -> KerasTensor:
    """The features of the decoder.

    Args:
        x: `(batch, height, width, channels)`; sizes that are not known must be divisible by the last stride.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.head_filters)`, rounded up; `s` is the first stride.

    Raises:
        ValueError: the encoder does not have a stride, or takes no such images.
    """
    name = resolve(name, "fpn")
    part = scope(name, "fpn")
    features = pyramid(x, spec.encoder, spec.strides, name=name)
    levels = kb.decoder.fpn(features, spec.filters, style=spec.style, name=part("pyramid"))
    return kb.decoder.semantic_fpn(levels, spec.head_filters, style=spec.style, name=part("decoder"))


FAMILY = Family("fpn", VARIANTS, backbone, classify_pixels, per_pixel=True)
