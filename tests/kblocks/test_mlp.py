"""Fully connected layers, recomputed with NumPy."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from kblocks import mlp
from kblocks.style import RELU, RELU_BN
from tests.support.numpy_layers import Numpy, relu


@pytest.mark.parametrize("shape", [(6,), (5, 6)])
def test_mlp_is_a_chain_of_dense_layers(shape, numbers, evaluate, scramble):
    x = keras.Input(shape)
    model = scramble(keras.Model(x, mlp.mlp(x, (8, 5), name="m")))
    data = numbers(3, *shape)
    net = Numpy(model, "m_")
    expected = relu(net.dense(relu(net.dense(data, "dense1")), "dense2"))
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-5)


def test_a_dropout_follows_each_activation():
    x = keras.Input((6,))
    model = keras.Model(x, mlp.mlp(x, (8, 5), dropout=0.3, name="m"))
    names = [layer.name for layer in model.layers[1:]]
    assert names == ["m_dense1", "m_dropout1", "m_dense2", "m_dropout2"]
    assert model.get_layer("m_dropout2").rate == 0.3


def test_a_norm_takes_the_place_of_the_bias():
    x = keras.Input((6,))
    model = keras.Model(x, mlp.dense_norm_act(x, 8, style=RELU_BN, name="d"))
    assert [layer.name for layer in model.layers[1:]] == ["d", "d_norm", "d_act"]
    assert not model.get_layer("d").use_bias
    assert model.count_params() == 6 * 8 + 4 * 8


def test_the_style_reaches_the_kernel():
    x = keras.Input((6,))
    style = replace(RELU, initializer="ones", regularizer={"class_name": "L2", "config": {"l2": 0.5}})
    model = keras.Model(x, mlp.dense_norm_act(x, 8, style=style))
    assert [float(loss) for loss in model.losses] == pytest.approx([0.5 * 6 * 8])


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ((), r"`units` must be a list or tuple of at least one width; got \(\)"),
        (64, "`units` must be a list or tuple of at least one width; got 64"),
        ((8, 0), "`units` must be a positive integer; got 0"),
        ((8, 2.5), "`units` must be a positive integer; got 2.5"),
    ],
)
def test_mlp_refuses(units, message):
    with pytest.raises(ValueError, match=message):
        mlp.mlp(keras.Input((6,)), units)


def test_mlp_refuses_a_rate_and_what_is_no_tensor():
    with pytest.raises(ValueError, match="`dropout` must be at least 0 and below 1; got 1"):
        mlp.mlp(keras.Input((6,)), (8,), dropout=1)
    with pytest.raises(TypeError, match="`x` must hold tensors; got 'x'"):
        mlp.dense_norm_act("x", 8)
