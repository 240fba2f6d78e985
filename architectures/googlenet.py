"""GoogLeNet (Inception-v1): a stem, nine inception modules in three stages with a max-pooling between, and a mean."""

from collections.abc import Sequence
from dataclasses import dataclass

from keras import KerasTensor

import kblocks as kb
from architectures.variant import Variant, check_stages, classify
from kblocks import Style
from kblocks.contracts import Stem
from kblocks.naming import scope

Widths = tuple[int, tuple[int, int], tuple[int, int], int]
"""One module's widths: 1×1, 3×3 after its reduction and out, 5×5 likewise, the projection of the pooling."""

STAGES: tuple[tuple[Widths, ...], ...] = (
    (
        ( 64, ( 96, 128), (16,  32),  32),  # 3a, out 256
        (128, (128, 192), (32,  96),  64),  # 3b, out 480
    ), (
        (192, ( 96, 208), (16,  48),  64),  # 4a, out 512
        (160, (112, 224), (24,  64),  64),  # 4b, out 512
        (128, (128, 256), (24,  64),  64),  # 4c, out 512
        (112, (144, 288), (32,  64),  64),  # 4d, out 528
        (256, (160, 320), (32, 128), 128),  # 4e, out 832
    ), (
        (256, (160, 320), (32, 128), 128),  # 5a, out 832
        (384, (192, 384), (48, 128), 128),  # 5b, out 1024
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GoogLeNet:
    """What can be turned.

    Attributes:
        stages: the modules' widths, stage by stage.
        stem: a function `(x, filters, *, style, name) -> tensor`.
        stem_filters: channels that come out of the stem.
        auxiliary: whether two more heads, after the first and the last but one module of the second stage, make it a
            model of three outputs: `logits`, `auxiliary1_logits`, `auxiliary2_logits`.
        dropout: the share of features left out before the logits, in training.
        style: see `kblocks.style`.
    """

    stages: tuple[tuple[Widths, ...], ...] = STAGES
    stem: Stem = kb.stem.googlenet
    stem_filters: int = 192
    auxiliary: bool = False
    dropout: float = 0.4
    style: Style = kb.RELU


_SOURCE = "Szegedy et al. 2014, arXiv 1409.4842, Table 1"
_LARGE = {"input_shape": (224, 224, 3), "classes": 1000}
_SMALL = {"input_shape": (32, 32, 3), "classes": 10}

VARIANTS = {
    "googlenet": Variant(
        GoogLeNet(), **_LARGE, params=6_998_552, macs=1_582_671_872,
        source=f"{_SOURCE}: 6.8 M parameters, 1.5 G multiply-adds",
        departures="no local response normalisation; the auxiliary heads are an option"),
    "googlenet_bn": Variant(
        GoogLeNet(style=kb.RELU_BN), **_LARGE, params=7_005_832, macs=1_582_671_872,
        source=f"{_SOURCE}, with the batch normalisation of Ioffe and Szegedy 2015, arXiv 1502.03167",
        departures="normalisation in place of the convolutions' biases; the auxiliary heads are an option"),
    "googlenet_cifar": Variant(
        GoogLeNet(stem=kb.stem.cifar, style=kb.RELU_BN), **_SMALL, params=5_871_914, macs=1_447_241_728,
        source=f"{_SOURCE}, for 32×32 images: a 3×3 convolution for a stem, with batch normalisation",
        departures="the stem; normalisation in place of the convolutions' biases"),
    "googlenet_tiny": Variant(
        GoogLeNet(stages=(((4, (2, 4), (2, 4), 4),),) * 3, stem=kb.stem.cifar, stem_filters=6), **_SMALL,
        params=1_670, macs=666_784, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: GoogLeNet, *, name: str | None = None) -> KerasTensor:
    """The last stage's features.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, channels)`, rounded up, with `s` the stem's stride times 2 for each stage after
        the first, and the last module's channels.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem.
    """
    return _stages(x, spec, name)[0]


def build(
    spec: GoogLeNet, inputs: Sequence[KerasTensor], classes: int, pooling: str | None
) -> KerasTensor | list[KerasTensor]:
    """Backbone and head, and the auxiliary heads where the spec asks for them."""
    x, middle = _stages(inputs[0], spec, "")
    outputs = classify(x, classes, pooling, style=spec.style, dropout=spec.dropout)
    if not (spec.auxiliary and classes):
        return outputs
    if not middle:
        raise ValueError(f"`auxiliary` heads stand in the second stage; got {len(spec.stages)} stage(s)")
    heads = [
        kb.head.auxiliary(y, classes, style=spec.style, name=f"auxiliary{i}")
        for i, y in enumerate((middle[0], middle[-2] if len(middle) > 1 else middle[0]), 1)
    ]
    return [outputs, *heads]


def _stages(x: KerasTensor, spec: GoogLeNet, name: str | None) -> tuple[KerasTensor, list[KerasTensor]]:
    """The features, and the outputs of the second stage's modules."""
    check_stages(spec.stages)
    for stage in spec.stages:
        check_stages(stage, "1×1, 3×3, 5×5, pool")
    part = scope(name, "googlenet")
    middle = []
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))  # 28 × 28 × 192
    for i, stage in enumerate(spec.stages, 1):  # 28 × 28 × 480, 14 × 14 × 832, 7 × 7 × 1024
        if i > 1:
            x = kb.pool.max_pool(x, 3, stride=2, style=spec.style, name=part(f"stage{i}_pool"))
        for j, (b1, b3, b5, pool) in enumerate(stage, 1):
            x = kb.inception.v1(x, b1, b3, b5, pool, style=spec.style, name=part(f"stage{i}_unit{j}"))
            if i == 2:
                middle.append(x)
    return x, middle
