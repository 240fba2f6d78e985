"""The three MobileNets: counts from the papers' tables and other zoos, shapes, small and odd images, overrides."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from architectures import mobilenet_v2, mobilenet_v3
from tests.architectures import test_parity as parity
from tests.support.models import predict
from tests.support.torch_networks import assert_parity_in_order, library

# Torchvision's documentation.
PUBLISHED = {"mobilenet_v2": 3_504_872, "mobilenet_v3_large": 5_483_032, "mobilenet_v3_small": 2_542_856}


@pytest.mark.parametrize(("arch", "params"), PUBLISHED.items())
def test_published_parameters(arch, params):
    assert architectures.variant(arch).params == params


class Count:
    """Parameters and multiply-adds, added up by hand on an image of `size × size`; every convolution has a norm."""

    def __init__(self, size, channels=3):
        self.size, self.channels, self.params, self.macs = size, channels, 0, 0

    def conv(self, filters, kernel=1, stride=1):
        self.size = -(-self.size // stride)
        self.params += kernel**2 * self.channels * filters + 2 * filters
        self.macs += self.size**2 * kernel**2 * self.channels * filters
        self.channels = filters

    def depthwise(self, kernel=3, stride=1):
        self.size = -(-self.size // stride)
        self.params += kernel**2 * self.channels + 2 * self.channels
        self.macs += self.size**2 * kernel**2 * self.channels

    def dense(self, features, units):
        self.params += features * units + units
        self.macs += features * units

    @property
    def row(self):
        return self.params, self.macs


def counts(arch):
    return architectures.variant(arch).params, architectures.variant(arch).macs


@pytest.mark.parametrize(
    ("arch", "alpha"), [("mobilenet", 1), ("mobilenet_075", 0.75), ("mobilenet_050", 0.5), ("mobilenet_025", 0.25)]
)
def test_mobilenet_from_table_1(arch, alpha):
    count = Count(224)
    count.conv(int(32 * alpha), 3, stride=2)
    filters = [64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    for i, width in enumerate(filters):
        count.depthwise(stride=2 if i in (1, 3, 5, 11) else 1)
        count.conv(int(width * alpha))
    assert count.size == 7
    count.dense(count.channels, 1000)
    assert counts(arch) == count.row


# Stem, stages and head, as timm's networks of these multipliers have them.
WIDTHS = {
    "mobilenet_v2": (32, 16, 24, 32, 64, 96, 160, 320, 1280),
    "mobilenet_v2_140": (48, 24, 32, 48, 88, 136, 224, 448, 1792),
    "mobilenet_v2_130": (40, 24, 32, 40, 80, 128, 208, 416, 1664),
    "mobilenet_v2_075": (24, 16, 24, 24, 48, 72, 120, 240, 1280),
    "mobilenet_v2_050": (16, 8, 16, 16, 32, 48, 80, 160, 1280),
    "mobilenet_v2_035": (16, 8, 8, 16, 24, 32, 56, 112, 1280),
}


@pytest.mark.parametrize(("arch", "widths"), WIDTHS.items())
def test_mobilenet_v2_from_table_2(arch, widths):
    count = Count(224)
    stem, *stages, head = widths
    count.conv(stem, 3, stride=2)
    for i, (width, depth) in enumerate(zip(stages, (1, 2, 3, 4, 3, 3, 1), strict=True)):
        for j in range(depth):
            if i:
                count.conv(6 * count.channels)
            count.depthwise(stride=2 if i in (1, 2, 3, 5) and not j else 1)
            count.conv(width)
    count.conv(head)
    assert count.size == 7
    count.dense(head, 1000)
    assert counts(arch) == count.row


# Kernel, width inside, width out, width between the matrices of squeeze-and-excite (a quarter, in steps of 8), stride.
LARGE = [
    (3, 16, 16, 0, 1), (3, 64, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 24, 2), (5, 120, 40, 32, 1),
    (5, 120, 40, 32, 1), (3, 240, 80, 0, 2), (3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1),
    (3, 480, 112, 120, 1), (3, 672, 112, 168, 1), (5, 672, 160, 168, 2), (5, 960, 160, 240, 1), (5, 960, 160, 240, 1),
]  # fmt: skip
SMALL = [
    (3, 16, 16, 8, 2), (3, 72, 24, 0, 2), (3, 88, 24, 0, 1), (5, 96, 40, 24, 2), (5, 240, 40, 64, 1),
    (5, 240, 40, 64, 1), (5, 120, 48, 32, 1), (5, 144, 48, 40, 1), (5, 288, 96, 72, 2), (5, 576, 96, 144, 1),
    (5, 576, 96, 144, 1),
]  # fmt: skip


@pytest.mark.parametrize("minimalistic", [False, True])
@pytest.mark.parametrize(
    ("arch", "units", "head", "hidden"),
    [("mobilenet_v3_large", LARGE, 960, 1280), ("mobilenet_v3_small", SMALL, 576, 1024)],
)
def test_mobilenet_v3_from_tables_1_and_2(arch, units, head, hidden, minimalistic):
    count = Count(224)
    count.conv(16, 3, stride=2)
    for i, (kernel, inside, out, squeezed, stride) in enumerate(units):
        if i:
            count.conv(inside)
        count.depthwise(3 if minimalistic else kernel, stride)
        if squeezed and not minimalistic:
            count.dense(inside, squeezed)
            count.dense(squeezed, inside)
        count.conv(out)
    count.conv(head)
    assert count.size == 7
    count.dense(head, hidden)
    count.dense(hidden, 1000)
    assert counts(f"{arch}_minimalistic" if minimalistic else arch) == count.row


SHAPES = {
    "mobilenet": {
        "stem_out": (112, 112, 32), "stage1_unit1_out": (112, 112, 64), "stage2_unit2_out": (56, 56, 128),
        "stage3_unit2_out": (28, 28, 256), "stage4_unit6_out": (14, 14, 512), "stage5_unit1_depthwise": (7, 7, 512),
        "stage5_unit2_out": (7, 7, 1024), "pool": (1024,), "logits": (1000,),
    },
    "mobilenet_v2": {
        "stem_out": (112, 112, 32), "stage1_unit1_out": (112, 112, 16), "stage2_unit1_expand": (112, 112, 96),
        "stage2_unit2_out": (56, 56, 24), "stage3_unit3_out": (28, 28, 32), "stage4_unit4_out": (14, 14, 64),
        "stage5_unit3_out": (14, 14, 96), "stage6_unit3_out": (7, 7, 160), "stage7_unit1_out": (7, 7, 320),
        "head_out": (7, 7, 1280), "pool": (1280,), "logits": (1000,),
    },
    "mobilenet_v3_large": {
        "stem_out": (112, 112, 16), "stage2_unit2_out": (56, 56, 24), "stage3_unit3_out": (28, 28, 40),
        "stage4_unit4_out": (14, 14, 80), "stage5_unit2_out": (14, 14, 112), "stage6_unit3_out": (7, 7, 160),
        "stage3_unit1_attention_reduce": (1, 1, 24), "head_out": (7, 7, 960), "pool": (960,), "head_dense": (1280,),
        "logits": (1000,),
    },
    "mobilenet_v3_small_075": {
        "stem_out": (112, 112, 16), "stage1_unit1_out": (56, 56, 16), "stage2_unit2_out": (28, 28, 24),
        "stage3_unit3_out": (14, 14, 32), "stage4_unit2_out": (14, 14, 40), "stage5_unit3_out": (7, 7, 72),
        "head_out": (7, 7, 432), "head_dense": (1024,),
    },
}  # fmt: skip


@pytest.mark.parametrize("arch", SHAPES)
def test_shapes_by_layer_name(arch):
    model = architectures.create(arch)
    assert {name: model.get_layer(name).output.shape[1:] for name in SHAPES[arch]} == SHAPES[arch]


def norms(model):
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return [(norm.momentum, norm.epsilon) for norm in norms]


@pytest.mark.parametrize("shape", [(61, 75, 3), (33, 33, 1)])
@pytest.mark.parametrize("arch", ["mobilenet_025", "mobilenet_v2_035", "mobilenet_v3_small_075"])
def test_odd_images_as_keras_takes_them(arch, shape):
    theirs = parity.maker(arch)(input_shape=shape, include_top=False)
    parity.scramble(theirs, shape)
    ours = architectures.create(arch, input_shape=shape, classes=0)
    architectures.port_from_keras(ours, theirs)
    parity.compare(ours, theirs, shape)
    assert norms(ours) == norms(theirs)


class TestSmallImages:
    @pytest.mark.parametrize("arch", ["mobilenet_025", "mobilenet_v2_035", "mobilenet_v3_small_075"])
    @pytest.mark.parametrize(("shape", "floor", "ceil"), [((32, 32, 3), 2, 2), ((28, 28, 1), 1, 2)])
    def test_a_stem_that_keeps_the_size(self, arch, shape, floor, ceil):
        model = architectures.create(arch, input_shape=shape, classes=0, stem=kb.stem.cifar)
        size = floor if arch == "mobilenet_025" else ceil
        assert model.output_shape[1:3] == (size, size)

    @pytest.mark.parametrize("arch", ["mobilenet_v2_035", "mobilenet_v3_small_075"])
    def test_rounding_up_takes_any_size(self, arch):
        assert architectures.create(arch, input_shape=(7, 5, 1), classes=0, stem=kb.stem.mobile).output_shape[1:3] == (
            1,
            1,
        )

    def test_rounding_down_does_not(self):
        message = r"28×28×1: the output of the stem must be at least 16×16 for 5 stages; got 14×14 .*kblocks\.stem\.mni"
        with pytest.raises(ValueError, match=message):
            architectures.create("mobilenet_025", input_shape=(28, 28, 1))
        model = architectures.create(
            "mobilenet_025", input_shape=(28, 28, 1), padding="same", classes=0, stem=kb.stem.mobile
        )
        assert model.output_shape[1:3] == (1, 1)


TINY = ["mobilenet_tiny", "mobilenet_v2_tiny", "mobilenet_v3_tiny"]


@pytest.mark.parametrize("arch", TINY)
def test_the_style_reaches_every_layer(arch):
    style = replace(kb.TANH, regularizer={"class_name": "L2", "config": {"l2": 0.25}})
    model = architectures.create(arch, style=style, classes=0)
    kernels = [weight for weight in model.trainable_weights if weight.name == "kernel"]
    assert [weight.regularizer.l2 for weight in kernels] == [0.25] * len(kernels)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    found = {layer.name: layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")}
    acts = {function for name, function in found.items() if "attention" not in name} - {"linear"}
    assert acts == ({"tanh", "relu"} if arch == "mobilenet_v3_tiny" else {"tanh"})


@pytest.mark.parametrize("arch", TINY)
@pytest.mark.parametrize("alpha", [0, -1.0, True])
def test_no_alpha(arch, alpha):
    with pytest.raises(ValueError, match=f"`alpha` must be a positive number; got {alpha!r}"):
        architectures.create(arch, alpha=alpha)


@pytest.mark.parametrize(("arch", "rate"), [("mobilenet", 0.001), ("mobilenet_v2", 0), ("mobilenet_v3_small", 0.2)])
def test_dropout_of_the_rows(arch, rate):
    assert architectures.variant(arch).spec.dropout == rate
    tiny = next(name for name in TINY if architectures.family(name) == architectures.family(arch))
    assert architectures.create(tiny, dropout=0.3).get_layer("dropout").rate == 0.3


class TestMobileNetV3:
    def test_a_hidden_layer_between_the_mean_and_the_logits(self):
        model = architectures.create("mobilenet_v3_tiny")
        names = [layer.name for layer in model.layers]
        assert names[-5:] == ["head_out", "pool", "head_dense", "dropout", "logits"]
        assert model.get_layer("head_dense").activation.__name__ == "hard_silu"
        features = architectures.create("mobilenet_v3_tiny", classes=0, pooling="max")
        assert [layer.name for layer in features.layers][-2:] == ["head_out", "pool"]

    @pytest.mark.parametrize(("pooling", "kind"), [(None, "Average"), ("max", "Max"), ("flatten", "Flatten")])
    def test_pooling_stands_before_the_hidden_layer(self, pooling, kind):
        model = architectures.create("mobilenet_v3_tiny", pooling=pooling)
        assert kind in type(model.get_layer("pool")).__name__
        assert model.get_layer("head_dense").input is model.get_layer("pool").output

    def test_activations_by_unit(self):
        model = architectures.create("mobilenet_v3_small", input_shape=(64, 64, 3))
        found = {layer.name: layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")}
        assert found["stem_out"] == found["head_out"] == "hard_silu"
        assert found["stage2_unit1_depthwise_act"] == "relu"
        assert found["stage3_unit1_expand_act"] == found["stage3_unit1_depthwise_act"] == "hard_silu"
        assert found["stage3_unit1_attention_reduce"] == "relu"
        assert found["stage3_unit1_attention_gate"] == "hard_sigmoid"

    @pytest.mark.parametrize("arch", ["mobilenet_v3_small_minimalistic", "mobilenet_v3_large_minimalistic"])
    def test_minimalistic(self, arch):
        model = architectures.create(arch, input_shape=(64, 64, 3))
        assert not [layer for layer in model.layers if "attention" in layer.name]
        acts = {x.activation.__name__ for x in model.layers if isinstance(x, keras.layers.Activation)}
        assert acts == {"relu"}
        kernels = {x.kernel_size for x in model.layers if isinstance(x, keras.layers.DepthwiseConv2D)}
        assert kernels == {(3, 3)}

    def test_another_attention(self):
        def mute(x, *, style, name):
            return keras.layers.Rescaling(0.0, name=name)(x)

        model = architectures.create("mobilenet_v3_tiny", attention=mute)
        layers = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Rescaling)]
        assert layers == ["stage1_unit1_attention", "stage2_unit1_attention"]

    def test_a_stage_has_one_width(self):
        for stages in (mobilenet_v3.LARGE, mobilenet_v3.SMALL):
            widths = [{filters for _, _, filters, _, _, _ in stage} for stage in stages]
            assert all(len(width) == 1 for width in widths)


@pytest.mark.parametrize("arch", TINY)
def test_unknown_sizes(arch):
    model = architectures.create(arch, input_shape=(None, None, 3))
    for size in (32, 37):
        x = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype("float32")
        fixed = architectures.create(arch, input_shape=(size, size, 3))
        fixed.set_weights(model.get_weights())
        y, expected = (predict(each, x) for each in (model, fixed))
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_a_partial_of_the_units_makes_a_network_of_ones_own():
    x = keras.Input((32, 32, 3))
    unit = partial(
        kb.mobile.inverted_residual, expansion=4, attention=partial(kb.attention.squeeze_excite, ratio=1 / 8)
    )
    y = kb.compose.stage(kb.stem.mobile(x, 16), unit, 24, 2, stride=2, drop_paths=(0.0, 0.2))
    assert keras.Model(x, kb.head.classifier(y, 10)).output_shape == (None, 10)


# The networks for 1,000 classes, and the rows of their last matrix, the biases included.
SMALL_IMAGES = {
    "mobilenet_cifar": ("mobilenet", 1025),
    "mobilenet_v2_cifar": ("mobilenet_v2", 1281),
    "mobilenet_v2_140_cifar": ("mobilenet_v2_140", 1793),
    "mobilenet_v2_075_cifar": ("mobilenet_v2_075", 1281),
    "mobilenet_v2_050_cifar": ("mobilenet_v2_050", 1281),
    "mobilenet_v3_small_cifar": ("mobilenet_v3_small", 1025),
    "efficientnet_b0_cifar": ("efficientnet_b0", 1281),
}


@pytest.mark.parametrize(("arch", "large", "features"), [(arch, *row) for arch, row in SMALL_IMAGES.items()])
def test_networks_for_small_images_have_other_strides_and_other_logits(arch, large, features):
    assert architectures.variant(large).params - architectures.variant(arch).params == features * 990


def test_the_counts_of_chenyaofos_networks():
    found = {arch: architectures.variant(arch).params / 1e6 for arch in SMALL_IMAGES if "v2" in arch}
    assert {arch: round(params, 2) for arch, params in found.items()} == {
        "mobilenet_v2_cifar": 2.24, "mobilenet_v2_140_cifar": 4.33,
        "mobilenet_v2_075_cifar": 1.37, "mobilenet_v2_050_cifar": 0.70,
    }  # fmt: skip


def symmetric(arch):
    """The row with PyTorch's padding."""
    return replace(architectures.variant(arch).spec.style, padding="symmetric")


