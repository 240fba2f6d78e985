"""AlexNet: its counts, torchvision's network, and the form for CIFAR."""

import pytest

import architectures
from tests.support.counting import Count
from tests.support.torch_networks import assert_parity_in_order, library


def count(size, *, padding, sizes, hidden, classes):
    """Five convolutions, of which the first has stride 4; `sizes` after it and after each pooling."""
    found = Count(size, 3)
    found.size = (size + 2 * padding - 11) // 4 + 1
    for i, (width, kernel) in enumerate(((64, 11), (192, 5), (384, 3), (256, 3), (256, 3))):
        found.conv(width, kernel, norm=False, bias=True)
        if i in (0, 1, 4):
            found.size = sizes[min(i, 2)]
    features = found.size**2 * found.channels
    for units in (*hidden, classes):
        found.dense(features, units)
        features = units
    return found.params, found.macs


def test_counts_in_closed_form():
    row = architectures.variant("alexnet")
    found = count(224, padding=2, sizes=(27, 13, 6), hidden=(4096, 4096), classes=1000)
    assert (row.params, row.macs) == found
    assert row.params == 61_100_840  # torchvision's documentation
    row = architectures.variant("alexnet_cifar")
    assert (row.params, row.macs) == count(32, padding=5, sizes=(4, 2, 1), hidden=(), classes=10)
    assert f"{row.params / 1e6:.2f}" == "2.47"  # bearpaw's table


@pytest.mark.parametrize("shape", [(224, 224, 3), pytest.param((225, 230, 3), marks=pytest.mark.slow)])
def test_torchvisions_network(shape):
    """Narrower dense layers than theirs; both sizes leave 6×6 features, which their adaptive pooling keeps."""
    models, nn = library("torchvision").models, library("torch").nn
    with library("torch").device("meta"):
        net = models.AlexNet()
    net.features = models.AlexNet().features
    net.classifier = nn.Sequential(
        *(nn.Dropout(), nn.Linear(9216, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 7))
    )
    model = architectures.create("alexnet", input_shape=shape, hidden=(16, 12), classes=7)
    assert_parity_in_order(model, net, flattened={"hidden_dense1": (6, 6, 256)})


def test_the_network_for_cifar_in_torch():
    nn = library("torch").nn
    layers = [nn.Conv2d(3, 64, 11, 4, 5), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    for before, after in ((192, 384), (384, 256), (256, 256)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10))
    assert_parity_in_order(architectures.create("alexnet_cifar"), net)


def test_small_images():
    assert architectures.create("alexnet_cifar", input_shape=(28, 28, 1)).output_shape == (None, 10)
    for pools in (2, 3):
        with pytest.raises(ValueError, match=r"28×28×1.* must be at least .* \(use fewer `pools=`\)"):
            architectures.create("alexnet", input_shape=(28, 28, 1), pools=pools)
    assert architectures.create("alexnet", input_shape=(28, 28, 1), pools=1, classes=0).output_shape[1:3] == (2, 2)


def test_dropout_precedes_each_dense_layer():
    names = [layer.name for layer in architectures.create("alexnet_tiny").layers]
    assert names[-5:] == ["stage2_conv2", "pool", "hidden_dropout1", "hidden_dense1", "logits"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"pools": 3}, "`pools` must be one of 0, 1, 2; got 3"),
        ({"kernel_sizes": (5,)}, r"`kernel_sizes` must hold one size for each stage; got \(5,\) for 2 stages"),
        ({"stages": (4, 8)}, "`stages` must hold at least one stage, all tuples of units"),
    ],
)
def test_what_is_refused(override, message):
    with pytest.raises(ValueError, match=message):
        architectures.create("alexnet_tiny", **override)
