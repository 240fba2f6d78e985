"""FractalNet's block and its join, against NumPy."""

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import compose, fractal
from kblocks.style import RELU
from tests.support.numpy_layers import Numpy, relu
from tests.support.weights import randomise


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_by_its_recursion(columns, stride, numbers, evaluate):
    """`f_(c+1)(x) = mean(conv(x), f_c(f_c(x)))` without the joins of joins, which are one join."""
    x = keras.Input((7, 7, 3))
    model = randomise(keras.Model(x, fractal.fractal_block(x, 5, columns=columns, stride=stride, name="f")))
    net = Numpy(model)
    used = [0] * columns

    def conv(x, column):
        used[column] += 1
        number = used[column]
        return relu(net.conv_norm(x, f"f_column{column + 1}_conv{number}", stride if number == 1 else 1))

    def block(x, column):
        """The outputs of the columns from `column` on, which end at one depth."""
        if column == columns - 1:
            return [conv(x, column)]
        first = conv(x, column)
        middle = np.mean(block(x, column + 1), axis=0)
        return [first, *block(middle, column + 1)]

    data = numbers(2, 7, 7, 3)
    expected = np.mean(block(data, 0), axis=0)
    assert used == [2**i for i in range(columns)]
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-4)


def test_a_block_is_a_unit():
    x = keras.Input((8, 8, 4))
    y = compose.stage(x, fractal.fractal_block, 8, 2, stride=2, drop_paths=(0.0, 0.1), style=RELU, name="s")
    assert y.shape == (None, 4, 4, 8)


def joined(count, rate, size=4):
    inputs = [keras.Input((size, size, 2)) for _ in range(count)]
    return keras.Model(inputs, fractal.join(inputs, drop_path=rate, name="j"))


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_a_join_is_a_mean_in_inference(rate, numbers, evaluate):
    data = [numbers(3, 4, 4, 2, seed=i) for i in range(3)]
    np.testing.assert_allclose(evaluate(joined(3, rate), *data), np.mean(data, axis=0), rtol=1e-5, atol=1e-6)


def test_a_join_is_a_mean_of_those_that_are_kept(evaluate):
    keras.utils.set_random_seed(0)
    # The tensors hold 1, 2 and 4: the mean tells which were kept.
    data = [np.full((2000, 1, 1, 2), value, "float32") for value in (1, 2, 4)]
    y = evaluate(joined(3, 0.5, size=1), *data, training=True)
    assert (y[..., 0] == y[..., 1]).all()
    means = {1: 1.0, 2: 2.0, 4: 4.0, 3: 1.5, 5: 2.5, 6: 3.0, 7: 7 / 3}
    shares = {kept: np.isclose(y[:, 0, 0, 0], mean, rtol=1e-5).mean() for kept, mean in means.items()}
    assert sum(shares.values()) == pytest.approx(1)
    # With probability 1/8 each; where none is kept, all are.
    assert shares == pytest.approx({**dict.fromkeys(means, 1 / 8), 7: 2 / 8}, abs=0.03)


def test_a_join_of_infinities_is_infinite(evaluate):
    data = [np.full((1, 2, 2, 2), np.inf, "float32")] * 2
    assert np.isinf(evaluate(joined(2, 0.5, size=2), *data)).all()


def test_a_join_without_drop_path_is_one_layer():
    assert [type(layer) for layer in joined(2, 0.0).layers[2:]] == [layers.Average]
    x = keras.Input((4, 4, 2))
    assert [type(layer) for layer in keras.Model(x, fractal.join([x], drop_path=0.5)).layers[1:]] == [layers.Identity]


@pytest.mark.parametrize("rate", [1.0, -0.1, True])
@pytest.mark.parametrize("argument", ["dropout", "drop_path"])
def test_rates_are_fractions(argument, rate):
    with pytest.raises(ValueError, match=f"`{argument}` must be at least 0 and below 1; got {rate}"):
        fractal.fractal_block(keras.Input((4, 4, 2)), 2, **{argument: rate})


def test_dropout_drops_whole_channels():
    x = keras.Input((4, 4, 2))
    model = keras.Model(x, fractal.fractal_block(x, 4, columns=2, dropout=0.3, name="f"))
    found = [layer.name for layer in model.layers if isinstance(layer, layers.SpatialDropout2D)]
    assert sorted(found) == ["f_column1_dropout1", "f_column2_dropout1", "f_column2_dropout2"]
