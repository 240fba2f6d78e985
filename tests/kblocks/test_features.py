"""`kblocks.graph.features`: which tensors it takes, and what it refuses."""

import keras
import numpy as np
import pytest
from keras import layers

import kblocks as kb
from kblocks.graph import features


def pyramid(size=32):
    x = inputs = keras.Input((size, size, 3), name="image")
    x = kb.stem.cifar(x, 4, name="stem")
    for i, width in enumerate((8, 16), 1):
        x = kb.compose.stage(x, kb.residual.basic, width, 2, stride=2, name=f"stage{i}")
    return keras.Model(inputs, kb.head.classifier(x, 10, name="head"), name="pyramid")


def test_the_last_block_of_each_stride():
    model = pyramid()
    found = features(model, strides=(1, 2, 4))
    wanted = [model.get_layer(name).output for name in ("stem_out", "stage1_unit2_out", "stage2_unit2_out")]
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    for y, expected in zip(found(x), keras.Model(model.inputs[0], wanted)(x), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(y), keras.ops.convert_to_numpy(expected))
    assert found.name == "pyramid_features"


def test_in_any_order_and_one_alone():
    assert [y.shape[1] for y in features(pyramid(), strides=(4, 1)).outputs] == [8, 32]
    assert [y.shape for y in features(pyramid(), strides=(2,)).outputs] == [(None, 16, 16, 8)]


@pytest.mark.parametrize("size", [35, None])
def test_a_stride_is_no_quotient_of_sizes(size):
    # 35 → 33 → 16 → 14 → 6 → 4 without padding: a quarter of 35 is 9, an eighth is 4.
    x = inputs = keras.Input((size, size, 1))
    for name, stride in (("a", 1), ("b", 2), ("c", 1), ("d", 2), ("e", 1)):
        x = layers.Conv2D(2, 3, strides=stride, name=name)(x)
    found = features(keras.Model(inputs, x), strides=(1, 2, 4)).outputs
    assert [y.shape[1] for y in found] == [33, 14, 4] if size else [None] * 3
    with pytest.raises(ValueError, match="`strides` must be among 1, 2, 4, the strides of"):
        features(keras.Model(inputs, x), strides=(8,))


def test_layers_of_each_kind():
    x = inputs = keras.Input((32, 32, 4))
    x = layers.Cropping2D(2, name="crop")(layers.ZeroPadding2D(2, name="pad")(x))
    x = layers.SeparableConv2D(4, 3, 2, padding="same", name="separable")(x)
    x = layers.AveragePooling2D(3, 3, name="average")(x)
    x = layers.MaxPooling2D(1, 2, name="max")(x)
    x = layers.Reshape((4, 2, 2), name="twice_as_high")(layers.Reshape((9, 4))(layers.Cropping2D(0)(x)[:, :, :])[:, :4])
    x = layers.UpSampling2D(2, name="up")(layers.Conv2DTranspose(4, 2, 2, name="transpose")(inputs))
    found = features(keras.Model(inputs, x), strides=(0.25,))
    assert [y.shape for y in found.outputs] == [(None, 128, 128, 4)]


def test_tokens_and_back():
    x = inputs = keras.Input((32, 32, 4))
    x = layers.Conv2D(8, 4, 4)(x)
    x = layers.Reshape((8, 8, 8), name="image_again")(layers.Dense(8)(layers.Reshape((64, 8))(x)))
    assert features(keras.Model(inputs, x), strides=(4,)).outputs[0].shape == (None, 8, 8, 8)
    pooled = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x))
    with pytest.raises(ValueError, match="`strides` must be among 4, the strides of"):
        features(keras.Model(inputs, pooled), strides=(32,))


def test_factors_of_channels_are_no_images():
    """Squeeze-and-excitation and layer scale, at 8×8, where one position is an eighth."""
    x = inputs = keras.Input((8, 8, 4))
    x = kb.attention.squeeze_excite(x, ratio=1 / 2, name="attention")
    x = kb.convnext.block(x, 4, name="unit")
    (found,) = features(keras.Model(inputs, x), strides=(1,)).outputs
    assert found.shape == (None, 8, 8, 4)
    with pytest.raises(ValueError, match="`strides` must be among 1, the strides of"):
        features(keras.Model(inputs, x), strides=(8,))


def test_models_within_the_model_are_opened():
    """As transfer learning builds them: a scaled image, a trained network with a fixed normalisation, a head."""
    base = pyramid(64)
    base = keras.Model(base.inputs, base.get_layer("stage2_unit2_out").output, name="base")
    wrapped = keras.Sequential([keras.Input((64, 64, 3)), base], name="wrapped")
    image = keras.Input((64, 64, 3))
    x = wrapped(layers.Rescaling(1 / 127.5, -1)(image), training=False)
    model = keras.Model(image, kb.head.classifier(x, 3, name="top"))
    found = features(model, strides=(1, 2, 4))
    assert [y.shape[1:] for y in found.outputs] == [(64, 64, 4), (32, 32, 8), (16, 16, 16)]
    assert {id(w) for w in found.weights} == {id(w) for w in base.weights}
    x = np.random.default_rng(0).uniform(0, 255, size=(2, 64, 64, 3)).astype("float32")
    wanted = [base.get_layer(name).output for name in ("stem_out", "stage1_unit2_out", "stage2_unit2_out")]
    expected = keras.Model(base.inputs[0], wanted)(x / 127.5 - 1)
    for y, z in zip(found(x), expected, strict=True):
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (y, z)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [32, None])
def test_a_model_called_twice(size):
    inputs = keras.Input((size, size, 3))
    base = keras.Model(inputs, kb.residual.basic(inputs, 4, stride=2, name="unit"), name="base")
    x = keras.Input((32, 32, 3))
    model = keras.Model(x, [base(keras.ops.flip(x, axis=2)), base(x)])
    data = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    found = features(model, strides=(2,))(data)
    # At the last stride it is the first output's.
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (found, model(data)[0])), rtol=1e-5, atol=1e-5)


