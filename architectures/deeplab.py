"""DeepLab: an encoder with dilations in place of its last strides, atrous spatial pyramid pooling, and logits for each
pixel; in version 3+ with fine features of the encoder beside the coarse ones.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from keras import KerasTensor

import kblocks as kb
from architectures import resnet
from architectures.common.family import Family, Variant
from architectures.common.pixels import classify_pixels, pyramid
from kblocks import Style
from kblocks.contracts import Block
from kblocks.naming import resolve, scope


@dataclass(frozen=True, kw_only=True)
class DeepLab:
    """Configuration.

    Attributes:
        encoder: the network that the features are taken from, such as `partial(resnet.backbone, spec=…)`, whose output
            stride is the last of `strides`.
        strides: of the features: one for version 3, two for version 3+. The logits are enlarged by the first.
        filters: output channels of all layers behind the encoder.
        low_filters: output channels of the convolution of the fine features; not read for version 3.
        dilations: dilation rates of the pyramid pooling.
        dropout: dropout rate behind the pyramid pooling.
        style: of all but the encoder, which has its own.
    """

    encoder: Block
    strides: tuple[int, ...]
    filters: int = 256
    low_filters: int = 48
    dilations: tuple[int, ...] = (12, 24, 36)
    dropout: float = 0.5
    style: Style = resnet.STYLE


def _backbone(depths: tuple[int, ...], output_stride: int) -> Block:
    row = resnet.VARIANTS["resnet50_v1_5"]
    return partial(resnet.backbone, spec=replace(row.spec, depths=depths, output_stride=output_stride))


_V3 = "Chen et al. 2017, arXiv 1706.05587, Figure 5"
_V3_PLUS = "Chen et al. 2018, arXiv 1802.02611, Figure 2"
_TORCH = "a dropout, a 3×3 convolution and no auxiliary classifier, as in torchvision"

_voc = partial(Variant, input_shape=(520, 520, 3), classes=21)

VARIANTS = {
    "deeplab_v3_resnet50": _voc(
        DeepLab(encoder=_backbone((3, 4, 6, 3), 8), strides=(8,)),
        params=39_638_869, macs=168_731_205_888, source=_V3, departures=_TORCH),
    "deeplab_v3_resnet101": _voc(
        DeepLab(encoder=_backbone((3, 4, 23, 3), 8), strides=(8,)),
        params=58_630_997, macs=248_752_300_288, source=_V3, departures=_TORCH),
    "deeplab_v3_plus_resnet50": _voc(
        DeepLab(encoder=_backbone((3, 4, 6, 3), 16), strides=(4, 16), dilations=(6, 12, 18)),
        params=40_352_181, macs=72_611_799_040, source=_V3_PLUS,
        departures="the encoder is ResNet-50; convolutions are not separable"),
    "deeplab_tiny": Variant(
        DeepLab(encoder=partial(resnet.backbone, spec=resnet.VARIANTS["resnet_tiny"].spec), strides=(1, 2), filters=6,
                low_filters=2, dilations=(2, 3), dropout=0.0),
        input_shape=(16, 16, 3), classes=10, params=3_342, macs=435_248, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: DeepLab, *, name: str | None = None) -> KerasTensor:
    """The features before the logits.

    Args:
        x: `(batch, height, width, channels)`; for version 3+ sizes that are not known must be divisible by the last
            stride.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.filters)`, rounded up; `s` is the first stride.

    Raises:
        ValueError: the encoder does not have a stride, or takes no such images; there are not one or two strides.
    """
    if len(spec.strides) not in (1, 2):
        raise ValueError(f"`strides` must hold one stride, or two for version 3+; got {spec.strides}")
    name = resolve(name, "deeplab")
    part = scope(name, "deeplab")
    features = pyramid(x, spec.encoder, spec.strides, name=name)
    options: dict[str, Any] = {
        "dilations": spec.dilations,
        "dropout": spec.dropout,
        "style": spec.style,
        "name": part("decoder"),
    }
    if len(spec.strides) == 1:
        return kb.decoder.deeplab_v3(features[0], spec.filters, **options)
    fine, coarse = spec.strides
    return kb.decoder.deeplab_v3_plus(
        features, spec.filters, low_filters=spec.low_filters, factor=coarse // fine, **options
    )


FAMILY = Family("deeplab", VARIANTS, backbone, classify_pixels, per_pixel=True)
