"""What networks with an output for each pixel share: the features of an encoder, and the logits of each pixel."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor

import kblocks as kb
from kblocks.contracts import Block
from kblocks.graph.calls import sources


def pyramid(x: KerasTensor, encoder: Block, strides: Sequence[int], *, name: str) -> list[KerasTensor]:
    """The last features of an encoder at each stride.

    Args:
        x: `(batch, height, width, channels)`, an image or what is computed from one.
        encoder: a `Block`, such as `partial(resnet.backbone, spec=…)`.
        strides: pixels of `x` from one position to the next.
        name: the prefix of the encoder's layers.

    Returns:
        A list of images.

    Raises:
        ValueError: the encoder does not have a stride.
    """
    inputs = sources(x)
    y = encoder(x, name=name)
    first: Any = 1
    if not (len(inputs) == 1 and inputs[0] is x):
        first = kb.graph.endpoints(keras.Model(inputs, x))[-1].stride or 1
    found = kb.graph.features(keras.Model(inputs, y), strides=[first * stride for stride in strides])
    return list(found.outputs)


def classify_pixels(
    x: KerasTensor, spec: Any, classes: int, pooling: str | None, /, *, image: KerasTensor
) -> KerasTensor:
    """`logits(x)` for each pixel of the image, or with no classes the features themselves.

    Args:
        x: a family's features, `(batch, height / stride, width / stride, channels)`.
        spec: a row's spec; the stride is the first of its `strides`.
        classes: number of logits; 0 for none.
        pooling: must be `None`.
        image: `(batch, height, width, channels)`, what the features were computed from.

    Returns:
        `(batch, height, width, classes)`, or the features.

    Raises:
        ValueError: `pooling` is given.
    """
    if pooling is not None:
        raise ValueError(f"`pooling` must be None where each pixel has its logits; got {pooling!r}")
    if not classes:
        return x
    return kb.head.pixel_logits(
        x, classes, factor=spec.strides[0], image_size=tuple(image.shape[1:3]), style=spec.style, name="logits"
    )
