"""Inception-v3 and -v4: a stem, modules of five kinds in three stages, and a global average pooling."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_stages
from architectures.weights.names import numbered_convs
from kblocks import Style, check
from kblocks.contracts import Module, Stem
from kblocks.inception import v3_a, v3_b, v3_c, v3_d, v3_e, v4_a, v4_b, v4_c, v4_d, v4_e
from kblocks.naming import scope
from kblocks.style import batch_norm

STYLE = replace(kb.RELU_BN, norm=partial(batch_norm, momentum=0.99, epsilon=1e-3), initializer="glorot_uniform")

STAGES: tuple[tuple[Module, ...], ...] = (
    (partial(v3_a, pool=32), v3_a, v3_a),
    (v3_b, partial(v3_c, inner=128), partial(v3_c, inner=160), partial(v3_c, inner=160), v3_c),
    (v3_d, v3_e, v3_e),
)

STAGES_V4: tuple[tuple[Module, ...], ...] = ((v4_a,) * 4, (v4_b, *(v4_c,) * 7), (v4_d, *(v4_e,) * 3))


@dataclass(frozen=True, kw_only=True)
class Inception:
    """Configuration.

    Attributes:
        stages: the modules, stage by stage; the first module of every stage but the first has a stride of 2.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    stages: tuple[tuple[Module, ...], ...] = STAGES
    stem: Stem = kb.stem.inception_v3
    stem_filters: int = 192
    dropout: float = 0.2
    style: Style = STYLE


_TINY = (
    (partial(v3_a, b1=2, b5=(2, 2), double=(2, 2, 2), pool=2),),
    (partial(v3_b, b3=2, double=(2, 2, 2)), partial(v3_c, inner=2, out=2)),
    (partial(v3_d, b3=(2, 2), rows=2), partial(v3_e, b1=2, split=(2, 2), double=(2, 2, 2), pool=2)),
)

_V4 = Inception(stages=STAGES_V4, stem=kb.stem.inception_v4, stem_filters=384)

VARIANTS = {
    "inception_v3": Variant(
        Inception(), input_shape=(299, 299, 3), classes=1000, params=23_834_568, macs=5_713_216_096,
        source="Szegedy et al. 2015, arXiv 1512.00567, Table 1 and abstract: 5 GMACs, less than 25 M parameters; "
        "torchvision: 27,161,264 parameters, 3,326,696 of them in an auxiliary head, and 5.713 GMACs",
        departures="stem and modules of the authors' own code, which are not quite those of Table 1; no auxiliary head",
        keras=keras.applications.InceptionV3, preprocessing="tf"),
    "inception_v4": Variant(
        _V4, input_shape=(299, 299, 3), classes=1000, params=42_679_816, macs=12_253_974_624,
        source="Szegedy et al. 2016, arXiv 1602.07261, Figures 3 to 9 and Table 1; timm: 42.68 M parameters, "
        "12.25 GMACs",
        departures="the order of the 1×n and n×1 kernels is that of the authors' own code"),
    "inception_v3_cifar": Variant(
        Inception(stem=kb.stem.cifar, style=kb.RELU_BN), input_shape=(32, 32, 3), classes=10,
        params=21_638_954, macs=3_460_465_664,
        source="Szegedy et al. 2015, arXiv 1512.00567, Table 1, for 32×32 images: a 3×3 convolution for a stem",
        departures="the stem; modules of the authors' own code; no auxiliary head"),
    "inception_v4_cifar": Variant(
        replace(_V4, stem=kb.stem.cifar, style=kb.RELU_BN), input_shape=(32, 32, 3), classes=10,
        params=40_563_594, macs=7_875_919_872,
        source="Szegedy et al. 2016, arXiv 1602.07261, for 32×32 images: a 3×3 convolution for a stem",
        departures="the stem"),
    "inception_tiny": Variant(
        Inception(stages=_TINY, stem=kb.stem.cifar, stem_filters=4), input_shape=(16, 16, 3), classes=10,
        params=1_430, macs=121_640, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: Inception, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, h, w, channels)`, the output channels of the last module; each stage after the first reduces a size to
        `(size − 1) // 2`.

    Raises:
        ValueError: `x` is not of rank 4, or too small for the stem or for the stages.
    """
    check_stages(spec.stages)
    part = scope(name, "inception")
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))  # 35 × 35 × 192
    check.min_size(x, 2 ** len(spec.stages) - 1, f"{len(spec.stages)} stages", subject="the output of the stem")
    for i, stage in enumerate(spec.stages, 1):  # 35 × 35 × 288, 17 × 17 × 768, 8 × 8 × 2048
        for j, module in enumerate(stage, 1):
            check.block(module, "stages", Module)
            x = module(x, style=spec.style, name=part(f"stage{i}_unit{j}"))
    return x


_A = ("1x1", "5x5_reduce", "5x5", "double_reduce", "double1", "double2", "pool_project")
_B = ("3x3", "double_reduce", "double1", "double2")
_C = (
    *("1x1", "rows_reduce", "rows1", "rows2"),
    *("double_reduce", "double1", "double2", "double3", "double4", "pool_project"),
)
_D = ("3x3_reduce", "3x3", "rows_reduce", "rows1", "rows2", "rows_3x3")
_E = (
    *("1x1", "split_reduce", "split_1x3", "split_3x1"),
    *("double_reduce", "double_3x3", "double_1x3", "double_3x1", "pool_project"),
)


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    convs = [f"stem_conv{i}" for i in range(1, 6)]
    for i, stage in enumerate(((_A, _A, _A), (_B, _C, _C, _C, _C), (_D, _E, _E)), 1):
        convs += [f"stage{i}_unit{j}_{conv}" for j, module in enumerate(stage, 1) for conv in module]
    found = numbered_convs(convs, keras_model) | {"logits": "predictions"}
    return {name: found[name] for name in names if name in found}


FAMILY = Family("inception", VARIANTS, backbone, keras_names=keras_names, downsampling="stem")
