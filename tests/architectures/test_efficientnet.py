"""EfficientNet: counts from the papers' tables, units, rates and sizes, and what is done to an image first."""

import functools
import math
import sys

import keras
import numpy as np
import pytest
from keras import layers

import architectures
import kblocks as kb
from architectures.efficientnet import STYLE
from architectures.weights.preprocessing import preprocess
from kblocks.mobile import mbconv
from tests.support.models import predict

# Torchvision's documentation: parameters, and multiply-adds in billions. Its B2 is counted at another size.
TORCHVISION = {
    "efficientnet_b0": (5_288_548, 0.386),
    "efficientnet_b1": (7_794_184, 0.687),
    "efficientnet_b2": (9_109_994, None),
    "efficientnet_b3": (12_233_232, 1.827),
    "efficientnet_b4": (19_341_616, 4.394),
    "efficientnet_b5": (30_389_784, 10.266),
    "efficientnet_b6": (43_040_704, 19.068),
    "efficientnet_b7": (66_347_960, 37.746),
    "efficientnet_v2_s": (21_458_488, 8.366),
    "efficientnet_v2_m": (54_139_356, 24.582),
    "efficientnet_v2_l": (118_515_272, 56.080),
}

# The authors' table: parameters in millions, multiply-adds in billions.
AUTHORS = {
    "efficientnet_v2_b0": (7.1, 0.72),
    "efficientnet_v2_b1": (8.1, 1.2),
    "efficientnet_v2_b2": (10.1, 1.7),
    "efficientnet_v2_b3": (14.4, 3.0),
}


@pytest.mark.parametrize("arch", TORCHVISION)
def test_torchvisions_counts(arch):
    row, (params, billions) = architectures.variant(arch), TORCHVISION[arch]
    assert row.params == params
    assert billions is None or round(row.macs / 1e9, 3) == billions


@pytest.mark.parametrize("arch", AUTHORS)
def test_the_authors_counts(arch):
    row, (millions, billions) = architectures.variant(arch), AUTHORS[arch]
    assert round(row.params / 1e6, 1) == millions
    assert float(f"{row.macs / 1e9:.2g}") == billions


@pytest.mark.parametrize("arch", [*TORCHVISION, *AUTHORS])
def test_counts_in_closed_form(arch):
    row = architectures.variant(arch)
    spec, params, macs = row.spec, 0, 0

    def scaled(filters):
        multiple = 8 * math.floor(spec.alpha * filters / 8 + 0.5)
        return multiple + 8 * (multiple < spec.least_share * spec.alpha * filters)

    def conv(weights, filters, pixels):
        nonlocal params, macs
        params += weights + 2 * filters
        macs += pixels * weights

    side, channels = math.ceil(row.input_shape[0] / 2), scaled(spec.stem_filters)
    conv(27 * channels, channels, side**2)
    for unit, kernel, expansion, filters, depth, stride in spec.stages:
        for j in range(math.ceil(depth * spec.depth)):
            before, side = side, math.ceil(side / stride) if j == 0 else side
            wide, out, hidden = expansion * channels, scaled(filters), channels // 4
            if unit is mbconv:
                if expansion > 1:
                    conv(channels * wide, wide, before**2)
                conv(kernel**2 * wide, wide, side**2)
                params += 2 * wide * hidden + hidden + wide
                macs += 2 * wide * hidden
            elif expansion > 1:
                conv(kernel**2 * channels * wide, wide, side**2)
            conv((1 if unit is mbconv or expansion > 1 else kernel**2) * wide * out, out, side**2)
            channels = out
    conv(channels * scaled(1280), scaled(1280), side**2)
    params += 1000 * scaled(1280) + 1000
    macs += 1000 * scaled(1280)
    assert (row.params, row.macs) == (params, macs)


