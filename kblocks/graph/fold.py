"""Folding: the network for inference alone, with normalisations inside the convolutions before them."""

from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers

from kblocks.graph.calls import Call, calls, check_graph, is_graph, producers
from kblocks.graph.rewrite import Copies, rewrite

__all__ = ["fold"]


def __dir__() -> list[str]:
    return __all__


PRODUCTS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D, layers.Dense),
    *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
)
# What only training needs.
IDLE = (
    *(layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D, layers.AlphaDropout),
    *(layers.GaussianDropout, layers.GaussianNoise, layers.ActivityRegularization, layers.Identity),
)


def fold(model: keras.Model) -> keras.Model:
    """`γ · (W·x + b − μ) / √(σ² + ε) + β  =  W'·x + b'`: the same function in inference, with fewer layers.

    Each batch normalisation is folded into the convolution or dense layer before it, if that has no activation and
    nothing else reads its output, and neither is shared. Dropout, noise and identities are left out. What can't be
    folded stays, as the normalisations of networks in pre-activation order.

    Args:
        model: functional or Sequential, trained.

    Returns:
        A new model with layers and weights of its own, not meant for further training.

    Raises:
        TypeError: `model` is not a functional or Sequential model.
        ValueError: a Sequential model is not built, or a layer can't be copied.

    >>> x = keras.Input((32, 32, 3))
    >>> y = layers.Dropout(0.5)(layers.BatchNormalization()(layers.Conv2D(8, 3, use_bias=False, name="conv")(x)))
    >>> [layer.name for layer in fold(keras.Model(x, y, name="net")).layers[1:]]
    ['conv']
    """
    check_graph(model)
    pairs = _pairs(model, _times_called(model))
    norms = {id(norm.operation): product.operation for product, norm in pairs}
    products = {id(product) for product in norms.values()}
    folded: list[tuple[Any, Any, Any]] = []

    def change(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], copies: Copies) -> Any:
        operation = call.operation
        if id(operation) in norms:
            folded.append((norms[id(operation)], operation, copies.copy(norms[id(operation)])))
            return args[0] if args else kwargs["inputs"]
        if id(operation) in products:
            return copies.copy(operation, config={"use_bias": True})(*args, **kwargs)
        if _is_idle(call):
            return args[0] if args else kwargs["inputs"]
        return NotImplemented

    result = rewrite(model, change)
    for product, norm, copy in folded:
        copy.set_weights(_folded(product, norm))
    return result


def _times_called(model: keras.Model) -> Counter[int]:
    """How often each operation is called, also by nested models; those that are called twice call twice."""
    count: Counter[int] = Counter()
    for call in calls(model):
        count[id(call.operation)] += 1
        if is_graph(call.operation):
            count.update(_times_called(call.operation))
    return count


def _pairs(model: keras.Model, times: Counter[int]) -> list[tuple[Call, Call]]:
    """The products with the normalisations that can be folded into them."""
    found: list[tuple[Call, Call]] = []
    readers: Counter[int] = Counter(map(id, model.outputs))
    for call in calls(model):
        readers.update({id(x) for x in call.inputs})
    producer = producers(model)
    for call in calls(model):
        if is_graph(call.operation):
            # Of a model that is called twice the layers are shared, but each has one call within.
            if times[id(call.operation)] == 1:
                found += _pairs(call.operation, times)
            continue
        (x, *others) = call.inputs or [None]
        before = None if x is None else producer.get(id(x))
        if before is None or others or readers[id(x)] > 1 or not _is_norm(call, x):
            continue
        if times[id(call.operation)] == times[id(before.operation)] == 1 and _is_linear(before.operation):
            found.append((before, call))
    return found


def _is_norm(call: Call, x: KerasTensor) -> bool:
    norm = call.operation
    if type(norm) is not layers.BatchNormalization or call.kwargs.get("training"):
        return False
    return norm.axis in (-1, len(x.shape) - 1)


def _is_linear(layer: Any) -> bool:
    """Whether it is a product of weights and inputs, channels last, and no more."""
    return (
        type(layer) in PRODUCTS
        and keras.activations.serialize(layer.activation) == "linear"
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and not getattr(layer, "lora_enabled", False)
        and not getattr(layer, "quantization_mode", None)
    )


def _is_idle(call: Call) -> bool:
    operation = call.operation
    if isinstance(operation, layers.Activation):
        return bool(keras.activations.serialize(operation.activation) == "linear")
    return type(operation) in IDLE and not call.kwargs.get("training")


def _folded(product: Any, norm: Any) -> list[np.ndarray]:
    """The weights of the product with the normalisation inside."""
    mean, variance = (_double(weight) for weight in (norm.moving_mean, norm.moving_variance))
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * _double(norm.gamma)
    shift = -mean * scale
    if norm.center:
        shift = shift + _double(norm.beta)
    *kernels, last = [_double(weight) for weight in product.weights[: len(product.weights) - product.use_bias]]
    if isinstance(product, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        factors = scale.reshape(last.shape[-2:])
    elif isinstance(product, layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose):
        factors = scale[:, None]
    else:
        factors = scale
    bias = _double(product.bias) * scale if product.use_bias else 0
    return [*kernels, last * factors, bias + shift]


def _double(weight: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(weight), "float64")
