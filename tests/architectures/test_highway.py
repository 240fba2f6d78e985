"""Highway networks: their counts, and what they compute."""

import numpy as np
import pytest

import architectures
from tests.support.counting import Count
from tests.support.models import predict
from tests.support.numpy_layers import Numpy, relu, sigmoid
from tests.support.weights import randomise


def test_counts_in_closed_form():
    """A convolution and gated ones of two kernels each in three stages, a 1×1 convolution, a dense layer: 19 layers."""
    count, layers = Count(32, 3), 2
    for i, (width, depth) in enumerate(((32, 4), (80, 5), (128, 5))):
        if i:
            count.pool()
        count.conv(width, 3, norm=False, bias=True)
        for _ in range(2 * depth):
            count.conv(width, 3, norm=False, bias=True)
        layers += 1 + depth
    assert (layers, count.size) == (19, 8)
    count.conv(10, 1, norm=False, bias=True)
    count.dense(10, 10)
    row = architectures.variant("highway19")
    assert (row.params, row.macs) == (count.params, count.macs)
    assert row.params / 1e6 == pytest.approx(2.3, abs=0.06)  # Table 1


def test_the_network_in_numpy():
    model = architectures.create("highway_tiny", input_shape=(9, 8, 3), classes=5)
    randomise(model)
    net = Numpy(model)
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype("float32")

    def unit(y, name):
        gate = sigmoid(net.conv(y, f"{name}_gate"))
        return gate * relu(net.conv(y, f"{name}_conv")) + (1 - gate) * y

    y = unit(relu(net.conv(x, "stage1_conv")), "stage1_unit1")
    y = y[:, :8].reshape(2, 4, 2, 4, 2, -1).max((2, 4))
    y = relu(net.conv(y, "stage2_conv"))
    y = relu(net.conv(unit(unit(y, "stage2_unit1"), "stage2_unit2"), "logits_conv"))
    expected = net.dense(y.mean((1, 2)), "logits")
    assert expected.std() > 0
    np.testing.assert_allclose(predict(model, x), expected, rtol=1e-4, atol=1e-5)


def test_dropout_stands_where_the_authors_have_it():
    names = [layer.name for layer in architectures.create("highway19").layers if "dropout" in layer.name]
    assert names == ["input_dropout", "stage1_dropout", "stage2_dropout", "dropout"]
    names = [layer.name for layer in architectures.create("highway_tiny", dropout=0.0).layers]
    assert not [name for name in names if "dropout" in name]


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"`pools` must be one of 0, 1, 2; got 3"):
        architectures.create("highway_tiny", pools=3)
    with pytest.raises(ValueError, match="`depths` and `widths` must be of one length"):
        architectures.create("highway_tiny", depths=(1,))
    with pytest.raises(ValueError, match=r"`x` must be at least 4×4 for 2 poolings; got 3×3 \(use fewer `pools=`\)"):
        architectures.create("highway19", input_shape=(3, 3, 3))
