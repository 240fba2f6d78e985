"""Every row: its counts, the shapes and names of its layers, what its overrides do, and what it computes."""

import math
import re
from collections import Counter
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from architectures import resnet
from kblocks.graph import features, profile
from kblocks.residual import preact_basic
from kblocks.style import batch_norm
from tests.architectures import pin
from tests.architectures.daily import DEEP, LARGE, SLOW
from tests.architectures.scramble import randomise

ROWS = architectures.names()
# By their source, not by name: one network is called tiny by its authors.
TINY = [name for name in ROWS if architectures.variant(name).source == "for tests"]


def rows(names, slow=()):
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


@pytest.fixture(scope="module")
def model(request):
    """A row as it stands; built once for all its tests."""
    return architectures.create(request.param)


every_row = pytest.mark.parametrize("model", rows(ROWS, SLOW), indirect=True, scope="module")


@every_row
class TestRow:
    def test_trainable_parameters(self, model):
        assert profile(model).trainable_params == architectures.variant(model.name).params
        assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == architectures.variant(model.name).params

    def test_multiply_adds(self, model):
        assert profile(model).macs == architectures.variant(model.name).macs

    def test_shapes_and_classes(self, model):
        row = architectures.variant(model.name)
        assert tuple(x.shape[1:] for x in model.inputs) == row.input_shapes
        assert {y.shape for y in model.outputs} == {(None, row.classes)}
        assert {y.dtype for y in model.outputs} == {"float32"}

    def test_the_last_layer_is_the_logits(self, model):
        last = model.layers[-1]
        if architectures.family(model.name) == "shared_dense":
            assert model.output_names == ["probability1", "probability2"]
        else:
            assert last.name == "logits"
            assert model.output_names == ["logits"]
            assert last.get_config()["activation"] == "linear"

    def test_stages_hold_units_and_units_end(self, model):
        names = {layer.name for layer in model.layers}
        found = [tuple(map(int, match.groups())) for n in names if (match := re.match(r"stage(\d+)_unit(\d+)_", n))]
        units = Counter(stage for stage, _ in set(found))
        assert set(found) == {(stage, unit) for stage, depth in units.items() for unit in range(1, depth + 1)}
        assert names.issuperset(f"stage{stage}_unit{unit}_out" for stage, unit in found)
        if architectures.family(model.name) not in ("mlp", "multi_input", "shared_dense", "lenet", "vgg", "siamese"):
            assert sorted(units) == list(range(1, len(units) + 1)) != []

    def test_features_at_each_stride(self, model):
        pools = [layer.input for layer in model.layers if layer.name == "pool" and len(layer.input.shape) == 4]
        if not pools:
            pytest.skip("no pooling at the end")
        side = architectures.variant(model.name).input_shape[0]
        strides = (4, 8, 16, 32) if model.name in LARGE else (2 ** round(math.log2(side / pools[0].shape[1])),)
        found = features(model, strides=strides)
        for y, stride in zip(found.outputs, strides, strict=True):
            # Padding and the lack of it move a side by a few positions.
            assert y.shape[1:3] == (pytest.approx(side / stride, abs=4),) * 2
        assert found.outputs[-1] is pools[0]
        # Blocks end there, and before a pooling of its own an activation, of its own or of a convolution.
        inner = [y._keras_history.operation for y in found.outputs[:-1]]
        relu = keras.activations.relu
        assert all(x.name.endswith(("_out", "_act")) or getattr(x, "activation", None) is relu for x in inner), inner

    def test_weights_have_the_pinned_order(self, model):
        assert pin.digest(model) == pin.read()[model.name]


def test_the_pinned_rows_are_the_rows():
    assert list(pin.read()) == ROWS


def test_a_digest_sees_the_order():
    def two_branches(first, second):
        x = keras.Input((4,), name="x")
        y = {name: keras.layers.Dense(2, name=name)(x) for name in (first, second)}
        return keras.Model(x, keras.layers.Add(name="out")([y[first], y[second]]))

    assert pin.digest(two_branches("a", "b")) == pin.digest(two_branches("a", "b"))
    assert pin.digest(two_branches("a", "b")) != pin.digest(two_branches("b", "a"))


