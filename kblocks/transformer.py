"""Transformers for images: tokens of patches, their positions, encoder units, and one vector of all tokens.

Tokens are `(batch, tokens, channels)`, row by row in an image. Most parts are those of "An Image is Worth 16x16 Words"
(Dosovitskiy et al., 2020, arXiv 2010.11929) and of "Escaping the Big Data Paradigm with Compact Transformers" (Hassani
et al., 2021, arXiv 2104.05704).
"""

from dataclasses import replace

import numpy as np
from keras import KerasTensor, layers

from kblocks import check, compose
from kblocks.conv import conv
from kblocks.convnext import downsample
from kblocks.mlp import dense_norm_act
from kblocks.naming import resolve, scope
from kblocks.pool import max_pool
from kblocks.stem import patchify
from kblocks.style import GELU_LN, RELU, Style, normalize

__all__ = [
    "class_token",
    "conv_tokenizer",
    "encoder",
    "first_token",
    "patch_embed",
    "position_embed",
    "sequence_pool",
    "tokens",
]


def __dir__() -> list[str]:
    return __all__


def tokens(x: KerasTensor, *, name: str | None = None) -> KerasTensor:
    """The positions of an image as tokens, row by row.

    Returns:
        `(batch, height · width, channels)`.

    >>> from keras import Input
    >>> tokens(Input((14, 14, 192))).shape
    (None, 196, 192)
    """
    check.rank(x, 4)
    return layers.Reshape((-1, x.shape[-1]), name=resolve(name, "tokens"))(x)


def patch_embed(
    x: KerasTensor, filters: int, *, size: int = 16, style: Style = GELU_LN, name: str | None = None
) -> KerasTensor:
    """`tokens(W ∗ x + b)`: a linear projection of each patch of the image.

    Args:
        filters: output channels.
        size: height and width of a patch; incomplete patches are dropped.
        style: its normalisation is not used.

    Returns:
        `(batch, (height // size) · (width // size), filters)`.

    Raises:
        ValueError: `x` is smaller than a patch.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020, arXiv 2010.11929, equation 1.

    >>> from keras import Input
    >>> patch_embed(Input((224, 224, 3)), 192).shape
    (None, 196, 192)
    """
    name = resolve(name, "patch_embed")
    x = patchify(x, filters, size=size, style=replace(style, norm=None), name=f"{name}_patches")
    return tokens(x, name=f"{name}_out")


def conv_tokenizer(
    x: KerasTensor,
    filters: int,
    *,
    depth: int = 1,
    kernel_size: int = 3,
    width: int = 64,
    style: Style = RELU,
    name: str | None = None,
) -> KerasTensor:
    """`tokens(maxpool3×3/2(relu(W ∗ x)))`, with `depth` such convolutions and poolings.

    Args:
        filters: output channels of the last convolution.
        depth: number of convolutions.
        kernel_size: height and width of the kernels.
        width: output channels of the other convolutions.
        style: only its initialiser and regulariser are used.

    Returns:
        `(batch, height / 2ᵈ · width / 2ᵈ, filters)`, each rounded up, with `d = depth`.

    Source: Hassani et al., "Escaping the Big Data Paradigm with Compact Transformers", 2021, arXiv 2104.05704,
    section 3.3.

    >>> from keras import Input
    >>> conv_tokenizer(Input((32, 32, 3)), 256).shape
    (None, 256, 256)
    """
    check.rank(x, 4)
    check.positive(filters, "filters")
    check.positive(depth, "depth")
    check.positive(width, "width")
    part = scope(name, "conv_tokenizer")
    style = replace(style, padding="symmetric")
    for i in range(1, depth + 1):
        x = conv(
            x,
            filters if i == depth else width,
            kernel_size,
            use_bias=False,
            activation="relu",
            style=style,
            name=part(f"conv{i}"),
        )
        x = max_pool(x, 3, stride=2, style=style, name=part(f"pool{i}"))
    return tokens(x, name=part("out"))


