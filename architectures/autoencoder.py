"""Convolutional autoencoders: strided convolutions to a code, and transposed ones from it to logits for each pixel."""

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import ClassVar

from keras import KerasTensor, layers

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.pixels import classify_pixels
from kblocks import Style
from kblocks.conv import conv_norm_act, transposed_norm_act
from kblocks.mlp import dense_norm_act
from kblocks.naming import scope


@dataclass(frozen=True, kw_only=True)
class Autoencoder:
    """Configuration.

    Attributes:
        widths: output channels of each convolution of stride 2.
        units: size of the code, the vector that is the output of the layer `code`; 0 for the last image of the encoder
            as the code, of any size.
        style: of all layers.
    """

    widths: tuple[int, ...]
    units: int
    style: Style = kb.RELU_BN

    strides: ClassVar[tuple[int, ...]] = (1,)


_SOURCE = (
    "Masci et al. 2011, Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction, section 3; strided "
    "and transposed convolutions as in Radford, Metz and Chintala 2015, arXiv 1511.06434, section 3"
)
_mnist = partial(Variant, input_shape=(28, 28, 1), classes=1)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=3)

VARIANTS = {
    "autoencoder_mnist": _mnist(
        Autoencoder(widths=(16, 32), units=32),       params=120_705,   macs=1_571_136,  source=_SOURCE),
    "autoencoder_cifar": _cifar(
        Autoencoder(widths=(32, 64, 128), units=256), params=1_326_723, macs=12_115_968, source=_SOURCE),
    "autoencoder_tiny": Variant(
        Autoencoder(widths=(4, 6), units=5),
        input_shape=(16, 16, 3), classes=3, params=2_167, macs=36_928, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: Autoencoder, *, name: str | None = None) -> KerasTensor:
    """The features of the decoder; the classes of the logits are the channels of the image.

    Args:
        x: `(batch, height, width, channels)`, without units of any size that the strides divide.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height, width, spec.widths[0])`.

    Raises:
        ValueError: `widths` is empty, or a size is unknown and there are units.
    """
    if not spec.widths:
        raise ValueError("`widths` must hold a number for at least one convolution; got ()")
    part = scope(name, "autoencoder")
    sizes = x.shape[1:3]
    for i, width in enumerate(spec.widths, 1):
        # autoencoder_mnist: 14 × 14 × 16, 7 × 7 × 32
        x = conv_norm_act(x, width, 3, stride=2, style=spec.style, name=part(f"encoder{i}"))
    if spec.units:
        shape = tuple(x.shape[1:])
        if None in shape:
            raise ValueError(f"`x` must have known sizes for a code of units; got shape {tuple(x.shape)}")
        x = layers.Flatten(name=part("flatten"))(x)
        # A bias would be lost in the normalisation that follows.
        bias = spec.style.norm is None
        x = layers.Dense(spec.units, use_bias=bias, kernel_regularizer=spec.style.regularizer, name=part("code"))(x)
        x = dense_norm_act(x, prod(shape), style=spec.style, name=part("dense"))
        x = layers.Reshape(shape, name=part("reshape"))(x)
    for i, width in reversed(list(enumerate([spec.widths[0], *spec.widths[:-1]], 1))):
        x = transposed_norm_act(x, width, 4, style=spec.style, name=part(f"decoder{i}"))
    margins = tuple((0, a - b if a and b else 0) for a, b in zip(x.shape[1:3], sizes, strict=True))
    return layers.Cropping2D(margins, name=part("crop"))(x) if any(map(any, margins)) else x


FAMILY = Family("autoencoder", VARIANTS, backbone, classify_pixels, per_pixel=True)