# Torchvision's documentation, the papers, and the tutorials' own summaries.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet50_v1_5": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "googlenet": 6_998_552,
    "lenet5": 61_706,
    "lenet": 582_026,
    "mlp_784_64_10": 50_890,
    "multi_input": 801,
    "shared_dense": 562,
    "resnet20": 269_722,
    "resnet20_projection": 272_474,
    "resnet56": 853_018,
    "resnet164_preact": 1_703_258,
}


@pytest.mark.parametrize(("arch", "params"), PUBLISHED.items())
def test_published_parameters(arch, params):
    assert architectures.variant(arch).params == params


# Counted by building timm 1.0.31's networks of these papers. Its VGGs with normalisation have biases beside that, and
# its pre-activation ResNets none where ours have Keras's.
TIMM = {
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50_v1_5": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "inception_v3": 23_834_568,
    "inception_resnet_v2": 55_843_464,
    "xception": 22_855_952,
    "mobilenet": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v2_140": 6_108_776,
    "mobilenet_v2_050": 1_968_680,
    "mobilenet_v2_035": 1_677_128,
    "mobilenet_v2_075": 2_636_424,
    "mobilenet_v3_small": 2_542_856,
    "mobilenet_v3_small_075": 2_041_872,
    "mobilenet_v3_small_minimalistic": 2_044_736,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_large_075": 3_993_528,
    "mobilenet_v3_large_minimalistic": 3_924_288,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "nasnet_large": 88_753_150,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "efficientnet_v2_b0": 7_139_704,
    "efficientnet_v2_b1": 8_141_052,
    "efficientnet_v2_b2": 10_096_086,
    "efficientnet_v2_b3": 14_358_406,
    "efficientnet_v2_s": 21_458_488,
    "efficientnet_v2_m": 54_139_356,
    "efficientnet_v2_l": 118_515_272,
    "convnext_tiny": 28_589_128,
    "convnext_small": 50_223_688,
    "convnext_base": 88_591_464,
    "convnext_large": 197_767_336,
    "convnext_xlarge": 350_196_968,
}


@pytest.mark.parametrize(("arch", "params"), TIMM.items())
def test_parameters_as_timm_has_them(arch, params):
    assert architectures.variant(arch).params == params


