"""ConvMixer: patches, units of a depthwise and a 1×1 convolution at one size, and a global average."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from kblocks import Style, check
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem, Unit
from kblocks.mixer import conv_mixer
from kblocks.naming import scope
from kblocks.stem import convmixer


@dataclass(frozen=True, kw_only=True)
class ConvMixer:
    """Configuration.

    Attributes:
        width: output channels of the stem and of each unit.
        depth: number of units.
        unit: the unit.
        stem: the layers before the first unit, which alone have a stride.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    width: int
    depth: int
    unit: Unit = conv_mixer
    stem: Stem = convmixer
    drop_path: float = 0.0
    dropout: float = 0.0
    style: Style = kb.GELU_BN


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_TROCKMAN = "Trockman and Kolter 2022, arXiv 2201.09792"

VARIANTS = {
    "convmixer_256_8": _cifar(
        ConvMixer(width=256, depth=8, unit=partial(conv_mixer, kernel_size=5), stem=partial(convmixer, size=2)),
        params=594_186, macs=148_113_920,
        source=f"{_TROCKMAN}, appendix on CIFAR-10; locuslab/convmixer-cifar10: error of 25 epochs, below 6 % of 100",
        errors={"cifar10": 7.5}),
    "convmixer_256_16": _cifar(
        ConvMixer(width=256, depth=16, unit=partial(conv_mixer, kernel_size=8), stem=partial(convmixer, size=1)),
        params=1_339_402, macs=1_342_966_272,
        source=f"{_TROCKMAN}, appendix on CIFAR-10; kentaroy47/vision-transformers-cifar10, `convmixer`",
        errors={"cifar10": 3.7}),
    "convmixer_768_32": _imagenet(
        ConvMixer(width=768, depth=32, unit=partial(conv_mixer, kernel_size=7), style=kb.RELU_BN),
        params=21_110_248, macs=20_676_851_712, source=f"{_TROCKMAN}, Table 1: 21.1 M parameters, with ReLU"),
    "convmixer_1536_20": _imagenet(
        ConvMixer(width=1536, depth=20),
        params=51_625_960, macs=51_099_168_768, source=f"{_TROCKMAN}, Table 1: 51.6 M parameters"),
    "convmixer_tiny": _cifar(
        ConvMixer(width=4, depth=2, unit=partial(conv_mixer, kernel_size=3), stem=partial(convmixer, size=2)),
        input_shape=(16, 16, 3), params=262, macs=9_768, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: ConvMixer, *, name: str | None = None) -> KerasTensor:
    """The features of the last unit.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height // s, width // s, spec.width)`; `s` is the stride of the stem.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, or `depth` is not a positive integer.
    """
    check.positive(spec.depth, "depth")
    part = scope(name, "convmixer")
    x = spec.stem(x, spec.width, style=spec.style, name=part("stem"))
    # convmixer_768_32: 32 × 32 × 768; convmixer_256_8: 16 × 16 × 256
    return kb.compose.stage(
        x,
        spec.unit,
        spec.width,
        spec.depth,
        drop_paths=drop_path_schedule(spec.drop_path, (spec.depth,))[0],
        style=spec.style,
        name=part("stage1"),
    )


def torch_names(names: Sequence[str], source: str) -> dict[str, str]:
    """For each of our layers its counterpart in timm."""
    parts = {"conv1": "0.fn.0", "conv1_norm": "0.fn.2", "conv2": "1", "out": "3"}
    found = {"stem_conv": "stem.0", "stem_out": "stem.2", "logits": "head"}
    for name in names:
        if (match := re.fullmatch(r"stage1_unit(\d+)_(.+)", name)) and match[2] in parts:
            found[name] = f"blocks.{int(match[1]) - 1}.{parts[match[2]]}"
    return found


FAMILY = Family("convmixer", VARIANTS, backbone, torch_names=torch_names, downsampling="stem")
