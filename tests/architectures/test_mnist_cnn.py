"""Simple networks for MNIST: their counts, and the same networks in PyTorch."""

import pytest

import architectures
from tests.support.torch_networks import assert_parity_in_order, library


def test_the_tutorials_network():
    """The summary that keras.io prints: 320, 18,496 and 16,010."""
    row = architectures.variant("mnist_cnn")
    assert row.params == 320 + 18_496 + 16_010 == 34_826
    assert row.macs == 26 * 26 * 9 * 32 + 11 * 11 * 9 * 32 * 64 + 1600 * 10


SIMPLE = {"mnist_cnn_m3": 3, "mnist_cnn_m5": 5, "mnist_cnn_m7": 7}
WIDTHS = {3: tuple(range(32, 177, 16)), 5: (32, 64, 96, 128, 160), 7: (48, 96, 144, 192)}


@pytest.mark.parametrize("arch", SIMPLE)
def test_counts_in_closed_form(arch):
    kernel = SIMPLE[arch]
    side, before, params, macs = 28, 1, 0, 0
    for width in WIDTHS[kernel]:
        side -= kernel - 1
        params += kernel**2 * before * width + 2 * width
        macs += side**2 * kernel**2 * before * width
        before = width
    features = {3: 11_264, 5: 10_240, 7: 3_072}[kernel]  # of the authors' code
    assert features == side**2 * before
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (params + features * 10 + 20, macs + features * 10)


def torch_network(widths, kernel, side, classes=10):
    nn = library("torch").nn
    layers, before = [], 1
    for width in widths:
        layers += [nn.Conv2d(before, width, kernel, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        before, side = width, side - kernel + 1
    layers += [nn.Flatten(), nn.Linear(side**2 * before, classes, bias=False), nn.BatchNorm1d(classes)]
    return nn.Sequential(*layers), (side, side, before)


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("mnist_cnn_tiny", {"pools": 0, "input_shape": (9, 9, 1)}),
        *(pytest.param(arch, {}, marks=pytest.mark.slow) for arch in SIMPLE),
    ],
)
def test_the_network_in_torch(arch, options):
    model = architectures.create(arch, **options)
    spec = architectures.variant(arch).spec
    net, features = torch_network(spec.widths, spec.kernel_size, model.input_shape[1])
    assert_parity_in_order(model, net, flattened={"logits_dense": features})


def test_the_tutorials_network_in_torch():
    nn = library("torch").nn
    layers = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(1600, 10))
    assert_parity_in_order(architectures.create("mnist_cnn"), net, flattened={"logits": (5, 5, 64)})


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"`pools` must be one of 0, 1, 2; got 3"):
        architectures.create("mnist_cnn", pools=3)
    with pytest.raises(ValueError, match="`x` must be at least 3×3 for a window of 3×3 without padding; got 2×2"):
        architectures.create("mnist_cnn_m3", input_shape=(20, 20, 1))
