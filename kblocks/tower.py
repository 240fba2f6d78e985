"""Networks with several inputs: siamese and triplet networks with shared weights, and towers with their own.

A function makes new weights at each call; a model shares them between calls. `as_model` makes a model of a block.
A distance is a merge of two vectors, `(batch, features)`, computed in float32 under every dtype policy.
"""

from collections.abc import Callable, Sequence
from math import sqrt
from numbers import Integral

import keras
from keras import KerasTensor, layers, ops

from kblocks import check
from kblocks.compose import concat
from kblocks.contracts import Block, Merge
from kblocks.naming import resolve, scope

__all__ = [
    "abs_difference",
    "as_model",
    "cosine",
    "dot",
    "embed",
    "euclidean",
    "fuse",
    "siamese",
    "triplet",
    "triplet_distances",
]

# `UnitNormalization` divides by at least 1e-12, the square root of this.
SMALLEST = 1e-24


def __dir__() -> list[str]:
    return __all__


def as_model(block: Block, input_shape: Sequence[int | None], *, name: str | None = None) -> keras.Model:
    """A model that computes `block(x)`, with the same weights at each call.

    Args:
        block: called once.
        input_shape: shape of one input, without the batch axis.
        name: name of the model, and prefix of its layers.

    Returns:
        A `keras.Model` from `(batch, *input_shape)` to the block's output.

    Raises:
        TypeError: `block` is not a function, or `input_shape` not a list or tuple of sizes.

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
        tower: a `keras.Model` or layer with one output; see `as_model`.
        merge: `abs_difference`, `euclidean`, `cosine`, `dot`, `kblocks.compose.concat` or your own.
        joint_norm: whether to concatenate the inputs along the batch axis for a single call of the tower. Batch
            normalisation then uses the statistics of all inputs together, and updates its moving ones once. No layer
            splits the batch axis, so the model has the operation `keras.ops.split`, which the legacy format `.h5` can
            not hold; save it as `.keras`.

    Returns:
        The output of `merge`.

    Raises:
        TypeError: `tower` is a plain function, which would make new weights at each call.
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
        tower: see `siamese`.
        distance: a merge with output `(batch, 1)`: `euclidean`, `cosine`, `dot` or your own.
        joint_norm: see `siamese`.

    Returns:
        `(batch, 2)`, float32, for a margin loss that makes the first smaller than the second.

    Raises:
        TypeError: `tower` is a plain function, which would make new weights at each call.
        ValueError: not three inputs, inputs of different shapes, or a `distance` whose output is not `(batch, 1)`.

    Source: Schroff, Kalenichenko and Philbin, "FaceNet", 2015, arXiv 1503.03832, section 3.1.

    >>> tower = as_model(lambda x, name: layers.Dense(4, name=name)(x), (8,), name="tower")
    >>> triplet([keras.Input((8,)) for _ in range(3)], tower, distance=euclidean).shape
    (None, 2)
    """
    check.tensors(inputs, "inputs", 3)
    name = resolve(name, "triplet")
    vectors = embed(inputs, tower, joint_norm=joint_norm, name=scope(name, "triplet")("inputs"))
    return triplet_distances(vectors, distance=distance, name=name)


def triplet_distances(tensors: Sequence[KerasTensor], *, distance: Merge, name: str | None = None) -> KerasTensor:
    """`[distance(anchor, positive), distance(anchor, negative)]`.

    Args:
        tensors: the anchor, the positive and the negative, `(batch, features)` each.
        distance: see `triplet`.
        name: the distances are named `{name}_positive` and `{name}_negative`, the output `{name}_out`.

    Returns:
        `(batch, 2)`, float32.

    Raises:
        ValueError: not three vectors of one shape, or a `distance` whose output is not `(batch, 1)`.

    Source: Schroff, Kalenichenko and Philbin, "FaceNet", 2015, arXiv 1503.03832, section 3.1.

    >>> triplet_distances([keras.Input((8,)) for _ in range(3)], distance=euclidean).shape
    (None, 2)
    """
    check.tensors(tensors, "tensors", 3)
    check.joinable(tensors, "tensors")
    check.function(distance, "distance")
    part = scope(name, "triplet")
    anchor, positive, negative = tensors
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
        tower: see `siamese`.
        joint_norm: see `siamese`.
        name: name of the layer that concatenates the inputs for `joint_norm`.

    Returns:
        A list with one tensor for each input.

    Raises:
        TypeError: `tower` is a plain function, which would make new weights at each call.
        ValueError: no inputs, inputs of different shapes, or a tower with several outputs and `joint_norm`.

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
    """`merge([f(a), g(b), …])`: several inputs, each with its own block.

    Args:
        inputs: tensors.
        blocks: one for each input; the first is called with the name `{name}_tower1`.
        merge: merges the blocks' outputs.

    Returns:
        The output of `merge`.

    Raises:
        ValueError: the lists are empty or of different lengths, or the outputs can't be merged.

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
        tensors: two tensors of one shape.

    Returns:
        A tensor of their shape.

    Raises:
        ValueError: not two tensors, or different shapes.

    >>> abs_difference([keras.Input((8,)), keras.Input((8,))]).shape
    (None, 8)
    """
    a, b = _pair(tensors)
    name = resolve(name, "abs_difference")
    ab = layers.Subtract(name=f"{name}_ab")([a, b])
    ba = layers.Subtract(name=f"{name}_ba")([b, a])
    return layers.Maximum(name=name)([ab, ba])