def test_the_stride_within_a_model_is_no_quotient():
    inner = keras.Input((None, None, 3))
    patches = keras.Model(inner, kb.stem.patchify(inner, 4, size=14, name="patches"))
    x = keras.Input((224, 224, 3))
    (found,) = features(keras.Model(x, layers.ReLU()(patches(x))), strides=(14,)).outputs
    assert found.shape == (None, 16, 16, 4)


@pytest.mark.parametrize("make", [keras.applications.MobileNetV2, keras.applications.EfficientNetB0])
def test_what_is_padded_for_the_next_layer_is_no_feature(make):
    model = make(weights=None, include_top=False, input_shape=(64, 64, 3))
    assert [y.shape[1] for y in features(model).outputs] == [16, 8, 4, 2]


def test_no_image_behind_the_input():
    x = keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match="`model` must compute at least one image from its input; flat computes none"):
        features(keras.Model(x, layers.Dense(2)(layers.Flatten()(x)), name="flat"), strides=(1,))


def test_sequential():
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3, strides=2), layers.ReLU(name="act")])
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    found = features(model, (2,))(x)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(model(x)))


def test_a_layer_that_another_model_called_first():
    shared = layers.Conv2D(3, 3, strides=2, padding="same", name="shared")
    a, b = keras.Input((16, 16, 3)), keras.Input((32, 32, 3))
    keras.Model(a, shared(a))
    model = keras.Model(b, layers.Conv2D(2, 1, name="last")(shared(b)))
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (features(model, (2,))(x), model(x))))


def test_without_named_ends_the_last_tensor():
    found = features(keras.applications.MobileNet(weights=None, input_shape=(64, 64, 3), alpha=0.25), strides=(32,))
    assert found.outputs[0].shape == (None, 2, 2, 256)


def test_a_shared_layer_s_last_call_ends_a_block():
    inputs = keras.Input((8, 8, 2))
    shared = layers.Conv2D(2, 3, padding="same", name="shared_out")
    twice = shared(shared(inputs))
    model = keras.Model(inputs, layers.Conv2D(2, 3, strides=2, name="conv")(twice))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype("float32")
    found = features(model, strides=(1, 2))(x)
    for y, expected in zip(found, (shared(shared(x)), model(x)), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(y), keras.ops.convert_to_numpy(expected))


def test_a_stride_that_is_not_there():
    with pytest.raises(ValueError, match="`strides` must be among 1, 2, 4, the strides of pyramid; got 8"):
        features(pyramid(), strides=(4, 8))


@pytest.mark.parametrize("strides", [4, "4", (), None])
def test_what_are_no_strides(strides):
    with pytest.raises(TypeError, match=r"`strides` must be a list or tuple of integers, at least one; got"):
        features(pyramid(), strides=strides)


def test_the_end_is_what_the_head_takes():
    """Behind the last block an unnamed end, beside it an output from the middle."""
    base = pyramid()
    middle, x = (base.get_layer(name).output for name in ("stage1_unit2_out", "stage2_unit2_out"))
    late = layers.Activation("relu", name="late")(layers.Conv2D(8, 1, name="wide")(x))
    aside = layers.Conv2D(2, 3, strides=2, padding="same", name="aside_out")(middle)
    model = keras.Model(base.inputs[0], [kb.head.classifier(late, 10, name="top"), aside])
    found = features(model, strides=(2, 4)).outputs
    assert [y._keras_history.operation.name for y in found] == ["stage1_unit2_out", "late"]


def test_what_is_no_network_of_one_image():
    with pytest.raises(TypeError, match=r"`model` must be a functional keras.Model of one input"):
        features("resnet50")
    a, b = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    with pytest.raises(TypeError, match="one input"):
        features(keras.Model([a, b], layers.Add()([a, b])))
    vector = keras.Input((8,))
    with pytest.raises(ValueError, match=r"`model` must take an image; got inputs of shape \(None, 8\)"):
        features(keras.Model(vector, layers.Dense(2)(vector)))


def test_networks_of_any_size():
    import architectures

    for arch in ("convnext_toy", "mobilenet_v3_tiny", "efficientnet_tiny"):
        any_size = features(architectures.create(arch, input_shape=(None, None, 3), classes=0), strides=(8,))
        fixed = features(architectures.create(arch, input_shape=(64, 64, 3), classes=0), strides=(8,))
        assert any_size.layers[-1].name == fixed.layers[-1].name, arch
        assert any_size.output_shape == (None, None, None, fixed.output_shape[-1])
