"""SqueezeNet: a stem, stages of fire modules with a max-pooling before each, and class maps."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify_maps
from architectures.common.stages import check_stages
from kblocks import Style, check
from kblocks.contracts import Stem, Unit
from kblocks.conv import conv_norm
from kblocks.naming import scope
from kblocks.squeezenet import fire
from kblocks.stem import HINT
from kblocks.style import activate


@dataclass(frozen=True, kw_only=True)
class SqueezeNet:
    """Configuration.

    Attributes:
        stages: for each stage the output channels of its units; a max-pooling of stride 2 precedes each stage.
        stem: the layers before the first of them.
        stem_filters: output channels of the stem.
        unit: the unit.
        pool_size: window of the max-poolings.
        activation: activation of the class maps.
        dropout: dropout rate before the class maps.
        style: style of all layers, but the class maps have no normalisation.
    """

    stages: tuple[tuple[int, ...], ...]
    stem: Stem
    stem_filters: int
    unit: Unit = fire
    pool_size: int = 3
    activation: str = "relu"
    dropout: float = 0.5
    style: Style = kb.RELU


def unpadded(
    x: KerasTensor, filters: int, *, kernel_size: int = 3, style: Style = kb.RELU, name: str | None = None
) -> KerasTensor:
    """`act(norm(conv/2(x)))` without padding.

    Args:
        x: `(batch, height, width, channels)`.
        filters: number of output channels.
        kernel_size: height and width of the kernel.
        style: style of all layers.
        name: the prefix of the layers.

    Returns:
        `(batch, (height − kernel_size) // 2 + 1, (width − kernel_size) // 2 + 1, filters)`.

    >>> from keras import Input
    >>> unpadded(Input((224, 224, 3)), 96, kernel_size=7).shape
    (None, 109, 109, 96)
    """
    part = scope(name, "squeezenet_stem")
    check.min_size(x, kernel_size, "the stem", HINT)
    valid = replace(style, padding="valid")
    x = conv_norm(x, filters, kernel_size, stride=2, style=valid, name=part("conv"))
    return activate(x, style=style, name=part("out"))


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_v1_0 = partial(
    SqueezeNet,
    stages=((128, 128, 256), (256, 384, 384, 512), (512,)),
    stem=partial(unpadded, kernel_size=7),
    stem_filters=96,
)
_bypass = partial(fire, bypass=True)
_PAPER = "Iandola et al. 2016, arXiv 1602.07360"

VARIANTS = {
    "squeezenet1_0": _imagenet(
        _v1_0(), params=1_248_424, macs=818_924_576, source=f"{_PAPER}, Table 1: 1.25 M"),
    "squeezenet1_0_bypass": _imagenet(
        _v1_0(unit=_bypass), params=1_248_424, macs=818_924_576, source=f"{_PAPER}, Figure 2 middle: simple bypass"),
    "squeezenet1_1": _imagenet(
        SqueezeNet(stages=((128, 128), (256, 256), (384, 384, 512, 512)), stem=unpadded, stem_filters=64),
        params=1_235_496, macs=349_151_936,
        source=f"{_PAPER}, version 1.1 of the authors' code: 2.4 times fewer products"),
    "squeezenet_cifar": Variant(
        _v1_0(unit=_bypass, stem=kb.stem.cifar, pool_size=2, activation="linear", dropout=0.0, style=kb.RELU_BN),
        input_shape=(32, 32, 3), classes=10, params=732_010, macs=52_543_488,
        source=f"{_PAPER}, as in github.com/weiaicunzai/pytorch-cifar100: 30.59 % error on CIFAR-100, 0.78 M there",
        errors={"cifar100": 30.59},
        departures="the last fire module too has a bypass, as in the paper; no bias beside a normalisation"),
    "squeezenet_tiny": Variant(
        SqueezeNet(stages=((8, 8), (16,)), stem=kb.stem.cifar, stem_filters=4, unit=_bypass),
        input_shape=(16, 16, 3), classes=10, params=586, macs=38_912, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: SqueezeNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height // s, width // s, spec.stages[-1][-1])`, with `s` the stride of the stem times 2 for each stage.

    Raises:
        ValueError: `x` is not of rank 4 or too small.
    """
    check_stages(spec.stages)
    part = scope(name, "squeezenet")
    floor = replace(spec.style, padding="floor")
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    check.min_size(x, 2 ** len(spec.stages), f"{len(spec.stages)} poolings", HINT, "the output of the stem")
    for i, widths in enumerate(spec.stages, 1):
        # 54 × 54 × 256, 27 × 27 × 512, 13 × 13 × 512
        x = kb.pool.max_pool(x, spec.pool_size, stride=2, style=floor, name=part(f"stage{i}_pool"))
        for j, width in enumerate(widths, 1):
            x = spec.unit(x, width, style=spec.style, name=part(f"stage{i}_unit{j}"))
    return x


def head(x: KerasTensor, spec: SqueezeNet, classes: int, pooling: str | None, /) -> KerasTensor:
    """Class maps and their mean."""
    return classify_maps(x, spec, classes, pooling, activation=spec.activation)


FAMILY = Family("squeezenet", VARIANTS, backbone, head, downsampling="stem")
