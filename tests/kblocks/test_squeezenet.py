"""Fire modules, against NumPy."""

import keras
import numpy as np
import pytest

from kblocks.squeezenet import fire
from tests.support.numpy_layers import Numpy, relu


@pytest.mark.parametrize(("filters", "stride", "added"), [(8, 1, True), (8, 2, False), (12, 1, False)])
@pytest.mark.parametrize("bypass", [False, True])
def test_fire_in_numpy(bypass, filters, stride, added, numbers, evaluate, scramble):
    x = keras.Input((7, 6, 8))
    model = scramble(keras.Model(x, fire(x, filters, stride=stride, ratio=1 / 4, bypass=bypass, name="fire")))
    net, data = Numpy(model, "fire_"), numbers(2, 7, 6, 8)
    squeezed = relu(net.conv(data, "squeeze"))
    assert squeezed.shape[-1] == filters // 4
    halves = [relu(net.conv(squeezed, f"expand{size}x{size}", stride)) for size in (1, 3)]
    expected = np.concatenate(halves, -1) + (data if bypass and added else 0)
    np.testing.assert_allclose(evaluate(model, data), expected, rtol=1e-4, atol=1e-5)
    assert model.layers[-1].name == "fire_out"


def test_the_second_module_of_the_paper():
    """Table 1: 16 · 96 + 64 · 16 + 9 · 64 · 16 weights and 144 biases."""
    x = keras.Input((55, 55, 96))
    assert keras.Model(x, fire(x, 128)).count_params() == 96 * 16 + 16 * 64 + 9 * 16 * 64 + 16 + 64 + 64


def test_what_is_refused():
    x = keras.Input((8, 8, 8))
    with pytest.raises(ValueError, match="`filters` must be divisible by `2`; got 7 and 2"):
        fire(x, 7)
    with pytest.raises(ValueError, match=r"`drop_path` must be 0 without `bypass`; got 0\.1"):
        fire(x, 8, drop_path=0.1)
