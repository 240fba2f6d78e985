"""Channel attention: each channel is multiplied by a factor computed from the whole image.

An attention is an argument of many units:

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

__all__ = ["squeeze_excite"]


def __dir__() -> list[str]:
    return __all__


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
    """`x · gate(W2 act(W1 mean(x) + b1) + b2)`, with the mean over all positions and one factor per channel.

    Args:
        ratio: output channels of `W1`, as a share of the input channels.
        divisor: they are rounded to a multiple of it, see `kblocks.rounding.make_divisible`.
        activation: activation after `W1`; `None` for the style's.
        gate: activation after `W2`, such as `sigmoid` and `hard_sigmoid`.
        style: its normalisation is not used.

    Returns:
        A tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` is not a positive number, or `divisor` is not a positive integer.
        TypeError: `activation` or `gate` is not a function `(x, *, name) -> tensor`.

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