# With one unit a stage: of the stem, of each stage and of the last convolution.
SHAPES = {
    "efficientnet_b0": ((112, 32), (112, 16), (56, 24), (28, 40), (14, 80), (14, 112), (7, 192), (7, 320), (7, 1280)),
    "efficientnet_b2": ((130, 32), (130, 16), (65, 24), (33, 48), (17, 88), (17, 120), (9, 208), (9, 352), (9, 1408)),
    "efficientnet_b7": (
        (300, 64), (300, 32), (150, 48), (75, 80), (38, 160), (38, 224), (19, 384), (19, 640), (19, 2560)),
    "efficientnet_v2_b0": ((112, 32), (112, 16), (56, 32), (28, 48), (14, 96), (14, 112), (7, 192), (7, 1280)),
    "efficientnet_v2_b3": ((150, 40), (150, 16), (75, 40), (38, 56), (19, 112), (19, 136), (10, 232), (10, 1536)),
    "efficientnet_v2_s": ((192, 24), (192, 24), (96, 48), (48, 64), (24, 128), (24, 160), (12, 256), (12, 1280)),
    "efficientnet_v2_m": (
        (240, 24), (240, 24), (120, 48), (60, 80), (30, 160), (30, 176), (15, 304), (15, 512), (15, 1280)),
    "efficientnet_v2_l": (
        (240, 32), (240, 32), (120, 64), (60, 96), (30, 192), (30, 224), (15, 384), (15, 640), (15, 1280)),
}  # fmt: skip


def shallow(arch, **options):
    """A row's network with one unit a stage."""
    return architectures.create(arch, depth=0.01, **options)


@pytest.mark.parametrize("arch", SHAPES)
def test_shapes(arch):
    model = shallow(arch, classes=0)
    names = ["stem_out", *(f"stage{i}_unit1_out" for i in range(1, len(SHAPES[arch]) - 1)), "head_out"]
    assert model.layers[-1].name == "head_out"
    assert [model.get_layer(name).output.shape[1:] for name in names] == [(n, n, width) for n, width in SHAPES[arch]]


@pytest.mark.parametrize("arch", ["efficientnet_b0", "efficientnet_v2_s"])
@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1)])
def test_small_images(arch, shape):
    model = shallow(arch, input_shape=shape, stem=kb.stem.cifar, classes=0)
    assert model.output_shape == (None, 2, 2, 1280)


@pytest.mark.parametrize(
    ("depth", "depths"), [(0.3, (1, 1, 1)), (1.0, (1, 1, 2)), (1.4, (2, 2, 3)), (2.0, (2, 2, 4)), (3.1, (4, 4, 7))]
)
def test_depths_are_rounded_up(depth, depths):
    names = {layer.name for layer in architectures.create("efficientnet_tiny", depth=depth).layers}
    for i, count in enumerate(depths, 1):
        assert f"stage{i}_unit{count}_out" in names
        assert f"stage{i}_unit{count + 1}_out" not in names


def test_the_last_unit_has_the_whole_rate():
    model = architectures.create("efficientnet_tiny", depth=2.0, drop_path=0.28)
    found = {layer.name: (layer.rate, layer.noise_shape) for layer in model.layers if isinstance(layer, layers.Dropout)}
    # Of eight units the first has none, and those that change the shape have no shortcut.
    rates = {"1_unit2": 0.04, "2_unit2": 0.12, "3_unit2": 0.2, "3_unit3": 0.24, "3_unit4": 0.28}
    expected = {f"stage{unit}_drop_path": (pytest.approx(rate), (None, 1, 1, 1)) for unit, rate in rates.items()}
    assert found == expected | {"dropout": (0.2, None)}


def test_rates_are_the_authors():
    table = {"b0": 0.2, "b1": 0.2, "b2": 0.3, "b3": 0.3, "b4": 0.4, "b5": 0.4, "b6": 0.5, "b7": 0.5}
    table |= {"v2_b0": 0.2, "v2_b1": 0.2, "v2_b2": 0.3, "v2_b3": 0.3, "v2_s": 0.2, "v2_m": 0.3, "v2_l": 0.4}
    specs = {size: architectures.variant(f"efficientnet_{size}").spec for size in table}
    assert {size: spec.dropout for size, spec in specs.items()} == table
    assert {spec.drop_path for spec in specs.values()} == {0.2}


