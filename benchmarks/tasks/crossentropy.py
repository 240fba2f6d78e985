"""Cross-entropies of logits, in float32 under every dtype policy."""

from typing import Any

from keras import ops


def crossentropy(y: Any, targets: Any, *, from_logits: bool = True) -> Any:
    """The mean cross-entropy of `(batch, classes)` outputs and `(batch,)` targets, in float32 under every policy."""
    return ops.mean(ops.sparse_categorical_crossentropy(targets, ops.cast(y, "float32"), from_logits=from_logits))


def binary_crossentropy(y: Any, targets: Any, *, from_logits: bool = True) -> Any:
    """The mean binary cross-entropy of `(batch, 1)` outputs and `(batch,)` targets, in float32 too."""
    targets = ops.cast(targets, "float32")[:, None]
    return ops.mean(ops.binary_crossentropy(targets, ops.cast(y, "float32"), from_logits=from_logits))
