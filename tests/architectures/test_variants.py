"""Every row: its counts, the shapes and names of its layers, what its overrides do, and what it computes."""

import math
import re
from collections import Counter
from dataclasses import replace
from operator import mul

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from kblocks.graph import features, profile
from tests.support import pinned
from tests.support.marks import daily
from tests.support.networks import DAILY, FAMILIES, LARGE, LIGHT

ROWS = architectures.names()
# By their source, not by name: one network is called tiny by its authors.
TINY = [name for name in ROWS if architectures.variant(name).source == "for tests"]


@pytest.fixture(scope="module")
def model(request):
    """A row as it stands; built once for all its tests."""
    return architectures.create(request.param)


every_row = pytest.mark.parametrize("model", daily(ROWS, DAILY), indirect=True, scope="module")


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
        pixels = row.input_shape[:2] if FAMILIES[architectures.family(model.name)].per_pixel else ()
        assert {y.shape for y in model.outputs} == {(None, *pixels, row.classes)}
        assert {y.dtype for y in model.outputs} == {"float32"}

    def test_the_last_layer_is_the_logits(self, model):
        last = model.layers[-1]
        if architectures.family(model.name) == "shared_dense":
            assert model.output_names == ["probability1", "probability2"]
        elif architectures.family(model.name) == "triplet":
            assert model.output_names == ["distances_out"]
        else:
            assert last.name == "logits"
            assert model.output_names == ["logits"]
            # A mean of class maps or a normalisation has none.
            assert last.get_config().get("activation", "linear") == "linear"

    def test_stages_hold_units_and_units_end(self, model):
        names = {layer.name for layer in model.layers}
        found = [tuple(map(int, match.groups())) for n in names if (match := re.match(r"stage(\d+)_unit(\d+)_", n))]
        units = Counter(stage for stage, _ in set(found))
        assert set(found) == {(stage, unit) for stage, depth in units.items() for unit in range(1, depth + 1)}
        assert names.issuperset(f"stage{stage}_unit{unit}_out" for stage, unit in found)
        if FAMILIES[architectures.family(model.name)].downsampling == "stem":
            assert sorted(units) == list(range(1, len(units) + 1)) != []

    def test_features_at_each_stride(self, model):
        pools = [layer.input for layer in model.layers if layer.name == "pool" and len(layer.input.shape) == 4]
        if not pools:
            pytest.skip("no pooling at the end")
        if architectures.family(model.name) == "shufflenet_v2":
            pytest.skip("each unit ends in a shuffle, a reshape behind which no stride is known")
        side = architectures.variant(model.name).input_shape[0]
        last = side / pools[0].shape[1]
        if architectures.family(model.name) == "convmixer":
            strides = (round(last),)  # that of the stem alone
        else:
            strides = (4, 8, 16, 32) if model.name in LARGE else (2 ** round(math.log2(last)),)
        found = features(model, strides=strides)
        for y, stride in zip(found.outputs, strides, strict=True):
            # Padding and the lack of it move a side by a few positions.
            assert y.shape[1:3] == (pytest.approx(side / stride, abs=4),) * 2
        assert found.outputs[-1]._keras_history.operation is pools[0]._keras_history.operation
        for y in found.outputs[:-1]:
            if architectures.family(model.name) == "nasnet":
                # Each cell reads the two before it: no tensor alone leads to the next.
                assert isinstance(y._keras_history.operation, keras.layers.Concatenate)
            else:
                # The features alone lead to the last ones: Keras refuses a model whose outputs need other inputs.
                keras.Model(y, pools[0])

    def test_weights_have_the_pinned_order(self, model):
        assert pinned.digest(model) == pinned.read()[model.name]


def test_the_pinned_rows_are_the_rows():
    assert list(pinned.read()) == ROWS


def test_a_digest_sees_the_order():
    def two_branches(first, second):
        x = keras.Input((4,), name="x")
        y = {name: keras.layers.Dense(2, name=name)(x) for name in (first, second)}
        return keras.Model(x, keras.layers.Add(name="out")([y[first], y[second]]))

    assert pinned.digest(two_branches("a", "b")) == pinned.digest(two_branches("a", "b"))
    assert pinned.digest(two_branches("a", "b")) != pinned.digest(two_branches("b", "a"))


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