@pytest.mark.parametrize(
    ("channels", "options", "seen", "width"),
    [
        (24, {}, 144, 6),
        (112, {"expansion": 6}, 672, 28),
        (32, {"expansion": 1}, 32, 8),
        (48, {"expansion": 4}, 192, 12),
        (16, {"ratio": 1 / 2}, 96, 8),
        (2, {}, 12, 1),
    ],
)
def test_the_attention_is_as_wide_as_a_share_of_the_units_input(channels, options, seen, width):
    x = keras.Input((6, 6, channels))
    model = keras.Model(x, mbconv(x, 8, name="u", **options))
    reduce, expand = model.get_layer("u_attention_reduce"), model.get_layer("u_attention_expand")
    assert (reduce.input.shape[-1], reduce.filters, expand.filters) == (seen, width, seen)
    assert reduce.input is model.get_layer("u_attention_pool").output
    assert model.get_layer("u_attention_pool").input is model.get_layer("u_depthwise_act").output
    assert model.get_layer("u_project").input is model.get_layer("u_attention_out").output
    assert model.get_layer("u_attention_reduce").activation.__name__ == "silu"
    assert model.get_layer("u_attention_gate").activation.__name__ == "sigmoid"


def test_version_2_begins_with_full_convolutions():
    model = shallow("efficientnet_v2_b0", classes=0)
    names = {layer.name for layer in model.layers}
    assert {i for i in range(1, 7) if f"stage{i}_unit1_depthwise" in names} == {4, 5, 6}
    assert {i for i in range(1, 7) if f"stage{i}_unit1_attention_out" in names} == {4, 5, 6}
    # With an expansion of 1 there is one convolution, activated; the others are linear at the end.
    assert "stage1_unit1_expand" not in names
    assert {name for name in names if name.endswith("project_act")} == {"stage1_unit1_project_act"}


def test_kernels_begin_by_what_goes_out():
    """The variance is 2 by the number of weights that each input reaches, as in the authors' code."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 64))
    model = keras.Model(x, mbconv(x, 96, kernel_size=5, style=STYLE, name="u"))
    for name, fan_out in {"expand": 384, "depthwise": 25, "project": 96}.items():
        kernel = model.get_layer(f"u_{name}").get_weights()[0]
        assert kernel.std() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)


@pytest.mark.parametrize("field", ["alpha", "depth"])
@pytest.mark.parametrize("value", [0, -1.5, True, float("nan")])
def test_no_scale(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be a positive number; got {value!r}"):
        architectures.create("efficientnet_tiny", **{field: value})


@functools.cache
def theirs(size):
    """Keras's network with its weights, but for the weights."""
    make = getattr(keras.applications, f"EfficientNet{size}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[make.__module__].file_utils, "get_file", lambda *arguments, **options: "file")
        patch.setattr(keras.Model, "load_weights", lambda self, path: None)
        model = make(weights="imagenet", include_top=False, input_shape=(32, 32, 3))
    if "V2" not in size:
        # What the file holds: standard deviations where the layer takes variances.
        norm = next(layer for layer in model.layers if isinstance(layer, layers.Normalization))
        norm.set_weights([np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225]), np.int32(0)])
        norm.finalize_state()
    return model


SIZES = {"B0": "efficientnet_b0", "V2B0": "efficientnet_v2_b0", "V2S": "efficientnet_v2_s"}
sizes = pytest.mark.parametrize("size", [*list(SIZES)[:2], pytest.param("V2S", marks=pytest.mark.slow)])


@sizes
def test_images_are_prepared_as_theirs(size):
    model = theirs(size)
    end = model.get_layer("stem_conv_pad" if size == "B0" else "stem_conv").input
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    inputs = keras.Input((32, 32, 3))
    ours = keras.Model(inputs, preprocess(inputs, architectures.variant(SIZES[size]).preprocessing))
    expected = predict(keras.Model(model.input, end), x)
    np.testing.assert_allclose(predict(ours, x), expected, rtol=1e-4, atol=1e-4)


def test_only_large_networks_of_version_2_lack_statistics():
    ways = {arch: architectures.variant(arch).preprocessing for arch in [*TORCHVISION, *AUTHORS]}
    large = {f"efficientnet_v2_{size}" for size in "sml"}
    assert ways == {arch: "unit128" if arch in large else "torch" for arch in ways}


@sizes
def test_normalisations_are_theirs(size):
    found, expected = (
        {(x.epsilon, x.momentum) for x in model.layers if isinstance(x, layers.BatchNormalization)}
        for model in (shallow(SIZES[size], classes=0), theirs(size))
    )
    assert found == expected
