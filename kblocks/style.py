"""The style of a network: normalisation, activation, initialiser, regulariser and padding.

A style is an argument of every block; there are no global defaults. `dataclasses.replace` varies one:

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

__all__ = [
    "GELU_BN",
    "GELU_LN",
    "PLAIN",
    "RELU",
    "RELU6_BN",
    "RELU_BN",
    "SWISH_BN",
    "TANH",
    "Style",
    "activate",
    "activation",
    "batch_norm",
    "carried",
    "gelu",
    "group_norm",
    "hard_sigmoid",
    "hard_swish",
    "instance_norm",
    "layer_norm",
    "linear",
    "mish",
    "norm_act",
    "normalize",
    "relu",
    "relu6",
    "rms_norm",
    "sigmoid",
    "swish",
    "tanh",
]


def __dir__() -> list[str]:
    return __all__


def batch_norm(
    x: KerasTensor,
    *,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    scale: bool = True,
    dtype: str | None = None,
    name: str | None = None,
) -> KerasTensor:
    """`γ (x − mean) / sqrt(variance + epsilon) + β` over the batch, per channel.

    Args:
        x: `(batch, …, channels)`.
        momentum: momentum of the moving statistics.
        epsilon: added to the variance.
        scale: whether there is a γ.
        dtype: of the output; `None` for that of the global dtype policy.

    Returns:
        A tensor of `x`'s shape.

    Source: Ioffe and Szegedy, "Batch Normalization", 2015, arXiv 1502.03167, Algorithm 1.

    >>> from keras import Input
    >>> batch_norm(Input((8, 8, 4))).shape
    (None, 8, 8, 4)
    """
    return layers.BatchNormalization(momentum=momentum, epsilon=epsilon, scale=scale, dtype=dtype, name=name)(x)


def layer_norm(x: KerasTensor, *, epsilon: float = 1e-6, name: str | None = None) -> KerasTensor:
    """`γ (x − mean) / sqrt(variance + epsilon) + β` over the channels of each position.

    Args:
        x: `(batch, …, channels)`.
        epsilon: added to the variance.

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
        groups: number of groups.
        epsilon: added to the variance.

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


def instance_norm(x: KerasTensor, *, epsilon: float = 1e-5, name: str | None = None) -> KerasTensor:
    """`γ (x − mean) / sqrt(variance + epsilon) + β` over the positions of each channel of each image.

    Args:
        x: `(batch, …, channels)`.
        epsilon: added to the variance.

    Returns:
        A tensor of `x`'s shape.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016,
    arXiv 1607.08022, equation 3, with γ and β.

    >>> from keras import Input
    >>> instance_norm(Input((8, 8, 4))).shape
    (None, 8, 8, 4)
    """
    return layers.GroupNormalization(groups=-1, epsilon=epsilon, name=name)(x)


def rms_norm(x: KerasTensor, *, epsilon: float = 1e-6, name: str | None = None) -> KerasTensor:
    """`γ x / sqrt(mean(x²) + epsilon)` over the channels of each position.

    Args:
        x: `(batch, …, channels)`.
        epsilon: added to the mean of squares.

    Returns:
        A tensor of `x`'s shape.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, arXiv 1910.07467, equation 4.

    >>> from keras import Input
    >>> rms_norm(Input((8, 8, 4))).shape
    (None, 8, 8, 4)
    """
    return layers.RMSNormalization(epsilon=epsilon, name=name)(x)


def activation(x: KerasTensor, *, function: str, name: str | None = None) -> KerasTensor:
    """`function(x)`, elementwise.

    Args:
        x: a tensor of any shape.
        function: name of a function of `keras.activations`, such as `"relu"`.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: `keras.activations` has no such function.

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
mish = partial(activation, function="mish")
gelu = partial(activation, function="gelu")
tanh = partial(activation, function="tanh")
sigmoid = partial(activation, function="sigmoid")
hard_sigmoid = partial(activation, function="hard_sigmoid")


@dataclass(frozen=True, kw_only=True)
class Style:
    """The settings that the layers of a network share.

    Attributes:
        norm: a `Block`, or `None` for no normalisation; convolutions then have a bias.
        activation: a `Block`; `linear` for none.
        initializer: of kernels, a name or configuration; one instance would initialise all layers identically.
        regularizer: of kernels, a name, a configuration or `None`.
        padding: of convolutions and poolings: `"same"` and `"valid"` as in Keras; `"symmetric"`, equal on both sides as
            in PyTorch and the ImageNet ResNets; `"floor"`, as `"same"` pads sizes that the stride divides, so that a
            stride of 2 maps 7 to 3. Shapes in docstrings are those of `"same"` and `"symmetric"`.

    Raises:
        TypeError: an initialiser or regulariser is an instance, or `norm` or `activation` is not a `Block`.
        ValueError: `padding` is not one of the four.
    """

    norm: Block | None = batch_norm
    activation: Block = relu
    # he_normal has the same variance, and takes four times as long to sample.
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
GELU_BN = Style(activation=gelu)
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
        name: the layers are named `{name}_norm` and `{name}_act`.

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
    """The Keras name of the activation, if a convolution or dense layer can apply it itself.

    `None` if the style has a normalisation, or an activation that is not one of `keras.activations`.

    >>> carried(Style(norm=None)), carried(Style())
    ('relu', None)
    """
    chosen: object = style.activation
    if not isinstance(chosen, partial) or chosen.func is not activation or chosen.keywords.keys() != {"function"}:
        return None
    name: str = chosen.keywords["function"]
    return name if style.norm is None else None