WIDTHS_FOR_SMALL_IMAGES = [
    ("mobilenet_v2_050_cifar", 0.5),
    ("mobilenet_v2_075_cifar", 0.75),
    ("mobilenet_v2_cifar", 1.0),
    pytest.param("mobilenet_v2_140_cifar", 1.4, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("arch", "alpha"), WIDTHS_FOR_SMALL_IMAGES)
def test_mobilenet_v2_for_small_images_as_torchvision_makes_it(arch, alpha):
    stages = [[t, c, n, 1 if c == 24 else s] for t, c, n, s in mobilenet_v2.STAGES]
    make = library("torchvision").models.mobilenet_v2
    net = make(num_classes=10, width_mult=alpha, inverted_residual_setting=stages)
    net.features[0][0].stride = (1, 1)
    assert_parity_in_order(architectures.create(arch, style=symmetric(arch)), net)


def test_mobilenet_v3_for_small_images_as_torchvision_makes_it():
    arch = "mobilenet_v3_small_cifar"
    net = library("torchvision").models.mobilenet_v3_small(num_classes=10, norm_layer=library("torch").nn.BatchNorm2d)
    net.features[0][0].stride = (1, 1)
    assert_parity_in_order(architectures.create(arch, style=symmetric(arch)), net)


def test_efficientnet_for_small_images_as_torchvision_makes_it():
    arch = "efficientnet_b0_cifar"
    net = library("torchvision").models.efficientnet_b0(num_classes=10)
    net.features[0][0].stride = (1, 1)
    assert_parity_in_order(architectures.create(arch, style=symmetric(arch)), net)


def test_mobilenet_for_small_images_as_pytorchcv_makes_it():
    arch = "mobilenet_cifar"
    net = library("pytorchcv.model_provider").get_model("mobilenet_w1", num_classes=10, in_size=(32, 32))
    net.features.init_block.conv.stride = (1, 1)
    net.features.final_pool = library("torch").nn.AdaptiveAvgPool2d(1)
    assert_parity_in_order(architectures.create(arch, style=symmetric(arch), padding="symmetric"), net)


@pytest.mark.parametrize("arch", SMALL_IMAGES)
def test_networks_for_small_images_take_28_pixels(arch):
    model = architectures.create(arch, input_shape=(28, 28, 1), classes=100)
    assert min(model.get_layer("pool").input.shape[1:3]) >= 2
    assert model.output_shape == (None, 100)
