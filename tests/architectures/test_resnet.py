"""ResNets: their counts, what they compute, what can be turned, and dilations in place of strides."""

import re
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from kblocks.residual import basic, bottleneck, preact_basic, preact_bottleneck
from tests.support.counting import Count
from tests.support.models import predict
from tests.support.numpy_layers import Numpy, relu
from tests.support.torch_networks import assert_parity_in_order, library
from tests.support.weights import randomise

DEPTHS = {"resnet50_v2": (3, 4, 6, 3), "resnet101_v2": (3, 4, 23, 3), "resnet152_v2": (3, 8, 36, 3)}


@pytest.mark.parametrize(
    ("arch", "n"), [("resnet20", 3), ("resnet32", 5), ("resnet44", 7), ("resnet56", 9), ("resnet110", 18)]
)
def test_cifar_resnets_in_closed_form(arch, n):
    """6n + 2 layers: a stem of 16 filters, 2n layers each of 16, 32 and 64, a dense layer; plain shortcuts."""

    def stage(width, before):
        kernels = 9 * before * width + (2 * n - 1) * 9 * width * width
        return kernels, 2 * n * 2 * width

    stages = [stage(16, 16), stage(32, 16), stage(64, 32)]
    row = architectures.variant(arch)
    assert row.params == (27 * 16 + 32) + sum(kernels + norms for kernels, norms in stages) + 650
    # The sides of 32, 16 and 8 pixels against the widths of 16, 32 and 64: all equal but for each stage's first layer.
    macs = 32**2 * 27 * 16 + sum(side**2 * kernels for side, (kernels, _) in zip((32, 16, 8), stages, strict=True))
    assert row.macs == macs + 640
    assert row.macs == 1024 * 27 * 16 + 9 * 512 * 512 * (6 * n - 1) + 640
    if arch == "resnet110":
        assert row.params == 1_727_962


def test_cifar_resnet_with_projections():
    """Two 1×1 convolutions with their normalisations more."""
    plain, projected = architectures.variant("resnet20"), architectures.variant("resnet20_projection")
    assert projected.params - plain.params == (16 * 32 + 64) + (32 * 64 + 128)
    assert projected.macs - plain.macs == 16**2 * 16 * 32 + 8**2 * 32 * 64


def test_preactivation_resnet164():
    count = Count(32, 3)
    count.conv(16, 3, norm=False)
    for i, width in enumerate((16, 32, 64)):
        for j in range(18):
            stride = 2 if i and not j else 1
            count.params += 2 * count.channels
            if j == 0:
                count.conv(4 * width, 1, stride=stride, norm=False, keep=False)
            count.conv(width, 1).conv(width, 3, stride=stride).conv(4 * width, 1, norm=False)
    count.params += 2 * 256
    count.dense(256, 10)
    row = architectures.variant("resnet164_preact")
    assert (row.params, row.macs) == (count.params, count.macs)


@pytest.mark.parametrize(
    ("arch", "depths", "stride_first"),
    [
        ("resnet50", (3, 4, 6, 3), True),
        ("resnet101", (3, 4, 23, 3), True),
        ("resnet152", (3, 8, 36, 3), True),
        ("resnet50_v1_5", (3, 4, 6, 3), False),
    ],
)
def test_imagenet_bottlenecks_from_table_1(arch, depths, stride_first):
    count = Count(224, 3)
    count.conv(64, 7, stride=2).pool()
    for i, (width, depth) in enumerate(zip((64, 128, 256, 512), depths, strict=True)):
        for j in range(depth):
            stride = 2 if i and not j else 1
            if j == 0:
                count.conv(4 * width, 1, stride=stride, keep=False)
            count.conv(width, 1, stride=stride if stride_first else 1)
            count.conv(width, 3, stride=1 if stride_first else stride)
            count.conv(4 * width, 1)
    assert count.size == 7
    count.dense(2048, 1000)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (count.params, count.macs)


@pytest.mark.parametrize(("arch", "depths"), [("resnet18", (2, 2, 2, 2)), ("resnet34", (3, 4, 6, 3))])
def test_imagenet_basic_units_from_table_1(arch, depths):
    count = Count(224, 3)
    count.conv(64, 7, stride=2).pool()
    for i, (width, depth) in enumerate(zip((64, 128, 256, 512), depths, strict=True)):
        for j in range(depth):
            stride = 2 if i and not j else 1
            if i and not j:
                count.conv(width, 1, stride=2, keep=False)
            count.conv(width, 3, stride=stride).conv(width, 3)
    count.dense(512, 1000)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (count.params, count.macs)


