"""Output strides: dilations in place of the strides beyond one, as in DeepLab."""

from collections.abc import Sequence
from itertools import accumulate
from numbers import Integral
from operator import mul
from typing import Any

import keras
from keras import KerasTensor


def replace_strides(
    spec: Any, strides: Sequence[int], x: KerasTensor, filters: int, *, most: int | None = None
) -> list[int]:
    """The dilation of each unit of a network, which replaces the strides beyond `spec.output_stride`.

    Args:
        spec: a family's spec with `stem`, `style` and `output_stride`, which may be `None`.
        strides: each unit's, in order.
        x: the image, `(batch, height, width, channels)`; only its channels are used.
        filters: output channels of the stem.
        most: how many of the last strides above 1 can be replaced; `None` for all.

    Returns:
        1 for each unit that keeps its stride, else the dilation that the units of `kblocks` take in place of it.

    Raises:
        ValueError: the network cannot have that output stride.

    Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, arXiv 1706.05587,
    section 3.1.
    """
    if spec.output_stride is None:
        return [1] * len(strides)
    # The size of the image itself may be unknown.
    probe = keras.Input((256, 256, x.shape[-1]))
    stem = round(256 / spec.stem(probe, filters, style=spec.style, name="probe").shape[1])
    reached = list(accumulate(strides, mul, initial=stem))
    choices = sorted(set(reached))
    if most is not None:
        choices = choices[-1 - most :]
    if not isinstance(spec.output_stride, Integral) or spec.output_stride not in choices:
        text = ", ".join(map(str, choices))
        raise ValueError(f"`output_stride` must be one of {text}; got {spec.output_stride!r}")
    return [max(stride // spec.output_stride, 1) for stride in reached[1:]]
