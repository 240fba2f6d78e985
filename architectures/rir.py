"""ResNet in ResNet: units of a residual and a transient stream, which read each other."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.stages import check_depths, check_halvings
from kblocks import Style
from kblocks.compose import add, concat
from kblocks.contracts import Stem
from kblocks.conv import conv
from kblocks.naming import scope
from kblocks.residual import linear_projection
from kblocks.style import activate, normalize


@dataclass(frozen=True, kw_only=True)
class RiR:
    """Configuration.

    Attributes:
        depths: number of units of each stage; between two stages the stride is 2.
        widths: output channels of each stream in each stage.
        stem: the layers before the first stage, one stem for each stream.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Stem = kb.stem.cifar
    dropout: float = 0.0
    style: Style = replace(kb.RELU_BN, padding="symmetric")


_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)

VARIANTS = {
    "rir": _cifar(
        RiR(depths=(4, 6, 6), widths=(48, 96, 192)), params=9_492_970, macs=1_279_037_184,
        source="Targ, Almeida and Lyman 2016, arXiv 1603.08029, the wide RiR of 18 layers: 5.01 % error; with the "
               "layers of pytorchcv",
        errors={"cifar10": 5.01, "cifar100": 22.90},
        departures="a dense layer behind the pooling is the last, which is the 1×1 convolution before the pooling of "
                   "the paper, with a bias; pytorchcv has a normalisation between the two"),

    "rir_tiny": Variant(
        RiR(depths=(1, 2), widths=(4, 8)),
        input_shape=(16, 16, 3), classes=10, params=4_546, macs=426_144, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: RiR, *, name: str | None = None) -> KerasTensor:
    """The features of both streams: those of the residual stream first.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, height / s, width / s, 2 · spec.widths[-1])`, rounded up; `s` is the stride of the stem times 2 for
        each stage after the first.

    Raises:
        ValueError: `x` is not of rank 4 or too small, or `depths` and `widths` differ in length.
    """
    check_depths(spec.depths, spec.widths)
    part = scope(name, "rir")
    residual = spec.stem(x, spec.widths[0], style=spec.style, name=part("stem"))
    transient = spec.stem(x, spec.widths[0], style=spec.style, name=part("stem_transient"))
    check_halvings(residual, len(spec.depths))
    for i, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), 1):
        # rir: 2 × (32 × 32 × 48), 2 × (16 × 16 × 96), 2 × (8 × 8 × 192)
        for j in range(1, depth + 1):
            stride = 2 if i > 1 and j == 1 else 1
            residual, transient = _unit(residual, transient, width, stride, spec.style, part(f"stage{i}_unit{j}"))
    return concat([residual, transient], name=part("concat"))


def _unit(
    residual: KerasTensor, transient: KerasTensor, filters: int, stride: int, style: Style, name: str
) -> tuple[KerasTensor, KerasTensor]:
    """`act(norm(shortcut(r) + W₁ ∗ r + W₂ ∗ t)), act(norm(W₃ ∗ t + W₄ ∗ r))` of the streams `r` and `t`.

    Source: Targ, Almeida and Lyman, "Resnet in Resnet", 2016, arXiv 1603.08029, equations 2 and 3.
    """
    part = scope(name, "rir_unit")

    def convolve(x: KerasTensor, number: int) -> KerasTensor:
        return conv(x, filters, 3, stride=stride, style=style, name=part(f"conv{number}"))

    shortcut = residual
    if stride > 1 or residual.shape[-1] != filters:
        shortcut = linear_projection(residual, filters, stride=stride, style=style, name=part("shortcut"))
    r = add([shortcut, convolve(residual, 1), convolve(transient, 2)], name=part("add"))
    t = add([convolve(transient, 3), convolve(residual, 4)], name=part("transient_add"))
    r = activate(normalize(r, style=style, name=part("norm")), style=style, name=part("out"))
    t = activate(normalize(t, style=style, name=part("transient_norm")), style=style, name=part("transient_out"))
    return r, t


FAMILY = Family("rir", VARIANTS, backbone, downsampling="stem")
