"""Combinators: functions that call other functions of the forms in `kblocks.contracts`."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from numbers import Real
from typing import Any

import numpy as np
from keras import KerasTensor, layers

from kblocks import check
from kblocks.contracts import Block, Merge, Unit
from kblocks.naming import resolve, scope
from kblocks.style import Style

__all__ = [
    "add",
    "bias",
    "branches",
    "chain",
    "concat",
    "drop_path_schedule",
    "layer_scale",
    "learned",
    "shake",
    "skip",
    "stage",
    "stochastic_depth",
]

# A stride beyond every size: the output of a pooling with it is the first position alone.
BEYOND = 2**30
# Random bits of a uniform number, and fractional bits of a tensor that passes no gradient.
BITS = 16


def __dir__() -> list[str]:
    return __all__


def concat(tensors: Sequence[KerasTensor], *, name: str | None = None) -> KerasTensor:
    """Concatenation along the last axis.

    Args:
        tensors: of equal shapes except along the last axis.

    Returns:
        A tensor whose last axis is the sum of theirs; a single tensor unchanged.

    Raises:
        ValueError: the list is empty, or the shapes differ along another axis.

    >>> from keras import Input
    >>> concat([Input((8, 8, 3)), Input((8, 8, 5))]).shape
    (None, 8, 8, 8)
    """
    check.joinable(tensors, "tensors", free_axis=-1)
    if len(tensors) == 1:
        return layers.Identity(name=name)(tensors[0])
    return layers.Concatenate(name=name)(tensors)


def add(tensors: Sequence[KerasTensor], *, name: str | None = None) -> KerasTensor:
    """`a + b + …`.

    Args:
        tensors: of equal shapes; nothing is broadcast.

    Returns:
        A tensor of their shape; a single tensor unchanged.

    Raises:
        ValueError: the list is empty, or the shapes differ.

    >>> from keras import Input
    >>> add([Input((8, 8, 3)), Input((8, 8, 3))]).shape
    (None, 8, 8, 3)
    """
    check.joinable(tensors, "tensors")
    if len(tensors) == 1:
        return layers.Identity(name=name)(tensors[0])
    return layers.Add(name=name)(tensors)


def chain(x: KerasTensor, blocks: Sequence[Block], *, name: str | None = None) -> KerasTensor:
    """`chain(x, [f, g])` computes `g(f(x))`.

    Args:
        x: a tensor.
        blocks: a `Block` each, named `{name}_1`, `{name}_2`, …

    Returns:
        The output of the last block.

    Raises:
        TypeError: a block is not of that form.
        ValueError: the list of blocks is empty.

    >>> from functools import partial
    >>> from keras import Input
    >>> from kblocks.conv import conv_norm_act
    >>> chain(Input((32, 32, 3)), [partial(conv_norm_act, filters=8), partial(conv_norm_act, filters=16)]).shape
    (None, 32, 32, 16)
    """
    check.functions(blocks, "blocks")
    part = scope(name, "chain")
    for i, block in enumerate(blocks, 1):
        x = block(x, name=part(str(i)))
    return x


def branches(x: KerasTensor, blocks: Sequence[Block], *, merge: Merge = concat, name: str | None = None) -> KerasTensor:
    """`branches(x, [f, g], merge=m)` computes `m([f(x), g(x)])`.

    Args:
        x: a tensor.
        blocks: a `Block` each, named `{name}_branch1`, `{name}_branch2`, …
        merge: a `Merge`, such as `concat` or `add`, named `{name}_out`.

    Returns:
        The output of `merge`.

    Raises:
        TypeError: a block or `merge` is not of that form.
        ValueError: the list of blocks is empty, or `merge` refuses the outputs.

    >>> from functools import partial
    >>> from keras import Input
    >>> from kblocks.conv import conv_norm_act
    >>> branches(Input((32, 32, 3)), [partial(conv_norm_act, filters=8), partial(conv_norm_act, filters=16)]).shape
    (None, 32, 32, 24)
    """
    check.functions(blocks, "blocks")
    check.block(merge, "merge", Merge)
    part = scope(name, "branches")
    return merge([block(x, name=part(f"branch{i}")) for i, block in enumerate(blocks, 1)], name=part("out"))


def skip(
    x: KerasTensor,
    block: Block,
    *,
    shortcut: Block | None = None,
    drop_path: float = 0.0,
    name: str | None = None,
) -> KerasTensor:
    """`shortcut(x) + block(x)`.

    Args:
        x: a tensor.
        block: a `Block`.
        shortcut: a `Block`; `None` for `x` itself.
        drop_path: stochastic-depth (drop-path) rate of `block(x)`.

    Returns:
        A tensor of the shape of `block(x)`.

    Raises:
        TypeError: `block` or `shortcut` is not of that form.
        ValueError: the two shapes differ, or `drop_path` is not at least 0 and below 1.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385, Figure 2.

    >>> from functools import partial
    >>> from keras import Input
    >>> from kblocks.conv import conv_norm_act
    >>> skip(Input((32, 32, 8)), partial(conv_norm_act, filters=8)).shape
    (None, 32, 32, 8)
    """
    check.block(block, "block")
    if shortcut is not None:
        check.block(shortcut, "shortcut")
    check.fraction(drop_path, "drop_path")
    part = scope(name, "skip")
    y = stochastic_depth(block(x, name=part("branch")), drop_path, name=part("drop_path"))
    return add([x if shortcut is None else shortcut(x, name=part("shortcut")), y], name=part("out"))


def stage(
    x: KerasTensor,
    unit: Unit,
    filters: int,
    depth: int,
    *,
    stride: int = 1,
    drop_paths: Sequence[float] = (),
    style: Style | None = None,
    name: str | None = None,
) -> KerasTensor:
    """`unit(… unit(unit(x, stride=stride)))`, `depth` times; only the first unit takes the stride.

    Args:
        x: a tensor.
        unit: a `Unit`.
        filters: number of output channels of each unit.
        depth: number of units.
        stride: stride of the first unit.
        drop_paths: drop-path rate of each unit; empty for 0.
        style: `None` for the default of the unit.
        name: the units are named `{name}_unit1`, `{name}_unit2`, …

    Returns:
        The output of the last unit.

    Raises:
        TypeError: `unit` is not of that form, or `drop_paths` is not a sequence.
        ValueError: `depth` is not a positive integer, or the number of rates is not `depth`.

    >>> from keras import Input
    >>> from kblocks.residual import basic
    >>> stage(Input((32, 32, 16)), basic, 32, 3, stride=2).shape
    (None, 16, 16, 32)
    """
    check.block(unit, "unit", Unit, without=() if style else ("style",))
    check.positive(filters, "filters")
    check.positive(depth, "depth")
    check.positive(stride, "stride")
    if not isinstance(drop_paths, Sequence) or isinstance(drop_paths, str):
        raise TypeError(f"`drop_paths` must hold one rate for each unit; got {drop_paths!r}")
    if len(drop_paths) not in (0, depth):
        raise ValueError(f"`drop_paths` must hold one rate for each unit; got {len(drop_paths)} for a depth of {depth}")
    part = scope(name, "stage")
    styled: Callable[..., KerasTensor] = unit if style is None else partial(unit, style=style)
    for i in range(depth):
        rate = drop_paths[i] if len(drop_paths) else 0.0
        x = styled(x, filters, stride=stride if i == 0 else 1, drop_path=rate, name=part(f"unit{i + 1}"))
    return x


def stochastic_depth(x: KerasTensor, rate: float, *, name: str | None = None) -> KerasTensor:
    """`x · bernoulli(1 − rate) / (1 − rate)`, drawn for each image; `x` in inference.

    Args:
        x: `(batch, …)`, a residual before the addition.
        rate: the probability of zero; 0 adds no layer.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: `rate` is not at least 0 and below 1.

    Source: Huang et al., "Deep Networks with Stochastic Depth", 2016, arXiv 1603.09382, equation 2, with
    the scaling in training instead of inference.

    >>> from keras import Input
    >>> stochastic_depth(Input((32, 32, 8)), 0.1).shape
    (None, 32, 32, 8)
    """
    check.fraction(rate, "rate")
    if rate == 0:
        return x
    return layers.Dropout(rate, noise_shape=(None,) + (1,) * (len(x.shape) - 1), name=name)(x)


def shake(tensors: Sequence[KerasTensor], *, name: str | None = None) -> KerasTensor:
    """`α a + (1 − α) b` with a random α for each image, whose gradient is that of `β a + (1 − β) b`; `(a + b) / 2` in
    inference.

    α and β are independent and uniform between 0 and 1. In training the value is rounded to a multiple of `2^-16`: it
    is `β a + (1 − β) b` plus the difference in integers, as no layer of Keras stops a gradient otherwise.

    Args:
        tensors: two, `a` and `b`, of equal shapes, with values below `2^15`.

    Returns:
        A tensor of their shape.

    Raises:
        ValueError: there are not two, or the shapes differ.

    Source: Gastaldi, "Shake-Shake regularization", 2017, arXiv 1705.07485, equation 2 and Figure 1: "Shake" in both
    passes at the level "Image".

    >>> from keras import Input
    >>> shake([Input((8, 8, 3)), Input((8, 8, 3))]).shape
    (None, 8, 8, 3)
    """
    check.tensors(tensors, "tensors", 2)
    check.joinable(tensors, "tensors")
    a, b = tensors
    part = scope(name, "shake")
    one = _one(a, part)
    alpha, beta = (_uniform(one, len(a.shape), part(letter)) for letter in ("alpha", "beta"))
    difference = layers.Subtract(name=part("difference"))([a, b])
    backward = layers.Multiply(name=part("backward"))([difference, beta])
    jump = layers.Subtract(dtype="float32", name=part("gap"))([alpha, beta])
    jump = _without_gradient(layers.Multiply(name=part("jump"))([difference, jump]), part)
    return layers.Add(name=part("out"))([b, backward, jump])


def drop_path_schedule(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Linearly increasing drop-path rates, from 0 at the first unit to `rate` at the last, for each stage.

    Args:
        rate: rate of the last unit.
        depths: number of units of each stage.

    Returns:
        A list of rates for each stage.

    Raises:
        ValueError: `rate` is not at least 0 and below 1, or a depth is not a positive integer.

    Source: Huang et al., "Deep Networks with Stochastic Depth", 2016, arXiv 1603.09382, section 3,
    linear decay; the first rate is 0 as in Liu et al., "A ConvNet for the 2020s", 2022, not `rate / units`.

    >>> drop_path_schedule(0.5, (2, 1))
    [[0.0, 0.25], [0.5]]
    """
    check.fraction(rate, "rate")
    if not isinstance(depths, Sequence) or isinstance(depths, str):
        raise TypeError(f"`depths` must hold the number of units of each stage; got {depths!r}")
    for depth in depths:
        check.positive(depth, "depths")
    last = max(sum(depths) - 1, 1)
    rates = iter([rate * i / last for i in range(sum(depths))])
    return [[next(rates) for _ in range(depth)] for depth in depths]


