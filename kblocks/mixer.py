"""Mixers: units that mix positions by a dense layer or a depthwise convolution, then channels."""

from dataclasses import replace

from keras import KerasTensor, layers

from kblocks import check, compose
from kblocks.conv import conv, depthwise_conv
from kblocks.mlp import dense_norm_act
from kblocks.naming import scope
from kblocks.style import GELU_BN, GELU_LN, Style, activate, normalize

__all__ = ["conv_mixer", "mlp_mixer"]


def __dir__() -> list[str]:
    return __all__


def mlp_mixer(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    token_expansion: float = 0.5,
    expansion: float = 4,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    style: Style = GELU_LN,
    name: str | None = None,
) -> KerasTensor:
    """`y = x + (W₂ act(W₁ norm(x)ᵀ))ᵀ`, then `y + W₄ act(W₃ norm(y))`.

    Args:
        x: `(batch, tokens, channels)`, a known number of tokens.
        filters: output channels, which are those of `x`.
        stride: 1, as tokens keep their number.
        token_expansion: output features of `W₁`, as a multiple of `filters`.
        expansion: output features of `W₃`, as a multiple of `filters`.
        dropout: dropout rate after each dense layer.
        drop_path: stochastic-depth (drop-path) rate of both residuals.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: the number of tokens is unknown or would have to change, or a rate is not in [0, 1).

    Source: Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision", 2021, arXiv 2105.01601, equation 1.

    >>> from keras import Input
    >>> mlp_mixer(Input((196, 512)), 512).shape
    (None, 196, 512)
    """
    check.rank(x, 3)
    check.positive(filters, "filters")
    check.positive(stride, "stride")
    check.positive_number(token_expansion, "token_expansion")
    check.positive_number(expansion, "expansion")
    check.fraction(dropout, "dropout")
    check.fraction(drop_path, "drop_path")
    check.unchanged(x, filters, stride)
    check.known(x)
    part = scope(name, "mlp_mixer")

    def mlp(y: KerasTensor, hidden: float, prefix: str) -> KerasTensor:
        units = y.shape[-1]
        y = dense_norm_act(y, round(hidden), style=replace(style, norm=None), name=part(f"{prefix}_dense1"))
        if dropout:
            y = layers.Dropout(dropout, name=part(f"{prefix}_dropout1"))(y)
        y = layers.Dense(
            units,
            kernel_initializer=style.initializer,
            kernel_regularizer=style.regularizer,
            name=part(f"{prefix}_dense2"),
        )(y)
        return layers.Dropout(dropout, name=part(f"{prefix}_dropout2"))(y) if dropout else y

    y = normalize(x, style=style, name=part("token_norm"))
    y = layers.Permute((2, 1), name=part("token_transpose"))(y)
    y = mlp(y, token_expansion * filters, "token")
    y = layers.Permute((2, 1), name=part("token_restore"))(y)
    x = compose.add([x, compose.stochastic_depth(y, drop_path, name=part("token_drop_path"))], name=part("token_out"))

    y = mlp(normalize(x, style=style, name=part("channel_norm")), expansion * filters, "channel")
    return compose.add([x, compose.stochastic_depth(y, drop_path, name=part("channel_drop_path"))], name=part("out"))


def conv_mixer(
    x: KerasTensor,
    filters: int,
    *,
    stride: int = 1,
    kernel_size: int = 9,
    drop_path: float = 0.0,
    style: Style = GELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`y = x + norm(act(W_c ∗ x_c))`, then `norm(act(P y))`.

    Args:
        filters: output channels.
        stride: stride of the depthwise convolution `W_c`; above 1 nothing is added to it.
        kernel_size: height and width of the depthwise kernel.
        drop_path: stochastic-depth (drop-path) rate.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), filters)`.

    Raises:
        ValueError: a size is not a positive integer, or `drop_path` is not in [0, 1).

    Source: Trockman and Kolter, "Patches Are All You Need?", 2022, arXiv 2201.09792, Figure 2.

    >>> from keras import Input
    >>> conv_mixer(Input((32, 32, 768)), 768).shape
    (None, 32, 32, 768)
    """
    check.rank(x, 4)
    check.positive(filters, "filters")
    check.positive(stride, "stride")
    check.fraction(drop_path, "drop_path")
    part = scope(name, "conv_mixer")
    y = depthwise_conv(x, kernel_size, stride=stride, use_bias=True, style=style, name=part("conv1"))
    y = activate(y, style=style, name=part("conv1_act"))
    y = normalize(y, style=style, name=part("conv1_norm"))
    if stride == 1:
        y = compose.stochastic_depth(y, drop_path, name=part("drop_path"))
        y = compose.add([x, y], name=part("conv1_out"))
    y = conv(y, filters, 1, use_bias=True, style=style, name=part("conv2"))
    y = activate(y, style=style, name=part("conv2_act" if style.norm else "out"))
    return normalize(y, style=style, name=part("out"))
