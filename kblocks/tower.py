"""Towers: one set of weights called on several inputs, and several towers that meet.

Calling a function makes new weights; calling a model shares them. `as_model` turns a block into a model.
"""

from collections.abc import Callable, Sequence
from numbers import Integral

import keras
from keras import KerasTensor, layers, ops

from kblocks import check
from kblocks.compose import concat
from kblocks.contracts import Block, Merge
from kblocks.naming import resolve, scope


def as_model(block: Block, input_shape: Sequence[int | None], *, name: str | None = None) -> keras.Model:
    """A model that computes `block(x)`, with the same weights wherever it is called.

    Args:
        block: a function `(x, *, name) -> tensor`; called once.
        input_shape: of one input, without the batch axis.
        name: the model's name, and the prefix of its layers.

    Returns:
        A `keras.Model` from `(batch, *input_shape)` to the block's output.

    Raises:
        TypeError: `block` is no function, or `input_shape` no sequence of sizes.

    >>> from functools import partial
    >>> from kblocks.conv import conv_norm_act
    >>> tower = as_model(partial(conv_norm_act, filters=8), (32, 32, 3), name="tower")
    >>> tower(keras.Input((32, 32, 3))).shape
    (None, 32, 32, 8)
    """
    check.function(block, "block")
    if not isinstance(input_shape, list | tuple) or not all(isinstance(n, Integral | None) for n in input_shape):
        raise TypeError(f"`input_shape` must be a tuple of sizes; got {input_shape!r}")
    name = resolve(name, "tower")
    x = keras.Input(tuple(n and int(n) for n in input_shape), name=f"{name}_input")
    return keras.Model(x, block(x, name=name), name=name)


def siamese(
    inputs: Sequence[KerasTensor],
    tower: Callable[[KerasTensor], KerasTensor],
    *,
    merge: Merge,
    joint_norm: bool = False,
    name: str | None = None,
) -> KerasTensor:
    """`merge([tower(a), tower(b), …])`, with one tower.

    Args:
        inputs: two or more tensors of one shape.
        tower: a `keras.Model` or layer, from which a tensor comes out; see `as_model`.
        merge: a function `(tensors, *, name) -> tensor`: `abs_difference`, `euclidean`, `cosine`, `dot`,
            `kblocks.compose.concat` or your own.
        joint_norm: whether the inputs pass through the tower as one batch, which is split afterwards. A tower with
            batch normalisation then normalises all inputs by their common statistics, and updates its moving ones once.
        name: the prefix of the layers; the merge gets `{name}_out`.

    Returns:
        What `merge` makes of the tower's outputs.

    Raises:
        TypeError: `tower` is a plain function, each call of which would make new weights.
        ValueError: fewer than two inputs, or inputs of different shapes.

    Source: Bromley et al., "Signature Verification using a Siamese Time Delay Neural Network", 1993.

    >>> tower = as_model(lambda x, name: layers.Dense(4, name=name)(x), (8,), name="tower")
    >>> siamese([keras.Input((8,)), keras.Input((8,))], tower, merge=abs_difference).shape
    (None, 4)
    """
    check.tensors(inputs, "inputs")
    if len(inputs) < 2:
        raise ValueError(f"`inputs` must hold at least two tensors; got {len(inputs)}")
    check.function(merge, "merge")
    part = scope(name, "siamese")
    return merge(embed(inputs, tower, joint_norm=joint_norm, name=part("inputs")), name=part("out"))


