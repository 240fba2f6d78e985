"""RepVGG: its rows in closed form, and what they compute."""

import re
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

import architectures
import kblocks as kb
from architectures.repvgg import merge
from kblocks.residual import rep_unit
from tests.support.counting import Count
from tests.support.models import predict
from tests.support.torch_networks import assert_parity_in_order, library
from tests.support.weights import images, scramble

WIDTHS = {"a0": (48, 96, 192, 1280), "a1": (64, 128, 256, 1280), "a2": (96, 192, 384, 1408)}


def unit(count, width, stride):
    if stride == 1 and count.channels == width:
        count.params += 2 * width
    count.conv(width, 1, stride=stride, keep=False).conv(width, 3, stride=stride)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("size", WIDTHS)
def test_counts_in_closed_form(size, small):
    count = Count(32 if small else 224, 3)
    unit(count, min(64, WIDTHS[size][0]), 1 if small else 2)
    for i, (depth, width) in enumerate(zip((2, 4, 14, 1), WIDTHS[size], strict=True)):
        for j in range(depth):
            unit(count, width, 1 if j or (small and not i) else 2)
    assert count.size == (4 if small else 7)
    count.dense(WIDTHS[size][-1], 10 if small else 1000)
    row = architectures.variant(f"repvgg_{size}_cifar" if small else f"repvgg_{size}")
    assert (row.params, row.macs) == (count.params, count.macs)


# In millions: of timm, and with the multiply-adds of chenyaofo/pytorch-cifar-models.
PUBLISHED = {
    "repvgg_a0": (9.11, 1512.58),
    "repvgg_a1": (14.09, 2626.49),
    "repvgg_a2": (28.21, 5685.35),
    "repvgg_a0_cifar": (7.84, 489.08),
    "repvgg_a1_cifar": (12.82, 851.33),
    "repvgg_a2_cifar": (26.82, 1850.10),
}


def test_published_counts():
    rows = {arch: architectures.variant(arch) for arch in PUBLISHED}
    assert {arch: (round(row.params / 1e6, 2), round(row.macs / 1e6, 2)) for arch, row in rows.items()} == PUBLISHED


def timm_names(model):
    """The modules in timm's network, whose branches run in another order than ours."""
    parts = {"conv3": "conv_kxk.conv", "conv1": "conv_1x1.conv", "norm": "identity"}
    parts |= {"conv3_norm": "conv_kxk.bn", "conv1_norm": "conv_1x1.bn"}
    found = {}
    for layer in model.layers:
        if layer.weights and (match := re.fullmatch(r"(?:stem|stage(\d)_unit(\d+))_(.+)", layer.name)):
            unit = "stem" if match[1] is None else f"stages.{int(match[1]) - 1}.{int(match[2]) - 1}"
            found[layer.name] = f"{unit}.{parts[match[3]]}"
    return found


@pytest.mark.parametrize("arch", [pytest.param(f"repvgg_{size}", marks=pytest.mark.slow) for size in WIDTHS])
def test_timm_computes_the_same(arch):
    net = library("timm").create_model(arch)
    model = architectures.create(arch)
    assert_parity_in_order(model, net, names=timm_names(model))


@pytest.mark.parametrize("stride", [1, 2])
def test_timm_computes_the_same_with_fewer_units(stride):
    byobnet = library("timm.models.byobnet")
    widths, depths = (8, 16, 24, 32), (2, 1, 2, 1)
    blocks = [
        byobnet.ByoBlockCfg(type="rep", d=d, c=c, s=stride if i == 0 else 2, gs=0)
        for i, (d, c) in enumerate(zip(depths, widths, strict=True))
    ]
    net = byobnet.ByobNet(byobnet.ByoModelCfg(blocks=tuple(blocks), stem_type="rep", stem_chs=8), num_classes=10)
    model = architectures.create(
        "repvgg_a0",
        input_shape=(64, 64, 3),
        classes=10,
        depths=depths,
        widths=widths,
        stem_filters=8,
        strides=(stride, 2, 2, 2),
    )
    assert_parity_in_order(model, net, names=timm_names(model))


def test_strides_are_one_for_each_stage():
    with pytest.raises(ValueError, match=r"`depths` and `strides` must be of one length; got \(1, 2\) and \(1,\)"):
        architectures.create("repvgg_tiny", strides=(1,))


class TestMerge:
    @pytest.mark.parametrize(
        "overrides",
        [{}, {"depths": (2, 3), "drop_path": 0.2}, {"unit": partial(rep_unit, groups=2), "strides": (2, 2)}],
    )
    def test_a_network_becomes_a_plain_one(self, overrides):
        model = scramble(architectures.create("repvgg_tiny", **overrides), (16, 16, 3))
        plain = merge(model)
        kinds = {layers.InputLayer, layers.ZeroPadding2D, layers.Conv2D, layers.Activation, layers.Dense}
        assert {type(layer) for layer in plain.layers} <= kinds | {layers.GlobalAveragePooling2D}
        convolutions = [layer for layer in plain.layers if isinstance(layer, layers.Conv2D)]
        assert len(convolutions) == 1 + sum(overrides.get("depths", (1, 2)))
        assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
        x = images((16, 16, 3), count=3)
        expected = predict(model, x)
        np.testing.assert_allclose(predict(plain, x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        assert expected.std(0).max() > 1e-2 * np.abs(expected).max()

    def test_the_model_stays_as_it_is(self):
        model = architectures.create("repvgg_tiny")
        names, weights = [layer.name for layer in model.layers], model.get_weights()
        merge(model)
        assert [layer.name for layer in model.layers] == names
        for before, after in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)

    def test_published_parameters_in_inference(self):
        # Table 4 of the paper.
        plain = merge(architectures.create("repvgg_a0", input_shape=(64, 64, 3)))
        assert round(plain.count_params() / 1e6, 1) == 8.3

    @pytest.mark.parametrize("stride", [1, 2])
    def test_windows_that_are_not_centred_stay(self, stride):
        x = keras.Input((8, 8, 4))
        style = replace(kb.RELU_BN, padding="same")
        model = scramble(keras.Model(x, rep_unit(x, 6, stride=stride, style=style, name="u")), (8, 8, 4))
        plain = merge(model)
        assert ("u_conv1" in [layer.name for layer in plain.layers]) == (stride == 2)
        x = images((8, 8, 4))
        np.testing.assert_allclose(predict(plain, x), predict(model, x), rtol=1e-4, atol=1e-4)

    def test_other_sums_stay(self):
        model = scramble(architectures.create("resnet_tiny"), (16, 16, 3))
        plain = merge(model)
        assert [layer.name for layer in plain.layers] == [layer.name for layer in kb.graph.fold(model).layers]
        x = images((16, 16, 3))
        np.testing.assert_allclose(predict(plain, x), predict(model, x), rtol=1e-4, atol=1e-4)

    def test_within_another_model(self):
        inner = scramble(architectures.create("repvgg_tiny", classes=0), (16, 16, 3))
        x = keras.Input((16, 16, 3))
        model = keras.Model(x, layers.Flatten(name="flat")(inner(x)))
        plain = merge(model)
        assert not [layer for layer in plain.get_layer("repvgg_tiny").layers if isinstance(layer, layers.Add)]
        x = images((16, 16, 3))
        np.testing.assert_allclose(predict(plain, x), predict(model, x), rtol=1e-4, atol=1e-4)
