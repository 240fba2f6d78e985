"""The style of a network in one value: normalisation, activation, initialiser, regulariser, padding.

A block takes its style as an argument and hands it down to the leaf functions, which alone read it; there are no global
defaults. Vary one with `dataclasses.replace`:

    replace(RELU_BN, activation=gelu)
    replace(RELU_BN, norm=partial(batch_norm, momentum=0.99, epsilon=1e-3))
    replace(RELU_BN, regularizer={"class_name": "L2", "config": {"l2": 1e-4}})
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from keras import KerasTensor, layers

from kblocks import check
from kblocks.contracts import Block
from kblocks.naming import resolve


def batch_norm(
    x: KerasTensor, *, momentum: float = 0.9, epsilon: float = 1e-5, scale: bool = True, name: str | None = None
) -> KerasTensor:
    """`γ (x − mean) / sqrt(variance + epsilon) + β` over the batch, per channel.

    Args:
        x: `(batch, …, channels)`.
        momentum: the share of the old moving statistics kept at each step.
        epsilon: added to the variance.
        scale: whether there is a γ.
        name: the layer's name.

    Returns:
        A tensor of `x`'s shape.

    Source: Ioffe and Szegedy, "Batch Normalization", 2015, arXiv 1502.03167, Algorithm 1.

    >>> from keras import Input
    >>> batch_norm(Input((8, 8, 4))).shape
    (None, 8, 8, 4)
    """
    return layers.BatchNormalization(momentum=momentum, epsilon=epsilon, scale=scale, name=name)(x)


def layer_norm(x: KerasTensor, *, epsilon: float = 1e-6, name: str | None = None) -> KerasTensor:
    """`γ (x − mean) / sqrt(variance + epsilon) + β` over the channels of each position.

    Args:
        x: `(batch, …, channels)`.
        epsilon: added to the variance.
        name: the layer's name.

    Returns:
        A tensor of `x`'s shape.

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv 1607.06450, equation 4.

    >>> from keras import Input
    >>> layer_norm(Input((8, 8, 4))).shape
    (None, 8, 8, 4)
    """
    return layers.LayerNormalization(epsilon=epsilon, name=name)(x)


def group_norm(x: KerasTensor, *, groups: int = 32, epsilon: float = 1e-5, name: str | None = None) -> KerasTensor:
    """`γ (x − mean) / sqrt(variance + epsilon) + β` over the positions and channels of each group of each image.

    Args:
        x: `(batch, …, channels)`.
        groups: how many groups the channels fall into.
        epsilon: added to the variance.
        name: the layer's name.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: `groups` does not divide the channels.

    Source: Wu and He, "Group Normalization", 2018, arXiv 1803.08494, equation 7.

    >>> from keras import Input
    >>> group_norm(Input((8, 8, 4)), groups=2).shape
    (None, 8, 8, 4)
    """
    check.divisible(x.shape[-1], groups, "channels", "groups")
    return layers.GroupNormalization(groups=int(groups), epsilon=epsilon, name=name)(x)


def activation(x: KerasTensor, *, function: str, name: str | None = None) -> KerasTensor:
    """`function(x)`, elementwise.

    Args:
        x: a tensor of any shape.
        function: a name that `keras.activations` knows, as `"relu"`.
        name: the layer's name.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: Keras knows no such function.

    >>> from keras import Input
    >>> activation(Input((8,)), function="tanh").shape
    (None, 8)
    """
    check.activation(function, "function")
    return layers.Activation(function, name=name)(x)


linear = partial(activation, function="linear")
relu = partial(activation, function="relu")
relu6 = partial(activation, function="relu6")
swish = partial(activation, function="silu")
hard_swish = partial(activation, function="hard_silu")
gelu = partial(activation, function="gelu")
tanh = partial(activation, function="tanh")
sigmoid = partial(activation, function="sigmoid")
hard_sigmoid = partial(activation, function="hard_sigmoid")


@dataclass(frozen=True, kw_only=True)
class Style:
    """What the layers of a network have in common.

    Attributes:
        norm: a function `(x, *, name) -> tensor`, or `None` for no normalisation (convolutions then carry a bias).
        activation: a function `(x, *, name) -> tensor`; `linear` for none.
        initializer: of kernels, by name or configuration: one instance given to two layers would give both the same
            weights.
        regularizer: of kernels, by name or configuration, or `None`.
        padding: of convolutions: `"same"` and `"valid"` as in Keras; `"symmetric"` pads both sides alike, as PyTorch
            and the ImageNet ResNets do, which differs from `"same"` where the stride is above 1; `"floor"` pads every
            size as `"same"` pads those that the stride divides, so that a stride of 2 makes 3 of 7. Sizes that
            docstrings give without naming a padding are those of `"same"` and `"symmetric"`.

    Raises:
        TypeError: an initialiser or regulariser is an instance, or `norm` or `activation` no such function.
        ValueError: `padding` is not one of the four.
    """

    norm: Block | None = batch_norm
    activation: Block = relu
    # he_normal has the same variance, and takes four times as long to draw.
    initializer: str | dict[str, Any] = "he_uniform"
    regularizer: str | dict[str, Any] | None = None
    padding: str = "same"

    def __post_init__(self) -> None:
        if self.norm is not None:
            check.block(self.norm, "norm")
        check.block(self.activation, "activation")
        check.choice(self.padding, ("same", "valid", "symmetric", "floor"), "padding")
        if not isinstance(self.initializer, str | dict):
            raise TypeError(
                f"`initializer` must be a name or a configuration; got {self.initializer!r} "
                "(keras.initializers.serialize gives the configuration of an instance)"
            )
        if not isinstance(self.regularizer, str | dict | None):
            raise TypeError(
                f"`regularizer` must be a name, a configuration or None; got {self.regularizer!r} "
                "(keras.regularizers.serialize gives the configuration of an instance)"
            )


RELU_BN = Style()
RELU6_BN = Style(activation=relu6)
SWISH_BN = Style(activation=swish)
GELU_LN = Style(norm=layer_norm, activation=gelu, initializer="glorot_uniform")
RELU = Style(norm=None)
PLAIN = Style(norm=None, initializer="glorot_uniform")
TANH = Style(norm=None, activation=tanh, initializer="glorot_uniform")


def normalize(x: KerasTensor, *, style: Style, name: str | None) -> KerasTensor:
    """`style.norm(x)`; `x` itself where the style has none."""
    return x if style.norm is None else style.norm(x, name=name)


def activate(x: KerasTensor, *, style: Style, name: str | None) -> KerasTensor:
    """`style.activation(x)`."""
    return style.activation(x, name=name)


def norm_act(x: KerasTensor, *, style: Style, name: str | None = None) -> KerasTensor:
    """`style.activation(style.norm(x))`.

    Args:
        x: `(batch, …, channels)`.
        style: both functions; without a normalisation the activation alone.
        name: the prefix of `norm` and `act`.

    Returns:
        A tensor of `x`'s shape.

    >>> from keras import Input
    >>> norm_act(Input((8, 8, 4)), style=RELU_BN).shape
    (None, 8, 8, 4)
    """
    name = resolve(name, "norm_act")
    x = normalize(x, style=style, name=f"{name}_norm")
    return activate(x, style=style, name=f"{name}_act")


def carried(style: Style) -> str | None:
    """The activation that a convolution or dense layer can apply itself, by the name that Keras knows it by.

    `None` where a normalisation stands between the two, and where the activation is a function of another kind.

    >>> carried(Style(norm=None)), carried(Style())
    ('relu', None)
    """
    chosen = style.activation
    is_known = isinstance(chosen, partial) and chosen.func is activation and chosen.keywords.keys() == {"function"}
    return chosen.keywords["function"] if is_known and style.norm is None else None
