"""ResNet's second version, and dilations in place of strides."""

from functools import partial

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from kblocks.residual import basic, bottleneck, preact_basic, preact_bottleneck

DEPTHS = {"resnet50_v2": (3, 4, 6, 3), "resnet101_v2": (3, 4, 23, 3), "resnet152_v2": (3, 8, 36, 3)}


@pytest.mark.parametrize("arch", DEPTHS)
def test_v2_in_closed_form(arch):
    """A stage's last unit halves the image between its first convolution and its second."""
    side, channels = 56, 64
    params, macs = 49 * 3 * 64 + 64, 112**2 * 49 * 3 * 64
    for i, (width, depth) in enumerate(zip((64, 128, 256, 512), DEPTHS[arch], strict=True)):
        for j in range(depth):
            after = side // 2 if j == depth - 1 and i < 3 else side
            params += 2 * channels + (channels * width + 2 * width) + (9 * width**2 + 2 * width)
            params += 4 * width**2 + 4 * width
            macs += side**2 * channels * width + after**2 * (9 * width**2 + 4 * width**2)
            if j == 0:
                params += channels * 4 * width + 4 * width
                macs += after**2 * channels * 4 * width
            side, channels = after, 4 * width
    assert (side, channels) == (7, 2048)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (params + 2 * 2048 + 2048 * 1000 + 1000, macs + 2048 * 1000)


def test_v2_layer_by_layer():
    model = architectures.create("resnet50_v2", input_shape=(64, 64, 3))
    shapes = {
        name: model.get_layer(name).output.shape[1:]
        for name in ("stem_conv", "stem_out", "stage1_unit1_shortcut", "stage1_unit2_out", "stage1_unit3_conv1",
                     "stage1_unit3_conv2", "stage1_unit3_shortcut_subsample", "stage2_unit1_conv1", "stage2_unit4_out",
                     "stage3_unit5_out", "stage3_unit6_out", "stage4_unit3_conv2", "act")
    }  # fmt: skip
    assert shapes == {
        "stem_conv": (32, 32, 64), "stem_out": (16, 16, 64), "stage1_unit1_shortcut": (16, 16, 256),
        "stage1_unit2_out": (16, 16, 256), "stage1_unit3_conv1": (16, 16, 64), "stage1_unit3_conv2": (8, 8, 64),
        "stage1_unit3_shortcut_subsample": (8, 8, 256), "stage2_unit1_conv1": (8, 8, 128),
        "stage2_unit4_out": (4, 4, 512), "stage3_unit5_out": (4, 4, 1024), "stage3_unit6_out": (2, 2, 1024),
        "stage4_unit3_conv2": (2, 2, 512), "act": (2, 2, 2048),
    }  # fmt: skip
    # The stem, the last convolution of each of 16 units and four projections.
    assert len([x for x in model.layers if isinstance(x, keras.layers.Conv2D) and x.use_bias]) == 21


def test_v2_refuses_small_images_and_names_a_stem_for_them():
    with pytest.raises(ValueError, match=r"`x` must be at least 64×64 for .*; got 32×32 \(.*kblocks\.stem\.bare\)"):
        architectures.create("resnet50_v2", input_shape=(32, 32, 3))
    model = architectures.create("resnet50_v2", input_shape=(28, 28, 1), stem=kb.stem.bare, classes=10)
    assert model.get_layer("act").output.shape == (None, 4, 4, 2048)


def features(arch="resnet_tiny", **overrides):
    return architectures.create(arch, classes=0, **overrides)


ATROUS = {
    "basic": {"unit": basic},
    "padded": {"unit": basic, "shortcut": kb.residual.padded},
    "bottleneck": {"unit": bottleneck},
    "stride_first": {"unit": partial(bottleneck, stride_first=True)},
    "preact_basic": {"unit": preact_basic, "stem": kb.stem.bare, "final_norm": True},
    "stride_last": {"unit": preact_bottleneck, "stem": kb.stem.bare, "final_norm": True, "stride_last": True},
    "equal_widths": {"unit": bottleneck, "widths": (8, 8, 8)},
}


