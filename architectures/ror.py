"""RoR-3: a ResNet with shortcuts on three levels: around each unit, around each stage and around all stages."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths, check_halvings
from kblocks import Style
from kblocks.compose import add, drop_path_schedule
from kblocks.contracts import Stem
from kblocks.naming import scope
from kblocks.pool import max_pool
from kblocks.residual import basic, projection
from kblocks.style import activate


@dataclass(frozen=True, kw_only=True)
class RoR:
    """Configuration.

    Attributes:
        depths: number of units of each stage; between two stages there is a max-pooling.
        widths: output channels of each stage.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (16, 32, 64)
    stem: Stem = kb.stem.cifar
    stem_filters: int = 16
    drop_path: float = 0.0
    dropout: float = 0.0
    style: Style = kb.RELU_BN


_cifar = partial(
    Variant,
    input_shape=(32, 32, 3),
    classes=10,
    source="Zhang et al. 2016, arXiv 1608.02908, Figure 1, with the layers of pytorchcv",
    departures="max-poolings between the stages, where the paper has strides; projections in all shortcuts of the two "
    "outer levels",
)

VARIANTS = {
    "ror3_56":  _cifar(RoR(depths=(8, 8, 8)),    params=762_746, macs=112_181_888),
    "ror3_110": _cifar(RoR(depths=(17, 17, 17)), params=1_637_690, macs=239_583_872),
    "ror3_164": _cifar(RoR(depths=(26, 26, 26)), params=2_512_634, macs=366_985_856),

    "ror_tiny": Variant(
        RoR(depths=(1, 2), widths=(4, 8), stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=2_758, macs=240_720, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: RoR, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.widths[-1])`, rounded up; `s` is the stride of the stem times 2 for each
        stage after the first.

    Raises:
        ValueError: `x` is not of rank 4 or too small, or `depths` and `widths` differ in length.
    """
    check_depths(spec.depths, spec.widths)
    stages, style = len(spec.depths), spec.style
    part = scope(name, "ror")
    rates = drop_path_schedule(spec.drop_path, spec.depths)
    x = spec.stem(x, spec.stem_filters, style=style, name=part("stem"))
    check_halvings(x, stages)
    outer = projection(x, spec.widths[-1], stride=2 ** (stages - 1), style=style, name=part("shortcut"))
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        # ror3_56: 32 × 32 × 16, 16 × 16 × 32, 8 × 8 × 64
        shortcut = projection(x, width, style=style, name=part(f"stage{i}_shortcut"))
        for j in range(1, depth + 1):
            x = basic(
                x,
                width,
                activate_last=j < depth,
                drop_path=rates[i - 1][j - 1],
                style=style,
                name=part(f"stage{i}_unit{j}"),
            )
        tensors = [shortcut, x] if i < stages else [outer, shortcut, x]
        x = activate(add(tensors, name=part(f"stage{i}_add")), style=style, name=part(f"stage{i}_act"))
        if i < stages:
            # Rounded up, as the stride of the outer shortcut rounds.
            x = max_pool(x, 2, stride=2, style=replace(style, padding="same"), name=part(f"stage{i}_pool"))
    return x


FAMILY = Family("ror", VARIANTS, backbone, downsampling="stem")
