"""Helpers of the maps from our layer names to those of keras.applications, torchvision and timm."""

import re
from collections.abc import Sequence

import keras


def numbered(keras_model: keras.Model, kind: type[keras.Layer], prefix: str) -> list[str]:
    """The names of a model's automatically named layers, `prefix`, `prefix_1`, …, in the order of their creation.

    Args:
        keras_model: a built model.
        kind: the class of the layers.
        prefix: the name before the number.

    Returns:
        The names, the lowest number first. The first number is arbitrary: Keras counts per process.
    """

    def number(name: str) -> int | None:
        rest = name.removeprefix(prefix)
        return 0 if not rest else int(rest[1:]) if rest[0] == "_" and rest[1:].isdecimal() else None

    names = [layer.name for layer in keras_model.layers if type(layer) is kind and layer.name.startswith(prefix)]
    numbers = {name: value for name in names if (value := number(name)) is not None}
    return sorted(numbers, key=numbers.__getitem__)


def numbered_convs(convs: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """Maps our convolutions, and the normalisation `…_norm` after each, to automatically named layers.

    Args:
        convs: names of our convolutions in the order in which Keras creates its own.
        keras_model: a built model.

    Returns:
        A map from our names to theirs.
    """
    found: dict[str, str] = {}
    for kind, prefix, suffix in (
        (keras.layers.Conv2D, "conv2d", ""),
        (keras.layers.BatchNormalization, "batch_normalization", "_norm"),
    ):
        theirs = numbered(keras_model, kind, prefix)
        # A model of another family has more or fewer.
        found |= zip((conv + suffix for conv in convs), theirs, strict=False)
    return found


def unit_layers(names: Sequence[str]) -> dict[str, tuple[int, str]]:
    """For each layer `stage{i}_unit{j}_{part}` the unit's index in the whole network, from 0, and the part."""
    matches = [match for name in names if (match := re.fullmatch(r"stage(\d+)_unit(\d+)_(\w+)", name))]
    units = sorted({(int(match[1]), int(match[2])) for match in matches})
    return {match[0]: (units.index((int(match[1]), int(match[2]))), match[3]) for match in matches}


TIMM_CONVS = {
    ("expand", "depthwise", "project"): ("conv_pw", "conv_dw", "conv_pwl"),
    ("depthwise", "project"): ("conv_dw", "conv_pw"),
    ("expand", "project"): ("conv_exp", "conv_pwl"),
    ("project",): ("conv",),
}
"""timm's names of the convolutions of inverted residuals, fused ones and such without an expansion, by ours."""


def timm_units(names: Sequence[str]) -> dict[str, str]:
    """Maps the layers of a network of inverted residuals to those in timm, where all such networks have the same names.

    Args:
        names: names of our layers.

    Returns:
        A map from our names to theirs.
    """
    found = {
        "stem_conv": "conv_stem",
        "stem_conv_norm": "bn1",
        "head_conv": "conv_head",
        "head_conv_norm": "bn2",
        "logits": "classifier",
    }
    parts = {"attention_reduce": "se.conv_reduce", "attention_expand": "se.conv_expand"}
    known = set(names)
    for name in names:
        if match := re.fullmatch(r"(stage(\d+)_unit(\d+)_)(\w+)", name):
            unit, block = match[1], f"blocks.{int(match[2]) - 1}.{int(match[3]) - 1}"
            convs = tuple(part for part in ("expand", "depthwise", "project") if f"{unit}{part}" in known)
            conv = match[4].removesuffix("_norm")
            if match[4] in parts:
                found[name] = f"{block}.{parts[match[4]]}"
            elif conv in convs and convs in TIMM_CONVS:
                i = convs.index(conv)
                found[name] = f"{block}.bn{i + 1}" if conv != match[4] else f"{block}.{TIMM_CONVS[convs][i]}"
    return found


def torchvision_ends(last: int) -> dict[str, str]:
    """Stem and head of torchvision's MobileNetV2 and EfficientNet, the head in `features` at index `last`."""
    return {
        "stem_conv": "features.0.0",
        "stem_conv_norm": "features.0.1",
        "head_conv": f"features.{last}.0",
        "head_conv_norm": f"features.{last}.1",
        "logits": "classifier.1",
    }
