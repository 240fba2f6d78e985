"""Vision transformers, compact ones too: tokens of patches, positions, encoder units, and one vector of all tokens."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from keras import KerasTensor, layers

import kblocks as kb
from architectures.common.family import Family, Variant
from architectures.common.head import classify
from kblocks import Style, check
from kblocks.compose import drop_path_schedule
from kblocks.contracts import Stem, Unit
from kblocks.naming import scope
from kblocks.style import layer_norm, normalize
from kblocks.transformer import conv_tokenizer, encoder, patch_embed

STYLE_TORCH = replace(kb.GELU_LN, norm=partial(layer_norm, epsilon=1e-5))


@dataclass(frozen=True, kw_only=True)
class ViT:
    """Configuration.

    Attributes:
        width: channels of the tokens.
        depth: number of encoder units.
        unit: the encoder unit.
        tokenizer: makes tokens of an image, `(batch, tokens, channels)`; the positions of a stem are tokens too.
        position: `"learned"`, `"sinusoidal"` or `"none"`.
        position_stddev: standard deviation of the initial values of learned positions.
        pool: `"token"` for the output of a class token, `"sequence"` for a mean with learned weights, `"avg"`.
        dropout: dropout rate of the tokens before the first unit; passed to the unit as `dropout=` if it has this
            argument.
        drop_path: stochastic-depth rate of the last unit; the rates rise linearly from 0 at the first. (The compact
            transformers are trained with 0.1, and with a dropout rate of 0.1 of the attention weights.)
        style: style of all layers.
    """

    width: int
    depth: int
    unit: Unit
    tokenizer: Stem = patch_embed
    position: str = "learned"
    position_stddev: float = 0.02
    pool: str = "token"
    dropout: float = 0.0
    drop_path: float = 0.0
    style: Style = kb.GELU_LN


_imagenet = partial(Variant, input_shape=(224, 224, 3), classes=1000)
_cifar = partial(Variant, input_shape=(32, 32, 3), classes=10)


def _vit(width: int) -> ViT:
    return ViT(width=width, depth=12, unit=partial(encoder, heads=width // 64))


_patches4 = partial(patch_embed, size=4)
_torch = partial(ViT, style=STYLE_TORCH)
_compact = partial(_torch, position_stddev=0.2)
_compact_unit = partial(encoder, qkv_bias=False, norm_residual=True)
_small_unit = partial(_compact_unit, heads=2, expansion=1)
_large_unit = partial(_compact_unit, heads=4, expansion=2)
_lite_small = partial(_compact, width=128, unit=_small_unit, tokenizer=_patches4)
_lite = partial(_compact, width=256, unit=_large_unit, tokenizer=_patches4)
_cct_small = partial(_compact, width=128, unit=_small_unit, pool="sequence")
_cct_large = partial(_compact, width=256, unit=_large_unit, pool="sequence")
_3x1, _3x2 = conv_tokenizer, partial(conv_tokenizer, depth=2)

_VIT = "Dosovitskiy et al. 2020, arXiv 2010.11929, Table 1"
_DEIT = "Touvron et al. 2020, arXiv 2012.12877, Table 1"
_CT = "Hassani et al. 2021, arXiv 2104.05704, Table 1, and its implementation (SHI-Labs/Compact-Transformers): "
_CODE = "the implementation of Hassani et al. 2021, arXiv 2104.05704 (SHI-Labs/Compact-Transformers), without figures"
_NORMED = "as in the implementation, the second residual is added to the normalised tensor, not to the tensor itself"
_c = partial(_cifar, departures=_NORMED)

VARIANTS = {
    "vit_tiny_16": _imagenet(
        _vit(192), params=5_717_416, macs=1_253_721_216, source=f"{_VIT}, in the size of {_DEIT}: 5 M parameters"),
    "vit_small_16": _imagenet(
        _vit(384), params=22_050_664, macs=4_598_958_336, source=f"{_VIT}, in the size of {_DEIT}: 22 M parameters"),
    "vit_base_16": _imagenet(
        _vit(768), params=86_567_656, macs=17_563_980_288, source=f"{_VIT}: 86 M parameters"),
    "deit_tiny_16": _imagenet(
        _vit(192), params=5_717_416, macs=1_253_721_216,
        source=f"{_DEIT}: 5 M parameters, 27.8 % error on ImageNet; the network of vit_tiny_16"),
    "deit_small_16": _imagenet(
        _vit(384), params=22_050_664, macs=4_598_958_336,
        source=f"{_DEIT}: 22 M parameters, 20.1 % error on ImageNet; the network of vit_small_16"),
    "deit_base_16": _imagenet(
        _vit(768), params=86_567_656, macs=17_563_980_288,
        source=f"{_DEIT}: 86 M parameters, 18.2 % error on ImageNet; the network of vit_base_16"),

    "vit_lite_2_4": _c(
        _lite_small(depth=2), params=214_666, macs=15_345_920, source=_CODE),
    "vit_lite_4_4": _c(
        _lite_small(depth=4), params=413_066, macs=30_288_896, source=_CODE),
    "vit_lite_6_4": _c(
        _lite(depth=6), params=3_190_538, macs=218_258_944, source=f"{_CT}3.191 M parameters",
        errors={"cifar10": 9.06, "cifar100": 30.80}),
    "vit_lite_7_4": _c(
        _lite(depth=7), params=3_716_874, macs=254_501_120, source=f"{_CT}3.717 M parameters",
        errors={"cifar10": 8.62, "cifar100": 30.25}),
    "cvt_2_4": _c(
        _lite_small(depth=2, pool="sequence"), params=214_539, macs=15_099_392, source=_CODE),
    "cvt_4_4": _c(
        _lite_small(depth=4, pool="sequence"), params=412_939, macs=29_779_712, source=_CODE),
    "cvt_6_4": _c(
        _lite(depth=6, pool="sequence"), params=3_190_283, macs=214_749_184, source=f"{_CT}3.190 M parameters",
        errors={"cifar10": 7.42, "cifar100": 27.75}),
    "cvt_7_4": _c(
        _lite(depth=7, pool="sequence"), params=3_716_619, macs=250_401_024, source=f"{_CT}3.717 M parameters",
        errors={"cifar10": 7.57, "cifar100": 26.99}),
    "cct_2_3x2": _c(
        _cct_small(depth=2, tokenizer=_3x2), params=283_723, macs=35_350_016, source=f"{_CT}0.284 M parameters",
        errors={"cifar10": 10.83, "cifar100": 33.10}),
    "cct_4_3x2": _c(
        _cct_small(depth=4, tokenizer=_3x2), params=482_123, macs=50_030_336, source=f"{_CT}0.482 M parameters",
        errors={"cifar10": 8.55, "cifar100": 29.54}),
    "cct_6_3x2": _c(
        _cct_large(depth=6, tokenizer=_3x2), params=3_326_923, macs=253_480_960, source=f"{_CT}3.327 M parameters",
        errors={"cifar10": 6.44, "cifar100": 25.53}),
    "cct_7_3x2": _c(
        _cct_large(depth=7, tokenizer=_3x2), params=3_853_259, macs=289_132_800, source=f"{_CT}3.853 M parameters",
        errors={"cifar10": 6.17, "cifar100": 25.08}),
    "cct_6_3x1": _c(
        _cct_large(depth=6, tokenizer=_3x1, position="sinusoidal"), params=3_168_267, macs=1_013_911_552,
        source=f"{_CT}3.168 M parameters, none of them positions; errors of 200 epochs, 4.71 and 22.69 % of 500",
        errors={"cifar10": 5.19, "cifar100": 23.29}),
    "cct_7_3x1": _c(
        _cct_large(depth=7, tokenizer=_3x1), params=3_760_139, macs=1_181_683_968,
        source=f"{_CT}3.760 M parameters; errors of 200 epochs, 2.00 and 17.13 % of 5000",
        errors={"cifar10": 5.22, "cifar100": 22.95}),

    "vit_cifar": _cifar(
        _torch(width=384, depth=7, unit=partial(encoder, heads=12, expansion=1), tokenizer=_patches4,
               position_stddev=1.0),
        params=6_268_810, macs=426_477_312, source="omihub777/ViT-CIFAR: 6.3 M parameters",
        errors={"cifar10": 9.08, "cifar100": 33.46, "svhn": 2.69},
        departures="no activation follows the second dense layer of a unit; attention is divided by the square root of "
        "a head's width, not of the token's"),
    "vit_cifar_512": _cifar(
        _torch(width=512, depth=6, unit=partial(encoder, heads=8, expansion=1, qkv_bias=False), tokenizer=_patches4,
               position_stddev=1.0),
        params=9_523_722, macs=640_990_208,
        source="kentaroy47/vision-transformers-cifar10, `vit` with patches of 4; error of 1000 epochs, 20 % of 200",
        errors={"cifar10": 11.0}),

    "vit_toy": _cifar(
        ViT(width=8, depth=2, unit=partial(encoder, heads=2, expansion=2), tokenizer=_patches4),
        input_shape=(16, 16, 3), params=1_842, macs=33_024, source="for tests"),
}  # fmt: skip


def backbone(x: KerasTensor, spec: ViT, *, name: str | None = None) -> KerasTensor:
    """One vector of all tokens, which are the output of the layer `norm`.

    Args:
        x: `(batch, height, width, channels)`, of known sizes unless `spec.position` is `"none"`.
        spec: a row's spec.
        name: the prefix of the layers.

    Returns:
        `(batch, spec.width)`.

    Raises:
        ValueError: `x` is not of rank 4, smaller than a patch, or of unknown size; or a field of the spec is out of
            range.
    """
    check.positive(spec.depth, "depth")
    check.choice(spec.position, ("learned", "sinusoidal", "none"), "position")
    check.choice(spec.pool, ("token", "sequence", "avg"), "pool")
    part = scope(name, "vit")
    unit: Callable[..., KerasTensor] = spec.unit
    if spec.dropout and check.takes(unit, "dropout"):
        unit = partial(unit, dropout=spec.dropout)
    x = spec.tokenizer(x, spec.width, style=spec.style, name=part("tokenizer"))
    if len(x.shape) == 4:
        x = kb.transformer.tokens(x, name=part("tokens"))
    # vit_base_16: 196 × 768, with the class token 197 × 768
    if spec.pool == "token":
        x = kb.transformer.class_token(x, name=part("class"))
    if spec.position != "none":
        x = kb.transformer.position_embed(x, kind=spec.position, stddev=spec.position_stddev, name=part("position"))
    if spec.dropout:
        x = layers.Dropout(spec.dropout, name=part("dropout"))(x)
    x = kb.compose.stage(
        x,
        unit,
        spec.width,
        spec.depth,
        drop_paths=drop_path_schedule(spec.drop_path, (spec.depth,))[0],
        style=spec.style,
        name=part("stage1"),
    )
    x = normalize(x, style=spec.style, name=part("norm"))
    if spec.pool == "token":
        return kb.transformer.first_token(x, name=part("pool"))
    if spec.pool == "sequence":
        return kb.transformer.sequence_pool(x, style=spec.style, name=part("pool"))
    return kb.pool.global_pool(x, "avg", name=part("pool"))


def torch_names(names: Sequence[str], source: str) -> dict[str, str]:
    """For each of our layers its counterpart in timm."""
    parts = {
        "attention_norm": "norm1",
        "attention": "attn",
        "attention_scale_gamma": "ls1.gamma",
        "mlp_norm": "norm2",
        "dense1": "mlp.fc1",
        "dense2": "mlp.fc2",
        "mlp_scale_gamma": "ls2.gamma",
    }
    found = {
        "tokenizer_patches_out": "patch_embed.proj",
        "class_token": "cls_token",
        "position_table": "pos_embed",
        "norm": "norm",
        "logits": "head",
    }
    for name in names:
        if (match := re.fullmatch(r"stage1_unit(\d+)_(.+)", name)) and match[2] in parts:
            found[name] = f"blocks.{int(match[1]) - 1}.{parts[match[2]]}"
    return found


def torch_settings(arch: str, source: str) -> Sequence[tuple[str, float]]:
    """Padding and epsilon: those of the style."""
    return (("same", 1e-6),)


FAMILY = Family(
    "vit",
    VARIANTS,
    backbone,
    head=partial(classify, dropout=0.0),
    torch_names=torch_names,
    torch_settings=torch_settings,
)
