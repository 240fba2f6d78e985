"""ResNet-9: convolutions with a max-pooling each, residual connections in some stages, and scaled logits."""

from dataclasses import dataclass
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify_scaled
from architectures.common.stages import check_halvings
from kblocks import Style
from kblocks.compose import skip
from kblocks.contracts import Stem
from kblocks.conv import conv_norm_act
from kblocks.naming import scope

VALID = Style(padding="valid")


@dataclass(frozen=True, kw_only=True)
class ResNet9:
    """Configuration.

    Attributes:
        widths: output channels of each stage: a convolution and a max-pooling of stride 2.
        residuals: for each stage whether two convolutions with a residual connection follow.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        scale: factor of the logits.
        drop_path: stochastic-depth rate of the residuals.
        style: style of all layers.
    """

    widths: tuple[int, ...] = (128, 256, 512)
    residuals: tuple[bool, ...] = (True, False, True)
    stem: Stem = kb.stem.cifar
    stem_filters: int = 64
    scale: float = 0.125
    drop_path: float = 0.0
    style: Style = kb.RELU_BN


VARIANTS = {
    "resnet9": Variant(
        ResNet9(), input_shape=(32, 32, 3), classes=10, params=6_573_120, macs=379_261_952,
        source="Page 2018, How to Train Your ResNet 4: Architecture, and github.com/davidcpage/cifar10-fast: 94 % in "
               "24 epochs, DAWNBench", errors={"cifar10": 6.0}),
    "resnet9_tiny": Variant(
        ResNet9(widths=(4, 8), residuals=(False, True), stem_filters=4), input_shape=(16, 16, 3), classes=10,
        params=1_836, macs=101_456, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: ResNet9, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height // s, width // s, spec.widths[-1])`, with `s` the stride of the stem times 2 for each stage.

    Raises:
        ValueError: `x` is not of rank 4 or too small, or `widths` and `residuals` differ in length.
    """
    if not spec.widths or len(spec.widths) != len(spec.residuals):
        raise ValueError(f"`residuals` must hold a value for each of `widths`; got {spec.residuals} and {spec.widths}")
    part = scope(name, "resnet9")
    conv = partial(conv_norm_act, style=spec.style)
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    check_halvings(x, len(spec.widths) + 1)
    for i, (width, residual) in enumerate(zip(spec.widths, spec.residuals, strict=True), 1):
        # 16 × 16 × 128, 8 × 8 × 256, 4 × 4 × 512
        unit = scope(part(f"stage{i}_unit1"), "")
        x = conv(x, width, name=unit("conv"))
        x = kb.pool.max_pool(x, 2, stride=2, style=VALID, name=unit("pool" if residual else "out"))
        if residual:
            convs = [partial(conv, filters=width)] * 2
            x = skip(x, partial(kb.compose.chain, blocks=convs), drop_path=spec.drop_path, name=part(f"stage{i}_unit1"))
    return x


FAMILY = Family("resnet9", VARIANTS, backbone, classify_scaled, downsampling="stem")
