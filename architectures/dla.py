"""DLA, deep layer aggregation: stages of residual units, aggregated as a tree by 1×1 convolutions of their outputs."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths
from kblocks import Style, check
from kblocks.compose import concat
from kblocks.contracts import Shortcut, Stem, Unit
from kblocks.conv import conv_norm, conv_norm_act
from kblocks.naming import scope
from kblocks.pool import max_pool
from kblocks.residual import basic, projection
from kblocks.style import RELU_BN, activate


def _stem(
    x: KerasTensor, filters: int, *, kernel_size: int, stride: int, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """Three convolutions; the first two have half the output channels, the last has the stride."""
    check.divisible(filters, 2, "filters", "2")
    part = scope(name, "dla_stem")
    x = conv_norm_act(x, filters // 2, kernel_size, style=style, name=part("conv1"))
    x = conv_norm_act(x, filters // 2, 3, style=style, name=part("conv2"))
    x = conv_norm(x, filters, 3, stride=stride, style=style, name=part("conv3"))
    return activate(x, style=style, name=part("out"))


def _pooled_projection(
    x: KerasTensor, filters: int, *, stride: int = 1, style: Style = RELU_BN, name: str | None = None
) -> KerasTensor:
    """`norm(conv1×1(maxpool(x)))`, without the convolution if `x` has `filters` channels."""
    part = scope(name, "pooled_projection")
    x = _halved(x, stride, style, part("pool"))
    return x if x.shape[-1] == filters else projection(x, filters, style=style, name=part("conv"))


@dataclass(frozen=True, kw_only=True)
class DLA:
    """Configuration.

    Attributes:
        levels: levels of each stage's tree, which has `2 ** levels` units.
        widths: output channels of each stage.
        strides: stride of each stage's first unit.
        shortcut: of the units that change the shape.
        hierarchical: whether the root of a tree aggregates the outputs of all trees before it in the stage; else a tree
            aggregates the outputs of its two halves.
        from_input: for each stage whether its last root aggregates the input of the stage too.
        input_unit: what stands between that input and the root; `None` for a max-pooling of the stage's stride.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    levels: tuple[int, ...]
    widths: tuple[int, ...]
    strides: tuple[int, ...] = (2, 2, 2, 2)
    shortcut: Shortcut = _pooled_projection
    hierarchical: bool = True
    from_input: tuple[bool, ...] = (False, True, True, True)
    input_unit: Unit | None = None
    stem: Stem = partial(_stem, kernel_size=7, stride=2)
    stem_filters: int = 32
    dropout: float = 0.0
    style: Style = replace(kb.RELU_BN, padding="symmetric")


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_34 = partial(DLA, levels=(1, 2, 2, 1), widths=(64, 128, 256, 512))
_small = partial(
    _34,
    strides=(1, 2, 2, 2),
    shortcut=projection,
    from_input=(False, True, True, False),
    input_unit=basic,
    stem=partial(_stem, kernel_size=3, stride=1),
)

_YU = "Yu et al. 2017, arXiv 1707.06484"
_KL = f"{_YU}, Table 1, in the form for CIFAR of kuangliu/pytorch-cifar: "
_PLAIN = "no max-pooling in the shortcuts"

VARIANTS = {
    "dla34": _imagenet(
        _34(), params=15_742_104, macs=3_060_043_776, source=f"{_YU}, Table 1: 15.8 M, 3.1 GFLOPs"),

    "dla34_cifar": _cifar(
        _small(), params=16_291_386, macs=1_030_935_552,
        source=f"{_KL}4.53 % error", errors={"cifar10": 4.53},
        departures=f"{_PLAIN}; a residual unit between the input of a stage and its last root, and none to that of the "
                   "last stage"),
    "simple_dla34_cifar": _cifar(
        _small(hierarchical=False, from_input=(False,) * 4), params=15_142_970, macs=913_495_040,
        source=f"{_KL}5.11 % error", errors={"cifar10": 5.11},
        departures=f"{_PLAIN}; each root aggregates the outputs of its tree's two halves alone"),

    "dla_tiny": Variant(
        DLA(levels=(1, 2), widths=(4, 8), strides=(1, 2), from_input=(False, True),
            stem=partial(_stem, kernel_size=3, stride=1), stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=5_796, macs=498_256, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: DLA, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.widths[-1])`, rounded up; `s` is the stride of the stem times those of the
        stages.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, or the fields of the stages differ in length.
    """
    check_depths(spec.levels, spec.widths)
    check_depths(spec.levels, spec.strides, "strides")
    if len(spec.from_input) != len(spec.levels):
        raise ValueError(f"`levels` and `from_input` must be of one length; got {spec.levels} and {spec.from_input}")
    part = scope(name, "dla")
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    stages = zip(spec.levels, spec.widths, spec.strides, spec.from_input, strict=True)
    for i, (levels, width, stride, from_input) in enumerate(stages, 1):
        # dla34: 56 × 56 × 64, 28 × 28 × 128, 14 × 14 × 256, 7 × 7 × 512
        x = _stage(x, spec, levels, width, stride, from_input, part(f"stage{i}"))
    return x


def _stage(
    x: KerasTensor, spec: DLA, levels: int, filters: int, stride: int, from_input: bool, name: str
) -> KerasTensor:
    part = scope(name, "stage")
    units, roots = count(1), count(1)

    def unit(x: KerasTensor, stride: int) -> KerasTensor:
        name = part(f"unit{next(units)}")
        return basic(x, filters, stride=stride, shortcut=spec.shortcut, style=spec.style, name=name)

    def root(tensors: list[KerasTensor]) -> KerasTensor:
        name = part(f"root{next(roots)}")
        return conv_norm_act(concat(tensors, name=f"{name}_concat"), filters, 1, style=spec.style, name=name)

    def tree(x: KerasTensor, levels: int, stride: int, before: list[KerasTensor]) -> KerasTensor:
        """Figure 3 (f) of the paper; `before` are the tensors that the tree's last root aggregates too."""
        if levels == 1:
            left = unit(x, stride)
            return root([unit(left, 1), left, *before])
        left = tree(x, levels - 1, stride, [])
        if spec.hierarchical:
            return tree(left, levels - 1, 1, [*before, left])
        return root([tree(left, levels - 1, 1, []), left, *before])

    if not from_input:
        return tree(x, levels, stride, [])
    if spec.input_unit is None:
        return tree(x, levels, stride, [_halved(x, stride, spec.style, part("input"))])
    return tree(x, levels, stride, [spec.input_unit(x, filters, stride=stride, style=spec.style, name=part("input"))])


def _halved(x: KerasTensor, stride: int, style: Style, name: str) -> KerasTensor:
    """`maxpool(x)` with windows of the size of the stride, rounded up as strides are."""
    return x if stride == 1 else max_pool(x, stride, stride=stride, style=replace(style, padding="same"), name=name)


FAMILY = Family("dla", VARIANTS, backbone, downsampling="stem")
