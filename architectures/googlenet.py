"""GoogLeNet (Inception-v1): a stem, nine Inception modules in three stages, and a global average pooling."""

from dataclasses import dataclass
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify
from architectures.common.stages import check_stages
from kblocks import Style
from kblocks.contracts import Stem
from kblocks.graph.calls import sources
from kblocks.naming import scope

Widths = tuple[int, tuple[int, int], tuple[int, int], int]
"""Output channels in a module: 1×1; reduction and convolution of the 3×3 and the 5×5; projection of the pooling."""

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
    """Configuration.

    Attributes:
        stages: the widths of the modules, stage by stage; a max-pooling of stride 2 stands between two stages.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        auxiliary: whether the network has auxiliary classifiers after the first and the last but one module of the
            second stage, so that its outputs are `logits`, `auxiliary1_logits` and `auxiliary2_logits`.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    stages: tuple[tuple[Widths, ...], ...] = STAGES
    stem: Stem = kb.stem.googlenet
    stem_filters: int = 192
    auxiliary: bool = False
    dropout: float = 0.4
    style: Style = kb.RELU


_SOURCE = "Szegedy et al. 2014, arXiv 1409.4842, Table 1"
_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)

VARIANTS = {
    "googlenet": _imagenet(
        GoogLeNet(), params=6_998_552, macs=1_582_671_872,
        source=f"{_SOURCE}: 6.8 M parameters, 1.5 G multiply-adds",
        departures="no local response normalisation; auxiliary classifiers are optional"),
    "googlenet_bn": _imagenet(
        GoogLeNet(style=kb.RELU_BN), params=7_005_832, macs=1_582_671_872,
        source=f"{_SOURCE}, with the batch normalisation of Ioffe and Szegedy 2015, arXiv 1502.03167",
        departures="normalisation in place of the convolutions' biases; auxiliary classifiers are optional"),
    "googlenet_cifar": _cifar(
        GoogLeNet(stem=kb.stem.cifar, style=kb.RELU_BN), params=5_871_914, macs=1_447_241_728,
        source=f"{_SOURCE}, for 32×32 images: a 3×3 convolution for a stem, with batch normalisation",
        departures="the stem; normalisation in place of the convolutions' biases"),
    "googlenet_tiny": _cifar(
        GoogLeNet(stages=(((4, (2, 4), (2, 4), 4),),) * 3, stem=kb.stem.cifar, stem_filters=6),
        params=1_670, macs=666_784, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: GoogLeNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, channels)`, rounded up, with the output channels of the last module; `s` is the
        stride of the stem times 2 for each stage after the first.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem.
    """
    check_stages(spec.stages)
    for stage in spec.stages:
        check_stages(stage, "1×1, 3×3, 5×5, pool")
    part = scope(name, "googlenet")
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))  # 28 × 28 × 192
    for i, stage in enumerate(spec.stages, 1):  # 28 × 28 × 480, 14 × 14 × 832, 7 × 7 × 1024
        if i > 1:
            x = kb.pool.max_pool(x, 3, stride=2, style=spec.style, name=part(f"stage{i}_pool"))
        for j, (b1, b3, b5, pool) in enumerate(stage, 1):
            x = kb.inception.v1(x, b1, b3, b5, pool, style=spec.style, name=part(f"stage{i}_unit{j}"))
    return x


def head(x: KerasTensor, spec: GoogLeNet, classes: int, pooling: str | None, /) -> KerasTensor | list[KerasTensor]:
    """Logits, and those of the auxiliary classifiers if the spec has them."""
    logits = classify(x, spec, classes, pooling)
    if not (spec.auxiliary and classes):
        return logits
    if len(spec.stages) < 2:
        raise ValueError(f"`auxiliary` must be False without a second stage; got {len(spec.stages)} stage(s)")
    # Their inputs are tensors within the graph.
    graph = keras.Model(sources(x), x)
    outputs = [logits]
    for i, unit in enumerate((1, max(len(spec.stages[1]) - 1, 1)), 1):
        middle = graph.get_layer(f"stage2_unit{unit}_out").output
        outputs.append(kb.head.auxiliary(middle, classes, style=spec.style, name=f"auxiliary{i}"))
    return outputs


FAMILY = Family("googlenet", VARIANTS, backbone, head, downsampling="stem")