def test_resnet_with_padded_shortcuts_in_numpy():
    model = architectures.create("resnet_tiny")
    randomise(model)
    net = Numpy(model)
    images = np.random.default_rng(1).normal(size=(3, 16, 16, 3)).astype("float32")
    x = relu(net.conv_norm(images, "stem_conv"))
    y = net.conv_norm(relu(net.conv_norm(x, "stage1_unit1_conv1")), "stage1_unit1_conv2")
    x = relu(x + y)
    y = net.conv_norm(relu(net.conv_norm(x, "stage2_unit1_conv1", 2, "symmetric")), "stage2_unit1_conv2")
    x = relu(np.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, 4))) + y)
    expected = net.dense(x.mean((1, 2)), "logits")
    np.testing.assert_allclose(predict(model, images), expected, rtol=1e-4, atol=1e-4)


def test_preactivation_in_numpy():
    model = architectures.create(
        "resnet_tiny", unit=preact_basic, shortcut=None, stem=kb.stem.bare, final_norm=True, depths=(1, 2)
    )
    randomise(model)
    net = Numpy(model)

    def norm_act(x, name):
        gamma, beta, mean, variance = net.weights(name)
        return relu(gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta)

    images = np.random.default_rng(1).normal(size=(3, 16, 16, 3)).astype("float32")
    x = net.conv(images, "stem_out")
    for unit, stride in (("stage1_unit1", 1), ("stage2_unit1", 2), ("stage2_unit2", 1)):
        a = norm_act(x, f"{unit}_norm")
        y = net.conv(relu(net.conv_norm(a, f"{unit}_conv1", stride, "symmetric")), f"{unit}_conv2")
        x = (net.conv(a, f"{unit}_shortcut", stride) if stride == 2 else x) + y
    expected = net.dense(norm_act(x, "norm").mean((1, 2)), "logits")
    np.testing.assert_allclose(predict(model, images), expected, rtol=1e-4, atol=1e-4)


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
    with pytest.raises(ValueError, match=r"the features would be 1×1 \(.*kblocks\.stem\.bare"):
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
    fine, coarse = (predict(model, x) for model in (dilated, plain))
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


