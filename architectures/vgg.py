"""VGG: stages of 3×3 convolutions, each followed by a max-pooling of stride 2, then dense layers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify, pool
from architectures.common.stages import check_depths
from kblocks import Style, check
from kblocks.naming import scope


@dataclass(frozen=True, kw_only=True)
class VGG:
    """Configuration.

    Attributes:
        depths: number of convolutions of each stage.
        widths: output channels of each stage's convolutions.
        pools: number of stages, from the first, that end in a max-pooling.
        pool_padding: padding of the max-poolings.
        hidden: widths of the dense layers before the logits; empty for none.
        dropout: dropout rate after each of them.
        style: style of all layers, but the dense layers have no normalisation.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    pools: int = 5
    pool_padding: str = "valid"
    hidden: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.5
    style: Style = kb.PLAIN


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_A, _B, _D, _E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
_bn = partial(VGG, style=kb.RELU_BN)
_small = partial(VGG, hidden=(), pool_padding="same", style=kb.RELU_BN)
_PAPER = "Simonyan and Zisserman 2014, arXiv 1409.1556, Tables 1 and 2"
_BIASES = "no bias beside a normalisation, {} parameters fewer than in torchvision"
_NONE = "no bias beside a normalisation"


def _at(configuration: str, repository: str) -> str:
    """The source of a network for CIFAR."""
    return f"{_PAPER}: {configuration}, with batch normalisation, as in github.com/{repository}"


