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
        hidden: widths of the dense layers before the logits; empty for none.
        dropout: dropout rate after each of them.
        style: style of all layers, but the dense layers have no normalisation.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    pools: int = 5
    hidden: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.5
    style: Style = kb.PLAIN


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_PAPER = "Simonyan and Zisserman 2014, arXiv 1409.1556, Tables 1 and 2"
_BIASES = "no bias beside a normalisation, {} parameters fewer than in torchvision"

VARIANTS = {
    "vgg16": _imagenet(
        VGG(depths=(2, 2, 3, 3, 3)), params=138_357_544, macs=15_470_264_320,
        source=f"{_PAPER}: D, 138 M", keras=keras.applications.VGG16, preprocessing="caffe"),
    "vgg19": _imagenet(
        VGG(depths=(2, 2, 4, 4, 4)), params=143_667_240, macs=19_632_062_464,
        source=f"{_PAPER}: E, 144 M", keras=keras.applications.VGG19, preprocessing="caffe"),
    "vgg16_bn": _imagenet(
        VGG(depths=(2, 2, 3, 3, 3), style=kb.RELU_BN), params=138_361_768, macs=15_470_264_320,
        source=f"{_PAPER}: D, with batch normalisation; 138,365,992 in torchvision",
        departures=_BIASES.format("4,224")),
    "vgg19_bn": _imagenet(
        VGG(depths=(2, 2, 4, 4, 4), style=kb.RELU_BN), params=143_672_744, macs=19_632_062_464,
        source=f"{_PAPER}: E, with batch normalisation; 143,678,248 in torchvision",
        departures=_BIASES.format("5,504")),
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
        `(batch, height // s, width // s, spec.widths[-1])` with `s = 2 ** spec.pools`.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the poolings, `depths` and `widths` differ in length, or there
            are more poolings than stages.
    """
    check_depths(spec.depths, spec.widths)
    check.choice(spec.pools, range(len(spec.depths) + 1), "pools")
    check.rank(x, 4)
    check.min_size(x, 2**spec.pools, f"{spec.pools} poolings", " (use fewer `pools=`)")
    part = scope(name, "vgg")
    valid = replace(spec.style, padding="valid")
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        # 112 × 112 × 64, 56 × 56 × 128, 28 × 28 × 256, 14 × 14 × 512, 7 × 7 × 512
        for j in range(1, depth + 1):
            x = kb.conv.conv_norm_act(x, width, style=spec.style, name=part(f"stage{i}_conv{j}"))
        if i <= spec.pools:
            x = kb.pool.max_pool(x, 2, stride=2, style=valid, name=part(f"stage{i}_pool"))
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
