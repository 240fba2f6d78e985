"""All-CNN: its counts, and the same network in PyTorch."""

import pytest

import architectures
from tests.support.counting import Count
from tests.support.torch_networks import assert_parity_in_order, library


# Tables 1 and 2: kernel sizes of the two stages; the last of each has the stride.
@pytest.mark.parametrize(
    ("arch", "sizes", "millions"),
    [("allcnn_a", (5, 3), 1.28), ("allcnn_b", (5, 1, 3), 1.35), ("allcnn_c", (3, 3, 3), 1.4)],
)
def test_counts_in_closed_form(arch, sizes, millions):
    count = Count(32, 3)
    for width in (96, 192):
        for j, size in enumerate(sizes):
            count.conv(width, size, stride=2 if j == len(sizes) - 1 else 1, norm=False, bias=True)
    count.size -= 2
    assert count.size == 6
    for width, size in ((192, 3), (192, 1), (10, 1)):
        count.conv(width, size, norm=False, bias=True)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (count.params, count.macs)
    assert row.params / 1e6 == pytest.approx(millions, abs=0.06)


def torch_network(stages, widths):
    nn = library("torch").nn
    layers, channels = [], 3
    for sizes, width in zip(stages, widths, strict=True):
        for j, size in enumerate(sizes):
            stride = 2 if j == len(sizes) - 1 else 1
            layers += [nn.Conv2d(channels, width, size, stride, size // 2), nn.ReLU()]
            channels = width
    for width, size in ((channels, 3), (channels, 1), (10, 1)):
        layers += [nn.Conv2d(channels, width, size), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_the_network_in_torch():
    row = architectures.variant("allcnn_tiny")
    net = torch_network(row.spec.stages, row.spec.widths)
    assert_parity_in_order(architectures.create("allcnn_tiny", input_shape=(19, 16, 3)), net)


def test_dropout_of_the_image_and_after_each_stage():
    model = architectures.create("allcnn_tiny")
    rates = {name: model.get_layer(name).rate for name in ("dropout", "stage1_dropout", "stage2_dropout")}
    assert rates == {"dropout": 0.2, "stage1_dropout": 0.5, "stage2_dropout": 0.5}


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"`widths` must hold one width for each of `stages`; got \(4,\) and "):
        architectures.create("allcnn_tiny", widths=(4,))
    with pytest.raises(ValueError, match="`x` must be at least 3×3 for a window of 3×3 without padding; got 2×2"):
        architectures.create("allcnn_c", input_shape=(8, 8, 3))
