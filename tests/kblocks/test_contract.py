"""The laws that all blocks share, swept over a table with one row for every public function."""

import copy
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from math import ceil
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import layers, ops

import kblocks
from kblocks import (
    attention,
    compose,
    conv,
    convnext,
    decoder,
    fractal,
    head,
    inception,
    inception_resnet,
    mixer,
    mlp,
    mobile,
    nasnet,
    padding,
    pool,
    residual,
    stem,
    style,
    tower,
    transformer,
)
from kblocks.densenet import dense_block, dense_layer, transition
from kblocks.squeezenet import fire
from kblocks.style import RELU_BN, Style
from tests.support.models import ALLOWED_OPS, operations, strangers


def dense(x, name):
    return layers.Dense(4, name=name)(x)


TOWER = tower.as_model(dense, (6,), name="shared")
IMAGE = ("h", "w", 4)
TOKENS = ("h", 4)
VECTOR = (6,)
# A configuration with nothing hidden in it that a block could change unseen.
PLAIN = Style(
    initializer={"class_name": "HeNormal", "config": {"seed": None}}, regularizer={"class_name": "L2", "config": {}}
)


def same(channels, stride=1):
    return lambda h, w: (ceil(h / stride), ceil(w / stride), channels)


def reduced(channels):
    """Windows of 3×3 with a stride of 2 and without padding."""
    return lambda h, w: ((h - 1) // 2, (w - 1) // 2, channels)


def halved(channels):
    """Windows of 2×2 side by side; what does not fill one is left out."""
    return lambda h, w: (h // 2, w // 2, channels)


def tokens(channels, more=0):
    return lambda h, w: (h + more, channels)


def enlarged(channels):
    return lambda h, w: (2 * h, 2 * w, channels)


def vector(size):
    return lambda h, w: (size,)


class Row(NamedTuple):
    function: Callable[..., Any]
    arguments: dict[str, Any]
    inputs: tuple[tuple[Any, ...], ...]
    out: Callable[[int, int], tuple[int, ...]]
    params: int
    build: Callable[..., Any] | None = None
    least: int = 0


BASIC = 9 * 4 * 8 + 16 + 9 * 8 * 8 + 16 + (4 * 8 + 16)

ASPP = (4 * 8 + 16) + 2 * (9 * 4 * 8 + 16) + (4 * 8 + 16) + (4 * 8 * 8 + 16)


def on_three_sizes(function):
    """A decoder, called on an image and its means over blocks of 2×2 and 4×4."""

    def build(x, *, name=None, **arguments):
        half = pool.max_pool(x, 2, stride=2, name=name and f"{name}_half")
        return function(
            [x, half, pool.max_pool(half, 2, stride=2, name=name and f"{name}_quarter")], name=name, **arguments
        )

    return build


def sum_of_pyramid(images, name):
    """Of images of one size, half and a quarter."""
    found = []
    for i, (y, factor) in enumerate(zip(images, (1, 2, 4), strict=True)):
        y = layers.UpSampling2D(factor, name=name and f"{name}_large{i}")(y)
        found.append(decoder._crop(y, images[0], name and f"{name}_fit{i}"))
    return layers.Add(name=name and f"{name}_sum")(found)


ROWS = [
    Row(style.batch_norm, {}, (IMAGE,), same(4), 8),
    Row(style.layer_norm, {}, (IMAGE,), same(4), 8),
    Row(style.group_norm, {"groups": 2}, (IMAGE,), same(4), 8),
    Row(style.instance_norm, {}, (IMAGE,), same(4), 8),
    Row(style.rms_norm, {}, (IMAGE,), same(4), 4),
    Row(style.activation, {"function": "tanh"}, (IMAGE,), same(4), 0),
    Row(style.normalize, {"style": RELU_BN}, (IMAGE,), same(4), 8),
    Row(style.activate, {"style": RELU_BN}, (IMAGE,), same(4), 0),
    Row(style.norm_act, {"style": RELU_BN}, (IMAGE,), same(4), 8),
    Row(
        padding.pad,
        {"kernel_size": 7, "stride": 2, "style": Style(padding="symmetric")},
        (IMAGE,),
        lambda h, w: (h + 6, w + 6, 4),
        0,
        build=lambda x, **arguments: padding.pad(x, **arguments)[0],
    ),
    Row(conv.conv, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 9 * 4 * 8),
    Row(conv.depthwise_conv, {"stride": 2, "multiplier": 2}, (IMAGE,), same(8, 2), 9 * 4 * 2),
    Row(conv.separable_conv, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 9 * 4 + 4 * 8),
    Row(conv.conv_norm, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 9 * 4 * 8 + 16),
    Row(conv.conv_norm_act, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 9 * 4 * 8 + 16),
    Row(conv.norm_act_conv, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 8 + 9 * 4 * 8),
    Row(conv.depthwise_norm_act, {"stride": 2}, (IMAGE,), same(4, 2), 9 * 4 + 8),
    Row(conv.separable_norm_act, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 9 * 4 + 4 * 8 + 16),
    Row(conv.transposed, {"filters": 8}, (IMAGE,), enlarged(8), 4 * 4 * 8),
    Row(conv.transposed_norm_act, {"filters": 8, "kernel_size": 4}, (IMAGE,), enlarged(8), 16 * 4 * 8 + 16),
    Row(conv.upsample, {"filters": 8}, (IMAGE,), enlarged(8), 9 * 4 * 8 + 16),
    Row(conv.space_to_depth, {"size": 2}, (IMAGE,), halved(16), 0),
    Row(conv.depth_to_space, {"size": 2}, (IMAGE,), enlarged(1), 0),
    Row(pool.blur, {}, (IMAGE,), same(4, 2), 0),
    Row(pool.max_pool, {"size": 3, "stride": 2}, (IMAGE,), same(4, 2), 0),
    Row(pool.avg_pool, {"size": 2, "stride": 2}, (IMAGE,), same(4, 2), 0),
    Row(pool.global_pool, {"kind": "avg"}, (IMAGE,), vector(4), 0),
    Row(compose.concat, {}, (IMAGE, ("h", "w", 3)), same(7), 0),
    Row(compose.add, {}, (IMAGE, IMAGE), same(4), 0),
    Row(
        compose.chain,
        {"blocks": [partial(conv.conv, filters=8, style=PLAIN), partial(pool.max_pool, size=2, stride=2)]},
        (IMAGE,),
        same(8, 2),
        9 * 4 * 8,
    ),
    Row(
        compose.branches,
        {"blocks": [partial(conv.conv, filters=8), partial(pool.max_pool, size=3)]},
        (IMAGE,),
        same(12),
        9 * 4 * 8,
    ),
    Row(compose.skip, {"block": partial(conv.conv, filters=4), "drop_path": 0.1}, (IMAGE,), same(4), 9 * 4 * 4),
    Row(
        compose.stage,
        {"unit": residual.basic, "filters": 8, "depth": 2, "stride": 2, "drop_paths": [0.0, 0.1], "style": PLAIN},
        (IMAGE,),
        same(8, 2),
        BASIC + 2 * (9 * 8 * 8 + 16),
    ),
    Row(compose.stochastic_depth, {"rate": 0.5}, (IMAGE,), same(4), 0),
    Row(compose.layer_scale, {"initial": 0.5}, (IMAGE,), same(4), 4),
    Row(compose.learned, {"shape": (2, 3), "initializer": "ones"}, (IMAGE,), lambda h, w: (2, 3), 6),
    Row(compose.bias, {}, (IMAGE,), same(4), 4),
    Row(compose.shake, {}, (IMAGE, IMAGE), same(4), 0),
    Row(head.classifier, {"classes": 10, "dropout": 0.1}, (IMAGE,), vector(10), 4 * 10 + 10),
    Row(head.conv_classifier, {"classes": 10, "dropout": 0.1}, (IMAGE,), vector(10), 4 * 10 + 10),
    Row(head.logits, {"classes": 10}, (VECTOR,), vector(10), 6 * 10 + 10),
    Row(
        head.auxiliary,
        {"classes": 10, "dropout": 0.1},
        (IMAGE,),
        vector(10),
        # 2 × 1 positions are left of 9 × 7, and of 8 × 6.
        (4 * 128 + 256) + (2 * 128 * 1024 + 1024) + (1024 * 10 + 10),
    ),
    Row(
        inception.branch,
        {"convs": [("a", 2, 1), ("b", 3, (1, 5))], "stride": 2, "padding": "valid"},
        (IMAGE,),
        lambda h, w: (ceil(h / 2), ceil((w - 4) / 2), 3),
        4 * 2 + 5 * 2 * 3 + 2 * (2 + 3),
    ),
    Row(
        inception.naive,
        {"b1": 2, "b3": 3, "b5": 5},
        (IMAGE,),
        same(2 + 3 + 5 + 4),
        4 * 2 + 9 * 4 * 3 + 25 * 4 * 5 + 2 * (2 + 3 + 5),
    ),
    Row(
        inception.v1,
        {"b1": 2, "b3": (3, 4), "b5": [2, 3], "pool": 5},
        (IMAGE,),
        same(2 + 4 + 3 + 5),
        4 * 2 + (4 * 3 + 9 * 3 * 4) + (4 * 2 + 25 * 2 * 3) + 4 * 5 + 2 * (2 + 3 + 4 + 2 + 3 + 5),
    ),
    Row(
        inception.v3_a,
        {"b1": 2, "b5": (3, 4), "double": (2, 3, 5), "pool": 6},
        (IMAGE,),
        same(2 + 4 + 5 + 6),
        4 * 2 + (4 * 3 + 25 * 3 * 4) + (4 * 2 + 9 * 2 * 3 + 9 * 3 * 5) + 4 * 6 + 2 * (2 + 3 + 4 + 2 + 3 + 5 + 6),
    ),
    Row(
        inception.v3_b,
        {"b3": 2, "double": (3, 4, 5)},
        (IMAGE,),
        reduced(2 + 5 + 4),
        9 * 4 * 2 + (4 * 3 + 9 * 3 * 4 + 9 * 4 * 5) + 2 * (2 + 3 + 4 + 5),
    ),
    Row(
        inception.v3_c,
        {"inner": 2, "out": 3, "n": 5},
        (IMAGE,),
        same(4 * 3),
        4 * 3 + (4 * 2 + 5 * 2 * 2 + 5 * 2 * 3) + (4 * 2 + 3 * 5 * 2 * 2 + 5 * 2 * 3) + 4 * 3 + 2 * (4 * 3 + 6 * 2),
    ),
    Row(
        inception.v3_d,
        {"b3": (2, 3), "rows": 5, "n": 5},
        (IMAGE,),
        reduced(3 + 5 + 4),
        (4 * 2 + 9 * 2 * 3) + (4 * 5 + 2 * 5 * 5 * 5 + 9 * 5 * 5) + 2 * (2 + 3 + 4 * 5),
    ),
    Row(
        inception.v3_e,
        {"b1": 2, "split": (3, 4), "double": (2, 3, 5), "pool": 6},
        (IMAGE,),
        same(2 + 2 * 4 + 2 * 5 + 6),
        4 * 2
        + (4 * 3 + 2 * 3 * 3 * 4)
        + (4 * 2 + 9 * 2 * 3 + 2 * 3 * 3 * 5)
        + 4 * 6
        + 2 * (2 + 3 + 2 * 4 + 2 + 3 + 2 * 5 + 6),
    ),
    Row(
        inception.v4_a,
        {"b1": 2, "b3": (3, 4), "double": (2, 3, 5), "pool": 6},
        (IMAGE,),
        same(2 + 4 + 5 + 6),
        4 * 2 + (4 * 3 + 9 * 3 * 4) + (4 * 2 + 9 * 2 * 3 + 9 * 3 * 5) + 4 * 6 + 2 * (2 + 3 + 4 + 2 + 3 + 5 + 6),
    ),
    Row(
        inception.v4_c,
        {"b1": 2, "rows": (3, 4, 5), "double": [2, 3, 4, 5, 6], "pool": 7, "n": 5},
        (IMAGE,),
        same(2 + 5 + 6 + 7),
        4 * 2
        + (4 * 3 + 5 * 3 * 4 + 5 * 4 * 5)
        + (4 * 2 + 5 * (2 * 3 + 3 * 4 + 4 * 5 + 5 * 6))
        + 4 * 7
        + 2 * (2 + 3 + 4 + 5 + 2 + 3 + 4 + 5 + 6 + 7),
    ),
    Row(
        inception.v4_d,
        {"b3": (2, 3), "rows": (3, 4, 5), "n": 5},
        (IMAGE,),
        reduced(3 + 5 + 4),
        (4 * 2 + 9 * 2 * 3) + (4 * 3 + 5 * 3 * 4 + 5 * 4 * 5 + 9 * 5 * 5) + 2 * (2 + 3 + 3 + 4 + 5 + 5),
    ),
    Row(
        inception.v4_e,
        {"b1": 2, "split": (3, 4), "double": (2, 3, 4, 5), "pool": 6},
        (IMAGE,),
        same(2 + 2 * 4 + 2 * 5 + 6),
        4 * 2
        + (4 * 3 + 2 * 3 * 3 * 4)
        + (4 * 2 + 3 * 2 * 3 + 3 * 3 * 4 + 2 * 3 * 4 * 5)
        + 4 * 6
        + 2 * (2 + 3 + 2 * 4 + 2 + 3 + 4 + 2 * 5 + 6),
    ),
    Row(
        inception_resnet.block35,
        {"filters": 8, "stride": 2, "b1": 2, "b3": (3, 4), "double": [2, 3, 5], "drop_path": 0.1},
        (IMAGE,),
        same(8, 2),
        4 * 2
        + (4 * 3 + 9 * 3 * 4)
        + (4 * 2 + 9 * 2 * 3 + 9 * 3 * 5)
        + 2 * (2 + 3 + 4 + 2 + 3 + 5)
        + ((2 + 4 + 5) * 8 + 8)
        + (4 * 8 + 16),
    ),
    Row(
        inception_resnet.block17,
        {"filters": 4, "b1": 2, "rows": (3, 4, 5), "n": 5},
        (IMAGE,),
        same(4),
        4 * 2 + (4 * 3 + 5 * 3 * 4 + 5 * 4 * 5) + 2 * (2 + 3 + 4 + 5) + ((2 + 5) * 4 + 4),
    ),
    Row(
        inception_resnet.reduction_b,
        {"b3": (2, 3), "more": (3, 4), "double": (2, 3, 5)},
        (IMAGE,),
        reduced(3 + 4 + 5 + 4),
        (4 * 2 + 9 * 2 * 3) + (4 * 3 + 9 * 3 * 4) + (4 * 2 + 9 * 2 * 3 + 9 * 3 * 5) + 2 * (2 + 3 + 3 + 4 + 2 + 3 + 5),
    ),
    Row(residual.projection, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 4 * 8 + 16),
    Row(residual.linear_projection, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 4 * 8),
    Row(residual.padded, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 0),
    Row(residual.pooled_projection, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 4 * 8 + 16),
    Row(residual.shifted_projection, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 4 * 8 + 16),
    Row(
        residual.shake_shake,
        {"filters": 8, "stride": 2},
        (IMAGE,),
        same(8, 2),
        2 * (9 * 4 * 8 + 16 + 9 * 8 * 8 + 16) + (4 * 8 + 16),
    ),
    Row(residual.pooled, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), 0),
    Row(residual.basic, {"filters": 8, "stride": 2, "style": PLAIN}, (IMAGE,), same(8, 2), BASIC),
    Row(
        residual.bottleneck,
        {"filters": 8, "stride": 2},
        (IMAGE,),
        same(8, 2),
        (4 * 2 + 4) + (9 * 2 * 2 + 4) + (2 * 8 + 16) + (4 * 8 + 16),
    ),
    Row(
        residual.preact_basic,
        {"filters": 8, "stride": 2, "dropout": 0.1},
        (IMAGE,),
        same(8, 2),
        8 + (9 * 4 * 8 + 16) + 9 * 8 * 8 + 4 * 8,
    ),
    Row(
        residual.preact_bottleneck,
        {"filters": 8, "stride": 2},
        (IMAGE,),
        same(8, 2),
        8 + (4 * 2 + 4) + (9 * 2 * 2 + 4) + 2 * 8 + 4 * 8,
    ),
    Row(
        residual.pyramid_basic,
        {"filters": 8, "stride": 2},
        (IMAGE,),
        same(8, 2),
        8 + (9 * 4 * 8 + 16) + (9 * 8 * 8 + 16),
    ),
    Row(
        residual.pyramid_bottleneck,
        {"filters": 8, "stride": 2},
        (IMAGE,),
        same(8, 2),
        8 + (4 * 2 + 4) + (9 * 2 * 2 + 4) + (2 * 8 + 16),
    ),
    Row(residual.rep_unit, {"filters": 8, "stride": 2}, (IMAGE,), same(8, 2), (9 * 4 * 8 + 16) + (4 * 8 + 16)),
    Row(
        residual.separable,
        {"filters": 8, "stride": 2},
        (IMAGE,),
        same(8, 2),
        (9 * 4 + 4 * 8 + 16) + 2 * (9 * 8 + 8 * 8 + 16) + (4 * 8 + 16),
    ),
    Row(
        residual.highway,
        {"filters": 8, "stride": 2, "drop_path": 0.1},
        (IMAGE,),
        same(8, 2),
        (9 * 4 * 8 + 16) + (9 * 4 * 8 + 8) + (4 * 8 + 16),
    ),
    Row(
        fire,
        {"filters": 4, "ratio": 1 / 2, "bypass": True, "drop_path": 0.1},
        (IMAGE,),
        same(4),
        (4 * 2 + 2) + (2 * 2 + 2) + (9 * 2 * 2 + 2),
    ),
    Row(dense_layer, {"growth": 3, "dropout": 0.1}, (IMAGE,), same(4 + 3), (8 + 4 * 12) + (24 + 9 * 12 * 3)),
    Row(
        dense_block,
        {"depth": 2, "growth": 3, "expansion": 2},
        (IMAGE,),
        same(4 + 2 * 3),
        (8 + 4 * 6) + (14 + 7 * 6) + 2 * (12 + 9 * 6 * 3),
    ),
    Row(
        transition,
        {"compression": 0.8, "dropout": 0.1},
        (IMAGE,),
        lambda h, w: (h // 2, w // 2, 3),
        8 + 4 * 3,
    ),
    Row(
        mobile.depthwise_separable,
        {"filters": 8, "stride": 2, "multiplier": 2},
        (IMAGE,),
        same(8, 2),
        (9 * 4 * 2 + 16) + (8 * 8 + 16),
    ),
    Row(
        fractal.fractal_block,
        {"filters": 8, "stride": 2, "columns": 2, "dropout": 0.1, "drop_path": 0.2},
        (IMAGE,),
        same(8, 2),
        2 * (9 * 4 * 8 + 16) + (9 * 8 * 8 + 16),
    ),
    Row(fractal.join, {"drop_path": 0.2}, (IMAGE, IMAGE), same(4), 0),
    Row(
        mobile.inverted_residual,
        {"filters": 8, "stride": 2, "expansion": 1.5, "attention": partial(attention.squeeze_excite, ratio=1 / 3)},
        (IMAGE,),
        same(8, 2),
        (4 * 6 + 12) + (9 * 6 + 12) + (6 * 2 + 2 + 2 * 6 + 6) + (6 * 8 + 16),
    ),
    Row(
        mobile.mbconv,
        {"filters": 8, "stride": 2, "expansion": 1.5, "ratio": 1 / 2},
        (IMAGE,),
        same(8, 2),
        (4 * 6 + 12) + (9 * 6 + 12) + (6 * 2 + 2 + 2 * 6 + 6) + (6 * 8 + 16),
    ),
    Row(
        mobile.fused_inverted_residual,
        {"filters": 8, "stride": 2, "expansion": 1.5},
        (IMAGE,),
        same(8, 2),
        (9 * 4 * 6 + 12) + (6 * 8 + 16),
    ),
    Row(conv.shuffle, {"groups": 2}, (IMAGE,), same(4), 0),
    Row(
        mobile.shuffle_v1,
        {"filters": 16, "stride": 2, "groups": 2},
        (IMAGE,),
        same(16, 2),
        (2 * 4 + 8) + (9 * 4 + 8) + (2 * 12 + 24),
    ),
    Row(
        mobile.shuffle_v2,
        {"filters": 8, "stride": 2},
        (IMAGE,),
        same(8, 2),
        (9 * 4 + 8) + (4 * 4 + 8) + (4 * 4 + 8) + (9 * 4 + 8) + (4 * 4 + 8),
    ),
    Row(
        mobile.ghost_module,
        {"filters": 7, "kernel_size": 3, "stride": 2, "ratio": 3},
        (IMAGE,),
        same(7, 2),
        (9 * 4 * 3 + 6) + (9 * 3 * 2 + 12),
    ),
    Row(
        mobile.ghost_bottleneck,
        {"filters": 8, "stride": 2, "expansion": 1.5, "attention": partial(attention.squeeze_excite, ratio=1 / 3)},
        (IMAGE,),
        same(8, 2),
        (4 * 3 + 6 + 9 * 3 + 6)
        + (9 * 6 + 12)
        + (6 * 2 + 2 + 2 * 6 + 6)
        + (6 * 4 + 8 + 9 * 4 + 8)
        + (9 * 4 + 8 + 4 * 8 + 16),
    ),
    Row(attention.squeeze_excite, {"ratio": 1 / 2}, (IMAGE,), same(4), (4 * 2 + 2) + (2 * 4 + 4)),
    Row(head.pixel_logits, {"classes": 10, "factor": 2}, (IMAGE,), enlarged(10), 4 * 10 + 10),
    Row(
        decoder.double_conv,
        {"filters": 8, "stride": 2},
        (IMAGE,),
        same(8, 2),
        (9 * 4 * 8 + 16) + (9 * 8 * 8 + 16),
    ),
    Row(
        decoder.unet,
        {"filters": [3, 5]},
        (IMAGE,),
        same(3),
        (4 * 4 * 5 + 9 * (4 + 5) * 5 + 10 + 9 * 5 * 5 + 10) + (4 * 5 * 3 + 9 * (4 + 3) * 3 + 6 + 9 * 3 * 3 + 6),
        build=on_three_sizes(decoder.unet),
    ),
    Row(
        decoder.fpn,
        {"filters": 8},
        (IMAGE,),
        same(8),
        3 * (4 * 8 + 8 + 9 * 8 * 8 + 8),
        build=on_three_sizes(lambda *x, name, **options: sum_of_pyramid(decoder.fpn(*x, name=name, **options), name)),
    ),
    Row(
        decoder.semantic_fpn,
        {"filters": 8},
        (IMAGE,),
        same(8),
        3 * (9 * 4 * 8 + 16) + (9 * 8 * 8 + 16),
        build=on_three_sizes(decoder.semantic_fpn),
    ),
    Row(decoder.aspp, {"filters": 8, "dilations": [2, 3]}, (IMAGE,), same(8), ASPP),
    Row(
        decoder.deeplab_v3,
        {"filters": 8, "dilations": [2, 3], "dropout": 0.1},
        (IMAGE,),
        same(8),
        ASPP + 9 * 8 * 8 + 16,
    ),
    Row(
        decoder.deeplab_v3_plus,
        {"filters": 8, "low_filters": 2, "dilations": [2, 3], "dropout": 0.1},
        (IMAGE,),
        same(8),
        ASPP + (4 * 2 + 4) + (9 * 10 * 8 + 16) + (9 * 8 * 8 + 16),
        build=on_three_sizes(lambda x, **options: decoder.deeplab_v3_plus([x[0], x[-1]], **options)),
    ),
    Row(attention.eca, {"kernel_size": 3}, (IMAGE,), same(4), 3),
    Row(attention.cbam, {"ratio": 1 / 2, "kernel_size": 3}, (IMAGE,), same(4), (4 * 2 + 2) + (2 * 4 + 4) + (9 * 2 + 2)),
    Row(
        attention.gather_excite,
        {"extent": 4, "depthwise": True, "ratio": 1 / 2},
        (IMAGE,),
        same(4),
        2 * (9 * 4 + 8) + (4 * 2 + 2) + (2 * 4 + 4),
    ),
    Row(stem.patchify, {"filters": 6, "size": 2}, (IMAGE,), halved(6), (4 * 4 * 6 + 6) + 12),
    Row(stem.convmixer, {"filters": 6, "size": 2}, (IMAGE,), halved(6), (4 * 4 * 6 + 6) + 12),
    Row(stem.nasnet, {"filters": 6}, (IMAGE,), reduced(6), 9 * 4 * 6 + 12),
    Row(convnext.downsample, {"filters": 8}, (IMAGE,), halved(8), 8 + (4 * 4 * 8 + 8)),
    Row(convnext.response_norm, {}, (IMAGE,), same(4), 2 * 4),
    Row(
        convnext.block,
        {"filters": 8, "stride": 2, "drop_path": 0.1},
        (IMAGE,),
        halved(8),
        8 + (4 * 4 * 8 + 8) + (49 * 8 + 8) + 16 + (8 * 32 + 32) + (32 * 8 + 8) + 8,
    ),
    Row(
        nasnet.separable_twice,
        {"filters": 8, "stride": 2},
        (IMAGE,),
        same(8, 2),
        (9 * 4 + 4 * 8 + 16) + (9 * 8 + 8 * 8 + 16),
    ),
    Row(nasnet.factorized_reduction, {"filters": 8}, (IMAGE,), same(8, 2), 2 * 4 * 4 + 16),
    Row(
        nasnet.normal_cell,
        {"filters": 8, "drop_path": 0.1},
        (IMAGE, ("h", "w", 3)),
        same(6 * 8),
        (4 * 8 + 16) + (3 * 8 + 16) + sum(2 * (size**2 * 8 + 8 * 8 + 16) for size in (5, 3, 5, 3, 3)),
        build=lambda inputs, **arguments: nasnet.normal_cell((inputs[0], inputs[-1]), **arguments),
    ),
    Row(
        nasnet.reduction_cell,
        {"filters": 8, "drop_path": 0.1},
        (IMAGE, ("h", "w", 3)),
        same(4 * 8, 2),
        (4 * 8 + 16) + (3 * 8 + 16) + sum(2 * (size**2 * 8 + 8 * 8 + 16) for size in (5, 7, 7, 5, 3)),
        build=lambda inputs, **arguments: nasnet.reduction_cell((inputs[0], inputs[-1]), **arguments),
    ),
    Row(transformer.tokens, {}, (IMAGE,), lambda h, w: (h * w, 4), 0),
    Row(
        transformer.patch_embed,
        {"filters": 6, "size": 2},
        (IMAGE,),
        lambda h, w: ((h // 2) * (w // 2), 6),
        4 * 4 * 6 + 6,
    ),
    Row(
        transformer.conv_tokenizer,
        {"filters": 6, "depth": 2, "width": 5},
        (IMAGE,),
        lambda h, w: (ceil(h / 4) * ceil(w / 4), 6),
        9 * 4 * 5 + 9 * 5 * 6,
    ),
    Row(transformer.class_token, {}, (TOKENS,), tokens(4, more=1), 4),
    Row(transformer.first_token, {}, (TOKENS,), vector(4), 0),
    Row(transformer.position_embed, {}, (TOKENS,), tokens(4), 9 * 4),
    Row(
        transformer.encoder,
        {"filters": 8, "stride": 2, "heads": 2, "expansion": 3, "qkv_bias": False, "layer_scale": 0.5, "dropout": 0.1},
        (IMAGE,),
        halved(8),
        8 + (4 * 4 * 8 + 8) + 16 + (4 * 8 * 8 + 8) + 8 + 16 + (8 * 24 + 24) + (24 * 8 + 8) + 8,
    ),
    Row(transformer.sequence_pool, {}, (TOKENS,), vector(4), 4 + 1),
    Row(
        mixer.mlp_mixer,
        {"filters": 4, "token_expansion": 0.5, "expansion": 3, "dropout": 0.1, "drop_path": 0.1},
        (TOKENS,),
        tokens(4),
        8 + (9 * 2 + 2) + (2 * 9 + 9) + 8 + (4 * 12 + 12) + (12 * 4 + 4),
    ),
    Row(
        mixer.conv_mixer,
        {"filters": 8, "kernel_size": 3, "drop_path": 0.1},
        (IMAGE,),
        same(8),
        (9 * 4 + 4) + 8 + (4 * 8 + 8) + 16,
    ),
    Row(mlp.dense_norm_act, {"units": 8}, (VECTOR,), vector(8), 6 * 8 + 8),
    Row(mlp.mlp, {"units": [8, 5], "dropout": 0.1}, (VECTOR,), vector(5), 6 * 8 + 8 + 8 * 5 + 5),
    Row(stem.bare, {"filters": 6}, (IMAGE,), same(6), 9 * 4 * 6),
    Row(stem.cifar, {"filters": 6}, (IMAGE,), same(6), 9 * 4 * 6 + 12),
    Row(stem.linear, {"filters": 6}, (IMAGE,), same(6), 9 * 4 * 6 + 12),
    Row(stem.mnist, {"filters": 6}, (IMAGE,), lambda h, w: (h + 4, w + 4, 6), 9 * 4 * 6 + 12),
    Row(stem.imagenet, {"filters": 6}, (IMAGE,), same(6, 4), 49 * 4 * 6 + 12, least=64),
    Row(
        stem.deep,
        {"filters": 6},
        (IMAGE,),
        same(6, 4),
        (9 * 4 * 3 + 6) + (9 * 3 * 3 + 6) + (9 * 3 * 6 + 12),
        least=64,
    ),
    Row(stem.preact, {"filters": 6}, (IMAGE,), same(6, 4), 49 * 4 * 6 + 6, least=64),
    Row(
        stem.whitening,
        {"filters": 6},
        (IMAGE,),
        lambda h, w: (h - 1, w - 1, 6),
        6,
    ),
    Row(stem.mobile, {"filters": 6}, (IMAGE,), same(6, 2), 9 * 4 * 6 + 12),
    Row(
        stem.xception,
        {"filters": 6},
        (IMAGE,),
        lambda h, w: ((h - 5) // 2, (w - 5) // 2, 6),
        9 * 4 * 3 + 6 + 9 * 3 * 6 + 12,
        least=71,
    ),
    Row(
        stem.googlenet,
        {"filters": 6},
        (IMAGE,),
        same(6, 8),
        (49 * 4 * 2 + 4) + (2 * 2 + 4) + (9 * 2 * 6 + 12),
        least=64,
    ),
    Row(
        stem.inception_v3,
        {"filters": 24},
        (IMAGE,),
        lambda h, w: ((h - 19) // 8, (w - 19) // 8, 24),
        9 * 4 * 4 + 9 * 4 * 4 + 9 * 4 * 8 + 8 * 10 + 9 * 10 * 24 + 2 * (4 + 4 + 8 + 10 + 24),
        least=75,
    ),
    Row(
        stem.inception_resnet_v1,
        {"filters": 16},
        (IMAGE,),
        lambda h, w: ((h - 19) // 8, (w - 19) // 8, 16),
        9 * 4 * 2 + 9 * 2 * 2 + 9 * 2 * 4 + 4 * 5 + 9 * 5 * 12 + 9 * 12 * 16 + 2 * (2 + 2 + 4 + 5 + 12 + 16),
        least=75,
    ),
    Row(
        stem.inception_v4,
        {"filters": 12},
        (IMAGE,),
        lambda h, w: ((h - 19) // 8, (w - 19) // 8, 12),
        (9 * 4 + 9 + 9 * 2 + 2 * 4)
        + (9 * 2 * 3 + 6)
        + (5 * 2 + 9 * 2 * 3 + 2 * 5)
        + (5 * 2 + 2 * 7 * 2 * 2 + 9 * 2 * 3 + 2 * 9)
        + (9 * 6 * 6 + 12),
        least=75,
    ),
    Row(
        tower.as_model,
        {"block": partial(conv.conv, filters=8), "input_shape": (None, None, 4)},
        (IMAGE,),
        same(8),
        9 * 4 * 8,
        build=lambda x, **arguments: tower.as_model(**arguments)(x),
    ),
    Row(tower.siamese, {"tower": TOWER, "merge": tower.dot}, (VECTOR, VECTOR), vector(1), 6 * 4 + 4),
    Row(tower.triplet, {"tower": TOWER, "distance": tower.dot}, (VECTOR,) * 3, vector(2), 6 * 4 + 4),
    Row(tower.triplet_distances, {"distance": tower.dot}, (VECTOR,) * 3, vector(2), 0),
    Row(
        tower.embed,
        {"tower": TOWER, "joint_norm": True},
        (VECTOR, VECTOR),
        vector(8),
        6 * 4 + 4,
        build=lambda x, **arguments: layers.Concatenate(name=arguments["name"])(
            tower.embed(x, **arguments | {"name": arguments["name"] and arguments["name"] + "_joint"})
        ),
    ),
    Row(tower.fuse, {"blocks": [dense, dense]}, (VECTOR, (3,)), vector(8), (6 * 4 + 4) + (3 * 4 + 4)),
    Row(tower.abs_difference, {}, (VECTOR, VECTOR), vector(6), 0),
    Row(tower.euclidean, {}, (VECTOR, VECTOR), vector(1), 0),
    Row(tower.cosine, {}, (VECTOR, VECTOR), vector(1), 0),
    Row(tower.dot, {}, (VECTOR, VECTOR), vector(1), 0),
]

FLOAT32 = {
    *("classifier", "conv_classifier", "logits", "pixel_logits", "auxiliary"),
    *("euclidean", "cosine", "dot", "siamese", "triplet", "triplet_distances"),
}
KNOWN_SIZES_ONLY = {"auxiliary", "gather_excite", "depth_to_space", "position_embed", "mlp_mixer"}
# Of an image of unknown size that their strides divide.
DIVISIBLE_SIZES_ONLY = {"unet", "fpn", "semantic_fpn", "deeplab_v3_plus"}
ANY_RANK = {
    *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"),
    *("activation", "normalize", "activate", "norm_act"),
    *("concat", "add", "bias", "stochastic_depth", "layer_scale", "learned", "as_model", "join"),
    "encoder",
    "shake",
}
POOLS_ANY_RANK = {"global_pool", "classifier"}

INTEGERS = (
    *("filters", "depth", "growth", "units", "classes", "groups", "multiplier"),
    *("kernel_size", "size", "stride", "dilation", "factor"),
)
WIDTHS = ("b1", "b3", "b5", "pool")
OPTIONS = {
    "conv_norm": ("stride", "dilation", "groups"),
    "conv_norm_act": ("stride", "dilation", "groups"),
    "norm_act_conv": ("stride", "dilation", "groups"),
    "transposed_norm_act": ("stride",),
    "upsample": ("dilation", "groups"),
    "depthwise_norm_act": ("stride", "dilation", "multiplier"),
    "separable_norm_act": ("stride", "dilation", "multiplier"),
}


def label(row):
    return row.function.__name__


def over(rows):
    return pytest.mark.parametrize("row", rows, ids=label)


def fill(shape, h, w):
    return tuple({"h": h, "w": w}.get(size, size) for size in shape)


def sizes(row):
    return (row.least + 9, row.least + 7), (row.least + 8, row.least + 6)


def any_size(row):
    """A size that a model for images of any size takes."""
    return (8, 12) if label(row) in DIVISIBLE_SIZES_ONLY else sizes(row)[0]


def apply(row, tensors, name=None, **changes):
    takes_many = next(iter(inspect.signature(row.function).parameters)) in ("tensors", "inputs", "vectors")
    call = row.build or row.function
    return call(tensors if takes_many else tensors[0], **row.arguments | changes, name=name)


def build(row, h=None, w=None, name=None):
    if h is None and label(row) in KNOWN_SIZES_ONLY:
        h, w = sizes(row)[0]
    inputs = [keras.Input(fill(shape, h, w)) for shape in row.inputs]
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, apply(row, inputs, name))


@cache
def _built(name):
    (row,) = (row for row in ROWS if label(row) == name)
    return build(row)


def built(row):
    """The row's model for images of any size, built once, for tests that only read it."""
    return _built(label(row))


def values(row, numbers, h=None, w=None, batch=2):
    if h is None:
        h, w = any_size(row)
    return [numbers(batch, *fill(shape, h, w), seed=i) for i, shape in enumerate(row.inputs)]


def layer_names(model):
    """The names of all layers, those of nested models included."""
    found = [operation for operation in operations(model) if isinstance(operation, layers.Layer)]
    return [layer.name for layer in found if not isinstance(layer, layers.InputLayer)]


def own_names(model):
    return [layer.name for layer in model.layers if layer is not TOWER and not isinstance(layer, layers.InputLayer)]


def test_every_public_function_has_a_row():
    found = set()
    for module in pkgutil.iter_modules(kblocks.__path__, "kblocks."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {
            f
            for f in members
            if inspect.isfunction(f)
            and f.__module__ == module.name
            and not f.__name__.startswith("_")
            and module.name not in ("kblocks.naming", "kblocks.check")
            and "name" in inspect.signature(f).parameters
        }
    assert found == {row.function for row in ROWS}
    assert len(ROWS) == len(found)


@over(ROWS)
def test_signature_ends_in_style_and_name(row):
    parameters = [p for p in inspect.signature(row.function).parameters.values() if p.kind != p.VAR_KEYWORD]
    assert parameters[-1].name == "name"
    assert parameters[-1].kind == inspect.Parameter.KEYWORD_ONLY
    if "style" in [p.name for p in parameters]:
        assert parameters[-2].name == "style"
        assert parameters[-2].kind == inspect.Parameter.KEYWORD_ONLY


@over(ROWS)
def test_parameter_count_is_that_of_the_hand_formula(row):
    model = build(row, *sizes(row)[0])
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == row.params


@over(ROWS)
@pytest.mark.parametrize("parity", [0, 1], ids=["odd", "even"])
def test_symbolic_shape_is_that_of_the_formula(row, parity):
    h, w = sizes(row)[parity]
    assert build(row, h, w).output_shape == (None, *row.out(h, w))


@over(ROWS)
def test_unknown_sizes_take_any_image(row, numbers, evaluate):
    model = built(row)
    taken = (
        [any_size(row), *sizes(row)[1:]]
        if label(row) not in DIVISIBLE_SIZES_ONLY | KNOWN_SIZES_ONLY
        else [any_size(row)]
    )
    for h, w in taken:
        expected = (2, *row.out(h, w))
        assert evaluate(model, *values(row, numbers, h, w)).shape == expected
        for symbolic, real in zip(model.output_shape, expected, strict=True):
            assert symbolic in (None, real)


@over([row for row in ROWS if label(row) in KNOWN_SIZES_ONLY])
def test_unknown_sizes_are_refused_where_they_are_needed(row):
    x = keras.Input(fill(row.inputs[0], None, 9))
    with pytest.raises(ValueError, match=rf"`x` must have known sizes; got shape {re.escape(str(x.shape))}"):
        apply(row, [x])


@over(ROWS)
def test_a_given_name_is_the_prefix_of_all_layers(row):
    first, second = build(row, name="probe"), build(row, name="probe")
    strangers = [name for name in own_names(first) if name != "probe" and not name.startswith("probe_")]
    assert not strangers
    assert layer_names(first) == layer_names(second)


@over(ROWS)
def test_two_names_do_not_clash_in_one_graph(row):
    inputs = [keras.Input(fill(shape, *sizes(row)[0])) for shape in row.inputs]
    model = keras.Model(inputs, [apply(row, inputs, "a"), apply(row, inputs, "b")])
    assert {name[0] for name in own_names(model)} <= {"a", "b"}


@over(ROWS)
def test_no_name_does_not_clash_in_one_graph(row):
    inputs = [keras.Input(fill(shape, *sizes(row)[0])) for shape in row.inputs]
    model = keras.Model(inputs, [apply(row, inputs), apply(row, inputs)])
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)


def test_no_default_prefix_shares_a_counter_with_keras(monkeypatch):
    naming = pytest.importorskip("keras.src.utils.naming")
    operation = pytest.importorskip("keras.src.ops.operation").Operation
    prefixes = set()
    get_uid = keras.backend.get_uid
    monkeypatch.setattr(keras.backend, "get_uid", lambda prefix="": prefixes.add(prefix) or get_uid(prefix))
    for row in ROWS:
        build(row)
    assert len(prefixes) > 25

    def subclasses(kind):
        for child in kind.__subclasses__():
            yield child
            yield from subclasses(child)

    taken = {naming.to_snake_case(kind.__name__) for kind in subclasses(operation)}
    assert {"conv2d", "dense", "functional", "sqrt"} <= taken
    assert not prefixes & taken


@over(ROWS)
def test_only_stock_layers_and_listed_operations(row):
    assert not strangers(built(row))


def test_every_listed_operation_is_needed():
    used = {type(operation).__name__ for row in ROWS for operation in operations(built(row))}
    assert not ALLOWED_OPS.keys() - used


def test_subclasses_lambdas_and_unlisted_operations_are_found():
    class Own(layers.Dense):
        pass

    x = keras.Input((4,))
    y = ops.tanh(layers.Lambda(lambda t: t, output_shape=(4,))(Own(4)(x)))
    inner = keras.Model(x, y)
    z = keras.Input((4,))
    assert strangers(keras.Model(z, inner(z))) == ["Own", "Lambda", "Tanh"]


@over(ROWS)
def test_arguments_stay_as_they_were(row):
    lists = {key: list(value) for key, value in row.arguments.items() if isinstance(value, list)}
    styles = {key: copy.deepcopy(value) for key, value in row.arguments.items() if isinstance(value, Style)}
    plain = copy.deepcopy(PLAIN)
    before = dict(row.arguments)
    inputs = [keras.Input(fill(shape, *sizes(row)[0])) for shape in row.inputs]
    tensors = list(inputs)
    apply(row, tensors, "probe")
    assert [id(t) for t in tensors] == [id(t) for t in inputs]
    assert row.arguments == before
    assert all(row.arguments[key] == value for key, value in lists.items())
    assert all(
        (row.arguments[key].initializer, row.arguments[key].regularizer) == (value.initializer, value.regularizer)
        for key, value in styles.items()
    )
    assert (PLAIN.initializer, PLAIN.regularizer) == (plain.initializer, plain.regularizer)


def as_numpy(value):
    """The same arguments in NumPy's numbers."""
    if isinstance(value, list | tuple):
        return type(value)(as_numpy(item) for item in value)
    if isinstance(value, bool):
        return value
    kind = {int: np.int64, float: np.float64}.get(type(value), lambda value: value)
    return kind(value)


@over([row for row in ROWS if row.build is None])
def test_numbers_of_numpy_are_numbers(row):
    numpys = {key: as_numpy(value) for key, value in row.arguments.items()}
    found = []
    for arguments in (numpys, row.arguments):
        keras.utils.clear_session(free_memory=False)  # operations get their names from a counter
        inputs = [keras.Input(fill(shape, *sizes(row)[0]), name=f"x{i}") for i, shape in enumerate(row.inputs)]
        model = keras.Model(inputs, apply(row._replace(arguments=arguments), inputs, "probe"), name="model")
        found.append(model.to_json())
    assert found[0] == found[1]


@over(ROWS)
def test_a_saved_model_gives_equal_outputs(row, numbers, evaluate, scramble, tmp_path):
    model = scramble(build(row, name="probe"))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert own_names(loaded)[-1] == own_names(model)[-1]
    data = values(row, numbers)
    np.testing.assert_allclose(evaluate(loaded, *data), evaluate(model, *data), rtol=1e-5, atol=1e-5)


def test_a_saved_model_needs_keras_alone(numbers, evaluate, scramble, tmp_path):
    block = partial(compose.stage, unit=residual.basic, filters=8, depth=2, drop_paths=(0.0, 0.1))
    x = [keras.Input((9, 7, 4)), keras.Input((9, 7, 4))]
    shared = tower.as_model(lambda x, name: head.logits(pool.global_pool(block(x, name=name)), 5), (9, 7, 4))
    y = tower.siamese([compose.layer_scale(t, 0.5) for t in x], shared, merge=tower.euclidean, joint_norm=True)
    model = scramble(keras.Model(x, y))
    data = values(Row(compose.add, {}, (IMAGE, IMAGE), same(4), 0), numbers)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", *data)
    code = (
        "import keras, numpy as np, sys\n"
        "model = keras.saving.load_model('model.keras')\n"
        "data = list(np.load('data.npz').values())\n"
        "np.save('output.npy', keras.ops.convert_to_numpy(model(data)))\n"
        "sys.exit('kblocks' in sys.modules)"
    )
    # In another folder, and without the checkout on its path.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "output.npy"), evaluate(model, *data), rtol=1e-4)


@over([row for row in ROWS if row.params])
def test_every_trainable_weight_gets_a_finite_gradient(row, numbers, gradients, scramble):
    keras.utils.set_random_seed(1)
    model = scramble(build(row))
    by_weight, _ = gradients(model, *values(row, numbers, batch=4))
    assert not [path for path, g in by_weight.items() if g is None or not np.isfinite(g).all()]
    assert not [path for path, g in by_weight.items() if not g.any()]


@over([row for row in ROWS if len(row.inputs[0]) == 3 and label(row) not in ANY_RANK | POOLS_ANY_RANK])
@pytest.mark.parametrize("shape", [(6,), (6, 4), (3, 6, 6, 4)], ids=len)
def test_a_wrong_rank_is_refused(row, shape):
    message = rf"`x` must have rank 4 \(batch, height, width, channels\); got rank {len(shape) + 1}, shape \(None, "
    with pytest.raises(ValueError, match=message):
        apply(row, [keras.Input(shape)])


@over([row for row in ROWS if len(row.inputs[0]) == 3 and label(row) not in ANY_RANK])
def test_channels_first_is_refused(row):
    x = keras.Input(fill(IMAGE, *sizes(row)[0]))
    keras.config.set_image_data_format("channels_first")
    with pytest.raises(ValueError, match="blocks are channels last only; got the global image data format"):
        apply(row, [x])


def integer_arguments():
    for row in ROWS:
        wanted = INTEGERS + (WIDTHS if row.function in (inception.naive, inception.v1) else ())
        for argument in (*inspect.signature(row.function).parameters, *OPTIONS.get(label(row), ())):
            if argument in wanted:
                yield pytest.param(row, argument, id=f"{label(row)}-{argument}")


@pytest.mark.parametrize(("row", "argument"), integer_arguments())
def test_what_is_no_positive_integer_is_refused(row, argument):
    x = keras.Input(fill(row.inputs[0], *sizes(row)[0]))
    pair = isinstance(row.arguments.get(argument), list | tuple)
    for bad in (0, -1, 2.5, True, "8"):
        for value in ((bad, 4), (4, bad)) if pair else (bad,):
            with pytest.raises(ValueError, match=rf"`{argument}` must be a positive integer; got {bad!r}"):
                apply(row, [x], **{argument: value})


@over(ROWS)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_inside_and_float32_where_it_matters(row, policy, numbers, evaluate):
    keras.config.set_dtype_policy(policy)
    model = build(row)
    half = policy.removeprefix("mixed_")
    assert model.output.dtype == ("float32" if label(row) in FLOAT32 else half)
    if label(row) in FLOAT32:
        assert np.isfinite(evaluate(model, *values(row, numbers))).all()
