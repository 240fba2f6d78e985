"""LeNet: convolutions and pooling in turn, then dense layers."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from kblocks import Style
from kblocks.naming import scope
from kblocks.pool import avg_pool, max_pool


@dataclass(frozen=True, kw_only=True)
class LeNet:
    """Configuration.

    Attributes:
        filters: output channels of the convolutions, each followed by a pooling of stride 2.
        units: widths of the dense layers.
        kernel_size: kernel size of the convolutions.
        first_padding: padding of the first convolution; that of the others is `style.padding`.
        pool: a function `(x, size, *, stride, style, name) -> tensor`.
        dropout: dropout rate before the logits.
        style: style of all layers.
    """

    filters: tuple[int, ...]
    units: tuple[int, ...]
    kernel_size: int = 5
    first_padding: str = "valid"
    pool: Callable[..., KerasTensor] = max_pool
    dropout: float = 0.0
    style: Style = replace(kb.PLAIN, padding="valid")


VARIANTS = {
    "lenet5": Variant(
        LeNet(filters=(6, 16), units=(120, 84), first_padding="same", pool=avg_pool,
              style=replace(kb.TANH, padding="valid")),
        input_shape=(28, 28, 1), classes=10, params=61_706, macs=416_520,
        source="LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition, Figure 2: 0.95 % error",
        departures="the second convolution connects all channels; pooling has no weights; logits, not distances"),
    "lenet": Variant(
        LeNet(filters=(32, 64), units=(512,)),
        input_shape=(28, 28, 1), classes=10, params=582_026, macs=4_267_008,
        source="the wider LeNet of the MNIST tutorials, 32–64–512"),
    "lenet_tiny": Variant(
        LeNet(filters=(4, 8), units=(16,)),
        input_shape=(28, 28, 1), classes=10, params=3_146, macs=111_008,
        source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: LeNet, *, name: str | None = None) -> KerasTensor:
    """The activations of the last dense layer.

    Args:
        x: `(batch, height, width, channels)`, sizes known.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, spec.units[-1])`.

    Raises:
        ValueError: `x` is not of rank 4, too small, or of unknown size.
    """
    part = scope(name, "lenet")
    style = replace(spec.style, padding=spec.first_padding)
    for i, filters in enumerate(spec.filters, 1):
        x = kb.conv.conv_norm_act(x, filters, spec.kernel_size, style=style, name=part(f"stage{i}_conv"))
        x = spec.pool(x, 2, stride=2, style=spec.style, name=part(f"stage{i}_out"))
        style = spec.style
    x = kb.pool.global_pool(x, "flatten", name=part("flatten"))
    return kb.mlp.mlp(x, spec.units, style=spec.style, name=part("hidden"))


FAMILY = Family("lenet", VARIANTS, backbone)