class Count:
    """Parameters and multiply-adds, added up by hand on an image of `size × size`."""

    def __init__(self, size, channels):
        self.size, self.channels, self.params, self.macs = size, channels, 0, 0

    def conv(self, filters, kernel, *, stride=1, norm=True, bias=False, channels=None, keep=True):
        size, channels = -(-self.size // stride), channels or self.channels
        self.params += kernel * kernel * channels * filters + (2 * filters if norm else 0) + (filters if bias else 0)
        self.macs += size * size * kernel * kernel * channels * filters
        if keep:
            self.size, self.channels = size, filters
        return self

    def pool(self, stride=2):
        self.size = -(-self.size // stride)

    def dense(self, features, units):
        self.params += features * units + units
        self.macs += features * units


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


# Table 1 of the paper, its columns #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj; None is a max-pooling.
GOOGLENET = [
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
]


@pytest.mark.parametrize("arch", ["googlenet", "googlenet_bn", "googlenet_cifar"])
def test_googlenet_from_table_1(arch):
    norm, small = arch != "googlenet", arch == "googlenet_cifar"
    kind = {"norm": norm, "bias": not norm}
    count = Count(32 if small else 224, 3)
    if small:
        count.conv(192, 3, **kind)
    else:
        count.conv(64, 7, stride=2, **kind).pool()
        count.conv(64, 1, **kind).conv(192, 3, **kind).pool()
    for module in GOOGLENET:
        if module is None:
            count.pool()
            continue
        b1, r3, b3, r5, b5, pool = module
        for filters in (b1, r3, r5, pool):
            count.conv(filters, 1, keep=False, **kind)
        count.conv(b3, 3, channels=r3, keep=False, **kind)
        count.conv(b5, 5, channels=r5, keep=False, **kind)
        count.channels = b1 + b3 + b5 + pool
    assert (count.size, count.channels) == (8 if small else 7, 1024)
    count.dense(1024, 10 if small else 1000)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (count.params, count.macs)


def test_multiply_adds_of_the_small_networks():
    macs = {name: architectures.variant(name).macs for name in ROWS}
    # Windows of 5×5 without padding: 28 → 24, halved to 12 → 8, halved to 4.
    assert macs["lenet"] == 24**2 * 25 * 32 + 8**2 * 25 * 32 * 64 + 4**2 * 64 * 512 + 512 * 10
    # The first with padding: 28, halved to 14 → 10, halved to 5.
    assert macs["lenet5"] == 28**2 * 25 * 6 + 10**2 * 25 * 6 * 16 + 5**2 * 16 * 120 + 120 * 84 + 84 * 10
    assert macs["mlp_784_64_10"] == 784 * 64 + 64 * 10
    assert macs["multi_input"] == 32 * 16 + (16 + 16) * 8 + 8 * 1
    assert macs["shared_dense"] == 2 * (32 * 16 + 16 * 1)
    assert macs["siamese_lenet"] == 2 * (macs["lenet"] - 5120) + 512


def test_multiply_adds_of_a_joint_batch():
    # On 28 pixels of one channel, halved to 14 and 7; for both images, with one logit of 64 features.
    tower = 28**2 * 9 * 16
    for side, before, width in ((28, 16, 16), (14, 16, 32), (7, 32, 64)):
        tower += side**2 * 9 * (before * width + 5 * width * width)
    assert architectures.variant("siamese_resnet20").macs == 2 * tower + 64


SHAPES = {
    "lenet": {
        "stage1_conv": (24, 24, 32), "stage1_out": (12, 12, 32), "stage2_conv": (8, 8, 64), "stage2_out": (4, 4, 64),
        "flatten": (1024,), "hidden_dense1": (512,), "logits": (10,),
    },
    "lenet5": {
        "stage1_conv": (28, 28, 6), "stage1_out": (14, 14, 6), "stage2_conv": (10, 10, 16), "stage2_out": (5, 5, 16),
        "hidden_dense1": (120,), "hidden_dense2": (84,), "logits": (10,),
    },
    "mlp_784_64_10": {"hidden_dense1": (64,), "logits": (10,)},
    "resnet20": {
        "stem_conv": (32, 32, 16), "stem_out": (32, 32, 16),
        "stage1_unit1_conv1": (32, 32, 16), "stage1_unit1_out": (32, 32, 16), "stage1_unit3_out": (32, 32, 16),
        "stage2_unit1_conv1": (16, 16, 32), "stage2_unit1_shortcut_out": (16, 16, 32), "stage2_unit3_out": (16, 16, 32),
        "stage3_unit1_out": (8, 8, 64), "stage3_unit3_out": (8, 8, 64), "pool": (64,), "logits": (10,),
    },
    "resnet50": {
        "stem_conv": (112, 112, 64), "stem_out": (56, 56, 64),
        "stage1_unit1_conv1": (56, 56, 64), "stage1_unit1_shortcut": (56, 56, 256), "stage1_unit3_out": (56, 56, 256),
        "stage2_unit1_conv1": (28, 28, 128), "stage2_unit1_conv3": (28, 28, 512), "stage2_unit4_out": (28, 28, 512),
        "stage3_unit6_out": (14, 14, 1024), "stage4_unit3_out": (7, 7, 2048), "pool": (2048,), "logits": (1000,),
    },
    "resnet50_v1_5": {"stage2_unit1_conv1": (56, 56, 128), "stage2_unit1_conv2": (28, 28, 128)},
    "resnet18": {"stem_out": (56, 56, 64), "stage1_unit2_out": (56, 56, 64), "stage4_unit2_out": (7, 7, 512)},
    "resnet164_preact": {
        "stem_out": (32, 32, 16), "stage1_unit18_out": (32, 32, 64), "stage2_unit18_out": (16, 16, 128),
        "stage3_unit18_out": (8, 8, 256), "norm": (8, 8, 256), "act": (8, 8, 256),
    },
    "googlenet": {
        "stem_conv1": (112, 112, 64), "stem_pool1": (56, 56, 64), "stem_conv3": (56, 56, 192),
        "stem_out": (28, 28, 192),
        "stage1_unit1_out": (28, 28, 256), "stage1_unit2_out": (28, 28, 480),
        "stage2_pool": (14, 14, 480), "stage2_unit1_out": (14, 14, 512), "stage2_unit4_out": (14, 14, 528),
        "stage2_unit5_out": (14, 14, 832), "stage3_pool": (7, 7, 832), "stage3_unit1_out": (7, 7, 832),
        "stage3_unit2_1x1": (7, 7, 384), "stage3_unit2_3x3_reduce": (7, 7, 192), "stage3_unit2_3x3": (7, 7, 384),
        "stage3_unit2_5x5_reduce": (7, 7, 48), "stage3_unit2_5x5": (7, 7, 128),
        "stage3_unit2_pool_project": (7, 7, 128), "stage3_unit2_out": (7, 7, 1024), "pool": (1024,), "logits": (1000,),
    },
    "googlenet_cifar": {"stem_out": (32, 32, 192), "stage1_unit2_out": (32, 32, 480), "stage3_unit2_out": (8, 8, 1024)},
}  # fmt: skip


@pytest.mark.parametrize("arch", SHAPES)
def test_shapes_by_layer_name(arch):
    model = architectures.create(arch)
    found = {name: model.get_layer(name).output.shape[1:] for name in SHAPES[arch]}
    assert found == SHAPES[arch]


@pytest.mark.parametrize("arch", rows(ROWS, LARGE | DEEP))
def test_built_twice_the_same_names(arch):
    first, second = architectures.create(arch), architectures.create(arch)
    assert [op.name for op in first.layers] == [op.name for op in second.layers]
    assert [(w.path, tuple(w.shape)) for w in first.weights] == [(w.path, tuple(w.shape)) for w in second.weights]


@pytest.fixture
def dtype_policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("dtype_policy", ["mixed_bfloat16", "mixed_float16", "float32"], indirect=True)
@pytest.mark.parametrize("arch", [*TINY, "resnet20", "siamese_resnet20", "lenet5"])
def test_outputs_are_float32_under_every_policy(arch, dtype_policy):
    overrides = {"auxiliary": True} if arch.startswith("googlenet") else {}
    model = architectures.create(arch, **overrides)
    assert {y.dtype for y in model.outputs} == {"float32"}
    # Not that the policy went unheard: the networks themselves compute in it.
    inner = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    heads = [layer for layer in inner if "logits" in layer.name]
    assert {layer.compute_dtype for layer in heads} == {"float32"}
    assert {layer.compute_dtype for layer in inner if layer not in heads} == {dtype_policy.removeprefix("mixed_")}
    x = [np.ones((2, *x.shape[1:]), "float32") for x in model.inputs]
    for y in keras.tree.flatten(model(x if len(x) > 1 else x[0])):
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
        assert np.isfinite(keras.ops.convert_to_numpy(y)).all()


class TestOverrides:
    @pytest.mark.parametrize(
        ("arch", "depths"), [("resnet20", (3, 3, 3)), ("resnet_tiny", (1, 1)), ("resnet56", (9, 9, 9))]
    )
    def test_drop_path_rises_to_the_last_unit(self, arch, depths):
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

    def test_drop_path_leaves_out_whole_residuals(self):
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

    def test_style(self):
        model = architectures.create("resnet_tiny", style=kb.SWISH_BN)
        activations = {
            layer.get_config()["activation"] for layer in model.layers if isinstance(layer, keras.layers.Activation)
        }
        assert activations == {"silu"}
        assert model.get_layer("stage2_unit1_conv1").padding == "same"
        assert "stage2_unit1_conv1_pad" in [layer.name for layer in architectures.create("resnet_tiny").layers]
        assert "stage2_unit1_conv1_pad" not in [layer.name for layer in model.layers]

    @pytest.mark.parametrize(
        "arch", ["mlp_tiny", "lenet_tiny", "multi_input_tiny", "shared_dense_tiny", "googlenet_tiny"]
    )
    def test_style_reaches_every_layer(self, arch):
        style = replace(kb.TANH, regularizer={"class_name": "L2", "config": {"l2": 0.25}})
        model = architectures.create(arch, style=style)
        nested = model._flatten_layers()
        inner = [
            x for x in nested if isinstance(x, keras.layers.Conv2D | keras.layers.Dense) and "logits" not in x.name
        ]
        assert inner
        for layer in inner:
            assert layer.kernel_regularizer.l2 == 0.25
            assert isinstance(layer.kernel_initializer, keras.initializers.GlorotUniform)

    @pytest.mark.parametrize(
        ("arch", "layer"),
        [
            ("mlp_tiny", "hidden_dropout1"),
            ("lenet_tiny", "dropout"),
            ("resnet_tiny", "dropout"),
            ("googlenet_tiny", "dropout"),
        ],
    )
    def test_dropout(self, arch, layer):
        assert architectures.create(arch, dropout=0.3).get_layer(layer).rate == 0.3
        without = architectures.create(arch, dropout=0.0).layers
        assert not [x for x in without if isinstance(x, keras.layers.Dropout)]

    def test_a_unit_of_ones_own(self):
        def unit(x, filters, *, stride=1, drop_path=0.0, style, name):
            return kb.conv.conv_norm_act(x, filters, 3, stride=stride, style=style, name=f"{name}_mine")

        model = architectures.create("resnet_tiny", unit=unit, shortcut=None)
        assert model.get_layer("stage2_unit1_mine").output.shape == (None, 8, 8, 8)

    def test_preactivation(self):
        model = architectures.create(
            "resnet_tiny", unit=preact_basic, shortcut=None, stem=kb.stem.bare, final_norm=True
        )
        names = [layer.name for layer in model.layers]
        assert names[-4:] == ["norm", "act", "pool", "logits"]
        assert isinstance(model.get_layer("stage1_unit1_out"), keras.layers.Add)
        assert names.index("stage1_unit1_norm") < names.index("stage1_unit1_conv1")
        assert isinstance(model.get_layer("stem_out"), keras.layers.Conv2D)

    def test_depths_and_widths_of_one_length(self):
        with pytest.raises(
            ValueError, match=r"`depths` and `widths` must be of one length; got \(1, 1\) and \(4, 8, 16\)"
        ):
            architectures.create("resnet_tiny", widths=(4, 8, 16))

    @pytest.mark.parametrize(("override", "value"), [("drop_path", 1.0), ("dropout", -0.1)])
    def test_rates_out_of_range(self, override, value):
        with pytest.raises(ValueError, match="at least 0 and below 1"):
            architectures.create("resnet_tiny", **{override: value})


class TestAuxiliaryHeads:
    def test_three_outputs_and_their_parameters(self):
        model = architectures.create("googlenet", auxiliary=True)
        assert model.output_names == ["logits", "auxiliary1_logits", "auxiliary2_logits"]
        assert [y.shape for y in model.outputs] == [(None, 1000)] * 3
        # After 4a and 4d: a 5×5 mean of stride 3 makes 14×14 to 4×4; then 128 filters, 1024 units, 1000 classes.
        heads = sum(
            (channels * 128 + 128) + (4 * 4 * 128 * 1024 + 1024) + (1024 * 1000 + 1000) for channels in (512, 528)
        )
        assert profile(model).trainable_params == 6_998_552 + heads
        macs = sum(4 * 4 * channels * 128 + 4 * 4 * 128 * 1024 + 1024 * 1000 for channels in (512, 528))
        assert profile(model).macs == architectures.variant("googlenet").macs + macs
        for i, channels in ((1, 512), (2, 528)):
            assert model.get_layer(f"auxiliary{i}_pool").input.shape == (None, 14, 14, channels)
            assert model.get_layer(f"auxiliary{i}_dropout").rate == 0.7
        assert model.get_layer("auxiliary1_pool").input is model.get_layer("stage2_unit1_out").output
        assert model.get_layer("auxiliary2_pool").input is model.get_layer("stage2_unit4_out").output
        assert model.get_layer("dropout").rate == 0.4

    def test_small_images(self):
        model = architectures.create("googlenet_cifar", auxiliary=True, classes=7)
        assert [y.shape for y in model.outputs] == [(None, 7)] * 3

    def test_no_heads_without_classes(self):
        model = architectures.create("googlenet_tiny", auxiliary=True, classes=0)
        assert model.output_shape == (None, 8, 8, 16)

    def test_one_stage_has_no_middle(self):
        with pytest.raises(ValueError, match=r"second stage; got 1 stage\(s\)"):
            architectures.create("googlenet_tiny", auxiliary=True, stages=(((4, (2, 4), (2, 4), 4),),))


def test_resnet50_computes_what_keras_applications_computes():
    """The same weights in another implementation of the paper, whose convolutions carry biases: μ becomes μ − b."""
    theirs = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classifier_activation=None, classes=20)
    randomise(theirs)
    style = replace(resnet.SYMMETRIC, norm=partial(batch_norm, epsilon=1.001e-5))
    ours = architectures.create("resnet50", input_shape=(64, 64, 3), classes=20, style=style)
    pairs = {"conv1": "stem_conv"}
    for i, depth in enumerate((3, 4, 6, 3), 1):
        for j in range(1, depth + 1):
            for k in range(0 if j == 1 else 1, 4):
                part = f"conv{k}" if k else "shortcut"
                pairs[f"conv{i + 1}_block{j}_{k}"] = f"stage{i}_unit{j}_{part}"
    for their, our in pairs.items():
        kernel, bias = theirs.get_layer(f"{their}_conv").get_weights()
        gamma, beta, mean, variance = theirs.get_layer(f"{their}_bn").get_weights()
        ours.get_layer(our).set_weights([kernel])
        ours.get_layer(f"{our}_norm").set_weights([gamma, beta, mean - bias, variance])
    ours.get_layer("logits").set_weights(theirs.get_layer("predictions").get_weights())
    assert len(ours.weights) == 5 * len(pairs) + 2
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(4, 64, 64, 3)) + 2 * rng.normal(size=(4, 1, 1, 3))).astype("float32")
    expected = keras.ops.convert_to_numpy(theirs(x, training=False))
    found = keras.ops.convert_to_numpy(ours(x, training=False))
    scale = np.abs(expected).max()
    assert expected.std(axis=0).max() > 0.1 * scale  # else the images would not differ in what they make of them
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)


