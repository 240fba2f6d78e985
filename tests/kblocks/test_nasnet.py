"""NASNet's cells against NumPy: the two figures of the paper, with windows cut out by hand."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from kblocks import nasnet, stem
from kblocks.style import RELU_BN, tanh
from tests.support.numpy_layers import Numpy, avg_pool, conv, max_pool, relu, windows
from tests.support.weights import randomise


class Cell(Numpy):
    """A cell's parts by the names of their layers."""

    def pixelwise(self, x, part):
        """`norm(conv1×1(act(x)))`."""
        (kernel,) = self.weights(part)
        return self.norm(relu(x) @ kernel[0, 0], f"{part}_norm")

    def separable(self, x, part, stride=1):
        for i, step in ((1, stride), (2, 1)):
            x = self.separable_norm(relu(x), f"{part}conv{i}", step)
        return x

    def halved(self, x, part):
        x = relu(x)
        shifted = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1:, 1:]
        kernels = [self.weights(f"{part}conv{i}")[0][0, 0] for i in (1, 2)]
        both = [x[:, ::2, ::2] @ kernels[0], shifted[:, ::2, ::2] @ kernels[1]]
        return self.norm(np.concatenate(both, -1), f"{part}norm")

    def normal(self, h, p):
        def sep(x, place, size):
            assert self.weights(f"{place}_conv1")[0].shape[:2] == (size, size)
            return self.separable(x, f"{place}_")

        return np.concatenate(
            [
                p,
                sep(h, "left1", 5) + sep(p, "right1", 3),
                sep(p, "left2", 5) + sep(p, "right2", 3),
                avg_pool(h, 3) + p,
                avg_pool(p, 3) + avg_pool(p, 3),
                sep(h, "left5", 3) + h,
            ],
            -1,
        )

    def reduction(self, h, p, top=partial(max_pool, size=3), mean=partial(avg_pool, size=3)):
        def sep(x, place, size, stride=2):
            assert self.weights(f"{place}_conv1")[0].shape[:2] == (size, size)
            return self.separable(x, f"{place}_", stride)

        y1 = sep(h, "left1", 5) + sep(p, "right1", 7)
        y2 = top(h, stride=2) + sep(p, "right2", 7)
        y3 = mean(h, stride=2) + sep(p, "right3", 5)
        return np.concatenate([y2, y3, y2 + avg_pool(y1, 3), sep(y1, "left5", 3, 1) + top(h, stride=2)], -1)


def close(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


SIZES = [(7, 5), (6, 8), (6, 5)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (5, 2), (7, 2)])
def test_separable_twice(size, kernel_size, stride, numbers, evaluate):
    x = keras.Input((*size, 3))
    model = randomise(keras.Model(x, nasnet.separable_twice(x, 4, kernel_size, stride=stride, name="s")))
    data = numbers(2, *size, 3)
    close(evaluate(model, data), Cell(model, "s_").separable(data, "", stride))


@pytest.mark.parametrize("size", SIZES)
def test_factorized_reduction(size, numbers, evaluate):
    x = keras.Input((*size, 3))
    model = randomise(keras.Model(x, nasnet.factorized_reduction(x, 4, name="f")))
    data = numbers(2, *size, 3)
    close(evaluate(model, data), Cell(model, "f_").halved(data, ""))


def test_factorized_reduction_sees_two_pixels_of_four(evaluate):
    x = keras.Input((4, 4, 1))
    model = keras.Model(x, nasnet.factorized_reduction(x, 2, style=replace(RELU_BN, norm=None), name="f"))
    for i in (1, 2):
        model.get_layer(f"f_conv{i}").set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    y = evaluate(model, np.arange(16, dtype="float32").reshape(1, 4, 4, 1))
    np.testing.assert_array_equal(y[0, ..., 0], [[0, 2], [8, 10]])
    np.testing.assert_array_equal(y[0, ..., 1], [[5, 7], [13, 15]])


def cell(function, size, previous=None, channels=5, **options):
    """A cell's model, of images of `size` and before them of `previous`."""
    inputs = [keras.Input((*size, 4))] + ([] if previous is None else [keras.Input((*previous, channels))])
    pair = (*inputs, None) if previous is None else inputs
    y = function(pair, 6, name="c", **options)
    return randomise(keras.Model(inputs if len(inputs) > 1 else inputs[0], y))


