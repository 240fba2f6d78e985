"""What pretrained networks do to an image of 0 to 255 first, as stock layers, so that a saved network is complete."""

import numpy as np
from keras import KerasTensor, Model, layers

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

PREPROCESS = "preprocess"
"""The layer's name in a network that has it."""

MEANS_AND_VARIANCES = {
    # Also in blue, green, red; `architectures.porting` folds the order into the first convolution.
    "caffe": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "torch": (tuple(255 * m for m in _MEAN), tuple((255 * s) ** 2 for s in _STD)),
    "tf": ((127.5,) * 3, (127.5**2,) * 3),
    "unit128": ((128.0,) * 3, (128.0**2,) * 3),
}
"""Of each colour, for `(x − mean) / sqrt(variance)`: the ways of keras.applications."""


def preprocess(x: KerasTensor, way: str, *, name: str | None = None) -> KerasTensor:
    """`(x − mean) / sqrt(variance)`, colour by colour, in float32.

    Args:
        x: `(batch, height, width, 3)`, red, green and blue of 0 to 255.
        way: one of `MEANS_AND_VARIANCES`.
        name: the layer's name.

    Returns:
        A tensor of `x`'s shape.

    Raises:
        ValueError: `x` has not three channels.

    >>> from keras import Input
    >>> preprocess(Input((224, 224, 3)), "torch").shape
    (None, 224, 224, 3)
    """
    if len(x.shape) != 4 or x.shape[-1] != 3:
        raise ValueError(f"`preprocessing` takes images of three colours; got inputs of shape {tuple(x.shape)}")
    mean, variance = MEANS_AND_VARIANCES[way]
    return layers.Normalization(mean=mean, variance=variance, dtype="float32", name=name)(x)


def has_preprocessing(model: Model) -> bool:
    """Whether a network of ours takes images of 0 to 255."""
    return any(layer.name == PREPROCESS for layer in model.layers)


def swaps_colours(model: Model) -> bool:
    """Whether a network takes red, green and blue where Keras's own weights are for blue, green and red."""
    means = [layer.get_config()["mean"] for layer in model.layers if isinstance(layer, layers.Normalization)]
    return any(np.array_equal(mean, MEANS_AND_VARIANCES["caffe"][0]) for mean in means)
