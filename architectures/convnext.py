"""ConvNeXt: a stem of patches, stages of residual blocks with large depthwise convolutions, a mean, a normalisation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import KerasTensor
from keras.layers import LayerNormalization

import kblocks as kb
from architectures.porting import numbered
from architectures.variant import Variant, check_depths, check_halvings, classify
from kblocks import Style
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem, Unit
from kblocks.naming import scope
from kblocks.pool import global_pool
from kblocks.style import normalize


@dataclass(frozen=True, kw_only=True)
class ConvNeXt:
    """What can be turned.

    Attributes:
        depths: number of blocks of each stage; all stages but the first halve the image.
        widths: channels that come out of each stage, and of the stem those of the first.
        unit: a function `(x, filters, *, stride, drop_path, style, name) -> tensor`.
        stem: a function `(x, filters, *, style, name) -> tensor`.
        drop_path: the last block's rate; those before rise to it linearly. (The paper trains the first four on
            ImageNet-1k with 0.1, 0.4, 0.5 and 0.5.)
        style: see `kblocks.style`.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    unit: Unit = kb.convnext.block
    stem: Stem = kb.stem.patchify
    drop_path: float = 0.0
    style: Style = kb.GELU_LN


_LARGE = {"input_shape": (224, 224, 3), "classes": 1000, "preprocessing": "torch"}
_LIU = "Liu et al. 2022, arXiv 2201.03545, Table 1: "

VARIANTS = {
    "convnext_tiny": Variant(
        ConvNeXt(depths=(3, 3, 9, 3),  widths=(96, 192, 384, 768)), **_LARGE,
        params=28_589_128, macs=4_455_537_888,
        source=f"{_LIU}29 M parameters, 4.5 GFLOPs", keras=keras.applications.ConvNeXtTiny),
    "convnext_small": Variant(
        ConvNeXt(depths=(3, 3, 27, 3), widths=(96, 192, 384, 768)), **_LARGE,
        params=50_223_688, macs=8_683_725_792,
        source=f"{_LIU}50 M parameters, 8.7 GFLOPs", keras=keras.applications.ConvNeXtSmall),
    "convnext_base": Variant(
        ConvNeXt(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024)), **_LARGE,
        params=88_591_464, macs=15_354_747_520,
        source=f"{_LIU}89 M parameters, 15.4 GFLOPs", keras=keras.applications.ConvNeXtBase),
    "convnext_large": Variant(
        ConvNeXt(depths=(3, 3, 27, 3), widths=(192, 384, 768, 1536)), **_LARGE,
        params=197_767_336, macs=34_361_460_672,
        source=f"{_LIU}198 M parameters, 34.4 GFLOPs", keras=keras.applications.ConvNeXtLarge),
    "convnext_xlarge": Variant(
        ConvNeXt(depths=(3, 3, 27, 3), widths=(256, 512, 1024, 2048)), **_LARGE,
        params=350_196_968, macs=60_921_066_752,
        source=f"{_LIU}350 M parameters, 60.9 GFLOPs", keras=keras.applications.ConvNeXtXLarge),
    "convnext_toy": Variant(
        ConvNeXt(depths=(1, 1), widths=(4, 8)), input_shape=(16, 16, 3), classes=10,
        params=1_790, macs=12_476, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: ConvNeXt, *, name: str | None = None) -> KerasTensor:
    """The last stage's features, not normalised.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height // s, width // s, spec.widths[-1])`, with `s` the stem's stride times 2 for each stage after the
        first.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the strides, or `depths` and `widths` differ in length.
    """
    check_depths(spec.depths, spec.widths)
    part = scope(name, "convnext")
    rates = drop_path_schedule(spec.drop_path, spec.depths)
    x = spec.stem(x, spec.widths[0], style=spec.style, name=part("stem"))
    check_halvings(x, len(spec.depths))
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        # convnext_tiny: 56 × 56 × 96, 28 × 28 × 192, 14 × 14 × 384, 7 × 7 × 768
        x = kb.compose.stage(
            x,
            spec.unit,
            width,
            depth,
            stride=1 if i == 1 else 2,
            drop_paths=rates[i - 1],
            style=spec.style,
            name=part(f"stage{i}"),
        )
    return x


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """The layer of keras.applications' network for each of ours."""
    # Theirs have the network's name before them; the stem and each downsampling are networks within it.
    prefix = keras_model.name
    # The last normalisation has a name in networks with a head alone.
    unnamed = numbered(keras_model, LayerNormalization, "layer_normalization")
    found = {
        "stem_conv": f"{prefix}_stem/{prefix}_stem_conv",
        "stem_out": f"{prefix}_stem/{prefix}_stem_layernorm",
        "norm": unnamed[0] if unnamed else f"{prefix}_head_layernorm",
        "logits": f"{prefix}_head_dense",
    }
    parts = {
        "conv": "depthwise_conv",
        "conv_norm": "layernorm",
        "dense1": "pointwise_conv_1",
        "dense2": "pointwise_conv_2",
        "scale_gamma": "layer_scale",
    }
    for name in names:
        match = re.fullmatch(r"stage(\d)_unit(\d+)_(.+)", name)
        if not match:
            continue
        stage, unit, layer = int(match[1]) - 1, int(match[2]) - 1, match[3]
        if layer in parts:
            found[name] = f"{prefix}_stage_{stage}_block_{unit}_{parts[layer]}"
        elif layer in ("downsample", "downsample_norm"):
            kind = "conv" if layer == "downsample" else "layernorm"
            found[name] = f"{prefix}_downsampling_block_{stage - 1}/{prefix}_downsampling_{kind}_{stage - 1}"
    return found


def build(spec: ConvNeXt, inputs: Sequence[KerasTensor], classes: int, pooling: str | None) -> KerasTensor:
    """Backbone, normalisation and head; a mean or largest value is normalised after the pooling."""
    x = backbone(inputs[0], spec, name="")
    if pooling == "flatten":  # each position by itself, as without a pooling
        x = global_pool(normalize(x, style=spec.style, name="norm"), pooling, name="pool")
        return classify(x, classes, None, style=spec.style)
    if classes or pooling:
        x = global_pool(x, pooling or "avg", name="pool")
    x = normalize(x, style=spec.style, name="norm")
    return classify(x, classes, None, style=spec.style)
