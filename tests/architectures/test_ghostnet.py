"""GhostNet: counts from the paper and timm, outputs as in timm, small images."""

import pytest

import architectures
from tests.support.torch_networks import assert_parity_in_order, library

# Parameters and multiply-adds as timm 1.0.31 has them, and the paper's in millions.
TIMM = {
    "ghostnet_050": (2_587_292, 42_328_152),
    "ghostnet_100": (5_182_508, 141_150_512),
    "ghostnet_130": (7_358_820, 227_003_256),
}
PAPER = {"ghostnet_050": (2.6, 42), "ghostnet_100": (5.2, 141)}


@pytest.mark.parametrize("arch", TIMM)
def test_counts_as_timm_has_them(arch):
    row = architectures.variant(arch)
    assert (row.params, row.macs) == TIMM[arch]
    if arch in PAPER:
        assert (round(row.params / 1e6, 1), round(row.macs / 1e6)) == PAPER[arch]


def test_the_network_for_small_images_has_another_stride_and_other_logits():
    large, small = architectures.variant("ghostnet_100"), architectures.variant("ghostnet_cifar")
    assert large.params - small.params == 1281 * 990


# The units that change the shape have convolutions in their shortcuts, which run last there.
SHORTCUTS = {
    "stage2_unit1": "1.0", "stage3_unit1": "3.0", "stage4_unit1": "5.0", "stage4_unit5": "6.3", "stage5_unit1": "7.0",
}  # fmt: skip
PARTS = ("shortcut_depthwise", "shortcut_depthwise_norm", "shortcut", "shortcut_norm")
NAMES = {
    f"{unit}_{part}": f"blocks.{block}.shortcut.{i}"
    for unit, block in SHORTCUTS.items()
    for i, part in enumerate(PARTS)
}


@pytest.mark.parametrize(
    "arch", [arch if arch == "ghostnet_050" else pytest.param(arch, marks=pytest.mark.slow) for arch in TIMM]
)
@pytest.mark.parametrize("size", [64, pytest.param(224, marks=pytest.mark.slow)])
def test_outputs_as_in_timm(arch, size):
    net = library("timm").create_model(arch)
    assert_parity_in_order(architectures.create(arch, input_shape=(size, size, 3)), net, NAMES)


def test_outputs_as_in_timm_for_small_images():
    net = library("timm").create_model("ghostnet_100", num_classes=10)
    net.conv_stem.stride = (1, 1)
    assert_parity_in_order(architectures.create("ghostnet_cifar"), net, NAMES)


@pytest.mark.parametrize(("shape", "sizes"), [((32, 32, 3), (32, 16, 8, 4, 2)), ((28, 28, 1), (28, 14, 7, 4, 2))])
def test_small_images(shape, sizes):
    model = architectures.create("ghostnet_cifar", input_shape=shape, classes=100)
    assert tuple(model.get_layer(f"stage{i}_unit1_out").output.shape[1] for i in range(1, 6)) == sizes
    assert model.output_shape == (None, 100)


def test_stages_hold_what_they_must():
    for stages in ((), ((),), (((1, 2),),)):
        with pytest.raises(ValueError, match="`stages` must hold at least one stage, all tuples"):
            architectures.create("ghostnet_tiny", stages=stages)
