"""Layers in NumPy, with the weights of a model's own layers."""

import numpy as np


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def pad(x, size, stride=1, *, dilation=1, padding="same", fill=0.0):
    """Images padded for windows of `size`, a side or a pair of sides.

    "same" is Keras's: as little as `ceil(n / stride)` windows need, the odd one below and to the right; "symmetric"
    pads both sides by half a window; "valid" pads nothing.
    """
    pads = []
    for n, side in zip(x.shape[1:3], size if isinstance(size, tuple) else (size, size), strict=True):
        span = dilation * (side - 1) + 1
        same = max((-(-n // stride) - 1) * stride + span - n, 0)
        pads.append({"same": (same // 2, same - same // 2), "symmetric": (span // 2,) * 2, "valid": (0, 0)}[padding])
    return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)


def windows(x, size, stride=1, *, dilation=1, padding="same", fill=0.0):
    """All windows of the padded images: `(batch, height, width, channels, rows, columns)`."""
    rows, columns = size if isinstance(size, tuple) else (size, size)
    x = pad(x, (rows, columns), stride, dilation=dilation, padding=padding, fill=fill)
    spans = dilation * (rows - 1) + 1, dilation * (columns - 1) + 1
    found = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(1, 2))
    return found[:, ::stride, ::stride, :, ::dilation, ::dilation]


def max_pool(x, size, stride=1, *, padding="same"):
    """The padding is below any value."""
    return windows(x, size, stride, padding=padding, fill=-np.inf).max((-2, -1))


def avg_pool(x, size, stride=1, *, padding="same"):
    """The padding does not count."""
    return np.nanmean(windows(x, size, stride, padding=padding, fill=np.nan), (-2, -1))


def conv(x, kernel, stride=1, *, dilation=1, padding="same"):
    """A convolution with a kernel `(rows, columns, in, out)`."""
    cut = windows(x, kernel.shape[:2], stride, dilation=dilation, padding=padding)
    return np.einsum("bhwcij,ijco->bhwo", cut, kernel, optimize=True)


def depthwise(x, kernel, stride=1, *, padding="same"):
    """A depthwise convolution with a kernel `(rows, columns, in, multiplier)`."""
    y = np.einsum("bhwcij,ijcm->bhwcm", windows(x, kernel.shape[:2], stride, padding=padding), kernel)
    return y.reshape(*y.shape[:3], -1)


def batch_norm(x, gamma, beta, mean, variance, epsilon=1e-5):
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def layer_norm(x, gamma, beta, epsilon=1e-6):
    return gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) + beta


class Numpy:
    """A model's layers, by their names behind a prefix."""

    def __init__(self, model, prefix=""):
        self.model, self.prefix = model, prefix

    def weights(self, name):
        return self.model.get_layer(self.prefix + name).get_weights()

    def norm(self, x, name):
        return batch_norm(x, *self.weights(name))

    def conv(self, x, name, stride=1, padding="same"):
        kernel, *bias = self.weights(name)
        return conv(x, kernel, stride, padding=padding) + (bias[0] if bias else 0)

    def conv_norm(self, x, name, stride=1, padding="same"):
        return self.norm(self.conv(x, name, stride, padding), f"{name}_norm")

    def depthwise_norm(self, x, name, stride=1):
        (kernel,) = self.weights(name)
        return self.norm(depthwise(x, kernel, stride), f"{name}_norm")

    def separable_norm(self, x, name, stride=1):
        kernel, pointwise = self.weights(name)
        return self.norm(depthwise(x, kernel, stride) @ pointwise[0, 0], f"{name}_norm")

    def dense(self, x, name):
        kernel, bias = self.weights(name)
        return x @ kernel + bias