VARIANTS = {
    "vgg11": _imagenet(
        VGG(depths=_A), params=132_863_336, macs=7_609_090_048,
        source=f"{_PAPER}: A, 133 M"),
    "vgg13": _imagenet(
        VGG(depths=_B), params=133_047_848, macs=11_308_466_176,
        source=f"{_PAPER}: B, 133 M"),
    "vgg16": _imagenet(
        VGG(depths=_D), params=138_357_544, macs=15_470_264_320,
        source=f"{_PAPER}: D, 138 M", keras=keras.applications.VGG16, preprocessing="caffe"),
    "vgg19": _imagenet(
        VGG(depths=_E), params=143_667_240, macs=19_632_062_464,
        source=f"{_PAPER}: E, 144 M", keras=keras.applications.VGG19, preprocessing="caffe"),
    "vgg11_bn": _imagenet(
        _bn(depths=_A), params=132_866_088, macs=7_609_090_048,
        source=f"{_PAPER}: A, with batch normalisation; 132,868,840 in torchvision",
        departures=_BIASES.format("2,752")),
    "vgg13_bn": _imagenet(
        _bn(depths=_B), params=133_050_792, macs=11_308_466_176,
        source=f"{_PAPER}: B, with batch normalisation; 133,053,736 in torchvision",
        departures=_BIASES.format("2,944")),
    "vgg16_bn": _imagenet(
        _bn(depths=_D), params=138_361_768, macs=15_470_264_320,
        source=f"{_PAPER}: D, with batch normalisation; 138,365,992 in torchvision",
        departures=_BIASES.format("4,224")),
    "vgg19_bn": _imagenet(
        _bn(depths=_E), params=143_672_744, macs=19_632_062_464,
        source=f"{_PAPER}: E, with batch normalisation; 143,678,248 in torchvision",
        departures=_BIASES.format("5,504")),
    "vgg11_bn_cifar": _cifar(
        _small(depths=_A), params=9_228_362, macs=152_769_536,
        source=_at("A", "kuangliu/pytorch-cifar"), departures=_NONE),
    "vgg13_bn_cifar": _cifar(
        _small(depths=_B), params=9_413_066, macs=228_267_008,
        source=_at("B", "kuangliu/pytorch-cifar"), departures=_NONE),
    "vgg16_bn_cifar": _cifar(
        _small(depths=_D), params=14_724_042, macs=313_201_664,
        source=_at("D", "kuangliu/pytorch-cifar"), departures=_NONE,
        errors={"cifar10": 7.36}),
    "vgg19_bn_cifar": _cifar(
        _small(depths=_E), params=20_035_018, macs=398_136_320,
        source=_at("E", "bearpaw/pytorch-classification"), departures=_NONE,
        errors={"cifar10": 6.66, "cifar100": 28.05}),
    "vgg11_bn_cifar_512": _cifar(
        _small(depths=_A, hidden=(512, 512)), params=9_753_674, macs=153_293_824,
        source=_at("A", "chenyaofo/pytorch-cifar-models"), departures=_NONE,
        errors={"cifar10": 7.21, "cifar100": 29.22}),
    "vgg13_bn_cifar_512": _cifar(
        _small(depths=_B, hidden=(512, 512)), params=9_938_378, macs=228_791_296,
        source=_at("B", "chenyaofo/pytorch-cifar-models"), departures=_NONE,
        errors={"cifar10": 6.00, "cifar100": 25.37}),
    "vgg16_bn_cifar_512": _cifar(
        _small(depths=_D, hidden=(512, 512)), params=15_249_354, macs=313_725_952,
        source=_at("D", "chenyaofo/pytorch-cifar-models"), departures=_NONE,
        errors={"cifar10": 5.84, "cifar100": 26.00}),
    "vgg19_bn_cifar_512": _cifar(
        _small(depths=_E, hidden=(512, 512)), params=20_560_330, macs=398_660_608,
        source=_at("E", "chenyaofo/pytorch-cifar-models"), departures=_NONE,
        errors={"cifar10": 6.09, "cifar100": 26.13}),
    "vgg11_bn_cifar_4096": _cifar(
        _small(depths=_A, hidden=(4096, 4096)), params=28_146_762, macs=171_679_744,
        source=_at("A", "weiaicunzai/pytorch-cifar100"), departures=_NONE,
        errors={"cifar100": 31.36}),
    "vgg13_bn_cifar_4096": _cifar(
        _small(depths=_B, hidden=(4096, 4096)), params=28_331_466, macs=247_177_216,
        source=_at("B", "weiaicunzai/pytorch-cifar100"), departures=_NONE,
        errors={"cifar100": 28.00}),
    "vgg16_bn_cifar_4096": _cifar(
        _small(depths=_D, hidden=(4096, 4096)), params=33_642_442, macs=332_111_872,
        source=_at("D", "weiaicunzai/pytorch-cifar100"), departures=_NONE,
        errors={"cifar100": 27.07}),
    "vgg19_bn_cifar_4096": _cifar(
        _small(depths=_E, hidden=(4096, 4096)), params=38_953_418, macs=417_046_528,
        source=_at("E", "weiaicunzai/pytorch-cifar100"), departures=_NONE,
        errors={"cifar100": 27.77}),
    "vgg_tiny": Variant(
        VGG(depths=(1, 2), widths=(4, 8), pools=2, hidden=(8,)),
        input_shape=(16, 16, 3), classes=10, params=2_114, macs=84_048, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: VGG, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage, after its pooling.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height // s, width // s, spec.widths[-1])` with `s = 2 ** spec.pools`; with padding rounded up.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the poolings, `depths` and `widths` differ in length, or there
            are more poolings than stages.
    """
    check_depths(spec.depths, spec.widths)
    check.choice(spec.pools, range(len(spec.depths) + 1), "pools")
    check.rank(x, 4)
    if spec.pool_padding == "valid":
        check.min_size(x, 2**spec.pools, f"{spec.pools} poolings", " (use fewer `pools=`)")
    part = scope(name, "vgg")
    pooled = replace(spec.style, padding=spec.pool_padding)
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        # 112 × 112 × 64, 56 × 56 × 128, 28 × 28 × 256, 14 × 14 × 512, 7 × 7 × 512
        for j in range(1, depth + 1):
            x = kb.conv.conv_norm_act(x, width, style=spec.style, name=part(f"stage{i}_conv{j}"))
        if i <= spec.pools:
            x = kb.pool.max_pool(x, 2, stride=2, style=pooled, name=part(f"stage{i}_pool"))
    return x


def head(x: KerasTensor, spec: VGG, classes: int, pooling: str | None, /) -> KerasTensor:
    """Dense layers and logits."""
    if classes and spec.hidden:
        x, pooling = pool(x, pooling or "flatten"), None
        x = kb.mlp.mlp(x, spec.hidden, dropout=spec.dropout, style=replace(spec.style, norm=None), name="hidden")
    return classify(x, spec, classes, pooling, default="flatten", dropout=0.0)


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    found = {"logits": "predictions"}
    for name in names:
        if match := re.fullmatch(r"stage(\d)_conv(\d)", name):
            found[name] = f"block{match[1]}_conv{match[2]}"
        elif match := re.fullmatch(r"hidden_dense(\d)", name):
            found[name] = f"fc{match[1]}"
    return found


def torch_names(names: Sequence[str], source: str) -> dict[str, str]:
    """For each of our layers its counterpart in torchvision or timm."""
    timm = source == "timm"
    hidden = {name for name in names if re.fullmatch(r"hidden_dense\d", name)}
    found = {name: f"pre_logits.fc{name[-1]}" if timm else f"classifier.{3 * (int(name[-1]) - 1)}" for name in hidden}
    found["logits"] = "head.fc" if timm else f"classifier.{3 * len(hidden)}"
    convs = [match for name in names if (match := re.fullmatch(r"stage(\d)_conv\d", name))]
    normalised = any(f"{conv[0]}_norm" in names for conv in convs)
    for i, conv in enumerate(convs):
        # Theirs numbers convolutions, normalisations, activations and the poolings of the stages before.
        index = i * (3 if normalised else 2) + int(conv[1]) - 1
        found[conv[0]] = f"features.{index}"
        if normalised:
            found[f"{conv[0]}_norm"] = f"features.{index + 1}"
    return found


FAMILY = Family("vgg", VARIANTS, backbone, head, keras_names=keras_names, torch_names=torch_names, downsampling="pools")
