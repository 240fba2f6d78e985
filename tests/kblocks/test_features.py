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


def test_sizes_that_padding_cuts_are_rounded():
    # 35 → 17 → 8 without padding: strides of 2.06 and 4.4.
    x = inputs = keras.Input((35, 35, 1))
    for name in ("a", "b"):
        x = layers.Conv2D(2, 3, strides=2, name=name)(x)
    assert [y.shape[1] for y in features(keras.Model(inputs, x), strides=(2, 4)).outputs] == [17, 8]


def test_without_named_ends_the_last_tensor():
    found = features(keras.applications.MobileNet(weights=None, input_shape=(64, 64, 3), alpha=0.25), strides=(32,))
    assert found.outputs[0].shape == (None, 2, 2, 256)


def test_a_shared_layer_ends_nothing():
    inputs = keras.Input((8, 8, 2))
    shared = layers.Conv2D(2, 3, padding="same", name="shared_out")
    x = layers.Conv2D(2, 3, padding="same", name="conv")(shared(shared(inputs)))
    model = keras.Model(inputs, x)
    (found,) = features(model, strides=(1,)).outputs
    assert found is model.get_layer("conv").output


def test_a_stride_that_is_not_there():
    with pytest.raises(ValueError, match="`strides` must be of 1, 2, 4 for pyramid; got 8"):
        features(pyramid(), strides=(4, 8))


@pytest.mark.parametrize("strides", [4, "4", (), None])
def test_what_are_no_strides(strides):
    with pytest.raises(TypeError, match=r"`strides` must be a tuple of powers of two; got"):
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
    with pytest.raises(ValueError, match="`model` must take an image of known height"):
        features(keras.Model(vector, layers.Dense(2)(vector)))
    any_size = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"known height; got inputs of shape \(None, None, None, 3\)"):
        features(keras.Model(any_size, layers.Conv2D(2, 3)(any_size)))
