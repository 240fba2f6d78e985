"""Attention over channels: a factor between 0 and 1 for each, learned from the whole image.

An attention is a function `(x, *, style, name) -> tensor` of `x`'s shape, so that it stands in any unit that takes one:

    se_resnet = partial(bottleneck, attention=squeeze_excite)
    mobilenet_v3 = partial(squeeze_excite, ratio=1/4, divisor=8, activation=relu, gate=hard_sigmoid)
"""

from dataclasses import replace

from keras import KerasTensor, layers

from kblocks import check
from kblocks.contracts import Block
from kblocks.conv import conv, conv_norm_act
from kblocks.naming import scope
from kblocks.rounding import make_divisible
from kblocks.style import RELU_BN, Style, sigmoid


def squeeze_excite(
    x: KerasTensor,
    *,
    ratio: float = 1 / 16,
    divisor: int = 1,
    activation: Block | None = None,
    gate: Block = sigmoid,
    style: Style = RELU_BN,
    name: str | None = None,
) -> KerasTensor:
    """`x · gate(W2 act(W1 mean(x) + b1) + b2)`, with the mean of all positions and one factor a channel.

    Args:
        x: `(batch, height, width, channels)`.
        ratio: width between the two matrices, as a share of the channels.
        divisor: that width is rounded to a multiple of it, see `kblocks.rounding.make_divisible`.
        activation: a function `(x, *, name) -> tensor` between the two matrices; `None` for the style's.
        gate: a function `(x, *, name) -> tensor` that makes the factors, as `sigmoid` and `hard_sigmoid`.
        style: see `kblocks.style`; its normalisation is not read.
        name: the prefix of the layers.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: `x` is not of rank 4, `ratio` is not a positive number, or `divisor` not a positive integer.

    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", 2017, arXiv 1709.01507, Figure 2 and equation 3.

    >>> from keras import Input
    >>> squeeze_excite(Input((8, 8, 64)), ratio=1 / 4).shape
    (None, 8, 8, 64)
    """
    check.rank(x, 4)
    check.block(gate, "gate")
    if activation is not None:
        check.block(activation, "activation")
    plain = replace(style, norm=None, activation=activation or style.activation)
    channels = x.shape[-1]
    width = make_divisible(channels, ratio, divisor=divisor, argument="ratio")
    part = scope(name, "squeeze_excite")
    y = layers.GlobalAveragePooling2D(keepdims=True, name=part("pool"))(x)
    y = conv_norm_act(y, width, 1, style=plain, name=part("reduce"))
    y = conv(y, channels, 1, style=plain, name=part("expand"))
    return layers.Multiply(name=part("out"))([x, gate(y, name=part("gate"))])