@pytest.mark.parametrize("output_stride", [1, 2, 4])
@pytest.mark.parametrize("overrides", ATROUS.values(), ids=ATROUS)
def test_a_dilated_network_holds_the_plain_one(overrides, output_stride):
    """Every so many pixels, and at the borders too, as symmetric zeros lie beyond both."""
    overrides = {"shortcut": None, "depths": (1, 2, 3), "widths": (4, 8, 12), "input_shape": (18, 15, 3)} | overrides
    plain, dilated = features(**overrides), features(**overrides, output_stride=output_stride)
    assert dilated.output_shape[1:3] == tuple(-(-size // output_stride) for size in (18, 15))
    assert plain.output_shape[1:3] == (5, 4)
    rng = np.random.default_rng(0)
    for weight in dilated.weights:
        kernel = "kernel" in weight.name
        scale = 1 / np.sqrt(np.prod(weight.shape[:-1]))
        weight.assign(rng.normal(0, scale, weight.shape) if kernel else rng.uniform(0.5, 1.5, weight.shape))
    architectures.copy_weights(dilated, plain)
    assert [w.path for w in plain.weights] == [w.path for w in dilated.weights]
    x = rng.normal(size=(2, 18, 15, 3)).astype("float32")
    fine, coarse = (keras.ops.convert_to_numpy(model(x)) for model in (dilated, plain))
    step = 4 // output_stride
    np.testing.assert_allclose(fine[:, ::step, ::step], coarse, rtol=0, atol=1e-5 * np.abs(coarse).max())
    assert coarse.std() > 0.1


@pytest.mark.parametrize(
    ("arch", "output_stride", "side"),
    [
        *[("resnet18", stride, 64 // stride) for stride in (4, 8, 16, 32)],
        *[("resnet50", stride, 64 // stride) for stride in (8, 16)],
        *[("resnet50_v2", stride, 64 // stride) for stride in (8, 16)],
    ],
)
def test_the_output_stride_is_that_of_the_features(arch, output_stride, side):
    small = {"input_shape": (64, 64, 3), "depths": (1, 1, 2, 1)}
    plain, dilated = features(arch, **small), features(arch, **small, output_stride=output_stride)
    assert dilated.output_shape == (None, side, side, plain.output_shape[-1])
    assert dilated.count_params() == plain.count_params()
    assert [w.path for w in plain.weights] == [w.path for w in dilated.weights]


def dilations(model):
    """Of the convolutions that have one."""
    return {
        layer.name: layer.dilation_rate[0]
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.dilation_rate != (1, 1)
    }


def test_a_replaced_stride_dilates_what_follows_it():
    """As in DeepLab, the convolution that had the stride has the dilation that was before it."""
    small = {"input_shape": (64, 64, 3), "depths": (1, 1, 3, 3), "output_stride": 8}
    third = {"stage3_unit2_conv2": 2, "stage3_unit3_conv2": 2}
    fourth = {"stage4_unit1_conv2": 2, "stage4_unit2_conv2": 4, "stage4_unit3_conv2": 4}
    assert dilations(features("resnet50_v1_5", **small)) == third | fourth
    # Where a 1×1 convolution had it, the next one dilates already.
    assert dilations(features("resnet50", **small)) == third | {"stage3_unit1_conv2": 2} | dict.fromkeys(fourth, 4)
    # Here the last unit of the second stage would have halved the image.
    assert dilations(features("resnet50_v2", **small)) == third | {"stage3_unit1_conv2": 2} | dict.fromkeys(fourth, 4)


def test_an_output_stride_of_images_of_any_size():
    model = features("resnet18", input_shape=(None, None, 3), depths=(1, 1, 1, 1), output_stride=8)
    assert model(np.zeros((1, 96, 64, 3), "float32")).shape == (1, 12, 8, 512)


@pytest.mark.parametrize(
    ("arch", "strides", "wrong"),
    [("resnet18", "4, 8, 16, 32", (2, 12, 64, "8")), ("resnet_tiny", "1, 2", (0, 3, 4)), ("resnet20", "1, 2, 4", (8,))],
)
def test_an_output_stride_that_the_network_never_has(arch, strides, wrong):
    for output_stride in wrong:
        with pytest.raises(ValueError, match=rf"`output_stride` must be one of {strides}; got {output_stride!r}"):
            architectures.create(arch, output_stride=output_stride)


def test_rows_of_keras_normalise_as_keras_does():
    theirs = keras.applications.ResNet50(weights=None, include_top=False).get_layer("conv3_block1_2_bn")
    for arch in ("resnet50", "resnet50_v2"):
        model = architectures.create(arch, input_shape=(64, 64, 3), classes=0, depths=(1, 1, 1, 1))
        norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        assert {(x.epsilon, x.momentum) for x in norms} == {(theirs.epsilon, theirs.momentum)}
