"""ConvNeXt: its rows from the paper's arithmetic, its two heads, and what can be turned."""

from functools import partial

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from tests.support.models import predict
from tests.support.numpy_layers import layer_norm
from tests.support.torch_networks import assert_equal_outputs, library, randomised
from tests.support.weights import randomise

SIZES = {
    "convnext_tiny": ((3, 3, 9, 3), 96),
    "convnext_small": ((3, 3, 27, 3), 96),
    "convnext_base": ((3, 3, 27, 3), 128),
    "convnext_large": ((3, 3, 27, 3), 192),
    "convnext_xlarge": ((3, 3, 27, 3), 256),
    "convnext_v2_atto": ((2, 2, 6, 2), 40),
    "convnext_v2_femto": ((2, 2, 6, 2), 48),
    "convnext_v2_pico": ((2, 2, 6, 2), 64),
    "convnext_v2_nano": ((2, 2, 8, 2), 80),
    "convnext_v2_tiny": ((3, 3, 9, 3), 96),
}


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("arch", SIZES)
def test_counts_in_closed_form(arch):
    depths, width = SIZES[arch]
    side = 56
    params = 16 * 3 * width + width + 2 * width
    macs = side**2 * 16 * 3 * width
    for i, depth in enumerate(depths):
        if i:
            width, side = 2 * width, side // 2
            params += 2 * width // 2 + 4 * (width // 2) * width + width
            macs += side**2 * 4 * (width // 2) * width
        # Of version 2 there are factors and shifts between the dense layers, in place of factors behind them.
        scales = 8 * width if "_v2_" in arch else width
        # A depthwise 7×7, a normalisation, two dense layers with four times the width between them, the factors.
        params += depth * ((49 + 1) * width + 2 * width + (width + 1) * 4 * width + (4 * width + 1) * width + scales)
        # The factors are a dense layer on a single one for each image.
        macs += depth * (side**2 * (49 * width + 8 * width**2) + scales)
    assert side == 7
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (params + 2 * width + (width + 1) * 1000, macs + width * 1000)


# Torchvision's documentation; of the largest, and of version 2, PyTorch Image Models' table.
@pytest.mark.parametrize(
    ("arch", "params"),
    [
        ("convnext_tiny", 28_589_128),
        ("convnext_small", 50_223_688),
        ("convnext_base", 88_591_464),
        ("convnext_large", 197_767_336),
        ("convnext_xlarge", 350_196_968),
        ("convnext_v2_atto", 3_708_400),
        ("convnext_v2_femto", 5_233_240),
        ("convnext_v2_pico", 9_066_280),
        ("convnext_v2_nano", 15_623_800),
        ("convnext_v2_tiny", 28_635_496),
    ],
)
def test_published_parameters(arch, params):
    assert architectures.variant(arch).params == params


def test_shapes_by_layer_name():
    model = architectures.create("convnext_tiny", depths=(1, 1, 1, 1))
    assert {name: model.get_layer(name).output.shape[1:] for name in (
        "stem_out", "stage1_unit1_out", "stage2_unit1_downsample", "stage3_unit1_dense1", "stage4_unit1_out",
        "pool", "norm", "logits",
    )} == {
        "stem_out": (56, 56, 96), "stage1_unit1_out": (56, 56, 96), "stage2_unit1_downsample": (28, 28, 192),
        "stage3_unit1_dense1": (14, 14, 1536), "stage4_unit1_out": (7, 7, 768),
        "pool": (768,), "norm": (768,), "logits": (1000,),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("input_shape", "stem", "side"),
    [
        ((32, 32, 3), kb.stem.cifar, 4),
        ((28, 28, 1), kb.stem.cifar, 3),
        ((32, 32, 3), partial(kb.stem.patchify, size=2), 2),
        ((28, 28, 1), partial(kb.stem.patchify, size=2), 1),
        ((32, 32, 3), kb.stem.patchify, 1),
    ],
)
def test_small_images(input_shape, stem, side):
    model = architectures.create(
        "convnext_tiny", input_shape=input_shape, classes=10, stem=stem, depths=(1, 1, 1, 1), widths=(4, 6, 8, 10)
    )
    assert model.get_layer("stage4_unit1_out").output.shape == (None, side, side, 10)
    assert np.isfinite(predict(model, images(2, *input_shape))).all()


def test_too_small_images_are_refused():
    message = (
        r"^convnext_tiny can't be built for inputs of 31×32×3: the output of the stem must be at least 8×8 for 4 "
        r"stages; got 7×8 \(.*kblocks\.stem\.cifar"
    )
    with pytest.raises(ValueError, match=message):
        architectures.create("convnext_tiny", input_shape=(31, 32, 3))


def test_unknown_sizes():
    model = architectures.create("convnext_toy", input_shape=(None, None, 3))
    for size in (16, 21):
        fixed = architectures.create("convnext_toy", input_shape=(size, size, 3))
        fixed.set_weights(model.get_weights())
        x = images(2, size, size, 3)
        np.testing.assert_allclose(predict(model, x), predict(fixed, x), rtol=1e-4, atol=1e-5)


def test_depths_and_widths_of_one_length():
    with pytest.raises(ValueError, match=r"`depths` and `widths` must be of one length; got \(1, 1\) and \(4,\)"):
        architectures.create("convnext_toy", widths=(4,))
    with pytest.raises(ValueError, match=r"`depths` must hold at least one stage; got \(\)"):
        architectures.create("convnext_toy", depths=())


def test_drop_path_rises_to_the_last_block():
    model = architectures.create("convnext_toy", depths=(2, 3), drop_path=0.4)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    places = ["stage1_unit2", "stage2_unit1", "stage2_unit2", "stage2_unit3"]
    assert rates == pytest.approx(dict(zip((f"{x}_drop_path" for x in places), (0.1, 0.2, 0.3, 0.4), strict=True)))


def test_what_is_pooled_is_normalised_after_the_pooling():
    x = images(3, 16, 16, 3)
    model = architectures.create("convnext_toy")
    randomise(model)
    gamma, beta = model.get_layer("norm").get_weights()
    kernel, bias = model.get_layer("logits").get_weights()

    def norm(y):
        return layer_norm(y, gamma, beta)

    last = predict(keras.Model(model.input, model.get_layer("stage2_unit1_out").output), x)
    np.testing.assert_allclose(predict(model, x), norm(last.mean((1, 2))) @ kernel + bias, rtol=1e-3, atol=1e-3)
    for pooling, expected in ((None, norm(last)), ("avg", norm(last.mean((1, 2)))), ("max", norm(last.max((1, 2))))):
        features = architectures.create("convnext_toy", classes=0, pooling=pooling)
        features.set_weights(model.get_weights()[:-2])
        np.testing.assert_allclose(predict(features, x), expected, rtol=1e-3, atol=1e-3)


def scrambled(**arguments):
    """Keras's smallest, under another name, with factors that are not next to zero."""
    return randomise(
        keras.applications.ConvNeXtTiny(
            weights=None, include_preprocessing=False, input_shape=(64, 64, 3), name="theirs", **arguments
        )
    )


@pytest.fixture(scope="module")
def headed():
    return scrambled(classes=7, classifier_activation=None)


def test_a_network_of_keras_by_any_name(headed):
    ours = architectures.create("convnext_tiny", input_shape=(64, 64, 3), classes=7)
    architectures.port_from_keras(ours, headed)
    x = images(2, 64, 64, 3)
    np.testing.assert_allclose(predict(ours, x), predict(headed, x), rtol=1e-3, atol=1e-3)


def test_features_with_a_head_and_logits_without_one(headed):
    x = images(2, 64, 64, 3)
    features = architectures.create("convnext_tiny", input_shape=(64, 64, 3), classes=0, pooling="avg")
    architectures.port_from_keras(features, headed)
    expected = predict(keras.Model(headed.input, headed.get_layer("theirs_head_layernorm").output), x)
    np.testing.assert_allclose(predict(features, x), expected, rtol=1e-3, atol=1e-3)

    headless = scrambled(include_top=False, pooling="avg")
    ours = architectures.create("convnext_tiny", input_shape=(64, 64, 3), classes=3)
    architectures.port_from_keras(ours, headless, skip=["logits"])
    found = predict(keras.Model(ours.input, ours.get_layer("norm").output), x)
    np.testing.assert_allclose(found, predict(headless, x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("classes", [0, 5])
def test_what_is_flattened_is_normalised_position_by_position(classes):
    model = architectures.create("convnext_toy", classes=classes, pooling="flatten")
    features = architectures.create("convnext_toy", classes=0)
    channels = features.output_shape[-1]
    assert tuple(model.get_layer("norm").gamma.shape) == (channels,)
    architectures.copy_weights(features, model, skip=["logits"] if classes else ())
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    found = predict(keras.Model(model.inputs, model.get_layer("pool").output), x)
    np.testing.assert_allclose(found, predict(features, x).reshape(2, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "theirs"),
    [
        ("convnext_v2_atto", "convnextv2_atto"),
        pytest.param("convnext_v2_tiny", "convnextv2_tiny", marks=pytest.mark.slow),
    ],
)
def test_version_2_with_the_weights_of_timm(arch, theirs):
    shape = (64, 64, 3)
    net = randomised(library("timm").create_model(theirs), shape)
    ours = architectures.create(arch, input_shape=shape)
    architectures.port_from_torch(ours, net.state_dict(), "timm")
    assert_equal_outputs(ours, net, shape)
