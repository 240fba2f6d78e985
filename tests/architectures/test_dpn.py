"""DPN: its rows in closed form, and what they compute."""

import numpy as np
import pytest

import architectures
from tests.support.counting import Count
from tests.support.models import predict
from tests.support.numpy_layers import Numpy, relu
from tests.support.weights import randomise


@pytest.mark.parametrize(("arch", "depths"), [("dpn26_cifar", (2, 2, 2, 2)), ("dpn92_cifar", (3, 4, 20, 3))])
def test_counts_in_closed_form(arch, depths):
    count = Count(32, 3)
    count.conv(64, 3)
    widths, growths, bottlenecks = (256, 512, 1024, 2048), (16, 32, 24, 128), (96, 192, 384, 768)
    for i, (depth, width, growth, bottleneck) in enumerate(zip(depths, widths, growths, bottlenecks, strict=True)):
        for j in range(depth):
            stride = 2 if i and not j else 1
            if not j:
                count.conv(width + growth, 1, stride=stride, keep=False)
            count.conv(bottleneck, 1).conv(bottleneck, 3, stride=stride, channels=bottleneck // 32)
            count.conv(width + growth, 1)
            count.channels = width + (j + 2) * growth
    count.dense(count.channels, 10)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (count.params, count.macs)
    # The stem, three convolutions a unit, and the dense layer.
    assert int(arch[3:5]) == 2 + 3 * sum(depths)


def test_a_network_in_numpy():
    model = randomise(architectures.create("dpn_tiny"))
    net = Numpy(model)
    images = np.random.default_rng(1).normal(size=(3, 16, 16, 3)).astype("float32")
    x = relu(net.conv_norm(images, "stem_conv"))
    for unit, first, width, stride in (("1_unit1", True, 8, 1), ("2_unit1", True, 12, 2), ("2_unit2", False, 12, 1)):
        y = relu(net.conv_norm(x, f"stage{unit}_conv1"))
        y = relu(net.conv_norm(y, f"stage{unit}_conv2", stride, "symmetric"))
        y = net.conv_norm(y, f"stage{unit}_conv3")
        if first:
            x = net.conv_norm(x, f"stage{unit}_shortcut", stride)
        x = relu(np.concatenate([x[..., :width] + y[..., :width], x[..., width:], y[..., width:]], axis=-1))
    assert x.shape == (3, 8, 8, 12 + 3 * 4)
    expected = net.dense(x.mean((1, 2)), "logits")
    np.testing.assert_allclose(predict(model, images), expected, rtol=1e-4, atol=1e-4)


def test_the_fields_of_the_stages_are_of_one_length():
    with pytest.raises(ValueError, match=r"`depths` and `growths` must be of one length; got \(1, 2\) and \(2,\)"):
        architectures.create("dpn_tiny", growths=(2,))
