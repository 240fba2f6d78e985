"""FractalNet: fractal blocks of convolutions with max-poolings between, without residual connections."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify
from kblocks import Style, check
from kblocks.fractal import fractal_block
from kblocks.naming import scope
from kblocks.pool import max_pool


@dataclass(frozen=True, kw_only=True)
class FractalNet:
    """Configuration.

    Attributes:
        widths: output channels of each fractal block.
        columns: number of columns of each block.
        pools: number of blocks, from the first, that are followed by a max-pooling; the last, before the logits, is not
            counted.
        dropouts: dropout rate of whole channels after the convolutions of each block.
        drop_path: rate of the local drop-path.
        style: style of all layers.
    """

    widths: tuple[int, ...]
    columns: int
    pools: int
    dropouts: tuple[float, ...]
    drop_path: float = 0.15
    style: Style = kb.RELU_BN


_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)

VARIANTS = {
    "fractalnet": _cifar(
        FractalNet(widths=(64, 128, 256, 512, 512), columns=3, pools=4, dropouts=(0.0, 0.1, 0.2, 0.3, 0.4)),
        params=33_724_618, macs=845_222_912,
        source="Larsson, Maire and Shakhnarovich 2016, arXiv 1605.07648, Table 1: 20 layers, 4.60 % error with "
               "drop-path and dropout",
        errors={"cifar10": 4.60, "cifar100": 23.73},
        departures="without the global drop-path; 33.7 M parameters as in pytorchcv, the paper has 38.6 M"),

    "fractalnet_tiny": Variant(
        FractalNet(widths=(4, 8), columns=2, pools=1, dropouts=(0.0, 0.1)),
        input_shape=(16, 16, 3), classes=10, params=1_674, macs=165_968, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: FractalNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last block.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.widths[-1])`, rounded up, with `s = 2 ** spec.pools`.

    Raises:
        ValueError: `x` is not of rank 4 or too small, there are more poolings than blocks, or `widths` and `dropouts`
            are empty or differ in length.
    """
    if not spec.widths or len(spec.widths) != len(spec.dropouts):
        raise ValueError(f"`widths` and `dropouts` must be of one length; got {spec.widths} and {spec.dropouts}")
    check.choice(spec.pools, range(len(spec.widths) + 1), "pools")
    part = scope(name, "fractalnet")
    check.rank(x, 4)
    check.min_size(x, 2**spec.pools, f"{spec.pools} poolings", " (use fewer `pools=`)")
    for i, (width, dropout) in enumerate(zip(spec.widths, spec.dropouts, strict=True), 1):
        # fractalnet: 32 × 32 × 64, 16 × 16 × 128, 8 × 8 × 256, 4 × 4 × 512, 2 × 2 × 512
        x = fractal_block(
            x,
            width,
            columns=spec.columns,
            dropout=dropout,
            drop_path=spec.drop_path,
            style=spec.style,
            name=part(f"stage{i}"),
        )
        if i <= spec.pools:
            x = max_pool(x, 2, stride=2, style=replace(spec.style, padding="same"), name=part(f"stage{i}_pool"))
    return x


# The paper's last pooling leaves one position of 2×2.
FAMILY = Family("fractalnet", VARIANTS, backbone, head=partial(classify, default="max"), downsampling="pools")
