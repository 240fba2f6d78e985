"""Highway networks: stages of units that a gate mixes with their input, a max-pooling between stages."""

from dataclasses import dataclass, replace

from keras import KerasTensor, layers

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify
from architectures.common.stages import check_depths
from kblocks import Style, check
from kblocks.compose import stage
from kblocks.contracts import Unit
from kblocks.naming import scope
from kblocks.residual import highway


@dataclass(frozen=True, kw_only=True)
class Highway:
    """Configuration.

    Attributes:
        depths: number of units of each stage, which follow a convolution that changes the channels.
        widths: output channels of each stage.
        pools: number of stages, from the first, that end in a max-pooling of stride 2.
        unit: the unit.
        dropout: dropout rate of the image, after each max-pooling and before the logits.
        style: style of all layers.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    pools: int = 2
    unit: Unit = highway
    dropout: float = 0.2
    style: Style = kb.RELU


VARIANTS = {
    "highway19": Variant(
        Highway(depths=(4, 5, 5), widths=(32, 80, 128)), input_shape=(32, 32, 3), classes=10,
        params=2_244_328, macs=330_088_548,
        source="Srivastava et al. 2015, arXiv 1505.00387, Table 1, and 1507.06228, Tables 1 and 2: 19 layers, 2.3 M, "
               "with the widths of the authors' code", errors={"cifar10": 7.54, "cifar100": 32.39}),
    "highway_tiny": Variant(
        Highway(depths=(1, 2), widths=(4, 8), pools=1), input_shape=(16, 16, 3), classes=10, params=3_240, macs=272_484,
        source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: Highway, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height // s, width // s, spec.widths[-1])` with `s = 2 ** spec.pools`.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the poolings, `depths` and `widths` differ in length, or there
            are more poolings than stages.
    """
    check_depths(spec.depths, spec.widths)
    check.choice(spec.pools, range(len(spec.depths) + 1), "pools")
    check.rank(x, 4)
    check.min_size(x, 2**spec.pools, f"{spec.pools} poolings", " (use fewer `pools=`)")
    part = scope(name, "highway")
    valid = replace(spec.style, padding="valid")
    if spec.dropout:
        x = layers.Dropout(spec.dropout, name=part("input_dropout"))(x)
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        # 16 × 16 × 32, 8 × 8 × 80, 8 × 8 × 128
        x = kb.conv.conv_norm_act(x, width, style=spec.style, name=part(f"stage{i}_conv"))
        x = stage(x, spec.unit, width, depth, style=spec.style, name=part(f"stage{i}"))
        if i <= spec.pools:
            x = kb.pool.max_pool(x, 2, stride=2, style=valid, name=part(f"stage{i}_pool"))
            if spec.dropout:
                x = layers.Dropout(spec.dropout, name=part(f"stage{i}_dropout"))(x)
    return x


def head(x: KerasTensor, spec: Highway, classes: int, pooling: str | None, /) -> KerasTensor:
    """A 1×1 convolution to as many channels as classes, pooling, dropout and logits."""
    if classes:
        x = layers.Conv2D(
            classes,
            1,
            activation="relu",
            kernel_initializer=spec.style.initializer,
            kernel_regularizer=spec.style.regularizer,
            dtype="float32",
            name="logits_conv",
        )(x)
    return classify(x, spec, classes, pooling)


FAMILY = Family("highway", VARIANTS, backbone, head, downsampling="pools")
