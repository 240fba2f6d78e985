"""MLP-Mixer: tokens of patches, units that mix tokens and channels in turn, a normalisation and an average."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify
from kblocks import Style, check
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem, Unit
from kblocks.mixer import mlp_mixer
from kblocks.naming import scope
from kblocks.style import layer_norm, normalize
from kblocks.transformer import patch_embed

STYLE_TORCH = replace(kb.GELU_LN, norm=partial(layer_norm, epsilon=1e-5))


@dataclass(frozen=True, kw_only=True)
class MlpMixer:
    """Configuration.

    Attributes:
        width: channels of the tokens.
        depth: number of units.
        unit: the unit.
        tokenizer: makes tokens of an image, `(batch, tokens, channels)`; the positions of a stem are tokens too.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first.
        style: style of all layers.
    """

    width: int
    depth: int
    unit: Unit = mlp_mixer
    tokenizer: Stem = patch_embed
    drop_path: float = 0.0
    style: Style = kb.GELU_LN


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)
_patches4 = partial(patch_embed, size=4)
_TOLSTIKHIN = "Tolstikhin et al. 2021, arXiv 2105.01601, Table 1: "

VARIANTS = {
    "mixer_s_16": _imagenet(
        MlpMixer(width=512, depth=8), params=18_528_264, macs=3_776_958_464, source=f"{_TOLSTIKHIN}18 M parameters"),
    "mixer_b_16": _imagenet(
        MlpMixer(width=768, depth=12), params=59_880_472, macs=12_601_767_936, source=f"{_TOLSTIKHIN}59 M parameters"),
    "mixer_nano_cifar": _cifar(
        MlpMixer(width=128, depth=8, unit=partial(mlp_mixer, token_expansion=4, expansion=1 / 2), tokenizer=_patches4,
                 style=STYLE_TORCH),
        params=673_418, macs=75_891_968,
        source="omihub777/MLP-Mixer-CIFAR: 0.67 M parameters, which are those of 512 features between tokens and 64 "
        "between channels, not the other way round as listed there",
        errors={"cifar10": 9.17, "cifar100": 32.49, "svhn": 2.37}),
    "mixer_cifar_512": _cifar(
        MlpMixer(width=512, depth=6, unit=partial(mlp_mixer, expansion=1 / 2), tokenizer=_patches4, style=STYLE_TORCH),
        params=1_819_530, macs=202_904_576,
        source="kentaroy47/vision-transformers-cifar10, `mlpmixer` with patches of 4",
        errors={"cifar10": 12.0}),
    "mlp_mixer_tiny": Variant(
        MlpMixer(width=8, depth=2, tokenizer=_patches4),
        input_shape=(16, 16, 3), classes=10, params=1_962, macs=24_656, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: MlpMixer, *, name: str | None = None) -> KerasTensor:
    """The mean of the tokens, which are the output of the layer `norm`.

    Args:
        x: `(batch, height, width, channels)`, of known sizes.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, spec.width)`.

    Raises:
        ValueError: `x` is not of rank 4, smaller than a patch, or of unknown size; or `depth` is not a positive
            integer.
    """
    check.positive(spec.depth, "depth")
    part = scope(name, "mlp_mixer")
    x = spec.tokenizer(x, spec.width, style=spec.style, name=part("tokenizer"))
    if len(x.shape) == 4:
        x = kb.transformer.tokens(x, name=part("tokens"))
    # mixer_s_16: 196 × 512
    x = kb.compose.stage(
        x,
        spec.unit,
        spec.width,
        spec.depth,
        drop_paths=drop_path_schedule(spec.drop_path, (spec.depth,))[0],
        style=spec.style,
        name=part("stage1"),
    )
    x = normalize(x, style=spec.style, name=part("norm"))
    return kb.pool.global_pool(x, "avg", name=part("pool"))


def torch_names(names: Sequence[str], source: str) -> dict[str, str]:
    """For each of our layers its counterpart in timm."""
    parts = {
        "token_norm": "norm1",
        "token_dense1": "mlp_tokens.fc1",
        "token_dense2": "mlp_tokens.fc2",
        "channel_norm": "norm2",
        "channel_dense1": "mlp_channels.fc1",
        "channel_dense2": "mlp_channels.fc2",
    }
    found = {"tokenizer_patches_out": "stem.proj", "norm": "norm", "logits": "head"}
    for name in names:
        if (match := re.fullmatch(r"stage1_unit(\d+)_(.+)", name)) and match[2] in parts:
            found[name] = f"blocks.{int(match[1]) - 1}.{parts[match[2]]}"
    return found


def torch_settings(arch: str, source: str) -> Sequence[tuple[str, float]]:
    """Padding and epsilon: those of the style."""
    return (("same", 1e-6),)


FAMILY = Family(
    "mlp_mixer",
    VARIANTS,
    backbone,
    head=partial(classify, dropout=0.0),
    torch_names=torch_names,
    torch_settings=torch_settings,
)
