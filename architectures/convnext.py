"""ConvNeXt: patches, stages of residual blocks with 7×7 depthwise convolutions, a global average, a normalisation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import keras
from keras import KerasTensor
from keras.layers import LayerNormalization

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify, pool
from architectures.common.stages import check_depths, check_halvings
from architectures.weights.names import numbered
from kblocks import Style
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem, Unit
from kblocks.naming import scope
from kblocks.style import normalize


@dataclass(frozen=True, kw_only=True)
class ConvNeXt:
    """Configuration.

    Attributes:
        depths: number of blocks of each stage; all but the first begin with a stride of 2.
        widths: output channels of each stage; those of the stem are the first.
        unit: the residual block.
        stem: the layers before the first stage.
        drop_path: stochastic-depth rate of the last block; the rates rise linearly from 0 at the first. (The paper
            trains the first four on ImageNet-1k with 0.1, 0.4, 0.5 and 0.5.)
        style: style of all layers.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    unit: Unit = kb.convnext.block
    stem: Stem = kb.stem.patchify
    drop_path: float = 0.0
    style: Style = kb.GELU_LN


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000, preprocessing="torch")
_v2 = partial(ConvNeXt, unit=partial(kb.convnext.block, layer_scale=None, normalize_response=True))
_imagenet_v2 = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_WOO = "Woo et al. 2023, arXiv 2301.00808, appendix: "
_LIU = "Liu et al. 2022, arXiv 2201.03545, Table 1: "

