"""DLA: its rows in closed form, and what they compute."""

import re

import pytest

import architectures
from kblocks.residual import basic
from tests.support.counting import Count
from tests.support.torch_networks import assert_parity_in_order, library


@pytest.mark.parametrize(
    ("arch", "inputs"),
    [
        # The input channels of each stage's roots, as multiples of its width: both units' outputs, before them those of
        # the stage's first half, and the stage's input, which has half the width or passes a unit.
        ("dla34", [(2,), (2, 3.5), (2, 3.5), (2.5,)]),
        ("dla34_cifar", [(2,), (2, 4), (2, 4), (2,)]),
        ("simple_dla34_cifar", [(2,), (2, 2, 2), (2, 2, 2), (2,)]),
    ],
)
def test_counts_in_closed_form(arch, inputs):
    large = arch == "dla34"
    count = Count(224 if large else 32, 3)
    count.conv(16, 7 if large else 3).conv(16, 3).conv(32, 3, stride=2 if large else 1)
    for i, (width, roots) in enumerate(zip((64, 128, 256, 512), inputs, strict=True)):
        for j in range(2 if len(roots) == 1 else 4):
            stride = 2 if not j and (i or large) else 1
            if not j:
                count.conv(width, 1, stride=stride, keep=False)
                if roots[-1] == 4:  # the stage's input, through a unit of its own
                    size, channels = count.size, count.channels
                    count.conv(width, 1, stride=stride, keep=False).conv(width, 3, stride=stride).conv(width, 3)
                    count.size, count.channels = size, channels
            count.conv(width, 3, stride=stride).conv(width, 3)
        for channels in roots:
            count.conv(width, 1, channels=int(channels * width))
    count.dense(512, 1000 if large else 10)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (count.params, count.macs)


def test_published_parameters():
    # Of timm, counted by building its network. Those for CIFAR have the closed form above alone.
    assert architectures.variant("dla34").params == 15_742_104


def timm_names(model):
    """The modules of timm's network, whose shortcuts run before the convolutions."""
    paths = {  # by the levels of the stage: its units, its roots, and the tree of its first unit
        1: (("tree1", "tree2"), ("root",), ""),
        2: (("tree1.tree1", "tree1.tree2", "tree2.tree1", "tree2.tree2"), ("tree1.root", "tree2.root"), "tree1."),
    }
    found = {}
    for layer in model.layers:
        match = re.fullmatch(r"stage(\d)_(unit|root)(\d)_?(conv\d|shortcut_conv)?(_?norm)?", layer.name)
        if not layer.weights or not match:
            continue
        stage, kind, number, part, norm = match.groups()
        units, roots, first = paths[2 if f"stage{stage}_unit3_out" in {x.name for x in model.layers} else 1]
        path = f"level{int(stage) + 1}."
        if kind == "root":
            path += f"{roots[int(number) - 1]}.{'bn' if norm else 'conv'}"
        elif part == "shortcut_conv":
            path += f"{first}project.{1 if norm else 0}"
        else:
            path += f"{units[int(number) - 1]}.{'bn' if norm else 'conv'}{part[-1]}"
        found[layer.name] = path
    return found


@pytest.mark.parametrize(
    ("levels", "widths"),
    [((1, 2, 2, 1), (8, 12, 16, 20)), pytest.param((1, 2, 2, 1), (64, 128, 256, 512), marks=pytest.mark.slow)],
)
def test_timm_computes_the_same(levels, widths):
    zoo = library("timm.models.dla")
    stem = widths[0] // 2
    channels = (stem // 2, stem, *widths)
    net = zoo.DLA(levels=(1, 1, *levels), channels=channels, block=zoo.DlaBasic, num_classes=10)
    model = architectures.create(
        "dla34", input_shape=(64, 64, 3), classes=10, levels=levels, widths=widths, stem_filters=stem
    )
    assert_parity_in_order(model, net, names=timm_names(model))


@pytest.mark.parametrize(
    ("overrides", "roots"),
    [
        ({}, [("unit4_out", "unit3_out", "root1_act", "input")]),
        ({"input_unit": basic}, [("unit4_out", "unit3_out", "root1_act", "input_out")]),
        ({"from_input": (False, False)}, [("unit4_out", "unit3_out", "root1_act")]),
        (
            {"hierarchical": False, "from_input": (False, False)},
            [("unit4_out", "unit3_out"), ("root2_act", "root1_act")],
        ),
    ],
)
def test_what_a_root_aggregates(overrides, roots):
    model = architectures.create("dla_tiny", **overrides)
    assert of(model, "stage1_root1") == ["stage1_unit2_out", "stage1_unit1_out"]
    assert of(model, "stage2_root1") == ["stage2_unit2_out", "stage2_unit1_out"]
    for i, names in enumerate(roots, 2):
        assert sorted(of(model, f"stage2_root{i}")) == sorted(f"stage2_{name}" for name in names)


def of(model, root):
    return [x._keras_history.operation.name for x in model.get_layer(f"{root}_concat").input]


def test_any_size():
    model = architectures.create("dla34", input_shape=(None, None, 3), classes=0, widths=(4, 6, 8, 10), stem_filters=4)
    assert model.compute_output_shape((1, 75, 100, 3)) == (1, 3, 4, 10)


def test_each_stage_says_whether_it_aggregates_its_input():
    with pytest.raises(
        ValueError, match=r"`levels` and `from_input` must be of one length; got \(1, 2\) and \(True,\)"
    ):
        architectures.create("dla_tiny", from_input=(True,))
