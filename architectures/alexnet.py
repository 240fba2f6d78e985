"""AlexNet: a convolution of stride 4, further convolutions and max-poolings, then dense layers."""

from dataclasses import dataclass, replace

from keras import KerasTensor, layers

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify, pool
from architectures.common.stages import check_stages
from kblocks import Style, check
from kblocks.naming import scope


@dataclass(frozen=True, kw_only=True)
class AlexNet:
    """Configuration.

    Attributes:
        stages: for each stage the output channels of its convolutions.
        kernel_sizes: kernel size of each stage's convolutions.
        first_padding: zeros on each side of the image before the first convolution, which has a stride of 4.
        pools: number of stages, from the first, that end in a max-pooling of stride 2.
        pool_size: window of the max-poolings.
        pool_padding: their padding.
        hidden: widths of the dense layers before the logits; empty for none.
        dropout: dropout rate before each of them.
        style: style of all layers.
    """

    stages: tuple[tuple[int, ...], ...] = ((64,), (192,), (384, 256, 256))
    kernel_sizes: tuple[int, ...] = (11, 5, 3)
    first_padding: int = 2
    pools: int = 3
    pool_size: int = 3
    pool_padding: str = "valid"
    hidden: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.5
    style: Style = kb.PLAIN


VARIANTS = {
    "alexnet": Variant(
        AlexNet(), input_shape=(224, 224, 3), classes=1000, params=61_100_840, macs=714_188_480,
        source="Krizhevsky 2014, arXiv 1404.5997, section 5: the network on one GPU, as in torchvision",
        departures="without local response normalisation, as in torchvision; its adaptive pooling to 6×6 is left out"),
    "alexnet_cifar": Variant(
        AlexNet(first_padding=5, pool_size=2, pool_padding="same", hidden=()),
        input_shape=(32, 32, 3), classes=10, params=2_472_266, macs=14_957_056,
        source="the AlexNet for CIFAR of github.com/bearpaw/pytorch-classification: 2.47 M, 22.78 % error",
        errors={"cifar10": 22.78, "cifar100": 56.13}),
    "alexnet_tiny": Variant(
        AlexNet(stages=((4,), (8, 8)), kernel_sizes=(5, 3), pools=1, hidden=(8,)),
        input_shape=(32, 32, 3), classes=10, params=1_858, macs=27_632, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: AlexNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage, after its pooling.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.stages[-1][-1])` with `s = 4 * 2 ** spec.pools`, a little less without
        padding.

    Raises:
        ValueError: `x` is not of rank 4 or too small, `stages` and `kernel_sizes` differ in length, or there are more
            poolings than stages.
    """
    check.rank(x, 4)
    check_stages(spec.stages)
    if len(spec.kernel_sizes) != len(spec.stages):
        raise ValueError(
            f"`kernel_sizes` must hold one size for each stage; got {spec.kernel_sizes} for {len(spec.stages)} stages"
        )
    check.choice(spec.pools, range(len(spec.stages) + 1), "pools")
    part = scope(name, "alexnet")
    valid, pooled = replace(spec.style, padding="valid"), replace(spec.style, padding=spec.pool_padding)
    x = layers.ZeroPadding2D(spec.first_padding, name=part("pad"))(x)
    for i, (widths, size) in enumerate(zip(spec.stages, spec.kernel_sizes, strict=True), 1):
        # 27 × 27 × 64, 13 × 13 × 192, 6 × 6 × 256
        for j, width in enumerate(widths, 1):
            stride, style = (4, valid) if i == j == 1 else (1, spec.style)
            x = kb.conv.conv_norm_act(x, width, size, stride=stride, style=style, name=part(f"stage{i}_conv{j}"))
        if i <= spec.pools:
            if spec.pool_padding == "valid":
                least, what = spec.pool_size, f"the pooling of stage {i}"
                check.min_size(x, least, what, " (use fewer `pools=`)", f"the output of stage {i}")
            x = kb.pool.max_pool(x, spec.pool_size, stride=2, style=pooled, name=part(f"stage{i}_pool"))
    return x


def head(x: KerasTensor, spec: AlexNet, classes: int, pooling: str | None, /) -> KerasTensor:
    """Dense layers, each after a dropout, and logits."""
    if classes and spec.hidden:
        x, pooling = pool(x, pooling or "flatten"), None
        style = replace(spec.style, norm=None)
        for i, units in enumerate(spec.hidden, 1):
            if spec.dropout:
                x = layers.Dropout(spec.dropout, name=f"hidden_dropout{i}")(x)
            x = kb.mlp.dense_norm_act(x, units, style=style, name=f"hidden_dense{i}")
    return classify(x, spec, classes, pooling, default="flatten", dropout=0.0)


FAMILY = Family("alexnet", VARIANTS, backbone, head, downsampling="pools")
