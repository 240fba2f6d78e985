"""The networks of airbench: a whitening convolution, groups of convolutions with a max-pooling, and scaled logits."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify_scaled
from architectures.common.stages import check_halvings
from kblocks import Style, check
from kblocks.contracts import Stem, Unit
from kblocks.conv import conv, conv_norm
from kblocks.naming import scope
from kblocks.residual import basic
from kblocks.style import activate, batch_norm, gelu, norm_act

STYLE = Style(activation=gelu, norm=partial(batch_norm, momentum=0.6, epsilon=1e-12, scale=False))
_STYLE96 = replace(STYLE, norm=partial(batch_norm, epsilon=1e-12, scale=False))


@dataclass(frozen=True, kw_only=True)
class Airbench:
    """Configuration.

    Attributes:
        widths: output channels of each stage, a single unit of stride 2.
        unit: the unit, such as `group`.
        stem: the layers before the first stage.
        stem_filters: output channels of the stem; `None` for twice the numbers in a 2×2 patch of the image.
        scale: factor of the logits.
        style: style of all layers.
    """

    widths: tuple[int, ...]
    unit: Unit
    stem: Stem = kb.stem.whitening
    stem_filters: int | None = None
    scale: float = 1 / 9
    style: Style = STYLE


def group(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    residual: bool = False,
    drop_path: float = 0.0,
    style: Style = kb.RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`act(norm(conv3×3(a)))` with `a = act(norm(maxpool(conv3×3(x))))`, or `kblocks.residual.basic(a)`.

    Args:
        x: `(batch, height, width, channels)`.
        filters: number of output channels.
        stride: window and stride of the max-pooling, without padding.
        residual: whether a residual unit follows the pooling instead of a single convolution.
        drop_path: stochastic-depth (drop-path) rate of the residual.
        style: style of all layers.
        name: the prefix of the layers.

    Returns:
        `(batch, height // stride, width // stride, filters)`.

    Raises:
        ValueError: there is a `drop_path` without a residual.

    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, arXiv 2404.00498, section 3.1; with a
    residual section 4.

    >>> from keras import Input
    >>> group(Input((31, 31, 24)), 64, stride=2).shape
    (None, 15, 15, 64)
    """
    if drop_path and not residual:
        raise ValueError(f"`drop_path` must be 0 without `residual`; got {drop_path!r}")
    part = scope(name, "airbench_group")
    x = conv(x, filters, 3, style=style, name=part("down"))
    if stride > 1:
        x = kb.pool.max_pool(x, stride, stride=stride, style=replace(style, padding="valid"), name=part("pool"))
    x = norm_act(x, style=style, name=part("down"))
    if residual:
        return basic(x, filters, drop_path=drop_path, style=style, name=part("out").removesuffix("_out"))
    return activate(conv_norm(x, filters, 3, style=style, name=part("conv")), style=style, name=part("out"))


_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_PAPER = "Jordan 2024, arXiv 2404.00498, section {}, and github.com/KellerJordan/cifar10-airbench"
_residual = partial(group, residual=True)

VARIANTS = {
    "airbench94": _cifar(
        Airbench(widths=(64, 256, 256), unit=group), params=1_971_352, macs=118_147_384,
        source=f"{_PAPER.format(3)}: airbench94, 94.01 % accuracy after 9.9 epochs", errors={"cifar10": 5.99}),
    "airbench95": _cifar(
        Airbench(widths=(128, 384, 384), unit=group), params=4_604_440, macs=301_560_888,
        source=f"{_PAPER.format(4)}: airbench95, 95.01 % accuracy after 15 epochs", errors={"cifar10": 4.99}),
    "airbench96": _cifar(
        Airbench(widths=(128, 384, 512), unit=_residual, style=_STYLE96), params=9_915_416, macs=451_967_288,
        source=f"{_PAPER.format(4)}: airbench96 with the widths of airbench96_faster, 96.03 % accuracy",
        errors={"cifar10": 3.97}),
    "airbench_tiny": Variant(
        Airbench(widths=(4, 8), unit=_residual), input_shape=(16, 16, 3), classes=10, params=2_732, macs=297_896,
        source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: Airbench, *, name: str | None = None) -> KerasTensor:
    """The features of the last stage.

    Args:
        x: `(batch, height, width, channels)`.
        spec: a row's spec.
        name: the prefix of the layers. The whitening kernel, random at first, is that of the layer `stem_conv`.

    Returns:
        `(batch, (height - 1) // s, (width - 1) // s, spec.widths[-1])` with `s = 2 ** len(spec.widths)`, for another
        stem the quotients of its output.

    Raises:
        ValueError: `x` is not of rank 4 or too small, or there are no widths.
    """
    check.rank(x, 4)
    if not spec.widths:
        raise ValueError(f"`widths` must hold at least one width; got {spec.widths}")
    part = scope(name, "airbench")
    filters = 2 * 2 * 2 * int(x.shape[-1]) if spec.stem_filters is None else spec.stem_filters
    x = spec.stem(x, filters, style=spec.style, name=part("stem"))
    check_halvings(x, len(spec.widths) + 1)
    for i, width in enumerate(spec.widths, 1):
        # 15 × 15 × 64, 7 × 7 × 256, 3 × 3 × 256
        x = spec.unit(x, width, stride=2, style=spec.style, name=part(f"stage{i}_unit1"))
    return x


def whitening(images: np.ndarray, *, size: int = 2, epsilon: float = 5e-4) -> np.ndarray:
    """A kernel for `kblocks.stem.whitening`: the eigenvectors of the patches of images, and their negation.

    The responses to the first half have zero correlation and a mean square of 1, apart from `epsilon`.

        model.get_layer("stem_conv").set_weights([whitening(images[:5000])])

    Args:
        images: `(count, height, width, channels)`, normalised as for training.
        size: height and width of a patch.
        epsilon: added to the eigenvalues, the mean squares of the patches along the eigenvectors.

    Returns:
        `(size, size, channels, 2 · size² · channels)`, float32; the eigenvector of the largest eigenvalue comes first.

    Raises:
        ValueError: `images` has another rank, or is smaller than a patch.

    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, arXiv 2404.00498, section 3.2, and the
    author's code.

    >>> whitening(np.random.default_rng(0).normal(size=(8, 32, 32, 3))).shape
    (2, 2, 3, 24)
    """
    images = np.asarray(images, "float32")
    check.rank(images, 4, "images")
    check.min_size(images, size, "a patch", subject="`images`")
    channels = images.shape[-1]
    features = size * size * channels
    moments, count = np.zeros((features, features)), 0
    for start in range(0, len(images), 256):
        windows = np.lib.stride_tricks.sliding_window_view(images[start : start + 256], (size, size), axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, features).astype("float64")
        moments, count = moments + patches.T @ patches, count + len(patches)
    values, vectors = np.linalg.eigh(moments / count)
    scaled = (vectors / np.sqrt(values + epsilon))[:, ::-1]
    kernel = np.concatenate([scaled, -scaled], axis=1)
    return kernel.reshape(size, size, channels, 2 * features).astype("float32")


FAMILY = Family("airbench", VARIANTS, backbone, classify_scaled, downsampling="stem")
