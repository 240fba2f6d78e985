"""The networks of the tutorials, one tower or several: their counts and what they compute."""

import keras
import numpy as np
import pytest

import architectures
from tests.support.models import predict
from tests.support.numpy_layers import Numpy, relu
from tests.support.weights import randomise


def test_multiply_adds_of_the_small_networks():
    macs = {name: architectures.variant(name).macs for name in architectures.names()}
    # Windows of 5×5 without padding: 28 → 24, halved to 12 → 8, halved to 4.
    assert macs["lenet"] == 24**2 * 25 * 32 + 8**2 * 25 * 32 * 64 + 4**2 * 64 * 512 + 512 * 10
    # The first with padding: 28, halved to 14 → 10, halved to 5.
    assert macs["lenet5"] == 28**2 * 25 * 6 + 10**2 * 25 * 6 * 16 + 5**2 * 16 * 120 + 120 * 84 + 84 * 10
    assert macs["mlp_784_64_10"] == 784 * 64 + 64 * 10
    assert macs["multi_input"] == 32 * 16 + (16 + 16) * 8 + 8 * 1
    assert macs["shared_dense"] == 2 * (32 * 16 + 16 * 1)
    assert macs["siamese_lenet"] == 2 * (macs["lenet"] - 5120) + 512


def test_multiply_adds_of_a_joint_batch():
    # On 28 pixels of one channel, halved to 14 and 7; for both images, with one logit of 64 features.
    tower = 28**2 * 9 * 16
    for side, before, width in ((28, 16, 16), (14, 16, 32), (7, 32, 64)):
        tower += side**2 * 9 * (before * width + 5 * width * width)
    assert architectures.variant("siamese_resnet20").macs == 2 * tower + 64


@pytest.mark.parametrize("arch", ["lenet", "lenet5"])
def test_lenet_in_numpy(arch):
    model = architectures.create(arch)
    randomise(model)
    net = Numpy(model)
    act = np.tanh if arch == "lenet5" else relu
    pool = np.mean if arch == "lenet5" else np.max

    def halve(x):
        b, h, w, c = x.shape
        return pool(x.reshape(b, h // 2, 2, w // 2, 2, c), axis=(2, 4))

    x = images = np.random.default_rng(1).normal(size=(2, 28, 28, 1)).astype("float32")
    for i, crop in ((1, 0 if arch == "lenet5" else 2), (2, 2)):
        y = net.conv(x, f"stage{i}_conv")
        x = halve(act(y[:, crop : y.shape[1] - crop, crop : y.shape[2] - crop]))
    x = x.reshape(len(x), -1)
    for i in range(1, 3 if arch == "lenet5" else 2):
        x = act(net.dense(x, f"hidden_dense{i}"))
    expected = net.dense(x, "logits")
    np.testing.assert_allclose(predict(model, images), expected, rtol=1e-4, atol=1e-4)


def test_two_inputs_in_numpy():
    model = architectures.create("multi_input")
    net = Numpy(model)
    a, b = (np.random.default_rng(i).normal(size=(3, n)).astype("float32") for i, n in ((0, 32), (1, 16)))
    x = np.concatenate([relu(net.dense(a, "fuse_tower1")), b], axis=-1)
    expected = net.dense(relu(net.dense(x, "dense")), "logits")
    np.testing.assert_allclose(predict(model, a, b), expected, rtol=1e-4, atol=1e-5)


def test_a_shared_layer_in_numpy():
    model = architectures.create("shared_dense")
    net = Numpy(model)
    kernel, bias = model.get_layer("shared").get_weights()
    inputs = [np.random.default_rng(i).normal(size=(3, 32)).astype("float32") for i in range(2)]
    for i, (x, y) in enumerate(zip(inputs, model(inputs), strict=True), 1):
        expected = 1 / (1 + np.exp(-net.dense(relu(x @ kernel + bias), f"logits{i}")))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, rtol=1e-4, atol=1e-5)