def window(x, size, stride, pad):
    """All windows of `x` padded by `pad` with zeros: `(batch, height, width, channels, size, size)`."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]


class Numpy:
    """A model's layers by name, in NumPy."""

    def __init__(self, model):
        self.model = model

    def weights(self, name):
        return self.model.get_layer(name).get_weights()

    def conv(self, x, name, stride=1):
        kernel, *bias = self.weights(name)
        size = kernel.shape[0]
        y = np.einsum("bhwcij,ijco->bhwo", window(x, size, stride, size // 2), kernel, optimize=True)
        return y + bias[0] if bias else y

    def conv_norm(self, x, name, stride=1):
        gamma, beta, mean, variance = self.weights(f"{name}_norm")
        return gamma * (self.conv(x, name, stride) - mean) / np.sqrt(variance + 1e-5) + beta

    def dense(self, x, name):
        kernel, bias = self.weights(name)
        return x @ kernel + bias


def relu(x):
    return np.maximum(x, 0)


def test_resnet_with_padded_shortcuts_in_numpy():
    model = architectures.create("resnet_tiny")
    randomise(model)
    net = Numpy(model)
    images = np.random.default_rng(1).normal(size=(3, 16, 16, 3)).astype("float32")
    x = relu(net.conv_norm(images, "stem_conv"))
    y = net.conv_norm(relu(net.conv_norm(x, "stage1_unit1_conv1")), "stage1_unit1_conv2")
    x = relu(x + y)
    y = net.conv_norm(relu(net.conv_norm(x, "stage2_unit1_conv1", stride=2)), "stage2_unit1_conv2")
    x = relu(np.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, 4))) + y)
    expected = net.dense(x.mean((1, 2)), "logits")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), expected, rtol=1e-4, atol=1e-4)


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
        y = net.conv(relu(net.conv_norm(a, f"{unit}_conv1", stride)), f"{unit}_conv2")
        x = (net.conv(a, f"{unit}_shortcut", stride) if stride == 2 else x) + y
    expected = net.dense(norm_act(x, "norm").mean((1, 2)), "logits")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), expected, rtol=1e-4, atol=1e-4)


