"""Network in Network: its counts, and the network of pytorchcv."""

import keras
import numpy as np
import pytest

import architectures
from tests.support.counting import Count
from tests.support.torch_networks import assert_parity_in_order, library
from tests.support.weights import randomise


def test_counts_in_closed_form():
    count = Count(32, 3)
    for size, widths in ((5, (192, 160, 96)), (5, (192, 192, 192)), (3, (192, 192))):
        for j, width in enumerate(widths):
            count.conv(width, 1 if j else size, norm=False, bias=True)
        count.pool()
    count.size *= 2  # no pooling after the last stage
    assert count.size == 8
    count.conv(10, 1, norm=False, bias=True)
    row = architectures.variant("nin")
    assert (row.params, row.macs) == (count.params, count.macs)
    assert row.params == 966_986  # as pytorchcv has it


def test_the_network_of_pytorchcv():
    nin_cifar = library("pytorchcv.models.nin_cifar")
    net = nin_cifar.CIFARNIN([[8, 4], [8, 8], [8]], [5, 3, 3])
    assert_parity_in_order(architectures.create("nin_tiny", input_shape=(32, 32, 3)), net)


@pytest.mark.slow
def test_the_network_for_cifar_of_pytorchcv():
    net = library("pytorchcv.model_provider").get_model("nin_cifar10")
    assert_parity_in_order(architectures.create("nin"), net)


@pytest.mark.parametrize("arch", ["nin_tiny", "squeezenet_tiny", "highway_tiny", "mnist_cnn_tiny", "resnet9_tiny"])
def test_weights_for_another_number_of_classes(arch, tmp_path):
    saved = randomise(architectures.create(arch))
    saved.save(tmp_path / "model.keras")
    loaded = architectures.create(arch, weights=tmp_path / "model.keras", classes=7)
    assert loaded.output_shape == (None, 7)
    same = {weight.path: weight for weight in loaded.weights if "logits" not in weight.path}
    assert same
    for weight in saved.weights:
        if weight.path in same:
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (weight, same.pop(weight.path))))
    assert not same


def test_shapes_by_layer_name():
    model = architectures.create("nin")
    names = ("stage1_conv3", "stage1_pool", "stage2_pool", "stage3_conv2", "logits_conv", "logits")
    assert [model.get_layer(name).output.shape[1:] for name in names] == [
        *((32, 32, 96), (16, 16, 96), (8, 8, 192), (8, 8, 192), (8, 8, 10), (10,)),
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"kernel_sizes": (5,)}, r"`kernel_sizes` must hold one size for each stage; got \(5,\) for 3 stages"),
        ({"stages": ((4,), (4,)), "kernel_sizes": (3, 3)}, "`pools` must be fewer than the stages; got 2 for 2 stages"),
        ({"stages": ()}, "`stages` must hold at least one stage"),
    ],
)
def test_what_is_refused(override, message):
    with pytest.raises(ValueError, match=message):
        architectures.create("nin_tiny", **override)
