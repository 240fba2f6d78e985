"""RegNet: its rows in closed form, and what they compute."""

import re

import pytest

import architectures
import kblocks as kb
from tests.support.counting import Count
from tests.support.torch_networks import assert_parity_in_order, library

ROWS = [name for name in architectures.names("regnet*") if name != "regnet_tiny"]


@pytest.mark.parametrize("arch", ROWS)
def test_counts_in_closed_form(arch):
    row, small = architectures.variant(arch), arch.endswith("_cifar")
    count = Count(32 if small else 224, 3)
    count.conv(64 if small else 32, 3, stride=1 if small else 2)
    for i, (depth, width) in enumerate(zip(row.spec.depths, row.spec.widths, strict=True)):
        for j in range(depth):
            stride = 1 if j or (small and i < 2) else 2
            before = count.channels
            if not j:
                count.conv(width, 1, stride=stride, keep=False)
            count.conv(width, 1).conv(width, 3, stride=stride, channels=min(row.spec.group_width, width))
            if arch.startswith("regnety"):
                squeezed = round(before / 4)
                count.params += 2 * width * squeezed + squeezed + width
                count.macs += 2 * width * squeezed
            count.conv(width, 1)
    count.dense(count.channels, 10 if small else 1000)
    assert (row.params, row.macs) == (count.params, count.macs)


# Of timm's networks, counted by building them: the last part of their names is the same number in units of 100 M.
PUBLISHED = {
    "regnetx_200mf": ("regnetx_002", 2_684_792),
    "regnetx_400mf": ("regnetx_004", 5_157_512),
    "regnetx_600mf": ("regnetx_006", 6_196_040),
    "regnetx_800mf": ("regnetx_008", 7_259_656),
    "regnetx_1_6gf": ("regnetx_016", 9_190_136),
    "regnetx_3_2gf": ("regnetx_032", 15_296_552),
    "regnetx_4gf": ("regnetx_040", 22_118_248),
    "regnetx_6_4gf": ("regnetx_064", 26_209_256),
    "regnetx_8gf": ("regnetx_080", 39_572_648),
    "regnety_200mf": ("regnety_002", 3_162_996),
    "regnety_400mf": ("regnety_004", 4_344_144),
    "regnety_600mf": ("regnety_006", 6_055_160),
    "regnety_800mf": ("regnety_008", 6_263_168),
    "regnety_1_6gf": ("regnety_016", 11_202_430),
    "regnety_3_2gf": ("regnety_032", 19_436_338),
    "regnety_4gf": ("regnety_040", 20_646_656),
    "regnety_6_4gf": ("regnety_064", 30_583_252),
    "regnety_8gf": ("regnety_080", 39_180_068),
}


def test_published_parameters():
    assert list(PUBLISHED) == [arch for arch in ROWS if not arch.endswith("_cifar")]
    assert {arch: architectures.variant(arch).params for arch in PUBLISHED} == {
        arch: params for arch, (_, params) in PUBLISHED.items()
    }
    # The multiply-adds are in the name.
    for arch in PUBLISHED:
        number, unit = arch.removeprefix("regnetx_").removeprefix("regnety_").replace("_", ".")[:-2], arch[-2:]
        expected = float(number) * {"mf": 1e6, "gf": 1e9}[unit]
        assert architectures.variant(arch).macs == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("arch", [pytest.param(arch, marks=pytest.mark.slow) for arch in PUBLISHED])
def test_timm_computes_the_same(arch):
    net = library("timm").create_model(PUBLISHED[arch][0])
    model = architectures.create(arch)
    assert_parity_in_order(model, net, names=timm_shortcuts(model))


def timm_shortcuts(model):
    """The modules of the shortcuts in timm's network, which run after the convolutions there."""
    found = {}
    for layer in model.layers:
        if layer.weights and (match := re.fullmatch(r"stage(\d)_unit(\d+)_shortcut(_norm)?", layer.name)):
            found[layer.name] = f"s{match[1]}.b{match[2]}.downsample.{'bn' if match[3] else 'conv'}"
    return found


@pytest.mark.parametrize(("arch", "ratio"), [("regnetx_200mf", None), ("regnety_200mf", 0.25)])
@pytest.mark.parametrize("small", [False, True])
def test_torchvision_computes_the_same_with_fewer_units(arch, ratio, small):
    zoo = library("torchvision.models.regnet")
    from torch import nn

    depths, widths, strides = (1, 2, 1, 2), (8, 16, 24, 40), (1, 1, 2, 2) if small else (2, 2, 2, 2)
    params = zoo.BlockParams(depths, widths, [8] * 4, [1.0] * 4, strides, ratio)
    net = zoo.RegNet(params, num_classes=10, stem_width=16)
    if small:
        net.stem[0] = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    overrides = {"stem": kb.stem.cifar} if small else {}
    model = architectures.create(
        arch,
        input_shape=(32, 32, 3) if small else (64, 64, 3),
        classes=10,
        depths=depths,
        widths=widths,
        strides=strides,
        stem_filters=16,
        group_width=8,
        **overrides,
    )
    theirs = {}
    for i in range(1, 5):
        block = f"trunk_output.block{i}.block{i}-0.proj"
        theirs |= {f"stage{i}_unit1_shortcut": f"{block}.0", f"stage{i}_unit1_shortcut_norm": f"{block}.1"}
    assert_parity_in_order(model, net, names=theirs)


def test_groups_are_of_one_width():
    model = architectures.create("regnet_tiny", group_width=16)
    assert [model.get_layer(f"stage{i}_unit1_conv2").groups for i in (1, 2)] == [1, 1]
    with pytest.raises(ValueError, match="`widths` must be divisible by `group_width`; got 16 and 12"):
        architectures.create("regnet_tiny", group_width=12)