def layer_scale(x: KerasTensor, initial: float, *, name: str | None = None) -> KerasTensor:
    """`γ x` with a learned factor for each channel.

    Args:
        x: `(batch, …, channels)`.
        initial: initial value of γ.
        name: γ is the kernel of `{name}_gamma`, the product is `{name}_out`.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        TypeError: `initial` is not a number.
        ValueError: `x` has no axis between batch and channels.

    Source: Touvron et al., "Going deeper with Image Transformers", 2021, arXiv 2103.17239, equation 4.

    >>> from keras import Input
    >>> layer_scale(Input((8, 8, 4)), 1e-6).shape
    (None, 8, 8, 4)
    """
    if isinstance(initial, bool) or not isinstance(initial, Real):
        raise TypeError(f"`initial` must be a number; got {initial!r}")
    _check_channels(x)
    part = scope(name, "layer_scaling")  # "layer_scale" is the name of a layer in Keras.
    shape = (1,) * (len(x.shape) - 2) + (x.shape[-1],)
    gamma = learned(x, shape, initializer={"class_name": "Constant", "config": {"value": initial}}, name=part("gamma"))
    return layers.Multiply(name=part("out"))([x, gamma])


def bias(x: KerasTensor, *, name: str | None = None) -> KerasTensor:
    """`x + b` with a learned summand for each channel, initially 0.

    For layers whose own bias can't be trained apart from their kernel.

    Args:
        x: `(batch, …, channels)`.
        name: b is the kernel of `{name}_beta`, the sum is `{name}_out`.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: `x` has no axis between batch and channels.

    >>> from keras import Input
    >>> bias(Input((8, 8, 4))).shape
    (None, 8, 8, 4)
    """
    _check_channels(x)
    part = scope(name, "bias")
    shape = (1,) * (len(x.shape) - 2) + (x.shape[-1],)
    return layers.Add(name=part("out"))([x, learned(x, shape, name=part("beta"))])


