"""MnasNet: counts from torchvision and timm, outputs as there, small images."""

import pytest

import architectures
from tests.support.torch_networks import assert_parity_in_order, library

# Parameters as in torchvision's documentation, multiply-adds by PyTorch's FlopCounterMode; `mnasnet_a1` is timm's
# `semnasnet_100`.
COUNTS = {
    "mnasnet_050": (2_218_512, 104_455_968),
    "mnasnet_075": (3_170_208, 215_493_104),
    "mnasnet_100": (4_383_312, 314_415_872),
    "mnasnet_130": (6_282_256, 526_362_432),
    "mnasnet_a1": (3_887_038, 311_579_072),
}
TORCHVISION = {
    "mnasnet_050": "mnasnet0_5", "mnasnet_075": "mnasnet0_75", "mnasnet_100": "mnasnet1_0", "mnasnet_130": "mnasnet1_3",
}  # fmt: skip


@pytest.mark.parametrize("arch", COUNTS)
def test_counts(arch):
    row = architectures.variant(arch)
    assert (row.params, row.macs) == COUNTS[arch]


def test_the_paper_has_the_same_in_millions():
    row = architectures.variant("mnasnet_a1")
    assert (round(row.params / 1e6, 1), round(row.macs / 1e6)) == (3.9, 312)


def test_the_network_for_small_images_has_another_stride_and_other_logits():
    large, small = architectures.variant("mnasnet_100"), architectures.variant("mnasnet_cifar")
    assert large.params - small.params == 1281 * 990


# Of smaller images few positions are left, and rounding errors grow with the deviations that they are divided by.
sizes = pytest.mark.parametrize("size", [128, pytest.param(224, marks=pytest.mark.slow)])


@sizes
@pytest.mark.parametrize(
    "arch", [arch if arch == "mnasnet_050" else pytest.param(arch, marks=pytest.mark.slow) for arch in TORCHVISION]
)
def test_outputs_as_in_torchvision(arch, size):
    net = getattr(library("torchvision").models, TORCHVISION[arch])()
    assert_parity_in_order(architectures.create(arch, input_shape=(size, size, 3)), net)


@sizes
def test_outputs_with_attention_as_in_timm(size):
    net = library("timm").create_model("semnasnet_100")
    assert_parity_in_order(architectures.create("mnasnet_a1", input_shape=(size, size, 3)), net)


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1)])
def test_small_images(shape):
    model = architectures.create("mnasnet_cifar", input_shape=shape, classes=100)
    assert model.get_layer("head_out").output.shape[1:3] == (2, 2)
    assert model.output_shape == (None, 100)


def test_stages_hold_what_they_must():
    for stages in ((), ((1, 2),)):
        with pytest.raises(ValueError, match="`stages` must hold at least one stage, all tuples"):
            architectures.create("mnasnet_tiny", stages=stages)
