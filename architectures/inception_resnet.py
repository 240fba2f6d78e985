"""Inception-ResNet: a stem, and three stages of a module followed by scaled residual units."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures import inception
from architectures.common.family import Family, Variant
from architectures.weights.names import numbered_convs
from kblocks import Style, check
from kblocks.compose import drop_path_schedule, stage
from kblocks.contracts import Module, Stem, Unit
from kblocks.conv import conv_norm_act
from kblocks.inception import v3_a, v3_b
from kblocks.inception_resnet import block8, block17, block35, reduction_a, reduction_b
from kblocks.naming import scope


@dataclass(frozen=True, kw_only=True)
class InceptionResNet:
    """Configuration.

    Attributes:
        modules: the first module of each stage; all but the first have a stride of 2. `None` for none.
        units: the residual unit of each stage.
        depths: number of units of each stage, without `last`.
        last: the residual unit at the end of the last stage.
        filters: output channels of the last convolution; `None` for none.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    modules: tuple[Module | None, ...] = (partial(v3_a, b1=96), reduction_a, reduction_b)
    units: tuple[Unit, ...] = (block35, block17, block8)
    depths: tuple[int, ...] = (10, 20, 9)
    last: Unit = partial(block8, scale=1.0, act=False)
    filters: int | None = 1536
    stem: Stem = kb.stem.inception_v3
    stem_filters: int = 192
    drop_path: float = 0.0
    dropout: float = 0.2
    style: Style = inception.STYLE


def _tiny() -> InceptionResNet:
    rows = partial(block17, b1=2, rows=(2, 2, 2), n=3)
    return InceptionResNet(
        modules=(
            partial(v3_a, b1=2, b5=(2, 2), double=(2, 2, 2), pool=2),
            partial(v3_b, b3=2, double=(2, 2, 2)),
            partial(reduction_b, b3=(2, 2), more=(2, 2), double=(2, 2, 2)),
        ),
        units=(partial(block35, b1=2, b3=(2, 2), double=(2, 2, 2)), rows, rows),
        depths=(1, 1, 1), last=partial(rows, scale=1.0, act=False), filters=16, stem=kb.stem.cifar, stem_filters=4,
    )  # fmt: skip


_block8_v1 = partial(block8, rows=(192, 192, 192))
_V1 = InceptionResNet(
    modules=(
        None,
        partial(v3_b, double=(192, 192, 256)),
        partial(reduction_b, more=(256, 256), double=(256, 256, 256)),
    ),
    units=(
        partial(block35, double=(32, 32, 32)),
        partial(block17, b1=128, rows=(128, 128, 128)),
        _block8_v1,
    ),
    depths=(5, 10, 5), last=partial(_block8_v1, scale=1.0, act=False), filters=None,
    stem=kb.stem.inception_resnet_v1, stem_filters=256,
)  # fmt: skip

VARIANTS = {
    "inception_resnet_v1": Variant(
        _V1, input_shape=(299, 299, 3), classes=1000, params=24_357_096, macs=6_308_597_856,
        source="Szegedy et al. 2016, arXiv 1602.07261, Figures 10 to 14",
        departures="a last unit that is neither scaled nor activated, as in the implementation for FaceNet"),
    "inception_resnet_v2": Variant(
        InceptionResNet(), input_shape=(299, 299, 3), classes=1000, params=55_843_464, macs=13_155_794_016,
        source="Szegedy et al. 2016, arXiv 1602.07261, Figures 15 to 19; timm: 55.84 M parameters, 13.2 GMACs",
        departures="stem, widths and depths of the authors' own code: twice the units, and the stem of Inception-v3",
        keras=keras.applications.InceptionResNetV2, preprocessing="tf"),
    "inception_resnet_tiny": Variant(
        _tiny(), input_shape=(16, 16, 3), classes=10, params=2_118, macs=172_148,
        source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: InceptionResNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last layer.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, h, w, spec.filters)`, without `filters` the channels of the last unit; each stage after the first
        reduces a size to `(size − 1) // 2`.

    Raises:
        ValueError: `x` is not of rank 4 or too small for the stem or the stages, or `modules`, `units` and `depths`
            differ in length.
    """
    count = len(spec.depths)
    if not count == len(spec.modules) == len(spec.units) > 0:
        raise ValueError(
            "`modules`, `units` and `depths` must be of one length, at least 1; "
            f"got {len(spec.modules)}, {len(spec.units)} and {count}"
        )
    part = scope(name, "inception_resnet")
    *rates, last_rate = drop_path_schedule(spec.drop_path, (*spec.depths, 1))
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))  # 35 × 35 × 192
    check.min_size(x, 2**count - 1, f"{count} stages", subject="the output of the stem")
    for i, (module, unit, depth) in enumerate(zip(spec.modules, spec.units, spec.depths, strict=True), 1):
        # 35 × 35 × 320, 17 × 17 × 1088, 8 × 8 × 2080
        if module is not None:
            check.block(module, "modules", Module)
            x = module(x, style=spec.style, name=part(f"stage{i}_module"))
        x = stage(x, unit, x.shape[-1], depth, drop_paths=rates[i - 1], style=spec.style, name=part(f"stage{i}"))
    last = part(f"stage{count}_unit{spec.depths[-1] + 1}")
    x = spec.last(x, x.shape[-1], drop_path=last_rate[0], style=spec.style, name=last)
    if spec.filters is None:
        return x
    return conv_norm_act(x, spec.filters, 1, style=spec.style, name=part("conv"))  # 8 × 8 × 1536


_MODULES = (
    ("1x1", "5x5_reduce", "5x5", "double_reduce", "double1", "double2", "pool_project"),
    ("3x3", "double_reduce", "double1", "double2"),
    ("3x3_reduce", "3x3", "more_reduce", "more", "double_reduce", "double1", "double2"),
)
_BLOCK35 = ("1x1", "3x3_reduce", "3x3", "double_reduce", "double1", "double2")
_BLOCK17 = ("1x1", "rows_reduce", "rows1", "rows2")
_STAGES = (("block35", 10, _BLOCK35), ("block17", 20, _BLOCK17), ("block8", 10, _BLOCK17))


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    convs = [f"stem_conv{i}" for i in range(1, 6)]
    found = {"conv": "conv_7b", "conv_norm": "conv_7b_bn", "logits": "predictions"}
    for i, (module, (block, depth, unit)) in enumerate(zip(_MODULES, _STAGES, strict=True), 1):
        convs += [f"stage{i}_module_{conv}" for conv in module]
        convs += [f"stage{i}_unit{j}_{conv}" for j in range(1, depth + 1) for conv in unit]
        found |= {f"stage{i}_unit{j}_project": f"{block}_{j}_conv" for j in range(1, depth + 1)}
    found |= numbered_convs(convs, keras_model)
    return {name: found[name] for name in names if name in found}


FAMILY = Family("inception_resnet", VARIANTS, backbone, keras_names=keras_names, downsampling="stem")