def test_googlenet_in_numpy():
    model = architectures.create("googlenet_tiny", input_shape=(9, 9, 3))
    randomise(model)
    net = Numpy(model)

    def max_pool(x, stride):
        return window(x, 3, stride, 1).max((-2, -1))

    images = np.random.default_rng(1).normal(size=(3, 9, 9, 3)).astype("float32")
    x = relu(net.conv(images, "stem_conv"))
    for stage in ("stage1", "stage2", "stage3"):
        if stage != "stage1":
            # At odd sizes "same" pads both sides alike, and after a ReLU a padding of zeros changes no maximum.
            x = max_pool(x, 2)
        unit = f"{stage}_unit1"
        y1 = relu(net.conv(x, f"{unit}_1x1"))
        y3 = relu(net.conv(relu(net.conv(x, f"{unit}_3x3_reduce")), f"{unit}_3x3"))
        y5 = relu(net.conv(relu(net.conv(x, f"{unit}_5x5_reduce")), f"{unit}_5x5"))
        yp = relu(net.conv(max_pool(x, 1), f"{unit}_pool_project"))
        x = np.concatenate([y1, y3, y5, yp], axis=-1)
    expected = net.dense(x.mean((1, 2)), "logits")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", ["lenet", "lenet5"])
def test_lenet_in_numpy(arch):
    model = architectures.create(arch)
    randomise(model)
    net = Numpy(model)
    act = np.tanh if arch == "lenet5" else relu
    pool = np.mean if arch == "lenet5" else np.max

    def halve(x):
        b, h, w, c = x.shape
        return pool(x.reshape(b, h // 2, 2, w // 2, 2, c), axis=(2, 4))

    x = images = np.random.default_rng(1).normal(size=(2, 28, 28, 1)).astype("float32")
    for i, crop in ((1, 0 if arch == "lenet5" else 2), (2, 2)):
        y = net.conv(x, f"stage{i}_conv")
        x = halve(act(y[:, crop : y.shape[1] - crop, crop : y.shape[2] - crop]))
    x = x.reshape(len(x), -1)
    for i in range(1, 3 if arch == "lenet5" else 2):
        x = act(net.dense(x, f"hidden_dense{i}"))
    expected = net.dense(x, "logits")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), expected, rtol=1e-4, atol=1e-4)


def test_two_inputs_in_numpy():
    model = architectures.create("multi_input")
    net = Numpy(model)
    a, b = (np.random.default_rng(i).normal(size=(3, n)).astype("float32") for i, n in ((0, 32), (1, 16)))
    x = np.concatenate([relu(net.dense(a, "fuse_tower1")), b], axis=-1)
    expected = net.dense(relu(net.dense(x, "dense")), "logits")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model([a, b])), expected, rtol=1e-4, atol=1e-5)


def test_a_shared_layer_in_numpy():
    model = architectures.create("shared_dense")
    net = Numpy(model)
    kernel, bias = model.get_layer("shared").get_weights()
    inputs = [np.random.default_rng(i).normal(size=(3, 32)).astype("float32") for i in range(2)]
    for i, (x, y) in enumerate(zip(inputs, model(inputs), strict=True), 1):
        expected = 1 / (1 + np.exp(-net.dense(relu(x @ kernel + bias), f"logits{i}")))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, rtol=1e-4, atol=1e-5)
