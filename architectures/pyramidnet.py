"""PyramidNet: residual units whose output channels rise linearly, unit by unit, with zero-padded shortcuts."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_halvings
from kblocks import Style, check
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem, Unit
from kblocks.naming import scope
from kblocks.residual import pyramid_basic, pyramid_bottleneck
from kblocks.style import activate, normalize


@dataclass(frozen=True, kw_only=True)
class PyramidNet:
    """Configuration.

    Attributes:
        unit: the residual unit.
        depths: number of units of each stage; between two stages the stride is 2.
        widening: the sum of the channels that the units add to the stem's, α in the paper.
        expansion: output channels of each unit, as a multiple of the channels so counted.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    unit: Unit
    depths: tuple[int, ...]
    widening: int
    expansion: int = 1
    stem: Stem = kb.stem.linear
    stem_filters: int = 16
    drop_path: float = 0.0
    dropout: float = 0.0
    style: Style = replace(kb.RELU_BN, padding="symmetric")


_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_basic = partial(PyramidNet, unit=pyramid_basic)
_bottleneck = partial(PyramidNet, unit=pyramid_bottleneck, expansion=4)

_HAN = "Han, Kim and Kim 2016, arXiv 1610.02915"
_T4 = f"{_HAN}, Table 4: "
_JK = f"{_HAN}, in the table of the authors' code, jhkim89/PyramidNet: "

VARIANTS = {
    "pyramidnet110_a48": _cifar(
        _basic(depths=(18, 18, 18), widening=48),       params=1_772_706, macs=403_813_504,
        source=f"{_T4}4.58 % error, 1.7 M", errors={"cifar10": 4.58, "cifar100": 23.12}),
    "pyramidnet110_a84": _cifar(
        _basic(depths=(18, 18, 18), widening=84),       params=3_904_446, macs=772_168_168,
        source=f"{_T4}4.26 % error, 3.8 M", errors={"cifar10": 4.26, "cifar100": 20.66}),
    "pyramidnet110_a270": _cifar(
        _basic(depths=(18, 18, 18), widening=270),      params=28_485_477, macs=4_717_983_724,
        source=f"{_T4}3.73 % error, 28.3 M", errors={"cifar10": 3.73, "cifar100": 18.25}),
    "pyramidnet164_a48": _cifar(
        _bottleneck(depths=(18, 18, 18), widening=48),  params=1_715_442, macs=388_433_920,
        source=f"{_JK}4.21 % error", errors={"cifar10": 4.21, "cifar100": 19.52}),
    "pyramidnet164_a84": _cifar(
        _bottleneck(depths=(18, 18, 18), widening=84),  params=3_757_494, macs=745_302_688,
        source=f"{_JK}3.96 % error", errors={"cifar10": 3.96, "cifar100": 18.32}),
    "pyramidnet164_a270": _cifar(
        _bottleneck(depths=(18, 18, 18), widening=270), params=27_216_021, macs=4_569_837_040,
        source=f"{_T4}3.48 % error, 27.0 M", errors={"cifar10": 3.48, "cifar100": 17.01}),
    "pyramidnet200_a240": _cifar(
        _bottleneck(depths=(22, 22, 22), widening=240), params=26_752_702, macs=4_519_606_016,
        source=f"{_T4}3.44 % error, 26.6 M", errors={"cifar10": 3.44, "cifar100": 16.51}),
    "pyramidnet236_a220": _cifar(
        _bottleneck(depths=(26, 26, 26), widening=220), params=26_969_046, macs=4_582_673_952,
        source=f"{_T4}3.40 % error, 26.8 M", errors={"cifar10": 3.40, "cifar100": 16.37}),
    "pyramidnet272_a200": _cifar(
        _bottleneck(depths=(30, 30, 30), widening=200), params=26_210_842, macs=4_488_778_176,
        source=f"{_T4}3.31 % error, 26.0 M", errors={"cifar10": 3.31, "cifar100": 16.35}),

    "pyramidnet_tiny": Variant(
        _basic(depths=(1, 2), widening=8, stem_filters=4),
        input_shape=(16, 16, 3), classes=10, params=4_679, macs=433_272, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: PyramidNet, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage, normalised and activated.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, spec.expansion · (spec.stem_filters + spec.widening))`, rounded up; `s` is the
        stride of the stem times 2 for each stage after the first.

    Raises:
        ValueError: `x` is not of rank 4 or too small, or there is no stage.
    """
    if not isinstance(spec.depths, tuple) or not spec.depths:
        raise ValueError(f"`depths` must hold at least one stage; got {spec.depths!r}")
    check.positive(spec.widening, "widening")
    check.positive(spec.expansion, "expansion")
    part = scope(name, "pyramidnet")
    rates = drop_path_schedule(spec.drop_path, spec.depths)
    units = count(1)
    x = spec.stem(x, spec.stem_filters, style=spec.style, name=part("stem"))
    check_halvings(x, len(spec.depths))
    for i, depth in enumerate(spec.depths, 1):
        # pyramidnet110_a48: 32 × 32 × 32, 16 × 16 × 48, 8 × 8 × 64
        for j in range(1, depth + 1):
            width = round(spec.stem_filters + spec.widening * next(units) / sum(spec.depths))
            x = spec.unit(
                x,
                spec.expansion * width,
                stride=2 if i > 1 and j == 1 else 1,
                drop_path=rates[i - 1][j - 1],
                style=spec.style,
                name=part(f"stage{i}_unit{j}"),
            )
    return activate(normalize(x, style=spec.style, name=part("norm")), style=spec.style, name=part("act"))


FAMILY = Family("pyramidnet", VARIANTS, backbone, downsampling="stem")
