"""Checks that no block's own tests reach."""

from functools import partial

import keras
import numpy as np
import pytest

from kblocks import check
from kblocks.style import activation


def tensors(*shapes):
    return [keras.Input(shape) for shape in shapes]


@pytest.mark.parametrize("value", [1, np.int64(3), np.uint8(2)])
def test_any_kind_of_integer_is_an_integer(value):
    check.positive(value, "filters")


@pytest.mark.parametrize("value", [None, "x", 3])
def test_rank_wants_a_tensor(value):
    with pytest.raises(TypeError, match=rf"`x` must be a tensor; got {value!r}"):
        check.rank(value, 4)


def test_rank_wants_known_channels():
    with pytest.raises(ValueError, match=r"`x` must have a known last dimension; got shape \(None, 8, 8, None\)"):
        check.rank(keras.Input((8, 8, None)), 4)


def test_rank_names_another_argument():
    with pytest.raises(ValueError, match=r"`query` must have rank 3 \(batch, tokens, channels\); got rank 2"):
        check.rank(keras.Input((8,)), 3, "query")


@pytest.mark.parametrize("value", [-0.1, 1, 1.5, True, "0.5", None, float("nan")])
def test_fraction_refuses(value):
    with pytest.raises(ValueError, match=rf"`rate` must be at least 0 and below 1; got {value!r}"):
        check.fraction(value, "rate")


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 0.999])
def test_fraction_accepts(value):
    check.fraction(value, "rate")


@pytest.mark.parametrize("shape", [(7, 9, 3), (9, 7, 3), (7, None, 3), (None, 7, 3)])
def test_min_size_refuses_either_side(shape):
    with pytest.raises(ValueError, match=r"`x` must be at least 8×8 for it; got (7|9|None)×(7|9|None)"):
        check.min_size(keras.Input(shape), 8, "it")


@pytest.mark.parametrize("shape", [(8, 8, 3), (None, 8, 3), (None, None, 3)])
def test_min_size_accepts(shape):
    check.min_size(keras.Input(shape), 8, "it")


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (3, TypeError, "`blocks` must be a list or tuple of functions; got 3"),
        ((), ValueError, "`blocks` must hold at least one function; got an empty tuple"),
        ([partial(activation, function="tanh"), "relu"], TypeError, "`blocks` must be a function .* got 'relu'"),
    ],
)
def test_functions_refuses(values, error, message):
    with pytest.raises(error, match=message):
        check.functions(values, "blocks")


def test_takes():
    assert check.takes(activation, "function")
    assert check.takes(lambda x, **options: x, "function")
    assert not check.takes(activation, "units")
    assert not check.takes("activation", "function")


def test_tensors_refuses_what_holds_no_tensors():
    with pytest.raises(TypeError, match="`inputs` must hold tensors; got 'a'"):
        check.tensors(["a"], "inputs")


@pytest.mark.parametrize(
    "shapes",
    [
        [(8, 8, 3), (8, 7, 3)],
        [(8, 8, 3), (8, 3)],
        # Each of the last two fits the first, which knows nothing, but not the other.
        [(None, 8, 3), (4, 8, 3), (5, 8, 3)],
    ],
)
@pytest.mark.parametrize("free_axis", [None, -1])
def test_joinable_refuses(shapes, free_axis):
    with pytest.raises(ValueError, match=r"`tensors` must have equal shapes.*; got \(None, "):
        check.joinable(tensors(*shapes), "tensors", free_axis=free_axis)


def test_joinable_lets_the_free_axis_differ():
    values = tensors((8, 8, 3), (8, None, 5))
    check.joinable(values, "tensors", free_axis=-1)
    check.joinable(values, "tensors", free_axis=3)
    with pytest.raises(ValueError, match="`tensors` must have equal shapes but for axis 2"):
        check.joinable(values, "tensors", free_axis=2)
