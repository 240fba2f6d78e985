"""U-Net: an encoder, and a decoder that joins its features of each size, for logits for each pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures import resnet
from architectures.common.family import Family, Variant
from architectures.common.pixels import classify_pixels, pyramid
from kblocks import Style
from kblocks.contracts import Block, Stem, Unit
from kblocks.conv import transposed, upsample
from kblocks.decoder import double_conv
from kblocks.naming import resolve, scope
from kblocks.pool import max_pool


@dataclass(frozen=True, kw_only=True)
class UNet:
    """Configuration.

    Attributes:
        encoder: the network that the features are taken from, such as `partial(resnet.backbone, spec=…)`.
        strides: of its features, each twice the one before. If the first is above 1, the logits are enlarged by it.
        widths: output channels of the decoder at each of them but the last.
        unit: of the decoder.
        upsample: doubles the size in the decoder, see `kblocks.decoder.unet`.
        style: of the decoder; the encoder has its own.
    """

    encoder: Block
    strides: tuple[int, ...]
    widths: tuple[int, ...]
    unit: Unit = double_conv
    upsample: Stem = transposed
    style: Style = resnet.STYLE


def contracting(
    x: KerasTensor, *, widths: Sequence[int], unit: Unit = double_conv, style: Style = kb.RELU, name: str | None = None
) -> KerasTensor:
    """The encoder of U-Net: a unit at each size, and a pooling of stride 2 between two.

    Args:
        x: `(batch, height, width, channels)`.
        widths: output channels at each size.
        unit: a `Unit`.
        style: of all layers.
        name: the prefix of the layers.

    Returns:
        The features of the last size.
    """
    part = scope(name, "contracting")
    for i, width in enumerate(widths, 1):
        if i > 1:
            x = max_pool(x, 2, stride=2, name=part(f"stage{i}_pool"))
        x = unit(x, width, style=style, name=part(f"stage{i}_unit1"))
    return x


def _backbone(row: str) -> Block:
    return partial(resnet.backbone, spec=resnet.VARIANTS[row].spec)


_SOURCE = "Ronneberger, Fischer and Brox 2015, arXiv 1505.04597, Figure 1"

VARIANTS = {
    "unet": Variant(
        UNet(encoder=partial(contracting, widths=(64, 128, 256, 512, 1024)), strides=(1, 2, 4, 8, 16),
             widths=(64, 128, 256, 512), style=kb.RELU),
        input_shape=(512, 512, 1), classes=2, params=31_030_658, macs=192_384_335_872, source=_SOURCE,
        departures="padding, so that the output has the size of the input; no dropout"),
    "unet_resnet18": Variant(
        UNet(encoder=_backbone("resnet18"), strides=(2, 4, 8, 16, 32), widths=(64, 64, 128, 256), upsample=upsample),
        input_shape=(224, 224, 3), classes=21, params=15_199_125, macs=5_414_191_104, source=_SOURCE,
        departures="the encoder is ResNet-18, and a nearest-neighbour upsampling and a convolution replace the "
        "transposed one"),
    "unet_resnet20": Variant(
        UNet(encoder=_backbone("resnet20"), strides=(1, 2, 4), widths=(16, 32)),
        input_shape=(32, 32, 3), classes=10, params=314_234, macs=55_918_592, source=_SOURCE,
        departures="the encoder is ResNet-20"),
    "unet_tiny": Variant(
        UNet(encoder=partial(contracting, widths=(4, 6, 8), style=kb.RELU_BN), strides=(1, 2, 4), widths=(4, 6)),
        input_shape=(16, 16, 3), classes=10, params=3_654, macs=307_456, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: UNet, *, name: str | None = None) -> KerasTensor:
    """The features of the decoder.

    Args:
        x: `(batch, height, width, channels)`; sizes that are not known must be divisible by the last stride.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.widths[0])`, rounded up; `s` is the first stride.

    Raises:
        ValueError: the encoder does not have a stride, or takes no such images; `widths` does not fit `strides`.
    """
    name = resolve(name, "unet")
    features = pyramid(x, spec.encoder, spec.strides, name=name)
    # unet: 64 × 64 × 512, 128 × 128 × 256, 256 × 256 × 128, 512 × 512 × 64
    return kb.decoder.unet(
        features,
        spec.widths,
        unit=spec.unit,
        upsample=spec.upsample,
        style=spec.style,
        name=scope(name, "unet")("decoder"),
    )


FAMILY = Family("unet", VARIANTS, backbone, classify_pixels, per_pixel=True)
