"""DPN, dual path networks: units that add to some channels, as residual units, and append others, as dense layers."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor, layers

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths, check_halvings
from kblocks import Style
from kblocks.compose import add, concat
from kblocks.contracts import Stem
from kblocks.conv import conv_norm, conv_norm_act
from kblocks.naming import scope
from kblocks.residual import projection
from kblocks.style import activate


@dataclass(frozen=True, kw_only=True)
class DPN:
    """Configuration.

    Attributes:
        depths: number of units of each stage; between two stages the stride is 2.
        widths: channels of each stage that units add to.
        growths: channels that each unit of a stage appends; the first appends twice as many.
        bottlenecks: channels of the 3×3 convolutions of each stage.
        groups: number of their groups.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    growths: tuple[int, ...] = (16, 32, 24, 128)
    bottlenecks: tuple[int, ...] = (96, 192, 384, 768)
    groups: int = 32
    stem: Stem = kb.stem.cifar
    stem_filters: int = 64
    dropout: float = 0.0
    style: Style = replace(kb.RELU_BN, padding="symmetric")


_KL = "Chen et al. 2017, arXiv 1707.01629, Table 1, in the form for CIFAR of kuangliu/pytorch-cifar"
_cifar = partial(
    Variant,
    input_shape=(32, 32, 3),
    classes=10,
    departures="normalisations and activations follow the convolutions; the paper has them before",
)

VARIANTS = {
    "dpn26_cifar": _cifar(DPN(depths=(2, 2, 2, 2)),  params=11_574_842, macs=665_050_880, source=_KL),
    "dpn92_cifar": _cifar(
        DPN(depths=(3, 4, 20, 3)), params=34_236_634, macs=2_042_422_272,
        source=f"{_KL}: 4.84 % error", errors={"cifar10": 4.84}),

    "dpn_tiny": Variant(
        DPN(depths=(1, 2), widths=(8, 12), growths=(2, 4), bottlenecks=(4, 8), groups=1, stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=2_678, macs=226_544, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: DPN, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.widths[-1] + (spec.depths[-1] + 1) · spec.growths[-1])`, rounded up; `s` is
        the stride of the stem times 2 for each stage after the first.

    Raises:
        ValueError: `x` is not of rank 4 or too small, or the fields of the stages differ in length.
    """
    check_depths(spec.depths, spec.widths)
    check_depths(spec.depths, spec.growths, "growths")
    check_depths(spec.depths, spec.bottlenecks, "bottlenecks")
    part = scope(name, "dpn")
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    check_halvings(x, len(spec.depths))
    stages = zip(spec.depths, spec.widths, spec.growths, spec.bottlenecks, strict=True)
    for i, (depth, width, growth, bottleneck) in enumerate(stages, 1):
        # dpn26_cifar: 32 × 32 × 304, 16 × 16 × 608, 8 × 8 × 1096, 4 × 4 × 2432
        for j in range(1, depth + 1):
            stride = 2 if i > 1 and j == 1 else 1
            x = _unit(x, width, growth, bottleneck, stride, j == 1, spec, part(f"stage{i}_unit{j}"))
    return x


def _unit(
    x: KerasTensor, filters: int, growth: int, bottleneck: int, stride: int, first: bool, spec: DPN, name: str
) -> KerasTensor:
    """`act([x₁ + y₁, x₂, y₂])` with `y = norm(conv1×1(act(norm(conv3×3(act(norm(conv1×1(x))))))))`; `x₁` and `y₁` have
    `filters` channels, `y₂` has `growth`. In the first unit of a stage a projection takes the place of `x`.

    Source: Chen et al., "Dual Path Networks", 2017, arXiv 1707.01629, Figure 2 (d).
    """
    style, part = spec.style, scope(name, "dpn_unit")
    y = conv_norm_act(x, bottleneck, 1, style=style, name=part("conv1"))
    y = conv_norm_act(y, bottleneck, 3, stride=stride, groups=spec.groups, style=style, name=part("conv2"))
    y = conv_norm(y, filters + growth, 1, style=style, name=part("conv3"))
    if first:
        x = projection(x, filters + growth, stride=stride, style=style, name=part("shortcut"))
    (x1, x2), (y1, y2) = (_split(t, filters, part(of)) for t, of in ((x, "shortcut"), (y, "residual")))
    x = concat([add([x1, y1], name=part("add")), x2, y2], name=part("concat"))
    return activate(x, style=style, name=part("out"))


def _split(x: KerasTensor, channels: int, name: str) -> tuple[KerasTensor, KerasTensor]:
    """The first channels, and the others."""
    rest = x.shape[-1] - channels
    # With channels first the layer crops the last two axes, which here are the width and the channels.
    crop = partial(layers.Cropping2D, data_format="channels_first")
    first = crop(((0, 0), (0, rest)), name=f"{name}_first")(x)
    return first, crop(((0, 0), (channels, 0)), name=f"{name}_rest")(x)


FAMILY = Family("dpn", VARIANTS, backbone, downsampling="stem")