def data_of(model, numbers):
    return [numbers(2, *x.shape[1:], seed=i) for i, x in enumerate(model.inputs)]


@pytest.mark.parametrize("size", SIZES)
def test_normal_cell(size, numbers, evaluate):
    model = cell(nasnet.normal_cell, size, size)
    net, (x, previous) = Cell(model, "c_"), data_of(model, numbers)
    h, p = net.pixelwise(x, "conv"), net.pixelwise(previous, "previous_conv")
    close(evaluate(model, x, previous), net.normal(h, p))


@pytest.mark.parametrize("size", SIZES)
def test_reduction_cell(size, numbers, evaluate):
    model = cell(nasnet.reduction_cell, size, size)
    net, (x, previous) = Cell(model, "c_"), data_of(model, numbers)
    h, p = net.pixelwise(x, "conv"), net.pixelwise(previous, "previous_conv")
    close(evaluate(model, x, previous), net.reduction(h, p))


@pytest.mark.parametrize("size", SIZES)
def test_padded_pools_see_zeros(size, numbers, evaluate):
    model = cell(nasnet.reduction_cell, size, size, pad_pools=True)
    # Below zero everywhere, so that a border of zeros has the largest value of its windows.
    model.get_layer("c_conv_norm").beta.assign(np.full(6, -9.0))
    net, (x, previous) = Cell(model, "c_"), data_of(model, numbers)
    h, p = net.pixelwise(x, "conv"), net.pixelwise(previous, "previous_conv")
    assert h.max() < 0

    def largest(x, stride):
        return windows(x, 3, stride).max((-2, -1))

    def mean(x, stride):
        return windows(x, 3, stride).mean((-2, -1))

    expected = net.reduction(h, p, largest, mean)
    close(evaluate(model, x, previous), expected)
    assert np.abs(expected - net.reduction(h, p)).max() > 1


@pytest.mark.parametrize("function", [nasnet.normal_cell, nasnet.reduction_cell])
@pytest.mark.parametrize("previous", [(8, 12), (7, 11)])
def test_a_larger_previous_is_halved(function, previous, numbers, evaluate):
    model = cell(function, (4, 6), previous, halve_previous=True)
    net, (x, before) = Cell(model, "c_"), data_of(model, numbers)
    h, p = net.pixelwise(x, "conv"), net.halved(before, "previous_")
    close(evaluate(model, x, before), (net.normal if function is nasnet.normal_cell else net.reduction)(h, p))


@pytest.mark.parametrize("function", [nasnet.normal_cell, nasnet.reduction_cell])
def test_a_previous_of_the_cells_width_stays_as_it_is(function, numbers, evaluate):
    model = cell(function, (6, 5), (6, 5), channels=6)
    net, (x, before) = Cell(model, "c_"), data_of(model, numbers)
    h = net.pixelwise(x, "conv")
    close(evaluate(model, x, before), (net.normal if function is nasnet.normal_cell else net.reduction)(h, before))


def test_the_first_cell_takes_its_input_for_both(numbers, evaluate):
    model = cell(nasnet.normal_cell, (6, 5))
    net, (x,) = Cell(model, "c_"), data_of(model, numbers)
    h, p = net.pixelwise(x, "conv"), net.pixelwise(x, "previous_conv")
    close(evaluate(model, x), net.normal(h, p))

    model = cell(nasnet.reduction_cell, (6, 5))
    net = Cell(model, "c_")
    close(evaluate(model, x), net.reduction(net.pixelwise(x, "conv"), x))


def test_stem(numbers, evaluate):
    x = keras.Input((8, 7, 3))
    model = randomise(keras.Model(x, stem.nasnet(x, 4, name="s")))
    data = numbers(2, 8, 7, 3)
    (kernel,) = model.get_layer("s_conv").get_weights()
    close(evaluate(model, data), Cell(model, "s_").norm(conv(data, kernel, 2, padding="valid"), "out"))


