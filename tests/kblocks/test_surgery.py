"""`replace`, `insert_after`, `replace_head`, `freeze` and `widen_input`: new models with the weights of the old."""

import keras
import numpy as np
import pytest
from keras import layers

import architectures
import kblocks as kb
from kblocks import graph
from tests.support.models import Unserialisable, predict
from tests.support.weights import images, randomise


def small(classes=4):
    x = keras.Input((8, 8, 3), name="image")
    y = layers.ReLU(name="act1")(layers.BatchNormalization(name="norm1")(layers.Conv2D(6, 3, name="conv1")(x)))
    y = layers.ReLU(name="act2")(layers.Conv2D(5, 3, name="conv2")(y))
    y = layers.Dense(classes, name="logits")(layers.GlobalAveragePooling2D(name="pool")(y))
    return randomise(keras.Model(x, y, name="small"))


def names(model):
    return [layer.name for layer in model.layers[1:]]


@pytest.fixture
def net():
    """A network, of which every test must leave names, connections and weights as they are."""
    model = small()
    before, weights = names(model), model.get_weights()
    counts = [len(layer._inbound_nodes) + len(layer._outbound_nodes) for layer in model.layers]
    flags = [layer.trainable for layer in model.layers]
    yield model
    assert names(model) == before
    assert [layer.trainable for layer in model.layers] == flags
    assert [len(layer._inbound_nodes) + len(layer._outbound_nodes) for layer in model.layers] == counts
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)


def apart(model, copy):
    """Whether two models share no weights."""
    return set(map(id, model.weights)).isdisjoint(map(id, copy.weights))


X = images((8, 8, 3), count=4)


class TestReplace:
    @pytest.mark.parametrize(
        "where",
        [layers.ReLU, "act*", lambda layer: isinstance(layer, layers.ReLU)],
        ids=["class", "pattern", "predicate"],
    )
    def test_an_activation(self, net, where):
        copy = graph.replace(net, where, lambda old: layers.Activation("gelu", name=old.name))
        assert names(copy) == names(net)
        assert apart(net, copy)
        conv1, norm, conv2, logits = (net.get_layer(n) for n in ("conv1", "norm1", "conv2", "logits"))
        y = keras.activations.gelu(conv2(keras.activations.gelu(norm(conv1(X)))))
        expected = logits(keras.ops.mean(y, axis=(1, 2)))
        np.testing.assert_allclose(predict(copy, X), keras.ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-5)

    def test_one_by_name(self, net):
        copy = graph.replace(net, "act1", lambda old: layers.Activation("tanh", name="tanh"))
        assert names(copy) == ["conv1", "norm1", "tanh", "conv2", "act2", "pool", "logits"]

    def test_a_layer_by_several(self, net):
        def separable(old):
            def block(x):
                x = layers.DepthwiseConv2D(old.kernel_size, name=f"{old.name}_depthwise")(x)
                return layers.Conv2D(old.filters, 1, name=f"{old.name}_pointwise")(x)

            return block

        copy = graph.replace(net, "conv2", separable)
        assert names(copy)[3:5] == ["conv2_depthwise", "conv2_pointwise"]
        assert copy.output_shape == net.output_shape
        np.testing.assert_array_equal(
            copy.get_layer("logits").get_weights()[0], net.get_layer("logits").get_weights()[0]
        )

    def test_a_normalisation(self, net):
        copy = graph.replace(net, layers.BatchNormalization, lambda old: layers.GroupNormalization(2, name=old.name))
        assert isinstance(copy.get_layer("norm1"), layers.GroupNormalization)

    def test_what_is_shared_stays_shared(self):
        dense = layers.Dense(4, name="dense")
        x = keras.Input((4,))
        model = keras.Model(x, dense(dense(x)))
        copy = graph.replace(model, "dense", lambda old: layers.Dense(4, use_bias=False, name="new"))
        assert [w.path for w in copy.weights] == ["new/kernel"]

    def test_within_a_nested_model(self):
        x = keras.Input((8, 8, 3))
        inner = small()
        copy = graph.replace(keras.Model(x, inner(x)), "small/act1", lambda old: layers.ELU(name="elu"))
        assert "elu" in names(copy.get_layer("small"))
        assert "act2" in names(copy.get_layer("small"))

    def test_nothing_found(self, net):
        with pytest.raises(ValueError, match=r"`where` must choose at least one .*; got 'act3' \(the closest are act"):
            graph.replace(net, "act3", layers.ReLU)
        with pytest.raises(ValueError, match="`where` must choose at least one operation of small"):
            graph.replace(net, layers.LSTM, layers.ReLU)

    def test_what_is_no_choice_or_function(self, net):
        with pytest.raises(
            TypeError, match="`where` must be a name or pattern, a class, or a function of a layer; got 3"
        ):
            graph.replace(net, 3, layers.ReLU)
        with pytest.raises(TypeError, match="`by`"):
            graph.replace(net, "act1", "gelu")
        with pytest.raises(TypeError, match="`by` must return a layer or a function of tensors; got None for act1"):
            graph.replace(net, "act1", lambda old: None)


