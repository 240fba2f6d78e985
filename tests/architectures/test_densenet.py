"""DenseNet: its rows from the paper's arithmetic, what they compute, and what can be turned."""

import re

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from tests.support.models import predict
from tests.support.torch_networks import assert_parity_in_order, library

LARGE = {"growth": 32, "channels": 64, "side": 56, "stem": 49, "stem_side": 112, "classes": 1000}
SMALL = {"growth": 12, "side": 32, "stem": 9, "stem_side": 32, "classes": 10}


@pytest.mark.parametrize(
    ("arch", "depths", "plan"),
    [
        ("densenet121", (6, 12, 24, 16), LARGE),
        ("densenet161", (6, 12, 36, 24), {**LARGE, "growth": 48, "channels": 96}),
        ("densenet169", (6, 12, 32, 32), LARGE),
        ("densenet201", (6, 12, 48, 32), LARGE),
        ("densenet121_12_cifar", (6, 12, 24, 16), {**SMALL, "channels": 24}),
        ("densenet121_cifar", (6, 12, 24, 16), {**SMALL, "growth": 32, "channels": 64}),
        ("densenet161_cifar", (6, 12, 36, 24), {**SMALL, "growth": 48, "channels": 96}),
        ("densenet169_cifar", (6, 12, 32, 32), {**SMALL, "growth": 32, "channels": 64}),
        ("densenet201_cifar", (6, 12, 48, 32), {**SMALL, "growth": 32, "channels": 64}),
        ("densenet_bc40_12", (6, 6, 6), {**SMALL, "channels": 24}),
        ("densenet_bc40_24", (6, 6, 6), {**SMALL, "growth": 24, "channels": 48}),
        ("densenet_bc40_36", (6, 6, 6), {**SMALL, "growth": 36, "channels": 72}),
        ("densenet_bc100_12", (16, 16, 16), {**SMALL, "channels": 24}),
        ("densenet_bc190_40", (31, 31, 31), {**SMALL, "growth": 40, "channels": 80}),
        ("densenet_bc250_24", (41, 41, 41), {**SMALL, "growth": 24, "channels": 48}),
        ("densenet40_12", (12, 12, 12), {**SMALL, "channels": 16, "plain": True}),
        ("densenet100_12", (32, 32, 32), {**SMALL, "channels": 16, "plain": True}),
        ("densenet100_24", (32, 32, 32), {**SMALL, "growth": 24, "channels": 16, "plain": True}),
    ],
)
def test_counts_in_closed_form(arch, depths, plan):
    channels, side, k, plain = plan["channels"], plan["side"], plan["growth"], plan.get("plain", False)
    large = plan["stem"] == 49
    params = plan["stem"] * 3 * channels + (2 * channels if large else 0)
    macs = plan["stem_side"] ** 2 * plan["stem"] * 3 * channels
    for i, depth in enumerate(depths):
        if i:
            out = channels if plain else channels // 2
            params += 2 * channels + channels * out
            macs += side**2 * channels * out
            channels, side = out, side // 2
        for _ in range(depth):
            kernels = 9 * channels * k if plain else channels * 4 * k + 9 * 4 * k * k
            params += 2 * channels + kernels + (0 if plain else 2 * 4 * k)
            macs += side**2 * kernels
            channels += k
    params += 2 * channels + (channels + 1) * plan["classes"]
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (params, macs + channels * plan["classes"])
    # The stem, the logits, two transitions or three, and one or two convolutions a layer.
    assert int(re.search(r"\d+", arch)[0]) == 2 + len(depths) - 1 + sum(depths) * (1 if plain else 2)


# Torchvision's documentation; pytorchcv 0.0.74, counted by building its networks; and the paper's Table 2, in millions.
PUBLISHED = {
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet_bc40_12": 176_122,
    "densenet_bc40_24": 690_346,
    "densenet_bc40_36": 1_542_682,
    "densenet_bc100_12": 769_162,
    "densenet_bc190_40": 25_624_430,
    "densenet_bc250_24": 15_324_406,
}
TABLE_2 = {"densenet40_12": 1.0, "densenet100_12": 7.0, "densenet100_24": 27.2}
TABLE_2 |= {"densenet_bc100_12": 0.8, "densenet_bc250_24": 15.3, "densenet_bc190_40": 25.6}


