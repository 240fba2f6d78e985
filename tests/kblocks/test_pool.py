"""Pooling against NumPy windows."""

import importlib.util
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from math import ceil, comb

import keras
import numpy as np
import pytest

from kblocks import pool
from kblocks.style import RELU_BN
from tests.support.numpy_layers import windows

SYMMETRIC = replace(RELU_BN, padding="symmetric")
VALID = replace(RELU_BN, padding="valid")


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (2, 2), (2, 1)])
@pytest.mark.parametrize(("function", "reduce"), [(pool.max_pool, np.nanmax), (pool.avg_pool, np.nanmean)])
def test_padding_does_not_count(function, reduce, size, stride, numbers, evaluate):
    x = keras.Input((9, 8, 4))
    data = numbers(2, 9, 8, 4)
    expected = reduce(windows(data, size, stride, fill=np.nan), (-2, -1))
    y = evaluate(keras.Model(x, function(x, size, stride=stride)), data)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (8, 9), (9, 8), (None, None), (2, 2), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_mean_is_of_pixels_alone(size, stride, shape, numbers, evaluate):
    model = keras.Model(x := keras.Input((*shape, 3)), pool.avg_pool(x, size, stride=stride, name="pool"))
    assert model.layers[-1].name == "pool"
    for height, width in [(8, 8), (9, 8), (7, 10)] if None in shape else [shape]:
        data = numbers(2, height, width, 3) + 10
        with warnings.catch_warnings(action="ignore"):
            expected = np.nanmean(windows(data, size, stride, fill=np.nan), axis=(-2, -1))
        found = evaluate(model, data)
        assert found.shape[1:3] == (ceil(height / stride), ceil(width / stride))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "size", "stride"), [((None, None), 3, 1), ((9, 9), 3, 2), ((8, 8), 2, 2)])
def test_even_padding_takes_one_layer(shape, size, stride):
    model = keras.Model(x := keras.Input((*shape, 3)), pool.avg_pool(x, size, stride=stride))
    assert [type(operation) for operation in model.operations[1:]] == [keras.layers.AveragePooling2D]


def test_a_mean_on_another_backend(numbers, evaluate, tmp_path):
    """A model of this backend is loaded by Keras on each other that is installed."""
    model = keras.Model(x := keras.Input((None, None, 3)), pool.avg_pool(x, 3, stride=2))
    model.save(tmp_path / "model.keras")
    data = numbers(2, 8, 6, 3)
    np.save(tmp_path / "data.npy", data)
    code = (
        "import keras, numpy as np\n"
        "y = keras.saving.load_model('model.keras')(np.load('data.npy'))\n"
        "np.save('output.npy', keras.ops.convert_to_numpy(y))\n"
    )
    others = {"tensorflow", "jax", "torch"} - {keras.backend.backend()}
    for backend in [name for name in sorted(others) if importlib.util.find_spec(name)]:
        environment = {**os.environ, "KERAS_BACKEND": backend}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
        found = np.load(tmp_path / "output.npy")
        np.testing.assert_allclose(found, evaluate(model, data), rtol=1e-5, atol=1e-6, err_msg=backend)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(("function", "reduce"), [(pool.max_pool, np.max), (pool.avg_pool, np.mean)])
def test_symmetric_padding_counts_as_zeros(function, reduce, size, numbers, evaluate):
    x = keras.Input((size, size, 4))
    data = np.abs(numbers(2, size, size, 4))
    expected = reduce(windows(data, 3, 2, padding="symmetric"), (-2, -1))
    y = evaluate(keras.Model(x, function(x, 3, stride=2, style=SYMMETRIC)), data)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [pool.max_pool, pool.avg_pool])
def test_valid_padding_has_the_shape_of_the_formula(function):
    y = function(keras.Input((9, 8, 4)), 3, stride=2, style=VALID)
    assert y.shape == (None, ceil((9 - 3 + 1) / 2), ceil((8 - 3 + 1) / 2), 4)


@pytest.mark.parametrize("function", [pool.max_pool, pool.avg_pool])
def test_an_even_window_cannot_be_padded_alike(function):
    with pytest.raises(ValueError, match="`size` must be odd for symmetric padding; got 2"):
        function(keras.Input((8, 8, 4)), 2, stride=2, style=SYMMETRIC)


@pytest.mark.parametrize("shape", [(5, 4, 3), (6, 3)])
@pytest.mark.parametrize(
    ("kind", "reduce"),
    [
        ("avg", lambda x: x.reshape(len(x), -1, x.shape[-1]).mean(1)),
        ("max", lambda x: x.reshape(len(x), -1, x.shape[-1]).max(1)),
        ("flatten", lambda x: x.reshape(len(x), -1)),
    ],
)
def test_global_pool(kind, reduce, shape, numbers, evaluate):
    x = keras.Input(shape)
    data = numbers(2, *shape)
    y = evaluate(keras.Model(x, pool.global_pool(x, kind)), data)
    np.testing.assert_allclose(y, reduce(data), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["avg", "max", "flatten"])
def test_a_vector_is_returned_as_it_is(kind):
    x = keras.Input((8,))
    assert pool.global_pool(x, kind) is x


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ((8, 8, 4), "mean", "`kind` must be one of 'avg', 'max', 'flatten'; got 'mean'"),
        ((None, 8, 4), "flatten", r"`x` must have known sizes to be flattened; got shape \(None, None, 8, 4\)"),
        ((2, 8, 8, 4), "avg", r"`x` must have rank 2, 3 or 4 to be pooled; got shape \(None, 2, 8, 8, 4\)"),
    ],
)
def test_what_cannot_be_pooled_is_refused(shape, kind, message):
    with pytest.raises(ValueError, match=message):
        pool.global_pool(keras.Input(shape), kind)


@pytest.mark.parametrize("shape", [(8, 8, 4), (8, 4)])
def test_channels_first_is_refused_at_every_rank(shape):
    keras.config.set_image_data_format("channels_first")
    with pytest.raises(ValueError, match="blocks are channels last only"):
        pool.global_pool(keras.Input(shape))


@pytest.mark.parametrize("shape", [(8, 9), (7, 6), (None, None)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_blur_is_a_binomial_kernel(size, stride, shape, numbers, evaluate):
    row = np.array([comb(size - 1, i) for i in range(size)]) / 2 ** (size - 1)
    model = keras.Model(x := keras.Input((*shape, 3)), pool.blur(x, size, stride=stride, name="blur"))
    assert model.layers[-1].name == "blur"
    assert not model.weights
    height, width = (8, 9) if None in shape else shape
    data = numbers(2, height, width, 3)
    # As many zeros on both sides, the odd one behind.
    before, after = (size - 1) // 2, size // 2
    padded = np.pad(data, ((0, 0), (before, after), (before, after), (0, 0)))
    cut = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    found = evaluate(model, data)
    assert found.shape[1:3] == (ceil(height / stride), ceil(width / stride))
    np.testing.assert_allclose(found, np.einsum("bhwcij,i,j->bhwc", cut, row, row), rtol=1e-4, atol=1e-5)


def test_blur_needs_two_pixels():
    with pytest.raises(ValueError, match="`size` must be an integer of at least 2; got 1"):
        pool.blur(keras.Input((8, 8, 3)), 1)
