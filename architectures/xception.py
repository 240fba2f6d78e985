"""Xception: a stem, four stages of residual units of separable convolutions, two more such convolutions, logits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.dilation import replace_strides
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths
from architectures.weights.names import numbered
from kblocks import Style
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem
from kblocks.conv import separable_norm_act
from kblocks.naming import scope
from kblocks.residual import separable
from kblocks.style import batch_norm

STYLE = replace(kb.RELU_BN, norm=partial(batch_norm, momentum=0.99, epsilon=1e-3))


@dataclass(frozen=True, kw_only=True)
class Xception:
    """Configuration.

    Attributes:
        depths: number of units of each stage; the first of each has two convolutions and a stride of 2, the others
            have three convolutions.
        widths: output channels of each stage.
        top: output channels of the separable convolutions after the last stage.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        output_stride: total stride of the network. A dilation replaces the last stride alone, as the poolings that have
            the others have no dilation. `None` to replace none.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    depths: tuple[int, ...] = (1, 1, 9, 1)
    widths: tuple[int, ...] = (128, 256, 728, 1024)
    top: tuple[int, ...] = (1536, 2048)
    stem: Stem = kb.stem.xception
    stem_filters: int = 64
    output_stride: int | None = None
    drop_path: float = 0.0
    dropout: float = 0.5
    style: Style = STYLE


VARIANTS = {
    "xception": Variant(
        Xception(), input_shape=(299, 299, 3), classes=1000, params=22_855_952, macs=8_357_403_496,
        source="Chollet 2016, arXiv 1610.02357, Figure 5 and Table 3: 22,855,952",
        keras=keras.applications.Xception, preprocessing="tf"),
    "xception_cifar": Variant(
        Xception(stem=kb.stem.cifar, style=kb.RELU_BN), input_shape=(32, 32, 3), classes=10,
        params=20_809_810, macs=356_960_512,
        source="Chollet 2016, arXiv 1610.02357, Figure 5, for 32×32 images: a 3×3 convolution for a stem",
        departures="the stem"),
    "xception_tiny": Variant(
        Xception(depths=(1, 2), widths=(8, 12), top=(16,), stem=kb.stem.cifar, stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=2_194, macs=119_968, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: Xception, *, name: str | None = None) -> KerasTensor:
    """The features of the last separable convolution.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.top[-1])`, rounded up, with `s` the stem's stride times 2 for each stage,
        or the output stride.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem, `depths` and `widths` differ in length, or the
            output stride is not one of the network's.
    """
    check_depths(spec.depths, spec.widths)
    part = scope(name, "xception")
    rates = drop_path_schedule(spec.drop_path, spec.depths)
    dilations = replace_strides(spec, [2] * len(spec.depths), x, spec.stem_filters, most=1)
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        # 74 × 74 × 128, 37 × 37 × 256, 19 × 19 × 728, 10 × 10 × 1024
        for j in range(1, depth + 1):
            # The output of the stem is activated already.
            first = partial(separable, stride=2, depth=2, activate_first=i > 1, widen_last=i == len(spec.depths))
            unit = partial(first if j == 1 else separable, dilation=dilations[i - 1])
            x = unit(x, width, drop_path=rates[i - 1][j - 1], style=spec.style, name=part(f"stage{i}_unit{j}"))
    for j, width in enumerate(spec.top, 1):  # 10 × 10 × 1536, 10 × 10 × 2048
        x = separable_norm_act(x, width, dilation=dilations[-1], style=spec.style, name=part(f"top{j}"))
    return x


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications, whose blocks are stem, units and top."""
    found = {"logits": "predictions"}
    units = [tuple(map(int, match)) for match in re.findall(r"stage(\d)_unit(\d+)_conv1\b", " ".join(names))]
    for name in names:
        if match := re.fullmatch(r"stage(\d)_unit(\d+)_(conv\d)(_norm)?", name):
            stage, unit, conv, norm = match.groups()
            block, conv = sorted(units).index((int(stage), int(unit))) + 2, f"sep{conv}"
        elif match := re.fullmatch(r"stem_(conv\d)(_norm)?", name):
            block, (conv, norm) = 1, match.groups()
        elif match := re.fullmatch(r"top(\d)(_norm)?", name):
            block, conv, norm = len(units) + 2, f"sepconv{match[1]}", match[2]
        else:
            continue
        found[name] = f"block{block}_{conv}{'_bn' if norm else ''}"
    # Only the shortcuts have automatic names.
    for suffix, kind, prefix in (
        ("shortcut", keras.layers.Conv2D, "conv2d"),
        ("shortcut_norm", keras.layers.BatchNormalization, "batch_normalization"),
    ):
        ours = sorted(name for name in names if name.endswith(suffix))
        found |= zip(ours, numbered(keras_model, kind, prefix), strict=False)
    return found


FAMILY = Family("xception", VARIANTS, backbone, keras_names=keras_names, downsampling="stem")
