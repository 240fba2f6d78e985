"""Simple convolutional networks for MNIST: convolutions without padding, and one dense layer."""

from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify
from kblocks import Style, check
from kblocks.naming import scope


@dataclass(frozen=True, kw_only=True)
class MnistCNN:
    """Configuration.

    Attributes:
        widths: output channels of each convolution.
        kernel_size: kernel size of the convolutions.
        pools: number of convolutions, from the first, that a max-pooling of stride 2 follows.
        dropout: dropout rate before the logits.
        norm_logits: whether the logits have no bias and a batch normalisation.
        style: style of all layers.
    """

    widths: tuple[int, ...]
    kernel_size: int = 3
    pools: int = 0
    dropout: float = 0.0
    norm_logits: bool = False
    style: Style = replace(kb.RELU_BN, padding="valid")


_mnist = partial(Variant, input_shape=(28, 28, 1), classes=10)
_simple = partial(MnistCNN, norm_logits=True)
_AN = "An et al. 2020, arXiv 2008.10400, Figure 1: {}, one of three networks whose majority vote has 99.87 % accuracy"

VARIANTS = {
    "mnist_cnn": _mnist(
        MnistCNN(widths=(32, 64), pools=2, dropout=0.5, style=replace(kb.PLAIN, padding="valid")),
        params=34_826, macs=2_440_960,
        source="Chollet 2015, Simple MNIST convnet, keras.io/examples/vision/mnist_convnet"),
    "mnist_cnn_m3": _mnist(
        _simple(widths=(32, 48, 64, 80, 96, 112, 128, 144, 160, 176)), params=1_124_180, macs=173_383_808,
        source=_AN.format("M3")),
    "mnist_cnn_m5": _mnist(
        _simple(widths=(32, 64, 96, 128, 160), kernel_size=5), params=1_128_180, macs=137_369_600,
        source=_AN.format("M5")),
    "mnist_cnn_m7": _mnist(
        _simple(widths=(48, 96, 144, 192), kernel_size=7), params=2_291_972, macs=148_385_472,
        source=_AN.format("M7")),
    "mnist_cnn_tiny": _mnist(
        _simple(widths=(4, 8), pools=1), params=10_048, macs=68_864, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: MnistCNN, *, name: str | None = None) -> KerasTensor:
    """The flattened features of the last convolution.

    Args:
        x: `(batch, height, width, channels)`, sizes known.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, features)`.

    Raises:
        ValueError: `x` is not of rank 4, too small, or of unknown size, or there are more poolings than convolutions.
    """
    check.rank(x, 4)
    check.choice(spec.pools, range(len(spec.widths) + 1), "pools")
    part = scope(name, "mnist_cnn")
    for i, width in enumerate(spec.widths, 1):
        x = kb.conv.conv_norm_act(x, width, spec.kernel_size, style=spec.style, name=part(f"conv{i}"))
        if i <= spec.pools:
            x = kb.pool.max_pool(x, 2, stride=2, style=spec.style, name=part(f"pool{i}"))
    return kb.pool.global_pool(x, "flatten", name=part("flatten"))


def head(x: KerasTensor, spec: MnistCNN, classes: int, pooling: str | None, /) -> KerasTensor:
    """Dropout and logits, or logits with a batch normalisation."""
    if not (classes and spec.norm_logits) or pooling is not None:
        return classify(x, spec, classes, pooling)
    x = kb.head.logits(x, classes, use_bias=False, style=spec.style, name="logits_dense")
    return kb.style.batch_norm(x, dtype="float32", name="logits")


FAMILY = Family("mnist_cnn", VARIANTS, backbone, head)
