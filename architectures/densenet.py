"""DenseNet: a stem, dense blocks with a transition of stride 2 between, and a global average pooling."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify
from architectures.common.stages import check_halvings
from kblocks import Style
from kblocks.contracts import Stem
from kblocks.naming import scope
from kblocks.style import activate, batch_norm, normalize

STYLE = replace(kb.RELU_BN, norm=partial(batch_norm, momentum=0.99, epsilon=1.001e-5), padding="symmetric")


@dataclass(frozen=True, kw_only=True)
class DenseNet:
    """Configuration.

    Attributes:
        depths: number of layers of each dense block; a transition of stride 2 stands between two blocks.
        growth: growth rate: output channels of each layer.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        expansion: width of the layers' 1×1 convolutions, as a multiple of `growth`; `None` for no such convolutions.
        compression: output channels of a transition, as a fraction of its input channels.
        dropout: dropout rate after each convolution but the stem's.
        style: style of all layers.
    """

    depths: tuple[int, ...]
    growth: int = 32
    stem: Stem = kb.stem.imagenet
    stem_filters: int = 64
    expansion: int | None = None
    compression: float = 0.5
    dropout: float = 0.0
    style: Style = STYLE


_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000, preprocessing="torch")
_small = partial(DenseNet, stem=kb.stem.bare, style=kb.RELU_BN)
_plain = partial(_small, stem_filters=16, compression=1.0)
_small_bc = partial(_small, expansion=4)
_bc = partial(DenseNet, expansion=4)

_PAPER = "Huang et al. 2016, arXiv 1608.06993"
_T1 = f"{_PAPER}, Table 1; "
_T2 = f"{_PAPER}, Table 2: "
_BC40 = f"{_PAPER}, section 3, at a depth of 40 as in pytorchcv; the paper has 100, 190 and 250"
_KL = f"{_PAPER}, Table 1, with the stem of the networks for CIFAR, as in kuangliu/pytorch-cifar"

VARIANTS = {
    "densenet40_12": _cifar(
        _plain(depths=(12, 12, 12), growth=12), params=1_019_722, macs=264_812_928,
        source=f"{_T2}5.24 % error, 1.0 M", errors={"cifar10": 5.24, "cifar100": 24.42}),
    "densenet100_12": _cifar(
        _plain(depths=(32, 32, 32), growth=12), params=6_979_642, macs=1_769_516_448,
        source=f"{_T2}4.10 % error, 7.0 M", errors={"cifar10": 4.10, "cifar100": 20.20}),
    "densenet100_24": _cifar(
        _plain(depths=(32, 32, 32), growth=24), params=27_249_082, macs=6_889_347_744,
        source=f"{_T2}3.74 % error, 27.2 M", errors={"cifar10": 3.74, "cifar100": 19.25}),
    "densenet_bc40_12": _cifar(
        _small_bc(depths=(6, 6, 6), growth=12, stem_filters=24), params=176_122, macs=72_365_352, source=_BC40),
    "densenet_bc40_24": _cifar(
        _small_bc(depths=(6, 6, 6), growth=24, stem_filters=48), params=690_346, macs=288_131_664, source=_BC40),
    "densenet_bc40_36": _cifar(
        _small_bc(depths=(6, 6, 6), growth=36, stem_filters=72), params=1_542_682, macs=647_298_936, source=_BC40),
    "densenet_bc100_12": _cifar(
        _small_bc(depths=(16, 16, 16), growth=12, stem_filters=24), params=769_162, macs=287_929_692,
        source=f"{_T2}4.51 % error, 0.8 M", errors={"cifar10": 4.51, "cifar100": 22.27}),
    "densenet_bc250_24": _cifar(
        _small_bc(depths=(41, 41, 41), growth=24, stem_filters=48), params=15_324_406, macs=5_418_785_724,
        source=f"{_T2}3.62 % error, 15.3 M", errors={"cifar10": 3.62, "cifar100": 17.60}),
    "densenet_bc190_40": _cifar(
        _small_bc(depths=(31, 31, 31), growth=40, stem_filters=80), params=25_624_430, macs=9_301_945_740,
        source=f"{_T2}3.46 % error, 25.6 M", errors={"cifar10": 3.46, "cifar100": 17.18}),

    "densenet121_12_cifar": _cifar(
        _small_bc(depths=(6, 12, 24, 16), growth=12, stem_filters=24), params=1_000_618, macs=125_341_440,
        source=f"{_KL}, where it is called densenet_cifar"),
    "densenet121_cifar": _cifar(
        _small_bc(depths=(6, 12, 24, 16)), params=6_956_298, macs=888_350_720,
        source=f"{_KL}: 4.96 % error", errors={"cifar10": 4.96}),
    "densenet161_cifar": _cifar(
        _small_bc(depths=(6, 12, 36, 24), growth=48, stem_filters=96), params=26_482_378, macs=2_467_550_784,
        source=_KL),
    "densenet169_cifar": _cifar(
        _small_bc(depths=(6, 12, 32, 32)), params=12_493_322, macs=1_059_799_296,
        source=_KL),
    "densenet201_cifar": _cifar(
        _small_bc(depths=(6, 12, 48, 32)), params=18_104_330, macs=1_363_888_896,
        source=_KL),

    "densenet121": _imagenet(
        _bc(depths=(6, 12, 24, 16)), params=7_978_856,  macs=2_834_161_664,
        source=f"{_T1}8.0 M in torchvision",  keras=keras.applications.DenseNet121),
    "densenet161": _imagenet(
        _bc(depths=(6, 12, 36, 24), growth=48, stem_filters=96), params=28_681_000, macs=7_727_907_072,
        source=f"{_T1}28.7 M in torchvision", preprocessing=None),
    "densenet169": _imagenet(
        _bc(depths=(6, 12, 32, 32)), params=14_149_480, macs=3_359_843_328,
        source=f"{_T1}14.1 M in torchvision", keras=keras.applications.DenseNet169),
    "densenet201": _imagenet(
        _bc(depths=(6, 12, 48, 32)), params=20_013_928, macs=4_291_365_888,
        source=f"{_T1}20.0 M in torchvision", keras=keras.applications.DenseNet201),

    "densenet_tiny": Variant(
        DenseNet(depths=(2, 2), growth=4, stem=kb.stem.bare, stem_filters=8, expansion=2, style=kb.RELU_BN),
        input_shape=(16, 16, 3), classes=10, params=2_194, macs=323_744, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: DenseNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last dense block, normalised and activated.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height // s, width // s, channels)`; `s` is the stride of the stem times 2 for each block after the
        first.

    Raises:
        ValueError: `x` is not of rank 4 or too small.
    """
    if not spec.depths:
        raise ValueError(f"`depths` must hold at least one dense block; got {spec.depths}")
    part = scope(name, "densenet")
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    check_halvings(x, len(spec.depths))
    for i, depth in enumerate(spec.depths, 1):
        # densenet121: 56 × 56 × 256, 28 × 28 × 512, 14 × 14 × 1024, 7 × 7 × 1024
        if i > 1:
            x = kb.densenet.transition(
                x, compression=spec.compression, dropout=spec.dropout, style=spec.style, name=part(f"transition{i - 1}")
            )
        x = kb.densenet.dense_block(
            x,
            depth,
            spec.growth,
            expansion=spec.expansion,
            dropout=spec.dropout,
            style=spec.style,
            name=part(f"stage{i}"),
        )
    return activate(normalize(x, style=spec.style, name=part("norm")), style=spec.style, name=part("act"))


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    found = {"stem_conv": "conv1_conv", "stem_conv_norm": "conv1_bn", "norm": "bn", "logits": "predictions"}
    for name in names:
        if match := re.fullmatch(r"stage(\d)_unit(\d+)_conv([12])(_norm)?", name):
            stage, unit, conv, norm = match.groups()
            # Theirs numbers a normalisation like the convolution before it.
            part = f"{int(conv) - 1}_bn" if norm else f"{conv}_conv"
            found[name] = f"conv{int(stage) + 1}_block{unit}_{part}"
        elif match := re.fullmatch(r"transition(\d)_conv(_norm)?", name):
            found[name] = f"pool{int(match[1]) + 1}_{'bn' if match[2] else 'conv'}"
    return found


def torch_names(names: Sequence[str], source: str) -> dict[str, str]:
    """For each of our layers its counterpart in torchvision and timm, which have the same names."""
    found = {
        "stem_conv": "features.conv0",
        "stem_conv_norm": "features.norm0",
        "norm": "features.norm5",
        "logits": "classifier",
    }
    for name in names:
        if match := re.fullmatch(r"stage(\d)_unit(\d+)_conv([12])(_norm)?", name):
            stage, unit, conv, norm = match.groups()
            found[name] = f"features.denseblock{stage}.denselayer{unit}.{'norm' if norm else 'conv'}{conv}"
        elif match := re.fullmatch(r"transition(\d)_conv(_norm)?", name):
            found[name] = f"features.transition{match[1]}.{'norm' if match[2] else 'conv'}"
    return found


# Here `dropout` is the rate after each convolution, not before the logits.
FAMILY = Family(
    "densenet",
    VARIANTS,
    backbone,
    head=partial(classify, dropout=0.0),
    keras_names=keras_names,
    torch_names=torch_names,
    downsampling="stem",
)
