"""Inception modules: the widths of the paper's table, and the order of the branches."""

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import inception
from kblocks.style import RELU

# Szegedy et al. 2014, Table 1: input channels, the module's widths, output channels.
TABLE = {
    "3a": (192, (64, (96, 128), (16, 32), 32), 256),
    "3b": (256, (128, (128, 192), (32, 96), 64), 480),
    "4a": (480, (192, (96, 208), (16, 48), 64), 512),
    "4e": (528, (256, (160, 320), (32, 128), 128), 832),
    "5b": (832, (384, (192, 384), (48, 128), 128), 1024),
}


@pytest.mark.parametrize(("channels", "widths", "out"), TABLE.values(), ids=TABLE)
def test_v1_has_the_widths_of_the_table(channels, widths, out):
    x = keras.Input((7, 7, channels))
    model = keras.Model(x, inception.v1(x, *widths, style=RELU))
    b1, (r3, b3), (r5, b5), pool = widths
    kernels = channels * (b1 + r3 + r5 + pool) + 9 * r3 * b3 + 25 * r5 * b5
    assert model.output_shape == (None, 7, 7, out)
    assert model.count_params() == kernels + (b1 + r3 + b3 + r5 + b5 + pool)


def test_v1_row_3a_has_the_parameters_of_the_table():
    x = keras.Input((28, 28, 192))
    model = keras.Model(x, inception.v1(x, *TABLE["3a"][1], style=RELU))
    assert model.count_params() == 163_696  # The table says 159 K, in units of 1,024.


@pytest.mark.parametrize(
    ("function", "widths", "order"),
    [
        (inception.naive, (1, 2, 3), ["i_1x1_act", "i_3x3_act", "i_5x5_act", "i_pool"]),
        (inception.v1, (1, (2, 3), (2, 4), 5), ["i_1x1_act", "i_3x3_act", "i_5x5_act", "i_pool_project_act"]),
    ],
    ids=["naive", "v1"],
)
def test_branches_stand_side_by_side_in_the_order_of_the_name(function, widths, order, numbers, evaluate, scramble):
    x = keras.Input((6, 5, 4))
    model = scramble(keras.Model(x, function(x, *widths, name="i")))
    parts = keras.Model(x, [model.get_layer(name).output for name in order])
    data = numbers(2, 6, 5, 4)
    np.testing.assert_allclose(evaluate(model, data), np.concatenate(evaluate(parts, data), -1), rtol=1e-5)
    assert isinstance(model.get_layer("i_out"), layers.Concatenate)


def test_every_branch_has_its_window():
    x = keras.Input((6, 5, 4))
    model = keras.Model(x, inception.v1(x, 1, (2, 3), (2, 4), 5, name="i"))
    windows = {name: model.get_layer(f"i_{name}").kernel_size for name in ("1x1", "3x3_reduce", "3x3", "5x5")}
    assert windows == {"1x1": (1, 1), "3x3_reduce": (1, 1), "3x3": (3, 3), "5x5": (5, 5)}
    assert model.get_layer("i_pool").pool_size == (3, 3)
    # The projection comes after the pooling, the reductions before the larger windows.
    assert model.get_layer("i_pool_project").input is model.get_layer("i_pool").output
    assert model.get_layer("i_5x5").input is model.get_layer("i_5x5_reduce_act").output


@pytest.mark.parametrize("argument", ["b3", "b5"])
@pytest.mark.parametrize("value", [8, (8,), (8, 8, 8), "ab", None])
def test_v1_wants_pairs(argument, value):
    arguments = {"b1": 4, "b3": (4, 4), "b5": (4, 4), "pool": 4} | {argument: value}
    with pytest.raises(ValueError, match=rf"`{argument}` must be a pair of widths \(reduction, out\); got "):
        inception.v1(keras.Input((8, 8, 3)), **arguments)
