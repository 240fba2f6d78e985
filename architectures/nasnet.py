"""NASNet: a stack of cells found by architecture search on CIFAR-10; the inputs of each are the last two outputs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths
from kblocks import Style
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Cell, Stem
from kblocks.naming import scope
from kblocks.style import activate, batch_norm

STYLE_KERAS = replace(kb.RELU_BN, norm=partial(batch_norm, momentum=0.9997, epsilon=1e-3))


@dataclass(frozen=True, kw_only=True)
class NASNet:
    """Configuration.

    Attributes:
        depths: number of normal cells of each stage; a reduction cell precedes every stage but the first.
        widths: filters of each stage's cells; a normal cell has six times as many output channels.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        stem_widths: filters of the reduction cells between the stem and the first stage.
        skip_reduction: whether the first normal cell after a reduction cell has the same `previous` as that, not its
            `x`.
        normal: the normal cell.
        reduction: the reduction cell, with a stride of 2.
        drop_path: stochastic-depth rate of the last cell; the rates rise linearly from 0 at the first. (In the paper
            they also rise during training.)
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Stem
    stem_filters: int
    stem_widths: tuple[int, ...] = ()
    skip_reduction: bool = False
    normal: Cell = kb.nasnet.normal_cell
    reduction: Cell = kb.nasnet.reduction_cell
    drop_path: float = 0.0
    dropout: float = 0.0
    style: Style = kb.RELU_BN


_keras = partial(
    NASNet,
    stem=kb.stem.nasnet,
    reduction=partial(kb.nasnet.reduction_cell, pad_pools=True),
    dropout=0.5,
    style=STYLE_KERAS,
)
_DEPARTURES = (
    "zero padding before the poolings of the reduction cells, as in keras.applications; no auxiliary classifier"
)
_ZOPH = "Zoph et al. 2017, arXiv 1707.07012"

VARIANTS = {
    "nasnet_mobile": Variant(
        _keras(depths=(4, 4, 4), widths=(44, 88, 176), stem_filters=32, stem_widths=(11, 22)),
        input_shape=(224, 224, 3), classes=1000, params=5_289_978, macs=563_638_816,
        source=f"{_ZOPH}, Table 3: 5.3 M parameters, 564 M multiply-adds", departures=_DEPARTURES,
        keras=keras.applications.NASNetMobile, preprocessing="tf"),
    "nasnet_large": Variant(
        _keras(depths=(6, 6, 6), widths=(168, 336, 672), stem_filters=96, stem_widths=(42, 84), skip_reduction=True),
        input_shape=(331, 331, 3), classes=1000, params=88_753_150, macs=23_783_414_658,
        source=f"{_ZOPH}, Table 2: 88.9 M parameters, 23.8 B multiply-adds", departures=_DEPARTURES,
        keras=keras.applications.NASNetLarge, preprocessing="tf"),
    "nasnet_cifar": Variant(
        NASNet(depths=(6, 6, 6), widths=(32, 64, 128), stem=kb.stem.cifar, stem_filters=96),
        input_shape=(32, 32, 3), classes=10, params=3_328_234, macs=525_786_624,
        source=f"{_ZOPH}, Table 1: NASNet-A (6 @ 768), 3.3 M parameters, 3.41 % error",
        departures="no auxiliary classifier"),
    "nasnet_tiny": Variant(
        NASNet(depths=(1, 1), widths=(2, 4), stem=kb.stem.cifar, stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=3_314, macs=280_816, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: NASNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last cell, activated.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, 6 · spec.widths[-1])`, rounded up; `s` is the stride of the stem times 2 for
        each cell of `spec.stem_widths` and each stage after the first.

    Raises:
        ValueError: `x` is not of rank 4, too small for the stem or, in Keras's rows, of unknown size, or `depths` and
            `widths` differ in length.
    """
    part = scope(name, "nasnet")
    cells = list(_cells(spec))
    rates = drop_path_schedule(spec.drop_path, [len(cells)])[0]
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    previous, halved = None, False
    for (place, cell, width, skipped), rate in zip(cells, rates, strict=True):
        # nasnet_mobile: 56 × 56 × 44 and 28 × 28 × 88 in the stem, then 28 × 28 × 264, 14 × 14 × 528, 7 × 7 × 1056;
        # nasnet_cifar: 32 × 32 × 192, 16 × 16 × 384, 8 × 8 × 768
        y = cell((x, previous), width, halve_previous=halved, drop_path=rate, style=spec.style, name=part(place))
        previous, x, halved = previous if skipped else x, y, cell is spec.reduction
    return activate(x, style=spec.style, name=part("act"))


def _cells(spec: NASNet) -> Iterator[tuple[str, Cell, int, bool]]:
    """Each cell's name, function and width, and whether the next cell has its `previous`, not its `x`."""
    check_depths(spec.depths, spec.widths)
    for i, width in enumerate(spec.stem_widths, 1):
        yield f"stem_reduction{i}", spec.reduction, width, False
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        if i > 1:
            yield f"stage{i}_reduction", spec.reduction, width, spec.skip_reduction
        for j in range(1, depth + 1):
            yield f"stage{i}_unit{j}", spec.normal, width, False


def keras_names(names: Sequence[str], keras_model: keras.Model) -> dict[str, str]:
    """For each of our layers its counterpart in keras.applications."""
    found = {"stem_conv": "stem_conv1", "stem_out": "stem_bn1", "logits": "predictions"}
    places = [match for name in names if (match := re.fullmatch(r"(stem|stage(\d))_(unit|reduction)(\d*)_(.+)", name))]
    depth = max((int(match[4]) for match in places if match[3] == "unit"), default=0)
    for match in places:
        _, stage, kind, number, layer = match.groups()
        before = depth * (int(stage or 1) - 1)
        if kind == "unit":
            # Theirs are numbered from 0, the reduction cells included.
            cell, block = "normal", str(before + int(number) - (stage == "1"))
        else:
            cell, block = "reduction", f"reduce_{before}" if stage else f"stem_{number}"
        theirs = _keras_layer(layer, cell)
        if theirs:
            found[match[0]] = f"{theirs}_{block}"
    return found


def _keras_layer(layer: str, cell: str) -> str | None:
    """The name of a cell's layer in keras.applications, without the number of the cell."""
    fixed = {
        "conv": f"{cell}_conv_1",
        "conv_norm": f"{cell}_bn_1",
        "previous_conv": "adjust_conv_projection",
        "previous_conv1": "adjust_conv_1",
        "previous_conv2": "adjust_conv_2",
        "previous_conv_norm": "adjust_bn",
        "previous_norm": "adjust_bn",
    }
    match = re.fullmatch(r"((?:left|right)\d)_conv(\d)(_norm)?", layer)
    if not match:
        return fixed.get(layer)
    place, conv, norm = match.groups()
    # The left operations of the fourth and the fifth sum of a reduction cell have one name.
    place = "left4" if (cell, place) == ("reduction", "left5") else place
    return f"separable_conv_{conv}{'_bn' if norm else ''}_{cell}_{place}"


FAMILY = Family("nasnet", VARIANTS, backbone, keras_names=keras_names, downsampling="stem")