def _check_channels(x: KerasTensor) -> None:
    if len(x.shape) < 3:
        raise ValueError(f"`x` must have rank 3 or more (batch, …, channels); got shape {tuple(x.shape)}")
    if x.shape[-1] is None:
        raise ValueError(f"`x` must have a known last dimension; got shape {tuple(x.shape)}")


def learned(
    x: KerasTensor,
    shape: Sequence[int],
    *,
    initializer: str | dict[str, Any] = "zeros",
    values: np.ndarray | None = None,
    name: str | None = None,
) -> KerasTensor:
    """A learned or constant array, the same for every example: a scale, a bias, a class token, a table of positions.

    Args:
        x: `(batch, …)`, of which only the batch size is used.
        shape: shape of the array.
        initializer: a name or configuration.
        values: of a constant array, whose weights are not trainable; `None` for a learned one.
        name: the array, flattened, is the kernel of the layer `name`; the output is that of `{name}_out`.

    Returns:
        `(batch, *shape)`.

    Raises:
        ValueError: `x` has no axis behind the batch, a size is not a positive integer, or `values` has another shape.
        TypeError: `shape` is not a list or tuple.

    >>> from keras import Input
    >>> learned(Input((8, 8, 4)), (1, 16)).shape
    (None, 1, 16)
    """
    check.tensors([x], "x")
    if len(x.shape) < 2:
        raise ValueError(f"`x` must have rank 2 or more (batch, …); got shape {tuple(x.shape)}")
    if not isinstance(shape, list | tuple) or not shape:
        raise TypeError(f"`shape` must be a list or tuple of sizes; got {shape!r}")
    for size in shape:
        check.positive(size, "shape")
    name = resolve(name, "learned")
    sizes = tuple(int(size) for size in shape)
    if values is not None and np.shape(values) != sizes:
        raise ValueError(f"`values` must have the shape {sizes}; got {np.shape(values)}")
    # A dense layer applied to ones is a learned vector.
    dense = layers.Dense(prod(sizes), use_bias=False, kernel_initializer=initializer, name=name)
    vector = dense(_one(x, scope(name, name)))
    if values is not None:
        dense.set_weights([np.reshape(values, (1, -1))])
        dense.trainable = False
    return layers.Reshape(sizes, name=f"{name}_out")(vector)


