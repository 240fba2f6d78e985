"""An output stride: from where it is reached on, dilations stand in place of strides, as in DeepLab."""

from collections.abc import Sequence
from itertools import accumulate
from numbers import Integral
from operator import mul
from typing import Any

import keras
from keras import KerasTensor


def replace_strides(spec: Any, strides: Sequence[int], x: KerasTensor, filters: int) -> list[int]:
    """The dilation of each unit of a network, which replaces the strides beyond `spec.output_stride`.

    Args:
        spec: a family's, with `stem`, `style` and `output_stride`, `None` for all strides as they are.
        strides: each unit's, in order.
        x: the image, `(batch, height, width, channels)`, whose channels alone are read.
        filters: channels that come out of the stem.

    Returns:
        1 for each unit that keeps its stride, else how far apart its taps are, as the units of `kblocks` take it.

    Raises:
        ValueError: the network never has that output stride.

    Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, arXiv 1706.05587,
    section 3.1.
    """
    if spec.output_stride is None:
        return [1] * len(strides)
    # The image's own size may be unknown.
    probe = keras.Input((256, 256, x.shape[-1]))
    stem = round(256 / spec.stem(probe, filters, style=spec.style, name="probe").shape[1])
    reached = list(accumulate(strides, mul, initial=stem))
    choices = sorted(set(reached))
    if not isinstance(spec.output_stride, Integral) or spec.output_stride not in choices:
        text = ", ".join(map(str, choices))
        raise ValueError(f"`output_stride` must be one of {text}; got {spec.output_stride!r}")
    return [max(stride // spec.output_stride, 1) for stride in reached[1:]]
