"""Layers in NumPy, of a model's own weights."""

import numpy as np


def window(x, size, stride, pad):
    """All windows of `x` padded by `pad` with zeros: `(batch, height, width, channels, size, size)`."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]


class Numpy:
    """A model's layers by name, in NumPy."""

    def __init__(self, model):
        self.model = model

    def weights(self, name):
        return self.model.get_layer(name).get_weights()

    def conv(self, x, name, stride=1):
        kernel, *bias = self.weights(name)
        size = kernel.shape[0]
        y = np.einsum("bhwcij,ijco->bhwo", window(x, size, stride, size // 2), kernel, optimize=True)
        return y + bias[0] if bias else y

    def conv_norm(self, x, name, stride=1):
        gamma, beta, mean, variance = self.weights(f"{name}_norm")
        return gamma * (self.conv(x, name, stride) - mean) / np.sqrt(variance + 1e-5) + beta

    def dense(self, x, name):
        kernel, bias = self.weights(name)
        return x @ kernel + bias


def relu(x):
    return np.maximum(x, 0)