VARIANTS = {
    "convnext_tiny": _imagenet(
        ConvNeXt(depths=(3, 3, 9, 3),  widths=(96, 192, 384, 768)),
        params=28_589_128, macs=4_455_537_888,
        source=f"{_LIU}29 M parameters, 4.5 GFLOPs", keras=keras.applications.ConvNeXtTiny),
    "convnext_small": _imagenet(
        ConvNeXt(depths=(3, 3, 27, 3), widths=(96, 192, 384, 768)),
        params=50_223_688, macs=8_683_725_792,
        source=f"{_LIU}50 M parameters, 8.7 GFLOPs", keras=keras.applications.ConvNeXtSmall),
    "convnext_base": _imagenet(
        ConvNeXt(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024)),
        params=88_591_464, macs=15_354_747_520,
        source=f"{_LIU}89 M parameters, 15.4 GFLOPs", keras=keras.applications.ConvNeXtBase),
    "convnext_large": _imagenet(
        ConvNeXt(depths=(3, 3, 27, 3), widths=(192, 384, 768, 1536)),
        params=197_767_336, macs=34_361_460_672,
        source=f"{_LIU}198 M parameters, 34.4 GFLOPs", keras=keras.applications.ConvNeXtLarge),
    "convnext_xlarge": _imagenet(
        ConvNeXt(depths=(3, 3, 27, 3), widths=(256, 512, 1024, 2048)),
        params=350_196_968, macs=60_921_066_752,
        source=f"{_LIU}350 M parameters, 60.9 GFLOPs", keras=keras.applications.ConvNeXtXLarge),
    "convnext_v2_atto": _imagenet_v2(
        _v2(depths=(2, 2, 6, 2), widths=(40, 80, 160, 320)), params=3_708_400, macs=547_347_200,
        source=f"{_WOO}3.7 M parameters"),
    "convnext_v2_femto": _imagenet_v2(
        _v2(depths=(2, 2, 6, 2), widths=(48, 96, 192, 384)), params=5_233_240, macs=779_647_488,
        source=f"{_WOO}5.2 M parameters"),
    "convnext_v2_pico": _imagenet_v2(
        _v2(depths=(2, 2, 6, 2), widths=(64, 128, 256, 512)), params=9_066_280, macs=1_367_078_912,
        source=f"{_WOO}9.1 M parameters"),
    "convnext_v2_nano": _imagenet_v2(
        _v2(depths=(2, 2, 8, 2), widths=(80, 160, 320, 640)), params=15_623_800, macs=2_445_562_880,
        source=f"{_WOO}15.6 M parameters"),
    "convnext_v2_tiny": _imagenet_v2(
        _v2(depths=(3, 3, 9, 3), widths=(96, 192, 384, 768)), params=28_635_496, macs=4_455_584_256,
        source=f"{_WOO}28.6 M parameters"),
    "convnext_toy": Variant(
        ConvNeXt(depths=(1, 1), widths=(4, 8)), input_shape=(16, 16, 3), classes=10,
        params=1_790, macs=12_476, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: ConvNeXt, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage, not normalised.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height // s, width // s, spec.widths[-1])`; `s` is the stride of the stem times 2 for each stage after
        the first.

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


def head(x: KerasTensor, spec: ConvNeXt, classes: int, pooling: str | None, /) -> KerasTensor:
    """A normalisation and logits; the normalisation follows an average or maximum pooling."""
    if pooling == "flatten":  # every position is normalised, as without a pooling
        x = pool(normalize(x, style=spec.style, name="norm"), pooling)
    else:
        if classes or pooling:
            x = pool(x, pooling or "avg")
        x = normalize(x, style=spec.style, name="norm")
    return classify(x, spec, classes, None, dropout=0.0)


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    # Theirs begin with the name of the model, but of a model with a head of one's own only the layers have it; the stem
    # and each downsampling are nested models.
    theirs = [layer.name for layer in keras_model.layers]
    prefix = next((name.removesuffix("_stem") for name in theirs if name.endswith("_stem")), keras_model.name)
    # The last normalisation has an automatic name in models without a head.
    unnamed = numbered(keras_model, LayerNormalization, "layer_normalization")
    found = {
        "stem_conv": f"{prefix}_stem/{prefix}_stem_conv",
        "stem_out": f"{prefix}_stem/{prefix}_stem_layernorm",
        "norm": unnamed[0] if unnamed and f"{prefix}_head_layernorm" not in theirs else f"{prefix}_head_layernorm",
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


def torch_names(names: Sequence[str], source: str) -> dict[str, str]:
    """For each of our layers its counterpart in torchvision or timm."""
    timm = source == "timm"
    parts = {
        "conv": "conv_dw" if timm else "block.0",
        "conv_norm": "norm" if timm else "block.2",
        "dense1": "mlp.fc1" if timm else "block.3",
        "dense2": "mlp.fc2" if timm else "block.5",
        "scale_gamma": "gamma" if timm else "layer_scale",
    }
    if timm:
        parts |= {"response_scale_gamma": "mlp.grn.weight", "response_beta": "mlp.grn.bias"}
    found = {
        "stem_conv": "stem.0" if timm else "features.0.0",
        "stem_out": "stem.1" if timm else "features.0.1",
        "norm": "head.norm" if timm else "classifier.0",
        "logits": "head.fc" if timm else "classifier.2",
    }
    for name in names:
        if match := re.fullmatch(r"stage(\d)_unit(\d+)_(.+)", name):
            stage, unit, layer = int(match[1]) - 1, int(match[2]) - 1, match[3]
            # torchvision numbers downsamplings and stages in one sequence, after the stem.
            if layer in parts:
                block = f"stages.{stage}.blocks.{unit}" if timm else f"features.{2 * stage + 1}.{unit}"
                found[name] = f"{block}.{parts[layer]}"
            elif layer in ("downsample_norm", "downsample"):
                block = f"stages.{stage}.downsample" if timm else f"features.{2 * stage}"
                found[name] = f"{block}.{('downsample_norm', 'downsample').index(layer)}"
    return found


def torch_settings(arch: str, source: str) -> Sequence[tuple[str, float]]:
    """Padding and epsilon: those of the style."""
    return (("same", 1e-6),)


FAMILY = Family(
    "convnext",
    VARIANTS,
    backbone,
    head,
    keras_names=keras_names,
    torch_names=torch_names,
    torch_settings=torch_settings,
    downsampling="stem",
)
