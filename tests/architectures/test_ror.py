"""RoR-3: its rows in closed form, and what they compute."""

import numpy as np
import pytest

import architectures
from tests.support.counting import Count
from tests.support.models import predict
from tests.support.torch_networks import assert_parity_in_order, library


@pytest.mark.parametrize(("arch", "layers"), [("ror3_56", 56), ("ror3_110", 110), ("ror3_164", 164)])
def test_counts_in_closed_form(arch, layers):
    units = (layers - 8) // 6
    count = Count(32, 3)
    count.conv(16, 3)
    count.conv(64, 1, stride=4, keep=False)
    for i, width in enumerate((16, 32, 64)):
        if i:
            count.pool()
        count.conv(width, 1, keep=False)
        if i:
            count.conv(width, 1, keep=False)
        for _ in range(units):
            count.conv(width, 3).conv(width, 3)
    count.dense(64, 10)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (count.params, count.macs)


# Of pytorchcv, counted by building its networks.
PUBLISHED = {"ror3_56": 762_746, "ror3_110": 1_637_690, "ror3_164": 2_512_634}


def test_published_parameters():
    assert {arch: architectures.variant(arch).params for arch in PUBLISHED} == PUBLISHED


def shortcuts(stages=3):
    """The modules of the shortcuts in pytorchcv's network, which run in another order than ours."""
    theirs = {"shortcut": "features.body.shortcut"}
    for i in range(1, stages + 1):
        theirs[f"stage{i}_shortcut"] = f"features.body.stages.stage{i}.shortcut"
        if i > 1:
            theirs[f"stage{i}_unit1_shortcut"] = f"features.body.stages.stage{i}.units.unit1.identity_conv"
    return {
        f"{ours}{end}": f"{path}.{of}" for ours, path in theirs.items() for end, of in (("", "conv"), ("_norm", "bn"))
    }


@pytest.mark.parametrize("arch", [pytest.param(f"ror3_{n}", marks=pytest.mark.slow) for n in (56, 110, 164)])
def test_pytorchcv_computes_the_same(arch):
    net = library("pytorchcv.model_provider").get_model(f"{arch}_cifar10")
    assert_parity_in_order(architectures.create(arch), net, names=shortcuts())


def test_pytorchcv_computes_the_same_with_fewer_units():
    net = library("pytorchcv.models.ror_cifar").get_ror_cifar(10, 20)
    assert_parity_in_order(architectures.create("ror3_56", depths=(2, 2, 2)), net, names=shortcuts())


@pytest.mark.parametrize(("shape", "sides"), [((15, 14, 1), (8, 7)), ((13, 16, 3), (7, 8))])
def test_any_size(shape, sides):
    model = architectures.create("ror_tiny", input_shape=shape, classes=0)
    assert model.output_shape == (None, *sides, 8)
    assert np.isfinite(predict(model, np.ones((1, *shape), "float32"))).all()