@pytest.mark.parametrize(
    ("arch", "depths"), [("resnet20", (3, 3, 3)), ("resnet_tiny", (1, 1)), ("resnet56", (9, 9, 9))]
)
def test_drop_path_rises_to_the_last_unit(arch, depths):
    model = architectures.create(arch, drop_path=0.4)
    found = {layer.name: layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    units = [f"stage{i}_unit{j}" for i, depth in enumerate(depths, 1) for j in range(1, depth + 1)]
    # The first unit's rate is zero, and zero takes no layer.
    assert list(found) == [f"{unit}_drop_path" for unit in units[1:]]
    for i, unit in enumerate(units[1:], 1):
        layer = found[f"{unit}_drop_path"]
        assert layer.rate == pytest.approx(0.4 * i / (len(units) - 1))
        assert layer.noise_shape == (None, 1, 1, 1)
    assert model.count_params() == architectures.create(arch).count_params()


def test_drop_path_leaves_out_whole_residuals():
    model = architectures.create("resnet_tiny", drop_path=0.5)
    cut = keras.Model(model.input, model.get_layer("stage2_unit1_drop_path").output)
    residual = keras.Model(model.input, model.get_layer("stage2_unit1_conv2_norm").output)
    x = np.random.default_rng(0).normal(size=(32, 16, 16, 3)).astype("float32")
    whole = keras.ops.convert_to_numpy(residual(x, training=True))
    share = keras.ops.convert_to_numpy(cut(x, training=True))
    kept = [np.allclose(a, 2 * b, rtol=1e-4, atol=1e-5) for a, b in zip(share, whole, strict=True)]
    gone = [not a.any() for a in share]
    assert all(a != b for a, b in zip(kept, gone, strict=True))
    assert any(kept)
    assert any(gone)


def test_style():
    model = architectures.create("resnet_tiny", style=kb.SWISH_BN)
    activations = {
        layer.get_config()["activation"] for layer in model.layers if isinstance(layer, keras.layers.Activation)
    }
    assert activations == {"silu"}
    assert model.get_layer("stage2_unit1_conv1").padding == "same"
    assert "stage2_unit1_conv1_pad" in [layer.name for layer in architectures.create("resnet_tiny").layers]
    assert "stage2_unit1_conv1_pad" not in [layer.name for layer in model.layers]


def test_a_unit_of_ones_own():
    def unit(x, filters, *, stride=1, drop_path=0.0, style, name):
        return kb.conv.conv_norm_act(x, filters, 3, stride=stride, style=style, name=f"{name}_mine")

    model = architectures.create("resnet_tiny", unit=unit, shortcut=None)
    assert model.get_layer("stage2_unit1_mine").output.shape == (None, 8, 8, 8)


def test_preactivation():
    model = architectures.create("resnet_tiny", unit=preact_basic, shortcut=None, stem=kb.stem.bare, final_norm=True)
    names = [layer.name for layer in model.layers]
    assert names[-4:] == ["norm", "act", "pool", "logits"]
    assert isinstance(model.get_layer("stage1_unit1_out"), keras.layers.Add)
    assert names.index("stage1_unit1_norm") < names.index("stage1_unit1_conv1")
    assert isinstance(model.get_layer("stem_out"), keras.layers.Conv2D)


def test_depths_and_widths_of_one_length():
    with pytest.raises(ValueError, match=r"`depths` and `widths` must be of one length; got \(1, 1\) and \(4, 8, 16\)"):
        architectures.create("resnet_tiny", widths=(4, 8, 16))


@pytest.mark.parametrize(("override", "value"), [("drop_path", 1.0), ("dropout", -0.1)])
def test_rates_out_of_range(override, value):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        architectures.create("resnet_tiny", **{override: value})


# Parameters of pytorchcv's networks of these names, for CIFAR-10.
PYTORCHCV = {
    "resnet164": 1_704_154,
    "resnet1001": 10_328_602,
    "resnet20_preact": 272_282,
    "resnet56_preact": 855_578,
    "resnet110_preact": 1_730_522,
    "resnet164_preact": 1_703_258,
    "resnet1001_preact": 10_327_706,
    "wrn16_10": 17_116_634,
    "wrn28_10": 36_479_194,
    "wrn28_10_dropout": 36_479_194,
    "wrn40_8": 35_748_314,
    "resnext20_1x64d": 3_446_602,
    "resnext20_2x32d": 2_672_458,
    "resnext20_4x16d": 2_285_386,
    "resnext20_8x8d": 2_091_850,
    "resnext20_16x4d": 1_995_082,
    "resnext20_32x2d": 1_946_698,
    "resnext20_64x1d": 1_922_506,
    "resnext20_2x64d": 6_198_602,
    "resnext20_4x32d": 4_650_314,
    "resnext20_8x16d": 3_876_170,
    "resnext20_16x8d": 3_489_098,
    "resnext20_32x4d": 3_295_562,
    "resnext20_64x2d": 3_198_794,
    "resnext29_32x4d": 4_775_754,
    "resnext29_16x64d": 68_155_210,
    "resnext56_1x64d": 9_317_194,
    "resnext56_2x32d": 6_994_762,
    "resnext56_4x16d": 5_833_546,
    "resnext56_8x8d": 5_252_938,
    "resnext56_16x4d": 4_962_634,
    "resnext56_32x2d": 4_817_482,
    "resnext56_64x1d": 4_744_906,
    "se_resnet164": 1_906_258,
    "shake_shake26_2x32d": 2_923_162,
}
# Its shortcuts of these are projections, which have 2,752 parameters more than ours.
PROJECTED = {
    "resnet20": 272_474,
    "resnet56": 855_770,
    "resnet110": 1_730_714,
    "se_resnet20": 274_847,
    "se_resnet56": 862_889,
    "se_resnet110": 1_744_952,
}
# These have a normalisation after the first convolution there, and none after the last unit.
NORMALISED_FIRST = {
    "se_resnet20_preact": (274_559, 64),
    "se_resnet56_preact": (862_601, 64),
    "se_resnet110_preact": (1_744_664, 64),
    "se_resnet164_preact": (1_904_882, 256),
}
# Torchvision and timm for 1000 classes, and kuangliu/pytorch-cifar for 10.
OTHERS = {
    "resnet50_c": 25_576_264,
    "resnet50_d": 25_576_264,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x4d": 44_177_704,
    "se_resnet50": 28_088_024,
    "resnet18_cifar": 11_173_962,
    "resnet34_cifar": 21_282_122,
    "resnet50_cifar": 23_520_842,
}


@pytest.mark.parametrize(("arch", "params"), (PYTORCHCV | OTHERS).items())
def test_parameters_as_others_have_them(arch, params):
    assert architectures.variant(arch).params == params


@pytest.mark.parametrize(("arch", "params"), PROJECTED.items())
def test_parameters_with_projections(arch, params):
    assert architectures.variant(arch).params + 16 * 32 + 64 + 32 * 64 + 128 == params


@pytest.mark.parametrize(("arch", "params", "width"), [(arch, *row) for arch, row in NORMALISED_FIRST.items()])
def test_parameters_with_another_order_of_the_norms(arch, params, width):
    assert architectures.variant(arch).params + 2 * 16 - 2 * width == params


# Millions, as the papers have them; Table 4 of arXiv 1605.07146 for the wide ResNets.
@pytest.mark.parametrize(
    ("arch", "millions"),
    [
        *(("wrn16_8", 11.0), ("wrn16_10", 17.1), ("wrn28_10", 36.5), ("wrn40_4", 8.9), ("wrn40_8", 35.7)),
        *(("resnext29_8x64d", 34.4), ("resnext29_16x64d", 68.1), ("shake_shake26_2x96d", 26.2)),
    ],
)
def test_parameters_in_millions(arch, millions):
    assert architectures.variant(arch).params / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize(
    ("arch", "dense", "extra"),
    [
        # 2 C² / 16 + C / 16 + C for each unit; of CBAM also a kernel of 7 × 7 × 2 and its normalisation.
        ("se_resnext29_8x64d", 2, 0),
        ("cbam_resnext29_8x64d", 2, 98 + 2),
        # A depthwise kernel of the size of the image, and its normalisation.
        ("ge_resnext29_8x64d", 2, None),
        ("eca_resnext29_8x64d", 0, 5),
    ],
)
def test_parameters_of_an_attention(arch, dense, extra):
    more = 0
    for width, side in ((256, 32), (512, 16), (1024, 8)):
        more += 3 * (dense * width * width // 16 + (width // 16 + width if dense else 0))
        more += 3 * (side * side * width + 2 * width if extra is None else extra)
    assert architectures.variant(arch).params - architectures.variant("resnext29_8x64d").params == more


PARTS = {
    "shortcut": "identity_conv.conv",
    "shortcut_norm": "identity_conv.bn",
    "shortcut_conv1": "identity_branch.conv1",
    "shortcut_conv2": "identity_branch.conv2",
    "shortcut_out": "identity_branch.bn",
}


def paths_in_pytorchcv(model, net):
    """The modules of shortcuts and branches, whose order in ours may be another."""
    found = {}
    modules = dict(net.named_modules())
    for layer in model.layers:
        if not (match := re.fullmatch(r"stage(\d)_unit(\d+)_(shortcut.*|branch.*)", layer.name)) or not layer.weights:
            continue
        stage, unit, part = match.groups()
        theirs = PARTS.get(part) or re.sub(r"_(conv\d)(_norm)?", lambda m: f".{m[1]}.{'bn' if m[2] else 'conv'}", part)
        path = f"features.stage{stage}.unit{unit}.{theirs}"
        # Without a normalisation the convolution is the module itself.
        found[layer.name] = path if path in modules else path.removesuffix(".conv")
    return found


def assert_parity(net, arch, **overrides):
    model = architectures.create(arch, **overrides)
    assert_parity_in_order(model, net, paths_in_pytorchcv(model, net))


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


SE_CV = {"stem": kb.stem.cifar, "final_norm": False}


@pytest.mark.parametrize(
    ("arch", "name", "overrides"),
    [
        ("resnet20_preact", "preresnet20", {}),
        slow("resnet56_preact", "preresnet56", {}),
        slow("resnet110_preact", "preresnet110", {}),
        slow("resnet164_preact", "preresnet164bn", {}),
        slow("resnet56", "resnet56", {"shortcut": None}),
        slow("resnet110", "resnet110", {"shortcut": None}),
        slow("resnet164", "resnet164bn", {}),
        ("se_resnet20", "seresnet20", {"shortcut": None}),
        slow("se_resnet56", "seresnet56", {"shortcut": None}),
        slow("se_resnet110", "seresnet110", {"shortcut": None}),
        slow("se_resnet164", "seresnet164bn", {}),
        ("se_resnet20_preact", "sepreresnet20", SE_CV),
        slow("se_resnet56_preact", "sepreresnet56", SE_CV),
        slow("se_resnet110_preact", "sepreresnet110", SE_CV),
        slow("se_resnet164_preact", "sepreresnet164bn", SE_CV),
        slow("wrn16_10", "wrn16_10", {}),
        slow("wrn28_10", "wrn28_10", {}),
        slow("wrn28_10_dropout", "wrn28_10", {}),
        slow("wrn40_8", "wrn40_8", {}),
        *[slow(f"resnext20_{form}", f"resnext20_{form}", {}) for form in ("1x64d", "8x8d", "64x1d", "32x4d")],
        slow("resnext29_32x4d", "resnext29_32x4d", {}),
        slow("resnext29_16x64d", "resnext29_16x64d", {}),
        slow("resnext56_32x2d", "resnext56_32x2d", {}),
        ("shake_shake26_2x32d", "shakeshakeresnet20_2x16d", {"depths": (3, 3, 3), "widths": (16, 32, 64)}),
        slow("shake_shake26_2x32d", "shakeshakeresnet26_2x32d", {}),
    ],
)
def test_parity_with_pytorchcv(arch, name, overrides):
    provider = library("pytorchcv.model_provider")
    assert_parity(provider.get_model(f"{name}_cifar10"), arch, **overrides)


# Networks of its classes that are small, of the same units.
def test_parity_of_a_small_wide_resnet():
    net = library("pytorchcv.models.wrn_cifar").CIFARWRN([[32, 32], [64, 64], [128, 128]], 16)
    assert_parity(net, "wrn16_8", widths=(32, 64, 128))


@pytest.mark.parametrize("arch", ["resnext20_2x32d", "resnext29_8x64d"])
def test_parity_of_a_small_resnext(arch):
    groups, width = (int(number) for number in re.findall(r"(\d+)x(\d+)d", arch)[0])
    net = library("pytorchcv.models.resnext_cifar").CIFARResNeXt([[64], [128], [256]], 16, groups, width)
    assert_parity(net, arch, depths=(1, 1, 1), widths=(64, 128, 256), stem_filters=16)


@pytest.mark.parametrize("arch", ["resnet18_cifar", "resnet50_cifar"])
def test_parity_of_a_small_network_of_four_stages(arch):
    net = library("pytorchcv.models.resnet_cifar").CIFARResNet([[8], [16, 16], [32], [64]], 8, arch == "resnet50_cifar")
    small = {"depths": (1, 2, 1, 1), "widths": (8, 16, 32, 64), "stem_filters": 8, "input_shape": (64, 64, 3)}
    assert_parity(net, arch, **small)


@pytest.mark.parametrize("arch", ["resnet18_preact_cifar", "resnet50_preact_cifar"])
def test_parity_of_a_small_preactivation_network_of_four_stages(arch):
    models = library("pytorchcv.models.preresnet_cifar")
    net = models.CIFARPreResNet([[8], [16, 16], [32], [64]], 8, arch == "resnet50_preact_cifar")
    small = {"depths": (1, 2, 1, 1), "widths": (8, 16, 32, 64), "stem_filters": 8, "input_shape": (64, 64, 3)}
    assert_parity(net, arch, **small)


def test_parity_of_a_small_network_with_cbam():
    net = library("pytorchcv.models.cbamresnet").CbamResNet([[16], [32]], 16, False, num_classes=10)
    unit = partial(basic, attention=kb.attention.cbam)
    small = {"depths": (1, 1), "widths": (16, 32), "stem_filters": 16, "input_shape": (56, 56, 3), "classes": 10}
    assert_parity(net, "resnet18", unit=unit, **small)


def test_stochastic_depth_and_dropout_are_in_their_rows():
    deep = architectures.variant("resnet110_stochastic_depth").spec
    assert deep == replace(architectures.variant("resnet110").spec, drop_path=0.5)
    model = architectures.create("wrn28_10_dropout", depths=(1, 1, 1), widths=(16, 32, 64))
    found = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert found == {f"stage{i}_unit1_dropout": 0.3 for i in (1, 2, 3)}


def test_errors_of_the_papers():
    """Those of one paper fall with the depth, the width or the attention."""
    errors = {arch: architectures.variant(arch).errors for arch in architectures.names()}
    for worse, better in (
        ("resnet20", "resnet110"),
        ("resnet164", "resnet164_preact"),
        ("resnet164_preact", "resnet1001_preact"),
        ("wrn16_8", "wrn28_10"),
        ("wrn28_10", "wrn28_10_dropout"),
        ("resnext29_8x64d", "resnext29_16x64d"),
        ("resnet164_preact", "se_resnet164_preact"),
        ("shake_shake26_2x32d", "shake_shake26_2x96d"),
    ):
        assert errors[worse].keys() >= errors[better].keys() != set()
        assert all(errors[better][data] < errors[worse][data] for data in errors[better])
