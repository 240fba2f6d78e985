"""All-CNN: 3×3 convolutions alone, of which the last of a stage has the stride of 2, and class maps."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor, layers

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify_maps
from architectures.common.stages import check_stages
from kblocks import Style, check
from kblocks.naming import scope


@dataclass(frozen=True, kw_only=True)
class AllCNN:
    """Configuration.

    Attributes:
        stages: for each stage the kernel sizes of its convolutions; the last has a stride of 2.
        widths: output channels of each stage.
        input_dropout: dropout rate of the image.
        dropout: dropout rate after each stage.
        style: style of all layers; the 3×3 convolution after the stages has no padding.
    """

    stages: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...] = (96, 192)
    input_dropout: float = 0.2
    dropout: float = 0.5
    style: Style = replace(kb.RELU, padding="symmetric")


_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_PAPER = "Springenberg et al. 2014, arXiv 1412.6806, Tables 1, 2 and 3"

VARIANTS = {
    "allcnn_a": _cifar(
        AllCNN(stages=((5, 3), (5, 3))), params=1_254_250, macs=181_145_088,
        source=f"{_PAPER}: All-CNN-A, 10.30 % error without augmentation", errors={"cifar10": 10.30}),
    "allcnn_b": _cifar(
        AllCNN(stages=((5, 1, 3), (5, 1, 3))), params=1_300_618, macs=200_019_456,
        source=f"{_PAPER}: All-CNN-B, 9.10 % error without augmentation", errors={"cifar10": 9.10}),
    "allcnn_c": _cifar(
        AllCNN(stages=((3, 3, 3), (3, 3, 3))), params=1_369_738, macs=270_798_336,
        source=f"{_PAPER}: All-CNN-C, 1.4 M, 7.25 % error with augmentation",
        errors={"cifar10": 7.25, "cifar100": 33.71}),
    "allcnn_tiny": Variant(
        AllCNN(stages=((3, 3), (3,)), widths=(4, 8)), input_shape=(16, 16, 3), classes=10, params=1_302, macs=44_352,
        source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: AllCNN, *, name: str | None = None) -> KerasTensor:
    """The features before the class maps.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s - 2, width / s - 2, spec.widths[-1])`, with `s = 2 ** len(spec.stages)`; the quotients are
        rounded up.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the last convolution, or `stages` and `widths` differ in
            length.
    """
    check.rank(x, 4)
    check_stages(spec.stages)
    if len(spec.widths) != len(spec.stages):
        raise ValueError(f"`widths` must hold one width for each of `stages`; got {spec.widths} and {spec.stages}")
    part = scope(name, "allcnn")
    if spec.input_dropout:
        x = layers.Dropout(spec.input_dropout, name=part("dropout"))(x)
    for i, (sizes, width) in enumerate(zip(spec.stages, spec.widths, strict=True), 1):
        # 16 × 16 × 96, 8 × 8 × 192
        for j, size in enumerate(sizes, 1):
            stride = 2 if j == len(sizes) else 1
            x = kb.conv.conv_norm_act(x, width, size, stride=stride, style=spec.style, name=part(f"stage{i}_conv{j}"))
        if spec.dropout:
            x = layers.Dropout(spec.dropout, name=part(f"stage{i}_dropout"))(x)
    # 6 × 6 × 192
    x = kb.conv.conv_norm_act(x, width, 3, style=replace(spec.style, padding="valid"), name=part("conv1"))
    return kb.conv.conv_norm_act(x, width, 1, style=spec.style, name=part("conv2"))


FAMILY = Family("allcnn", VARIANTS, backbone, partial(classify_maps, dropout=0.0), downsampling="stages")
