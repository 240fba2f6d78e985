"""Grad-CAM: which parts of an image speak for a class."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kblocks.graph.calls import Call, check_graph, run, structure
from kblocks.graph.features import Endpoint, end, locate
from kblocks.graph.fold import IDLE
from kblocks.graph.rewrite import Copies

__all__ = ["gradcam"]


def __dir__() -> list[str]:
    return __all__


def gradcam(
    model: keras.Model, images: Any, classes: int | Sequence[int] | None = None, *, at: int | str | None = None
) -> np.ndarray:
    """`ReLU(Σ_k a_k F_k)`, with `a_k` the mean over positions of the score's gradient by channel `k` of features `F`.

    Args:
        model: functional or Sequential, of an image, which may be one of several inputs, to a vector of class scores.
            Use one that ends in logits: the gradient of a softmax also speaks against the other classes.
        images: a batch, or for several inputs a list or dict of batches, as `model` takes it.
        classes: index of a class, or one for each image; by default the class of the highest score.
        at: which features, by stride or by name as in `kblocks.graph.features`; by default those that the head takes.

    Returns:
        Heat maps `(batch, height, width)` of the size of the features, from 0 to 1, where 0 speaks not for the class.
        `keras.ops.image.resize` enlarges them to the size of the image.

    Raises:
        TypeError: `model` is not a functional or Sequential model.
        ValueError: it has no such features, its output is no vector, or `classes` does not fit.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017,
    equations 1 and 2.

    >>> x = keras.Input((8, 8, 3))
    >>> y = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    >>> gradcam(keras.Model(x, layers.Dense(10)(y)), np.ones((2, 8, 8, 3), "float32")).shape
    (2, 6, 6)
    """
    check_graph(model)
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = " and ".join(str(tuple(y.shape)) for y in model.outputs)
        raise ValueError(f"`model` must return one vector of scores for each image; got outputs of shape {shapes}")
    place = _place(model, at)
    if not isinstance(images, Mapping):
        images = keras.tree.pack_sequence_as(structure(model)[0], [np.asarray(x) for x in keras.tree.flatten(images)])
    given = {x.name: value for x, value in zip(model.inputs, keras.tree.flatten(images), strict=True)}
    maps, scores = _forward(model, images, place)
    chosen = _classes(classes, scores)
    heat = np.maximum((_gradients(model, place, maps, given, chosen) * maps).sum(axis=-1), 0)
    most = heat.max(axis=(1, 2), keepdims=True)
    result: np.ndarray = np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)
    return result


def _place(model: keras.Model, at: int | str | None) -> Endpoint:
    if at is None:
        found = end(model)
        if found is None:
            raise ValueError(f"`model` must compute an image from its input; {model.name} computes none")
        return found
    chosen = locate(model, names=at) if isinstance(at, str) else locate(model, strides=at)
    if len(chosen) != 1 or len(chosen[0].shape) != 4:
        found_shapes = " and ".join(str(each.shape) for each in chosen)
        raise ValueError(f"`at` must choose one tensor of rank 4; got {at!r}, of shape {found_shapes}")
    return chosen[0]


def _forward(model: keras.Model, images: Any, place: Endpoint) -> tuple[np.ndarray, np.ndarray]:
    """The features and the scores of the images."""
    found: list[np.ndarray] = []

    def execute(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = call.operation(*args, **kwargs)
        if call.name == place.name:
            found.append(_numpy(result))
        return result

    tensors = [
        ops.convert_to_tensor(value, x.dtype)
        for x, value in zip(model.inputs, keras.tree.flatten(images), strict=False)
    ]
    scores = run(model, keras.tree.pack_sequence_as(structure(model)[0], tensors), execute)
    return found[0], _numpy(scores)


def _numpy(outputs: Any) -> np.ndarray:
    (y,) = keras.tree.flatten(outputs)
    array: np.ndarray = ops.convert_to_numpy(ops.cast(y, "float32"))
    return array


def _classes(classes: int | Sequence[int] | None, scores: np.ndarray) -> np.ndarray:
    count, width = scores.shape
    if classes is None:
        best: np.ndarray = scores.argmax(axis=1)
        return best
    found = np.asarray(classes)
    if found.dtype.kind not in "iu" or found.shape not in ((), (count,)) or (found < 0).any() or (found >= width).any():
        raise ValueError(
            f"`classes` must be below {width}, one for all or one for each of {count} images; got {classes!r}"
        )
    return np.broadcast_to(found, (count,))


def _gradients(
    model: keras.Model, place: Endpoint, maps: np.ndarray, given: Mapping[str, Any], classes: np.ndarray
) -> np.ndarray:
    """The mean over positions of the score's gradient by each channel.

    Keras has no function for gradients that works on every backend, but its optimisers use them: a weight of 0 is
    added to the features, and a step of plain gradient ascent by 1 turns it into the gradient.
    """
    count, *size = maps.shape
    feature = keras.Input(size, name="features")
    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]
    copies = Copies()

    def execute(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if call.name == place.name:
            return feature
        operation = call.operation
        if not isinstance(operation, layers.Layer):
            return copies.copy(operation)(*args, **kwargs)
        if isinstance(operation, IDLE):
            return args[0]
        # A step of an optimiser is one of training, in which nothing may be dropped.
        config: dict[str, Any] = {key: 0.0 for key in ("dropout", "recurrent_dropout") if key in operation.get_config()}
        # Layers of two nested models may have the same name.
        config["name"] = call.name.replace("/", "_")
        return copies.copy(operation, config=config)(*args, **kwargs)

    scores = run(model, keras.tree.pack_sequence_as(structure(model)[0], inputs), execute)
    rest = keras.Model([feature, *inputs], scores, name="rest")
    rest.trainable = False
    copies.copy_weights()
    index = keras.Input((), dtype="int32")
    zeros = layers.Embedding(count, int(np.prod(size)), "zeros", dtype="float32")
    shifted = layers.Add()([feature, layers.Reshape(size)(zeros(index))])
    ascent = keras.Model([feature, index, *inputs], rest([shifted, *inputs]))
    ascent.compile(keras.optimizers.SGD(1.0), _negative_score, run_eagerly=True)
    wanted = np.eye(int(scores.shape[-1]), dtype="float32")[classes]
    ascent.train_on_batch([maps, np.arange(count, dtype="int32"), *given.values()], wanted)
    gradient = ops.convert_to_numpy(zeros.embeddings).reshape(count, *size)
    mean: np.ndarray = count * gradient.mean(axis=(1, 2), keepdims=True)  # the loss is a mean over the images
    return mean


def _negative_score(wanted: Any, scores: Any) -> Any:
    return -ops.sum(wanted * scores, axis=-1)