def test_published_parameters():
    assert {arch: architectures.variant(arch).params for arch in PUBLISHED} == PUBLISHED
    assert {arch: round(architectures.variant(arch).params / 1e6, 1) for arch in TABLE_2} == TABLE_2


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("arch", "theirs"),
    [
        ("densenet_bc40_12", "densenet40_k12_bc_cifar10"),
        slow("densenet_bc40_24", "densenet40_k24_bc_cifar10"),
        slow("densenet_bc40_36", "densenet40_k36_bc_cifar10"),
        slow("densenet_bc100_12", "densenet100_k12_bc_cifar10"),
        slow("densenet_bc190_40", "densenet190_k40_bc_cifar10"),
        slow("densenet_bc250_24", "densenet250_k24_bc_cifar10"),
        slow("densenet40_12", "densenet40_k12_cifar10"),
        slow("densenet100_12", "densenet100_k12_cifar10"),
        slow("densenet100_24", "densenet100_k24_cifar10"),
    ],
)
def test_pytorchcv_computes_the_same(arch, theirs):
    net = library("pytorchcv.model_provider").get_model(theirs)
    growth = architectures.variant(arch).spec.growth
    # Theirs compresses in all networks, and has the stem of DenseNet-BC in all.
    assert_parity_in_order(architectures.create(arch, compression=0.5, stem_filters=2 * growth), net)


@pytest.mark.parametrize(
    ("arch", "overrides"),
    [
        ("densenet121_cifar", {"depths": (2, 1, 3, 2), "growth": 8}),
        slow("densenet121_12_cifar", {}),
        slow("densenet121_cifar", {}),
        slow("densenet161_cifar", {}),
        slow("densenet169_cifar", {}),
        slow("densenet201_cifar", {}),
        slow("densenet161", {}),
    ],
)
def test_torchvision_computes_the_same(arch, overrides):
    torchvision = library("torchvision")
    from torch import nn

    model = architectures.create(arch, **overrides)
    spec = architectures.variant(arch).spec
    net = torchvision.models.DenseNet(
        overrides.get("growth", spec.growth), overrides.get("depths", spec.depths), spec.stem_filters, num_classes=10
    )
    if spec.stem is kb.stem.bare:
        net.features.conv0 = nn.Conv2d(3, spec.stem_filters, 3, padding=1, bias=False)
        net.features.norm0 = net.features.relu0 = net.features.pool0 = nn.Identity()
    else:
        net.classifier = nn.Linear(net.classifier.in_features, 1000)
    assert_parity_in_order(model, net)


@pytest.mark.parametrize(("input_shape", "side"), [((32, 32, 3), 4), ((28, 28, 1), 3)])
def test_small_images(input_shape, side):
    model = architectures.create(
        "densenet121", input_shape=input_shape, classes=10, stem=kb.stem.cifar, depths=(1, 2, 1, 1)
    )
    assert model.get_layer("act").output.shape[1:3] == (side, side)
    assert np.isfinite(predict(model, np.ones((1, *input_shape), "float32"))).all()


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match=r"densenet121 can't be built .*the features would be 1×1"):
        architectures.create("densenet121", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="the output of the stem must be at least 2×2 for 2 stages; got 1×1"):
        architectures.create("densenet_tiny", input_shape=(1, 1, 3))


def test_shapes_by_layer_name():
    model = architectures.create("densenet121", depths=(2, 1, 1, 1), growth=8)
    names = ("stem_out", "stage1_unit2_out", "transition1_out", "stage2_unit1_out", "transition3_out", "act")
    assert [model.get_layer(name).output.shape[1:] for name in names] == [
        *((56, 56, 64), (56, 56, 80), (28, 28, 40), (28, 28, 48), (7, 7, 16), (7, 7, 24)),
    ]


def test_overrides():
    model = architectures.create("densenet_tiny", dropout=0.2, compression=1.0, expansion=None, depths=(1, 1))
    dropouts = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropouts == ["stage1_unit1_dropout2", "transition1_dropout", "stage2_unit1_dropout2"]
    assert model.get_layer("act").output.shape == (None, 8, 8, 8 + 4 + 4)
    with pytest.raises(ValueError, match="`depths` must hold at least one dense block"):
        architectures.create("densenet_tiny", depths=())
