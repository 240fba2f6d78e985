"""Batch normalisation by TensorFlow's fused kernel.

On TensorFlow, Keras computes it as a dozen elementwise operations, each a pass over the whole tensor, and as many
again for the gradient. The fused kernel computes the same in a few passes. XLA fuses the operations itself; without
XLA, as on CPU, this replaces Keras's own implementation.
"""

from typing import Any

import keras
import tensorflow as tf


def suits(operation: Any, x: Any) -> bool:
    """Whether the kernel supports the layer: images, channels last, in a supported precision."""
    return (
        type(operation) is keras.layers.BatchNormalization
        and len(x.shape) == 4
        and operation.axis in (-1, 3)
        and operation.trainable
        and operation.scale
        and operation.center
        and not operation.synchronized
        and operation.compute_dtype in ("float32", "float16", "bfloat16")
        and operation.variable_dtype == "float32"
    )


def batch_norm(layer: keras.layers.BatchNormalization, x: tf.Tensor, *, training: bool) -> tf.Tensor:
    """`layer(x, training=training)`, its moving statistics updated in training.

    Args:
        layer: see `suits`.
        x: `(batch, height, width, channels)`.
        training: whether to use the statistics of the batch or the moving statistics.

    Returns:
        A tensor of `x`'s shape, in the layer's compute dtype.
    """
    x = tf.cast(x, layer.compute_dtype)
    none = tf.zeros((0,))
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=layer.gamma.value,
        offset=layer.beta.value,
        mean=none if training else layer.moving_mean.value,
        variance=none if training else layer.moving_variance.value,
        epsilon=layer.epsilon,
        is_training=training,
    )
    if not training:
        return y
    # The kernel returns the sample variance (n − 1); Keras's moving variance uses the population variance (n).
    n = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance * ((n - 1) / n))):
        moving.assign(moving * layer.momentum + batch * (1 - layer.momentum))
    return y