class TestInsertAfter:
    def test_everything_behind_reads_it(self, net):
        copy = graph.insert_after(net, "act*", lambda old: layers.Rescaling(0.0, name=f"{old.name}_zero"))
        assert names(copy) == ["conv1", "norm1", "act1", "act1_zero", "conv2", "act2", "act2_zero", "pool", "logits"]
        np.testing.assert_allclose(
            predict(copy, X), np.tile(net.get_layer("logits").get_weights()[1], (4, 1)), atol=1e-6
        )

    def test_a_block(self, net):
        copy = graph.insert_after(net, "act2", lambda old: lambda x: kb.attention.squeeze_excite(x, name="se"))
        assert copy.output_shape == net.output_shape
        assert apart(net, copy)


class TestReplaceHead:
    def test_a_dense_layer(self, net):
        copy = graph.replace_head(net, 7)
        assert copy.output_shape == (None, 7)
        assert names(copy) == names(net)
        base = [keras.Model(m.input, m.get_layer("pool").output) for m in (net, copy)]
        np.testing.assert_array_equal(predict(base[0], X), predict(base[1], X))

    @pytest.mark.parametrize("make", [keras.applications.MobileNet, keras.applications.MobileNetV3Small])
    def test_a_convolution_and_what_stands_behind(self, make):
        model = make(weights=None, input_shape=(64, 64, 3), classes=10)
        copy = graph.replace_head(model, 3)
        assert copy.output_shape == (None, 3)
        np.testing.assert_allclose(predict(copy, images((64, 64, 3))).sum(axis=1), 1, rtol=1e-5)

    def test_features_get_a_head(self):
        copy = graph.replace_head(architectures.create("resnet_tiny", classes=0), 3)
        assert names(copy)[-2:] == ["pool", "logits"]
        assert copy.output_shape == (None, 3)

    def test_several_heads(self):
        copy = graph.replace_head(architectures.create("googlenet_tiny", auxiliary=True), 3)
        assert [y.shape for y in copy.outputs] == [(None, 3)] * 3

    def test_the_head_of_a_nested_model(self):
        x = keras.Input((8, 8, 3))
        assert graph.replace_head(keras.Model(x, layers.Softmax()(small()(x))), 3).output_shape == (None, 3)

    def test_what_has_no_head(self):
        x = keras.Input((8,))
        with pytest.raises(ValueError, match="`model` must end in a dense layer or a 1×1 convolution"):
            graph.replace_head(keras.Model(x, layers.BatchNormalization()(layers.Dense(3)(x))), 3)
        with pytest.raises(ValueError, match="`classes` must be a positive integer; got 0"):
            graph.replace_head(small(), 0)