# Parameters, and multiply-adds at the row's size, counted by building timm 1.0.31's networks of these papers and by
# PyTorch's FlopCounterMode. Its VGGs with normalisation have biases beside that, and its pre-activation ResNets none
# where ours have Keras's; its ResNet-101 and -152 halve images in another convolution, so that their products are more.
TIMM = {
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50_v1_5": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, None),
    "resnet152": (60_192_808, None),
    "inception_v3": (23_834_568, 5_713_216_096),
    "inception_resnet_v2": (55_843_464, 13_155_794_016),
    "xception": (22_855_952, 8_357_403_496),
    "mobilenet": (4_231_976, 568_740_352),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "mobilenet_v2_140": (6_108_776, 582_195_824),
    "mobilenet_v2_050": (1_968_680, 97_131_840),
    "mobilenet_v2_035": (1_677_128, 59_285_808),
    "mobilenet_v2_075": (2_636_424, 209_069_792),
    "mobilenet_v3_small": (2_542_856, 56_510_400),
    "mobilenet_v3_small_075": (2_041_872, 43_399_344),
    "mobilenet_v3_small_minimalistic": (2_044_736, 52_288_448),
    "mobilenet_v3_large": (5_483_032, 216_589_760),
    "mobilenet_v3_large_075": (3_993_528, 154_560_624),
    "mobilenet_v3_large_minimalistic": (3_924_288, 209_136_704),
    "densenet121": (7_978_856, 2_834_161_664),
    "densenet169": (14_149_480, 3_359_843_328),
    "densenet201": (20_013_928, 4_291_365_888),
    "nasnet_large": (88_753_150, 23_783_414_658),
    "efficientnet_b0": (5_288_548, 385_814_752),
    "efficientnet_b1": (7_794_184, 686_802_832),
    "efficientnet_b2": (9_109_994, 993_561_872),
    "efficientnet_b3": (12_233_232, 1_827_141_392),
    "efficientnet_b4": (19_341_616, 4_393_771_024),
    "efficientnet_b5": (30_389_784, 10_266_384_752),
    "efficientnet_b6": (43_040_704, 19_067_593_536),
    "efficientnet_b7": (66_347_960, 37_745_884_192),
    "efficientnet_v2_b0": (7_139_704, 718_086_176),
    "efficientnet_v2_b1": (8_141_052, 1_196_819_360),
    "efficientnet_v2_b2": (10_096_086, 1_697_542_832),
    "efficientnet_v2_b3": (14_358_406, 3_011_458_816),
    "efficientnet_v2_s": (21_458_488, 8_365_617_152),
    "efficientnet_v2_m": (54_139_356, 24_582_460_384),
    "efficientnet_v2_l": (118_515_272, 56_079_699_008),
    "convnext_tiny": (28_589_128, 4_455_531_264),
    "convnext_small": (50_223_688, 8_683_712_256),
    "convnext_base": (88_591_464, 15_354_729_472),
    "convnext_large": (197_767_336, 34_361_433_600),
    "convnext_xlarge": (350_196_968, 60_921_030_656),
}


@pytest.mark.parametrize("arch", TIMM)
def test_counts_as_timm_has_them(arch):
    row, (params, macs) = architectures.variant(arch), TIMM[arch]
    assert row.params == params
    # A learned scale is a dense layer on a one of ours, a product for each channel, and no product of timm's.
    scales = sum(map(mul, row.spec.depths, row.spec.widths)) if arch.startswith("convnext") else 0
    assert macs is None or row.macs == macs + scales


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


@pytest.mark.parametrize("arch", daily(ROWS, LIGHT))
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
    assert {layer.compute_dtype for layer in heads} == (set() if arch.startswith("triplet") else {"float32"})
    assert {layer.compute_dtype for layer in inner if layer not in heads} == {dtype_policy.removeprefix("mixed_")}
    x = [np.ones((2, *x.shape[1:]), "float32") for x in model.inputs]
    for y in keras.tree.flatten(model(x if len(x) > 1 else x[0])):
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
        assert np.isfinite(keras.ops.convert_to_numpy(y)).all()


class TestOverrides:
    @pytest.mark.parametrize(
        "arch", ["mlp_tiny", "lenet_tiny", "multi_input_tiny", "shared_dense_tiny", "googlenet_tiny"]
    )
    def test_style_reaches_every_layer(self, arch):
        style = replace(kb.TANH, regularizer={"class_name": "L2", "config": {"l2": 0.25}})
        model = architectures.create(arch, style=style)
        nested = model._flatten_layers()
        inner = [x for x in nested if isinstance(x, keras.layers.Conv2D | keras.layers.Dense)]
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

    @pytest.mark.parametrize(
        ("arch", "rows"),
        [
            ("mobilenet_tiny", [(), ((1, 2, 3),), (5,)]),
            ("mobilenet_v2_tiny", [(), ((1, 2),)]),
            ("mobilenet_v3_tiny", [(), ((),), (((1, 2),),)]),
            ("efficientnet_tiny", [(), ((1, 2),)]),
            ("googlenet_tiny", [(), ((),), (((1, 2),),)]),
            ("inception_tiny", [(), ((),)]),
        ],
    )
    def test_stages_hold_what_they_must(self, arch, rows):
        for stages in rows:
            with pytest.raises(ValueError, match="`stages` must hold at least one stage, all tuples"):
                architectures.create(arch, stages=stages)

    @pytest.mark.parametrize("arch", ["resnet_tiny", "convnext_toy", "xception_tiny", "nasnet_tiny", "vgg_tiny"])
    def test_depths_are_whole_numbers(self, arch):
        with pytest.raises(ValueError, match=r"`depths` must be a positive integer; got 1\.5"):
            architectures.create(arch, depths=(1.5, 1))

    @pytest.mark.parametrize("value", [1.0, -0.1, float("nan")])
    @pytest.mark.parametrize("override", ["drop_path", "dropout"])
    def test_shares_go_by_their_names(self, override, value):
        with pytest.raises(ValueError, match=f"`{override}` must be at least 0 and below 1; got {value}"):
            architectures.create("resnet_tiny", **{override: value})

    @pytest.mark.parametrize(("arch", "override"), [("mobilenet_tiny", "alpha"), ("efficientnet_tiny", "alpha")])
    def test_multipliers_are_finite(self, arch, override):
        with pytest.raises(ValueError, match=f"`{override}` must be a positive number; got inf"):
            architectures.create(arch, **{override: float("inf")})