def euclidean(tensors: Sequence[KerasTensor], *, epsilon: float = 1e-12, name: str | None = None) -> KerasTensor:
    """`sqrt(Σ (a − b)² + epsilon)`.

    Args:
        tensors: two vectors.
        epsilon: keeps the gradient finite at distance zero; at least 1e-24.

    Returns:
        `(batch, 1)`, float32.

    Raises:
        ValueError: not two vectors of one shape, or `epsilon` is below 1e-24.

    >>> euclidean([keras.Input((8,)), keras.Input((8,))]).shape
    (None, 1)
    """
    pair = _pair(tensors, rank=2)
    name = resolve(name, "euclidean")
    # Half precision would lose epsilon and overflow at a distance of 256.
    difference = layers.Subtract(dtype="float32", name=f"{name}_difference")(pair)
    # No layer computes a square root, but |v| = v·(v / |v|), and a layer computes v / |v|.
    vector = _concat([difference, _constant(difference, epsilon, f"{name}_epsilon")], f"{name}_vector")
    unit = layers.UnitNormalization(dtype="float32", name=f"{name}_unit")(vector)
    return layers.Dot(axes=-1, dtype="float32", name=name)([vector, unit])


def cosine(tensors: Sequence[KerasTensor], *, epsilon: float = 1e-12, name: str | None = None) -> KerasTensor:
    """`a·b / (|a| |b|)` with `|a| = sqrt(Σ a² + epsilon)`.

    Args:
        tensors: two vectors.
        epsilon: keeps the gradient finite at a zero vector, which a tower that ends in ReLU can return; at least 1e-24.

    Returns:
        `(batch, 1)`, float32, in [−1, 1].

    Raises:
        ValueError: not two vectors of one shape, or `epsilon` is below 1e-24.

    >>> cosine([keras.Input((8,)), keras.Input((8,))]).shape
    (None, 1)
    """
    a, b = _pair(tensors, rank=2)
    name = resolve(name, "cosine")
    # Constants make |a|² and |b|² larger by epsilon. Where one vector has them, the other has zeros: a·b is unchanged.
    constants = [_constant(x, epsilon, f"{name}_{part}_epsilon") for x, part in ((a, "a"), (b, "b"))]
    zeros = [layers.Rescaling(0.0, dtype="float32", name=f"{name}_{part}_zeros")(x) for x, part in ((a, "a"), (b, "b"))]
    vectors = [
        _concat([a, constants[0], zeros[0]], f"{name}_a_vector"),
        _concat([b, zeros[1], constants[1]], f"{name}_b_vector"),
    ]
    # Not `Dot(normalize=True)`, which reads a bound from Keras's configuration.
    units = [
        layers.UnitNormalization(dtype="float32", name=f"{name}_{part}")(vector)
        for vector, part in zip(vectors, "ab", strict=True)
    ]
    return layers.Dot(axes=-1, dtype="float32", name=name)(units)


def dot(tensors: Sequence[KerasTensor], *, name: str | None = None) -> KerasTensor:
    """`a·b`.

    Args:
        tensors: two vectors.

    Returns:
        `(batch, 1)`, float32.

    Raises:
        ValueError: not two vectors of one shape.

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


def _constant(x: KerasTensor, epsilon: float, name: str) -> KerasTensor:
    """A constant vector of `x`'s shape whose squares sum to `epsilon`."""
    if not epsilon >= SMALLEST:
        raise ValueError(f"`epsilon` must be at least {SMALLEST}; got {epsilon!r}")
    return layers.Rescaling(0.0, offset=sqrt(epsilon / x.shape[-1]), dtype="float32", name=name)(x)


def _concat(tensors: Sequence[KerasTensor], name: str) -> KerasTensor:
    return layers.Concatenate(dtype="float32", name=name)(tensors)
