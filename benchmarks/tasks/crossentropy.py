"""Cross-entropies, in float32 under every dtype policy."""

from typing import Any

from keras import Model, activations, ops

from benchmarks.tasks.base import Tensor


def crossentropy(y: Tensor, targets: Tensor, *, from_logits: bool = True) -> Tensor:
    """The mean cross-entropy of `(batch, …, classes)` outputs and `(batch, …)` labels."""
    return ops.mean(ops.sparse_categorical_crossentropy(targets, ops.cast(y, "float32"), from_logits=from_logits))


def binary_crossentropy(y: Tensor, targets: Tensor, *, from_logits: bool = True) -> Tensor:
    """The mean binary cross-entropy of `(batch, …, 1)` outputs and `(batch, …)` labels."""
    targets = ops.cast(targets, "float32")[..., None]
    return ops.mean(ops.binary_crossentropy(targets, ops.cast(y, "float32"), from_logits=from_logits))


def outputs_are_logits(model: Model) -> list[bool]:
    """For each output of a model, whether it is logits: does not end in a softmax or a sigmoid."""
    return [_is_logits(y) for y in model.outputs]


def _is_logits(y: Any) -> bool:
    last, _, index = y._keras_history
    if isinstance(last, Model):
        return _is_logits(last.outputs[index])
    activation = getattr(last, "activation", None)
    return activation not in (activations.softmax, activations.sigmoid) and type(last).__name__ not in (
        "Softmax",
        "Sigmoid",
    )