def _one(x: KerasTensor, part: Callable[[str], str]) -> KerasTensor:
    """`(batch, 1)`, an integer 1 for each example of `x`.

    It is `0 · x + 1` of one value of each example, so that nothing has to be computed for the others; as integers,
    which pass no gradient on to `x` and have no NaN.
    """
    one = layers.Flatten(name=part("flat"))(x)
    one = layers.Reshape((-1, 1), name=part("values"))(one)
    one = layers.AveragePooling1D(1, strides=BEYOND, name=part("first"))(one)
    one = layers.Reshape((1,), name=part("value"))(one)
    return layers.Rescaling(0.0, offset=1.0, dtype="int16", name=part("one"))(one)


def _uniform(one: KerasTensor, rank: int, name: str) -> KerasTensor:
    """`(batch, 1, …)`, in training a number for each example, uniform in `(k + 1/2) / 2^BITS`; 1/2 in inference.

    Its binary digits are ones that a dropout keeps with a probability of 1/2, times powers of two.
    """
    part = scope(name, "uniform")
    digits = layers.RepeatVector(BITS, name=part("repeat"))(one)
    # The dropout doubles what it keeps, and the pooling takes the mean for the sum.
    weights = [[BITS * 2.0 ** -(i + 1)] for i in range(1, BITS + 1)]
    digits = layers.Rescaling(weights, dtype="float32", name=part("digits"))(digits)
    digits = layers.Dropout(0.5, dtype="float32", name=part("dropout"))(digits)
    y = layers.GlobalAveragePooling1D(dtype="float32", name=part("sum"))(digits)
    y = layers.Rescaling(1.0, offset=2.0 ** -(BITS + 1), dtype="float32", name=part("centre"))(y)
    return layers.Reshape((1,) * (rank - 1), dtype="float32", name=part("out"))(y)


def _without_gradient(x: KerasTensor, part: Callable[[str], str]) -> KerasTensor:
    """`x` to an accuracy of `2^-BITS`, as a constant of the gradient: integers pass none on."""
    x = layers.Rescaling(2.0**BITS, dtype="float32", name=part("scale"))(x)
    x = layers.Rescaling(1.0, dtype="int32", name=part("integer"))(x)
    return layers.Rescaling(2.0**-BITS, dtype="float32", name=part("constant"))(x)