@pytest.mark.parametrize(
    ("function", "places"),
    [
        (nasnet.normal_cell, "left1 right1 left2 right2 left3 left4 right4 left5"),
        (nasnet.reduction_cell, "left1 right1 left2 right2 left3 right3 left4 left5 right5"),
    ],
)
def test_drop_path_drops_what_operations_give(function, places):
    model = cell(function, (6, 6), (6, 6), drop_path=0.25)
    found = {layer.name: layer for layer in model.layers if isinstance(layer, layers.Dropout)}
    assert sorted(found) == sorted(f"c_{place}_drop_path" for place in places.split())
    assert {layer.rate for layer in found.values()} == {0.25}
    sums = [layer for layer in model.layers if isinstance(layer, layers.Add)]
    assert len(sums) == 5
    # What is not dropped is h, p or a sum of this cell's.
    fed = [x._keras_history.operation.name for layer in sums for x in layer.input]
    others = [name for name in fed if not name.endswith("_drop_path")]
    assert others == (["c_add2"] if function is nasnet.reduction_cell else ["c_previous_conv_norm", "c_conv_norm"])
    assert not [layer for layer in cell(function, (6, 6), (6, 6)).layers if isinstance(layer, layers.Dropout)]


@pytest.mark.parametrize("function", [nasnet.normal_cell, nasnet.reduction_cell])
@pytest.mark.parametrize("halve", [False, True])
def test_the_style_is_read_everywhere(function, halve):
    style = replace(RELU_BN, activation=tanh, initializer="he_uniform", regularizer="l2")
    model = cell(function, (4, 4), (8, 8) if halve else (4, 4), halve_previous=halve, style=style)
    activations = {layer.activation.__name__ for layer in model.layers if isinstance(layer, layers.Activation)}
    assert activations == {"tanh"}
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    separables = [layer for layer in model.layers if isinstance(layer, layers.SeparableConv2D)]
    assert (len(convolutions), len(separables)) == (3 if halve else 2, 10)
    for layer in convolutions:
        assert isinstance(layer.kernel_initializer, keras.initializers.HeUniform)
        assert isinstance(layer.kernel_regularizer, keras.regularizers.L2)
    for layer in separables:
        assert isinstance(layer.pointwise_initializer, keras.initializers.HeUniform)
        assert isinstance(layer.depthwise_regularizer, keras.regularizers.L2)


@pytest.mark.parametrize("function", [nasnet.normal_cell, nasnet.reduction_cell])
class TestWhatIsRefused:
    @pytest.mark.parametrize("count", [1, 3])
    def test_no_pair(self, function, count):
        x = keras.Input((8, 8, 4))
        with pytest.raises(ValueError, match=r"`inputs` must be a pair \(x, previous\); got "):
            function([x] * count, 4)
        with pytest.raises(ValueError, match=r"`inputs` must be a pair \(x, previous\); got <KerasTensor"):
            function(x, 4)

    def test_a_previous_of_another_size(self, function):
        x, large = keras.Input((4, 4, 4)), keras.Input((4, 8, 4))
        with pytest.raises(ValueError, match=r"`previous` must have the size of `x` without `halve_previous`; got "):
            function((x, large), 4)
        for wrong in (large, x, keras.Input((10, 8, 4))):
            with pytest.raises(ValueError, match=r"`previous` must have twice the size of `x` with `halve_previous`; "):
                function((x, wrong), 4, halve_previous=True)

    def test_a_previous_of_another_rank(self, function):
        with pytest.raises(ValueError, match=r"`previous` must have rank 4 .*; got rank 2"):
            function((keras.Input((4, 4, 4)), keras.Input((4,))), 4)

    def test_odd_halves(self, function):
        with pytest.raises(ValueError, match="`filters` must be divisible by `2`; got 5 and 2"):
            function((keras.Input((4, 4, 4)), keras.Input((8, 8, 4))), 5, halve_previous=True)

    def test_no_rate(self, function):
        with pytest.raises(ValueError, match=r"`drop_path` must be at least 0 and below 1; got 1\.0"):
            function((keras.Input((4, 4, 4)), None), 4, drop_path=1.0)


def test_padded_pools_need_known_sizes():
    message = r"`x` must have known sizes, on which its padding depends; got shape \(None, None, 8, 4\)"
    with pytest.raises(ValueError, match=message):
        nasnet.reduction_cell((keras.Input((None, 8, 4)), None), 4, pad_pools=True)


@pytest.mark.parametrize("cell", [nasnet.normal_cell, nasnet.reduction_cell])
def test_nothing_before_is_not_halved(cell):
    with pytest.raises(ValueError, match="`halve_previous` must be False where `previous` is None; got True"):
        cell((keras.Input((7, 7, 8)), None), 8, halve_previous=True)