def class_token(x: KerasTensor, *, name: str | None = None) -> KerasTensor:
    """`concat([t, x])` with a learned token `t`, of zeros at first.

    Args:
        x: `(batch, tokens, channels)`.
        name: the token is the kernel of `{name}_token`.

    Returns:
        `(batch, 1 + tokens, channels)`.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020, arXiv 2010.11929, equation 1.

    >>> from keras import Input
    >>> class_token(Input((196, 192))).shape
    (None, 197, 192)
    """
    check.rank(x, 3)
    part = scope(name, "class_token")
    token = compose.learned(x, (1, x.shape[-1]), name=part("token"))
    return layers.Concatenate(axis=1, name=part("out"))([token, x])


def first_token(x: KerasTensor, *, name: str | None = None) -> KerasTensor:
    """`x[:, 0]`, such as the class token.

    Args:
        x: `(batch, tokens, channels)`.

    Returns:
        `(batch, channels)`.

    >>> from keras import Input
    >>> first_token(Input((197, 192))).shape
    (None, 192)
    """
    check.rank(x, 3)
    part = scope(name, "first_token")
    if x.shape[1] is None:
        x = layers.AveragePooling1D(1, strides=compose.BEYOND, name=part("first"))(x)
    else:
        x = layers.Cropping1D((0, x.shape[1] - 1), name=part("first"))(x)
    return layers.Reshape((x.shape[-1],), name=part("out"))(x)


def position_embed(
    x: KerasTensor, *, kind: str = "learned", stddev: float = 0.02, name: str | None = None
) -> KerasTensor:
    """`x + p`, with a vector `p` for each token.

    Args:
        x: `(batch, tokens, channels)`, a known number of tokens.
        kind: `"learned"`, or `"sinusoidal"` for a fixed table of sines and cosines, weights that are not trainable.
        stddev: standard deviation of the initial values if they are learned.
        name: the table, flattened, is the kernel of `{name}_table`.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: the number of tokens is unknown, or `kind` is neither of the two.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020, arXiv 2010.11929, equation 1; the sinusoidal
    table is that of Vaswani et al., "Attention Is All You Need", 2017, arXiv 1706.03762, section 3.5.

    >>> from keras import Input
    >>> position_embed(Input((197, 192))).shape
    (None, 197, 192)
    """
    check.rank(x, 3)
    check.choice(kind, ("learned", "sinusoidal"), "kind")
    check.positive_number(stddev, "stddev")
    check.known(x)
    part = scope(name, "position_embed")
    shape = tuple(x.shape[1:])
    initializer = {"class_name": "TruncatedNormal", "config": {"mean": 0.0, "stddev": float(stddev), "seed": None}}
    values = _sinusoids(*shape) if kind == "sinusoidal" else None
    table = compose.learned(x, shape, initializer=initializer, values=values, name=part("table"))
    return layers.Add(name=part("out"))([x, table])