def triplet(
    inputs: Sequence[KerasTensor],
    tower: Callable[[KerasTensor], KerasTensor],
    *,
    distance: Merge,
    joint_norm: bool = False,
    name: str | None = None,
) -> KerasTensor:
    """`[distance(t(anchor), t(positive)), distance(t(anchor), t(negative))]`, with one tower `t`.

    Args:
        inputs: the anchor, the positive and the negative, three tensors of one shape.
        tower: a `keras.Model` or layer; see `as_model`.
        distance: a function `(tensors, *, name) -> tensor` of shape `(batch, 1)`: `euclidean`, `cosine`, `dot` or
            your own.
        joint_norm: see `siamese`.
        name: the prefix of the layers; the last is `{name}_out`.

    Returns:
        `(batch, 2)`, float32: a margin loss wants the first smaller than the second.

    Raises:
        TypeError: `tower` is a plain function, each call of which would make new weights.
        ValueError: not three inputs, or inputs of different shapes, or `distance` does not give `(batch, 1)`.

    Source: Schroff, Kalenichenko and Philbin, "FaceNet", 2015, arXiv 1503.03832, section 3.1.

    >>> tower = as_model(lambda x, name: layers.Dense(4, name=name)(x), (8,), name="tower")
    >>> triplet([keras.Input((8,)) for _ in range(3)], tower, distance=euclidean).shape
    (None, 2)
    """
    check.tensors(inputs, "inputs", 3)
    check.function(distance, "distance")
    part = scope(name, "triplet")
    anchor, positive, negative = embed(inputs, tower, joint_norm=joint_norm, name=part("inputs"))
    pairs = {"positive": [anchor, positive], "negative": [anchor, negative]}
    near, far = (distance(pair, name=part(place)) for place, pair in pairs.items())
    if tuple(near.shape[1:]) != (1,):
        raise ValueError(f"`distance` must give a tensor of shape (batch, 1); got {tuple(near.shape)}")
    # Under a mixed policy a plain concatenation would round the two to half precision.
    return layers.Concatenate(dtype="float32", name=part("out"))([near, far])


def embed(
    inputs: Sequence[KerasTensor],
    tower: Callable[[KerasTensor], KerasTensor],
    *,
    joint_norm: bool = False,
    name: str | None = None,
) -> list[KerasTensor]:
    """`[tower(a), tower(b), …]`, with one tower.

    Args:
        inputs: tensors of one shape.
        tower: a `keras.Model` or layer; see `as_model`.
        joint_norm: see `siamese`.
        name: the name of the layer that joins the inputs on the batch axis, where there is one.

    Returns:
        A list of tensors, one an input.

    Raises:
        TypeError: `tower` is a plain function, each call of which would make new weights.
        ValueError: no inputs, or inputs of different shapes, or several outputs where the batches are joined.

    >>> tower = as_model(lambda x, name: layers.Dense(4, name=name)(x), (8,), name="tower")
    >>> [y.shape for y in embed([keras.Input((8,)), keras.Input((8,))], tower)]
    [(None, 4), (None, 4)]
    """
    check.joinable(inputs, "inputs")
    if not isinstance(tower, keras.layers.Layer):
        raise TypeError(
            f"`tower` must be a keras.Model or layer, so that its weights are shared; got {tower!r} "
            "(kblocks.tower.as_model makes a model of a block)"
        )
    if not joint_norm:
        return [tower(x) for x in inputs]
    outputs = tower(layers.Concatenate(axis=0, name=name)(inputs))
    if isinstance(outputs, list | tuple | dict):
        raise ValueError(f"`tower` must give one tensor for `joint_norm`; {tower.name} gives {len(outputs)}")
    return list(ops.split(outputs, len(inputs), axis=0))


def fuse(
    inputs: Sequence[KerasTensor], blocks: Sequence[Block], *, merge: Merge = concat, name: str | None = None
) -> KerasTensor:
    """`merge([f(a), g(b), …])`: several inputs, each with a block of its own.

    Args:
        inputs: tensors.
        blocks: as many functions `(x, *, name) -> tensor`; the first gets the name `{name}_tower1`.
        merge: a function `(tensors, *, name) -> tensor`.
        name: the prefix of the layers; the merge gets `{name}_out`.

    Returns:
        What `merge` makes of the blocks' outputs.

    Raises:
        ValueError: the lists are empty or of different lengths, or the outputs can't be joined.

    >>> dense = lambda x, name: layers.Dense(4, name=name)(x)
    >>> fuse([keras.Input((8,)), keras.Input((3,))], [dense, dense]).shape
    (None, 8)
    """
    check.functions(blocks, "blocks")
    check.tensors(inputs, "inputs", len(blocks))
    check.function(merge, "merge")
    part = scope(name, "fuse")
    outputs = [block(x, name=part(f"tower{i}")) for i, (x, block) in enumerate(zip(inputs, blocks, strict=True), 1)]
    return merge(outputs, name=part("out"))


