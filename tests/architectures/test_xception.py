"""Xception: its row from the paper's figure, and what can be turned."""

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from kblocks.style import SWISH_BN
from tests.support.models import predict


def test_counts_in_closed_form():
    params = macs = 0

    def conv(side, kernel, before, after):
        nonlocal params, macs
        params += kernel**2 * before * after + 2 * after
        macs += side**2 * kernel**2 * before * after

    def separable(side, before, after):
        nonlocal params, macs
        params += 9 * before + before * after + 2 * after
        macs += side**2 * (9 * before + before * after)

    conv(149, 3, 3, 32)
    conv(147, 3, 32, 64)
    side, channels = 147, 64
    for width, half in ((128, 74), (256, 37), (728, 19)):
        separable(side, channels, width)
        separable(side, width, width)
        conv(half, 1, channels, width)
        side, channels = half, width
    for _ in range(8 * 3):
        separable(19, 728, 728)
    separable(19, 728, 728)
    separable(19, 728, 1024)
    conv(10, 1, 728, 1024)
    separable(10, 1024, 1536)
    separable(10, 1536, 2048)
    row = architectures.variant("xception")
    assert (row.params, row.macs) == (params + 2048 * 1000 + 1000, macs + 2048 * 1000)
    assert row.params == 22_855_952  # Table 3 of the paper.


def test_shapes_by_layer_name():
    model = architectures.create("xception", widths=(8, 12, 16, 24), depths=(1, 1, 2, 1), top=(28, 32), stem_filters=6)
    shapes = {
        "stem_conv1": (149, 149, 3), "stem_out": (147, 147, 6), "stage1_unit1_conv2": (147, 147, 8),
        "stage1_unit1_out": (74, 74, 8), "stage2_unit1_out": (37, 37, 12), "stage3_unit1_conv1": (37, 37, 16),
        "stage3_unit2_conv3": (19, 19, 16), "stage4_unit1_conv1": (19, 19, 16), "stage4_unit1_conv2": (19, 19, 24),
        "stage4_unit1_out": (10, 10, 24), "top1": (10, 10, 28), "top2_act": (10, 10, 32), "pool": (32,),
    }  # fmt: skip
    assert {name: model.get_layer(name).output.shape[1:] for name in shapes} == shapes


def test_the_order_of_activations():
    """Each unit begins with one but the first, whose input the stem has activated."""
    model = architectures.create("xception_tiny", style=SWISH_BN)
    assert model.get_layer("stage1_unit1_conv1").input is model.get_layer("stem_out").output
    for unit in ("stage2_unit1", "stage2_unit2"):
        assert model.get_layer(f"{unit}_conv1").input is model.get_layer(f"{unit}_conv1_act").output
    found = [layer for layer in model.layers if isinstance(layer, keras.layers.Activation)]
    # Of the stem, between two convolutions and three of each unit, before two of them, and of the top.
    assert len(found) == 1 + (1 + 1 + 2) + 2 + 1
    assert {layer.get_config()["activation"] for layer in found} == {"silu"}


@pytest.mark.parametrize(("input_shape", "side"), [((32, 32, 3), 2), ((28, 28, 1), 2)])
def test_small_images(input_shape, side):
    model = architectures.create(
        "xception", input_shape=input_shape, classes=10, stem=kb.stem.cifar, depths=(1, 1, 1, 1), widths=(4, 4, 8, 8)
    )
    assert model.get_layer("top2").output.shape[1:3] == (side, side)
    assert np.isfinite(predict(model, np.ones((1, *input_shape), "float32"))).all()


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match=r"`x` must be at least 71×71 for .*; got 71×70 \(.*kblocks\.stem\.cifar"):
        architectures.create("xception", input_shape=(71, 70, 3))
    assert kb.stem.xception(keras.Input((71, 72, 3)), 8).shape == (None, 33, 33, 8)
    with pytest.raises(ValueError, match="`filters` must be divisible by `2`; got 7 and 2"):
        kb.stem.xception(keras.Input((71, 71, 3)), 7)


def test_overrides():
    model = architectures.create("xception_tiny", depths=(1, 3), drop_path=0.3, dropout=0.1)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == pytest.approx(
        {"stage2_unit1_drop_path": 0.1, "stage2_unit2_drop_path": 0.2, "stage2_unit3_drop_path": 0.3, "dropout": 0.1}
    )
    assert architectures.create("xception_tiny", classes=0, top=()).output_shape == (None, 4, 4, 12)
    with pytest.raises(ValueError, match=r"`depths` and `widths` must be of one length; got \(1,\) and \(8, 12\)"):
        architectures.create("xception_tiny", depths=(1,))