def _sinusoids(positions: int, channels: int) -> np.ndarray:
    """`sin(p / 10000^(2i / channels))` in channel 2i of position p, the cosine of it in channel 2i + 1."""
    channel = np.arange(channels)
    angles = np.arange(positions)[:, None] / 10000 ** (channel // 2 * 2 / channels)
    return np.where(channel % 2, np.cos(angles), np.sin(angles)).astype("float32")


def encoder(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    heads: int = 4,
    expansion: float = 4,
    qkv_bias: bool = True,
    layer_scale: float | None = None,
    norm_residual: bool = False,
    attention_dropout: float = 0.0,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    style: Style = GELU_LN,
    name: str | None = None,
) -> KerasTensor:
    """`y = x + γ₁ attention(norm(x))`, then `y + γ₂ (W₂ act(W₁ norm(y)))`.

    Args:
        x: `(batch, tokens, channels)`, or `(batch, height, width, channels)`, whose positions are the tokens.
        filters: output channels.
        stride: of `convnext.downsample`, which stands in front where an image changes its shape; tokens keep theirs.
        heads: number of attention heads.
        expansion: channels between the two dense layers, as a multiple of `filters`.
        qkv_bias: whether the projections to queries, keys and values have a bias; that of the output always has one.
        layer_scale: initial value of `γ₁` and `γ₂`, one factor per channel; `None` for none.
        norm_residual: whether `norm(y)` is added at the end, not `y`.
        attention_dropout: dropout rate of the attention weights.
        dropout: dropout rate of the attention's output and after each of the two dense layers.
        drop_path: stochastic-depth (drop-path) rate of both residuals.

    Returns:
        A tensor of `x`'s shape; for images `(batch, height // stride, width // stride, filters)`.

    Raises:
        ValueError: `heads` does not divide `filters`, tokens would have to change their shape, an image is smaller than
            the stride, or a rate is not in [0, 1).

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020, arXiv 2010.11929, Figure 1 and equations 2 and 3;
    `layer_scale` from Touvron et al., "Going deeper with Image Transformers", 2021, arXiv 2103.17239, equation 4.

    >>> from keras import Input
    >>> encoder(Input((197, 192)), 192, heads=3).shape
    (None, 197, 192)
    """
    check.positive(filters, "filters")
    check.positive(stride, "stride")
    check.divisible(filters, heads, "filters", "heads")
    check.positive_number(expansion, "expansion")
    for rate, argument in ((attention_dropout, "attention_dropout"), (dropout, "dropout"), (drop_path, "drop_path")):
        check.fraction(rate, argument)
    part = scope(name, "encoder")
    x = _fitted(x, filters, stride, style=style, name=part("downsample"))

    def residual(y: KerasTensor, prefix: str) -> KerasTensor:
        if layer_scale is not None:
            y = compose.layer_scale(y, layer_scale, name=part(f"{prefix}_scale"))
        return compose.stochastic_depth(y, drop_path, name=part(f"{prefix}_drop_path"))

    def dropped(y: KerasTensor, place: str) -> KerasTensor:
        return layers.Dropout(dropout, name=part(place))(y) if dropout else y

    y = normalize(x, style=style, name=part("attention_norm"))
    y = layers.MultiHeadAttention(
        int(heads),
        int(filters) // int(heads),
        dropout=attention_dropout,
        use_bias=qkv_bias,
        kernel_initializer=style.initializer,
        kernel_regularizer=style.regularizer,
        name=part("attention"),
    )(y, y)
    if not qkv_bias:  # The layer has a bias in all projections or in none.
        y = compose.bias(y, name=part("attention_bias"))
    y = residual(dropped(y, "attention_dropout"), "attention")
    x = compose.add([x, y], name=part("attention_out"))

    y = normalize(x, style=style, name=part("mlp_norm"))
    if norm_residual:
        x = y
    y = dense_norm_act(y, round(expansion * filters), style=replace(style, norm=None), name=part("dense1"))
    y = _dense(dropped(y, "dropout1"), filters, style=style, name=part("dense2"))
    return compose.add([x, residual(dropped(y, "dropout2"), "mlp")], name=part("out"))


def sequence_pool(x: KerasTensor, *, style: Style = GELU_LN, name: str | None = None) -> KerasTensor:
    """`softmax(W x + b)ᵀ x`: a mean of the tokens with learned weights.

    Args:
        x: `(batch, tokens, channels)`.

    Returns:
        `(batch, channels)`.

    Source: Hassani et al., "Escaping the Big Data Paradigm with Compact Transformers", 2021, arXiv 2104.05704,
    equations 4 to 6.

    >>> from keras import Input
    >>> sequence_pool(Input((256, 128))).shape
    (None, 128)
    """
    check.rank(x, 3)
    part = scope(name, "sequence_pool")
    weights = layers.Softmax(axis=1, name=part("weights"))(_dense(x, 1, style=style, name=part("dense")))
    return layers.Reshape((x.shape[-1],), name=part("out"))(layers.Dot(1, name=part("mean"))([weights, x]))


def _dense(x: KerasTensor, units: int, *, style: Style, name: str) -> KerasTensor:
    """`W x + b`."""
    return layers.Dense(
        int(units), kernel_initializer=style.initializer, kernel_regularizer=style.regularizer, name=name
    )(x)


def _fitted(x: KerasTensor, filters: int, stride: int, *, style: Style, name: str) -> KerasTensor:
    """`x` of the given channels at the stride."""
    check.tensors([x], "x")
    check.rank(x, 4 if len(x.shape) == 4 else 3)
    if stride == 1 and x.shape[-1] == filters:
        return x
    if len(x.shape) == 3:
        check.unchanged(x, filters, stride)
    return downsample(x, filters, stride=stride, style=style, name=name)