class TestFreeze:
    def test_up_to_a_layer(self, net):
        copy = graph.freeze(net, "norm1")
        assert [layer.name for layer in copy.layers if layer.trainable_weights] == ["conv2", "logits"]
        assert apart(net, copy)
        np.testing.assert_array_equal(predict(copy, X), predict(net, X))

    def test_by_default_up_to_the_pooling(self, net):
        assert [layer.name for layer in graph.freeze(net).layers if layer.trainable_weights] == ["logits"]

    def test_frozen_statistics_stay(self, net):
        copy = graph.freeze(net, "norm1")
        before = [w.copy() for w in copy.get_layer("norm1").get_weights()]
        copy.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
        copy.train_on_batch(X, np.arange(4))
        for a, b in zip(before, copy.get_layer("norm1").get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert (copy.get_layer("conv2").get_weights()[0] != net.get_layer("conv2").get_weights()[0]).any()

    def test_within_a_nested_model(self):
        x = keras.Input((8, 8, 3))
        model = keras.Model(
            x, layers.Dense(2, name="top")(layers.Dense(3, name="mid")(small()(layers.Rescaling(1.0)(x))))
        )
        copy = graph.freeze(model, "small/norm1")
        assert [layer.name for layer in copy.get_layer("small").layers if layer.trainable_weights] == [
            "conv2",
            "logits",
        ]
        assert len(graph.freeze(model, "small").trainable_weights) == 4

    def test_no_such_layer(self, net):
        with pytest.raises(
            ValueError, match=r"`upto` must be the name of a layer of small; got 'nrm1' \(the closest are nor"
        ):
            graph.freeze(net, "nrm1")


class TestWidenInput:
    def test_gray_images_are_taken_as_colour_ones(self, net):
        copy = graph.widen_input(net, 1)
        gray = images((8, 8, 1))
        np.testing.assert_allclose(predict(copy, gray), predict(net, np.repeat(gray, 3, -1)), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("channels", [2, 3, 4, 6, 7, 13])
    def test_repeated_channels(self, net, channels):
        copy = graph.widen_input(net, channels)
        assert copy.input_shape == (None, 8, 8, channels)
        turned = X[..., [c % 3 for c in range(channels)]]
        if channels >= 3:
            np.testing.assert_allclose(predict(copy, turned), predict(net, X), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("make", [keras.applications.MobileNetV2, keras.applications.EfficientNetB0])
    def test_networks_that_prepare_their_images(self, make):
        model = randomise(make(weights=None, include_top=False, input_shape=(64, 64, 3)))
        gray = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1)).astype("float32")
        copy, x = graph.widen_input(model, 1), np.repeat(gray, 3, -1)
        expected = predict(model, x)
        np.testing.assert_allclose(predict(copy, gray), expected, rtol=0, atol=1e-4 * np.abs(expected).max())

    def test_channels_that_are_prepared_differently(self):
        model = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(64, 64, 3))
        with pytest.raises(ValueError, match="`channels` must be 1 for efficientnetb0, which prepares each channel"):
            graph.widen_input(model, 4)

    def test_what_takes_no_image(self):
        x = keras.Input((8,))
        with pytest.raises(
            ValueError, match=r"`model` must take one image, channels last; got inputs of shape \(None, 8\)"
        ):
            graph.widen_input(keras.Model(x, layers.Dense(2)(x)), 1)


class Trained(keras.Model):
    """A functional model with a training step of its own."""

    def train_step(self, *data):
        return {"mine": 1.0}


def test_a_training_step_of_ones_own_stays():
    x = keras.Input((8,))
    assert type(graph.freeze(Trained(x, layers.Dense(2, name="d")(x)), "d")) is type(Trained(x, layers.Dense(2)(x)))


def test_a_layer_that_can_not_be_copied_is_named():
    x = keras.Input((8,))
    model = keras.Model(x, Unserialisable(lambda t: t, name="mine")(x))
    with pytest.raises(
        ValueError, match="`model` must consist of layers that can be copied; mine, a Unserialisable, can't be made"
    ):
        graph.freeze(model, "mine")


def test_the_structure_of_inputs_and_outputs_stays():
    x = keras.Input((8,), name="vector")
    model = keras.Model({"vector": x}, {"out": layers.Dense(2, name="d")(x)})
    copy = graph.freeze(model, "d")
    assert copy({"vector": np.ones((1, 8), "float32")})["out"].shape == (1, 2)
