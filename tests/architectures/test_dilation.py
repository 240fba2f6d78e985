"""Dilations in place of strides, in the families other than ResNet, which has its own tests."""

import keras
import numpy as np
import pytest

import architectures
from architectures.efficientnet import fused_mbconv
from kblocks.mobile import inverted_residual
from tests.support.marks import slow
from tests.support.models import predict
from tests.support.weights import scramble

UNITS = ((fused_mbconv, 3, 1, 8, 1, 1), (fused_mbconv, 3, 2, 8, 2, 2), (inverted_residual, 5, 2, 8, 2, 2))
# Without squeeze-and-excite: the mean of more positions is another one.
NETWORKS = {
    "mobilenet_v2_tiny": {"stages": ((1, 8, 1, 1), (3, 16, 2, 2), (3, 8, 2, 2))},
    "mobilenet_v3_tiny": {"attention": lambda x, *, style, name: x},
    "efficientnet_tiny": {"stages": UNITS},
    "xception_tiny": {},
}


@pytest.mark.parametrize(
    ("arch", "output_stride"),
    [(arch, stride) for arch in NETWORKS for stride in ((2,) if arch == "xception_tiny" else (2, 4))],
)
def test_a_dilated_network_holds_the_plain_one(arch, output_stride):
    """Every so many pixels, and at the borders too: of 33 pixels each halving leaves an odd number, padded evenly."""
    options = {"input_shape": (33, 33, 3), "classes": 0} | NETWORKS[arch]
    plain = architectures.create(arch, **options)
    dilated = architectures.create(arch, **options, output_stride=output_stride)
    assert dilated.output_shape[1] == 32 // output_stride + 1
    scramble(plain, (33, 33, 3))
    architectures.copy_weights(plain, dilated)
    assert [w.path for w in plain.weights] == [w.path for w in dilated.weights]
    x = np.random.default_rng(0).normal(size=(2, 33, 33, 3)).astype("float32")
    fine, coarse = (predict(model, x) for model in (dilated, plain))
    step = 32 // (plain.output_shape[1] - 1) // output_stride
    assert step > 1
    assert coarse.shape[1] == -(-fine.shape[1] // step)
    np.testing.assert_allclose(fine[:, ::step, ::step], coarse, rtol=0, atol=1e-5 * np.abs(coarse).max())
    assert coarse.std() > 0.01 * np.abs(coarse).max()


def dilated(model):
    """The distances of the taps, unit by unit, of the depthwise convolutions that have one."""
    kinds = keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D
    found = {x.name: x.dilation_rate[0] for x in model.layers if isinstance(x, kinds)}
    return {name.removesuffix("_depthwise"): rate for name, rate in found.items() if rate > 1}


def test_mobilenet_v2_as_in_deeplab():
    """The unit that had the stride takes the dilation that was before it, those behind it the next one."""
    options = {"input_shape": (64, 64, 3), "classes": 0}
    last = {"stage6_unit2": 2, "stage6_unit3": 2, "stage7_unit1": 2}
    assert dilated(architectures.create("mobilenet_v2", **options, output_stride=16)) == last
    third = dict.fromkeys([*(f"stage4_unit{j}" for j in (2, 3, 4)), *(f"stage5_unit{j}" for j in (1, 2, 3))], 2)
    assert dilated(architectures.create("mobilenet_v2", **options, output_stride=8)) == (
        third | {"stage6_unit1": 2} | dict.fromkeys(last, 4)
    )


def test_xception_takes_a_dilation_for_its_last_stride():
    model = architectures.create("xception", input_shape=(128, 128, 3), classes=0, output_stride=16)
    assert model.output_shape == (None, 8, 8, 2048)
    assert dilated(model) == {"top1": 2, "top2": 2}
    with pytest.raises(ValueError, match="`output_stride` must be one of 16, 32; got 8"):
        architectures.create("xception", output_stride=8)


@pytest.mark.parametrize(
    "arch", [slow("mobilenet_v3_small"), slow("efficientnet_b0"), slow("efficientnet_v2_b0"), "efficientnet_tiny"]
)
@pytest.mark.parametrize("output_stride", [4, 8])
def test_the_output_stride_is_that_of_the_features(arch, output_stride):
    options = {"input_shape": (64, 64, 3), "classes": 0}
    model = architectures.create(arch, **options, output_stride=output_stride)
    assert model.output_shape[1:3] == (64 // output_stride,) * 2
    assert model.count_params() == architectures.create(arch, **options).count_params()


def test_unknown_sizes():
    model = architectures.create("mobilenet_v2_035", input_shape=(None, None, 3), classes=0, output_stride=8)
    assert model(np.zeros((1, 96, 64, 3), "float32")).shape == (1, 12, 8, 1280)


@pytest.mark.parametrize(
    ("arch", "strides"),
    [
        ("mobilenet_v2_tiny", "2, 4"),
        ("mobilenet_v3_tiny", "2, 4, 8"),
        ("efficientnet_tiny", "2, 4, 8"),
        ("xception_tiny", "2, 4"),
    ],
)
@pytest.mark.parametrize("wrong", [3, 64, 4.0, "8"])
def test_an_output_stride_that_the_network_never_has(arch, strides, wrong):
    with pytest.raises(ValueError, match=rf"`output_stride` must be one of {strides}; got {wrong!r}"):
        architectures.create(arch, output_stride=wrong)