def abs_difference(tensors: Sequence[KerasTensor], *, name: str | None = None) -> KerasTensor:
    """`|a − b|`, elementwise, as `max(a − b, b − a)`.

    Args:
        tensors: two of one shape.
        name: the last layer's name, and the prefix of the rest.

    Returns:
        A tensor of their shape.

    Raises:
        ValueError: not two tensors, or of different shapes.

    >>> abs_difference([keras.Input((8,)), keras.Input((8,))]).shape
    (None, 8)
    """
    a, b = _pair(tensors)
    name = resolve(name, "abs_difference")
    ab = layers.Subtract(name=f"{name}_ab")([a, b])
    ba = layers.Subtract(name=f"{name}_ba")([b, a])
    return layers.Maximum(name=name)([ab, ba])


def euclidean(tensors: Sequence[KerasTensor], *, epsilon: float = 1e-12, name: str | None = None) -> KerasTensor:
    """`sqrt(Σ (a − b)² + epsilon)`, in float32.

    Args:
        tensors: two vectors, `(batch, features)`.
        epsilon: keeps the gradient at distance zero finite.
        name: the last layer's name, and the prefix of the rest.

    Returns:
        `(batch, 1)`, float32.

    Raises:
        ValueError: not two vectors, or of different shapes, or `epsilon` is not above zero.

    >>> euclidean([keras.Input((8,)), keras.Input((8,))]).shape
    (None, 1)
    """
    a, b = _pair(tensors, rank=2)
    if not epsilon > 0:
        raise ValueError(f"`epsilon` must be above 0; got {epsilon!r}")
    name = resolve(name, "euclidean")
    # Half precision would lose epsilon and overflow at a distance of 256.
    d = layers.Subtract(dtype="float32", name=f"{name}_difference")([a, b])
    d2 = layers.Dot(axes=-1, dtype="float32", name=f"{name}_square")([d, d])
    d2 = layers.Rescaling(1.0, offset=epsilon, dtype="float32", name=f"{name}_epsilon")(d2)
    return layers.Identity(dtype="float32", name=name)(ops.sqrt(d2))


def cosine(tensors: Sequence[KerasTensor], *, epsilon: float = 1e-12, name: str | None = None) -> KerasTensor:
    """`a·b / (|a| |b|)` with `|a| = sqrt(Σ a² + epsilon)`, in float32.

    Args:
        tensors: two vectors, `(batch, features)`.
        epsilon: keeps the gradient at a zero vector finite, as a tower that ends in ReLU can put out.
        name: the last layer's name, and the prefix of the rest.

    Returns:
        `(batch, 1)`, float32, from −1 to 1.

    Raises:
        ValueError: not two vectors, or of different shapes, or `epsilon` is not above zero.

    >>> cosine([keras.Input((8,)), keras.Input((8,))]).shape
    (None, 1)
    """
    a, b = _pair(tensors, rank=2)
    if not epsilon > 0:
        raise ValueError(f"`epsilon` must be above 0; got {epsilon!r}")
    name = resolve(name, "cosine")

    # Keras's own `Dot(normalize=True)` has no finite gradient at a zero vector.
    def unit(x: KerasTensor, part: str) -> KerasTensor:
        x2 = layers.Dot(axes=-1, dtype="float32", name=f"{name}_{part}_square")([x, x])
        x2 = layers.Rescaling(1.0, offset=epsilon, dtype="float32", name=f"{name}_{part}_epsilon")(x2)
        return layers.Multiply(dtype="float32", name=f"{name}_{part}")([x, ops.rsqrt(x2)])

    return layers.Dot(axes=-1, dtype="float32", name=name)([unit(a, "a"), unit(b, "b")])


def dot(tensors: Sequence[KerasTensor], *, name: str | None = None) -> KerasTensor:
    """`a·b`, in float32.

    Args:
        tensors: two vectors, `(batch, features)`.
        name: the layer's name.

    Returns:
        `(batch, 1)`, float32.

    Raises:
        ValueError: not two vectors, or of different shapes.

    >>> dot([keras.Input((8,)), keras.Input((8,))]).shape
    (None, 1)
    """
    return layers.Dot(axes=-1, dtype="float32", name=name)(_pair(tensors, rank=2))


def _pair(tensors: Sequence[KerasTensor], rank: int | None = None) -> list[KerasTensor]:
    check.tensors(tensors, "tensors", 2)
    check.joinable(tensors, "tensors")
    if rank is not None:
        for x in tensors:
            check.rank(x, rank, "tensors")
    return list(tensors)
