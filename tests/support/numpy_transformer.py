"""Encoder units in NumPy, with the weights of a model's own layers."""

from math import erf, sqrt

import keras
import numpy as np

from tests.support.numpy_layers import layer_norm


def weights(model, name):
    return model.get_layer(name).get_weights()


def softmax(x, axis):
    y = np.exp(x - x.max(axis, keepdims=True))
    return y / y.sum(axis, keepdims=True)


def attention(model, x, name="e"):
    """Of tokens `(batch, tokens, channels)`, with or without biases of queries, keys and values."""
    found = {
        w.path.partition("attention/")[2]: keras.ops.convert_to_numpy(w)
        for w in model.get_layer(f"{name}_attention").weights
    }
    q, k, v = (
        np.einsum("bnc,chd->bnhd", x, found[f"{part}/kernel"]) + found.get(f"{part}/bias", 0)
        for part in ("query", "key", "value")
    )
    shares = softmax(np.einsum("bihd,bjhd->bhij", q, k) / np.sqrt(q.shape[-1]), -1)
    mean = np.einsum("bhij,bjhd->bihd", shares, v)
    y = np.einsum("bihd,hdc->bic", mean, found["attention_output/kernel"])
    return y + (
        found["attention_output/bias"] if "query/bias" in found else weights(model, f"{name}_attention_bias_beta")[0]
    )


def gelu(x):
    return x * (1 + np.vectorize(erf)(x / sqrt(2))) / 2


def encoder(model, x, name="e", *, scaled=False, norm_residual=False, epsilon=1e-6):
    one, two = (weights(model, f"{name}_{part}_scale_gamma")[0] if scaled else 1 for part in ("attention", "mlp"))
    y = x + one * attention(model, layer_norm(x, *weights(model, f"{name}_attention_norm"), epsilon), name)
    z = layer_norm(y, *weights(model, f"{name}_mlp_norm"), epsilon)
    (kernel1, bias1), (kernel2, bias2) = (weights(model, f"{name}_dense{i}") for i in (1, 2))
    return (z if norm_residual else y) + two * (gelu(z @ kernel1 + bias1) @ kernel2 + bias2)
