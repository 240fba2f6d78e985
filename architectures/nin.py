"""Network in Network: stages of a convolution and 1×1 convolutions, a pooling between stages, and class maps."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor, layers

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify_maps
from architectures.common.stages import check_stages
from kblocks import Style, check
from kblocks.naming import scope
from kblocks.pool import avg_pool, max_pool


@dataclass(frozen=True, kw_only=True)
class NIN:
    """Configuration.

    Attributes:
        stages: for each stage the output channels of its convolutions; all but the first convolution are 1×1.
        kernel_sizes: kernel size of each stage's first convolution.
        pools: the 3×3 pooling of stride 2 after each of the first stages, functions `(x, size, *, stride, style, name)
            -> tensor`.
        dropout: dropout rate after each pooling.
        style: style of all layers.
    """

    stages: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[int, ...]
    pools: tuple[Callable[..., KerasTensor], ...] = (max_pool, avg_pool)
    dropout: float = 0.5
    style: Style = replace(kb.RELU, padding="symmetric")


VARIANTS = {
    "nin": Variant(
        NIN(stages=((192, 160, 96), (192, 192, 192), (192, 192)), kernel_sizes=(5, 5, 3)),
        input_shape=(32, 32, 3), classes=10, params=966_986, macs=222_486_528,
        source="Lin et al. 2013, arXiv 1312.4400, section 4.2, with the widths of the authors' code: 8.81 % error with "
               "augmentation", errors={"cifar10": 8.81, "cifar100": 35.68}),
    "nin_tiny": Variant(
        NIN(stages=((8, 4), (8, 8), (8,)), kernel_sizes=(5, 3, 3)),
        input_shape=(16, 16, 3), classes=10, params=1_686, macs=194_816, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: NIN, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.stages[-1][-1])`, rounded up, with `s = 2 ** len(spec.pools)`.

    Raises:
        ValueError: `x` is not of rank 4, `stages` and `kernel_sizes` differ in length, or there are as many poolings as
            stages.
    """
    check.rank(x, 4)
    check_stages(spec.stages)
    if len(spec.kernel_sizes) != len(spec.stages):
        raise ValueError(
            f"`kernel_sizes` must hold one size for each stage; got {spec.kernel_sizes} for {len(spec.stages)} stages"
        )
    if len(spec.pools) >= len(spec.stages):
        raise ValueError(f"`pools` must be fewer than the stages; got {len(spec.pools)} for {len(spec.stages)} stages")
    part = scope(name, "nin")
    for i, (widths, kernel_size) in enumerate(zip(spec.stages, spec.kernel_sizes, strict=True), 1):
        # 32 × 32 × 96, 16 × 16 × 192, 8 × 8 × 192
        for j, width in enumerate(widths, 1):
            size = kernel_size if j == 1 else 1
            x = kb.conv.conv_norm_act(x, width, size, style=spec.style, name=part(f"stage{i}_conv{j}"))
        if i <= len(spec.pools):
            x = spec.pools[i - 1](x, 3, stride=2, style=spec.style, name=part(f"stage{i}_pool"))
            if spec.dropout:
                x = layers.Dropout(spec.dropout, name=part(f"stage{i}_dropout"))(x)
    return x


FAMILY = Family("nin", VARIANTS, backbone, partial(classify_maps, dropout=0.0), downsampling="pools")
