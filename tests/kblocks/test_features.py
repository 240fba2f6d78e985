"""`kblocks.graph.features`: which tensors it takes, and what it refuses."""

import keras
import numpy as np
import pytest
from keras import layers

import architectures
import kblocks as kb
from kblocks.graph import endpoints, features, profile


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


@pytest.mark.parametrize("strides", ["4", (), 4.5, True])
def test_what_are_no_strides(strides):
    with pytest.raises(TypeError, match=r"`strides` must be an integer, or a list or tuple of at least one; got"):
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


def test_what_is_no_network_of_an_image():
    with pytest.raises(TypeError, match=r"`model` must be a functional or Sequential keras.Model; got 'resnet50'"):
        features("resnet50")
    vector = keras.Input((8,))
    with pytest.raises(ValueError, match=r"`model` must take an image; got inputs of shape \(None, 8\)"):
        features(keras.Model(vector, layers.Dense(2)(vector)))


def test_networks_of_any_size():
    for arch in ("convnext_toy", "mobilenet_v3_tiny", "efficientnet_tiny"):
        any_size = features(architectures.create(arch, input_shape=(None, None, 3), classes=0), strides=(8,))
        fixed = features(architectures.create(arch, input_shape=(64, 64, 3), classes=0), strides=(8,))
        assert any_size.layers[-1].name == fixed.layers[-1].name, arch
        assert any_size.output_shape == (None, None, None, fixed.output_shape[-1])


def producer(tensor):
    return tensor._keras_history.operation.name


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


class TestTheTensorsAreTheModelsOwn:
    """What stands at the top level is no copy beside the graph."""

    @pytest.fixture(scope="class")
    def net(self):
        return architectures.create("resnet20")

    def test_they_are_the_same_objects(self, net):
        assert features(net, strides=(4,)).outputs[0] is net.get_layer("stage3_unit3_out").output

    def test_multiply_adds_do_not_double(self, net):
        f = features(net, strides=(4,)).outputs[0]
        assert profile(keras.Model(net.input, [f, net.output])).macs == profile(net).macs == 40_551_040

    def test_a_gradient_of_the_logits_by_the_features_exists(self, net):
        """Those of the last features through a mean and a dense layer are its weights over the number of positions."""
        f = features(net, strides=(4,)).outputs[0]
        head = keras.Model(f, net.output)
        delta = np.zeros((1, 8, 8, 64), "float32")
        delta[0, 2, 3, 5] = 1
        change = numpy(head(delta)) - numpy(head(np.zeros_like(delta)))
        np.testing.assert_allclose(change[0], numpy(net.get_layer("logits").kernel)[5] / 64, rtol=1e-4, atol=1e-7)

    def test_statistics_move_once_a_step(self):
        x = keras.Input((8, 8, 2))
        norm = layers.BatchNormalization(momentum=0.5, name="norm")
        y = layers.Conv2D(2, 3, strides=2, name="conv")(norm(x))
        net = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(y)))
        both = keras.Model(net.input, [features(net, strides=(1,)).output, net.output])
        both(np.full((4, 8, 8, 2), 8.0, "float32"), training=True)
        np.testing.assert_allclose(numpy(norm.moving_mean), 4.0)

    def test_nothing_is_added_to_the_model(self, net):
        before = [len(operation._inbound_nodes) for operation in net.operations]
        features(net, strides=(1, 2, 4))
        assert [len(operation._inbound_nodes) for operation in net.operations] == before


class TestOneOrSeveral:
    @pytest.mark.parametrize("chosen", [{"strides": (2,)}, {"strides": 2}, {"names": "stage1_unit2_out"}], ids=str)
    def test_a_single_one_is_a_tensor(self, chosen):
        found = features(pyramid(), **chosen)
        y = found(keras.Input((32, 32, 3)))
        assert y.shape == (None, 16, 16, 8)
        assert kb.head.classifier(y, 3).shape == (None, 3)

    def test_several_are_a_list_in_the_order_asked_for(self):
        found = features(pyramid(), names=["stage2_unit2_out", "stem_out"])
        assert [y.shape for y in found(keras.Input((32, 32, 3)))] == [(None, 8, 8, 16), (None, 32, 32, 4)]

    def test_a_pattern_takes_all_in_the_order_of_the_graph(self):
        found = features(pyramid(), names="stage*_unit?_out")
        assert [producer(y) for y in found.outputs] == [f"stage{i}_unit{j}_out" for i in (1, 2) for j in (1, 2)]

    def test_towers_of_one_feature(self):
        net = pyramid()
        shared = features(net, strides=(4,))
        pair = [keras.Input((32, 32, 3)), keras.Input((32, 32, 3))]
        pooled = kb.tower.as_model(lambda x, *, name: kb.pool.global_pool(shared(x), name=name), (32, 32, 3))
        assert kb.tower.siamese(pair, pooled, merge=kb.tower.euclidean).shape == (None, 1)


class TestStrides:
    """A stride is how many pixels of the input one step of the tensor is."""

    @staticmethod
    def around(first, shape):
        """The strides of resnet20's features behind a layer, by the shape of the features."""
        net = architectures.create("resnet20", input_shape=(32, 32, 3))
        x = keras.Input(shape)
        model = keras.Model(x, net(first(x)))
        return {each.stride: each.shape[1] for each in endpoints(model) if each.name.endswith("unit3_out")}

    @pytest.mark.parametrize(
        ("first", "shape", "ratio"),
        [
            (layers.CenterCrop(32, 32), (64, 64, 3), 1),
            (layers.Cropping2D(16), (64, 64, 3), 1),
            (layers.ZeroPadding2D(4), (24, 24, 3), 1),
            (layers.Resizing(32, 32), (64, 64, 3), 2),
            (layers.Resizing(32, 32), (16, 16, 3), 0.5),
            (lambda x: x[:, 5:37, 7:39], (64, 64, 3), 1),
            (lambda x: x[:, ::2, ::2], (64, 64, 3), 2),
            (lambda x: x[:, ::-1, :, ::-1], (32, 32, 3), 1),
            (lambda x: keras.ops.image.resize(x, (32, 32)), (128, 128, 3), 4),
            (lambda x: keras.ops.average_pool(x, 2), (64, 64, 3), 2),
            (layers.MaxPooling2D(2), (64, 64, 3), 2),
            (layers.UpSampling2D(2), (16, 16, 3), 0.5),
            (lambda x: keras.ops.transpose(x, (0, 2, 1, 3)), (32, 32, 3), 1),
            (layers.Permute((2, 1, 3)), (32, 32, 3), 1),
        ],
    )
    def test_before_a_backbone(self, first, shape, ratio):
        assert self.around(first, shape) == {ratio: 32, 2 * ratio: 16, 4 * ratio: 8}

    def test_a_layer_of_ones_own(self):
        class Halved(layers.Layer):
            def call(self, x):
                return keras.ops.max_pool(x, 2)

        assert self.around(Halved(), (64, 64, 3)) == {2: 32, 4: 16, 8: 8}

    def test_of_unknown_size_the_operation_is_named(self):
        net = architectures.create("resnet20")
        x = keras.Input((None, None, 3))
        model = keras.Model(x, net(layers.Resizing(32, 32, name="to32")(x)))
        with pytest.raises(
            ValueError, match=r"the stride behind to32, a Resizing, is not known; `names` takes tensors"
        ):
            features(model, strides=(4,))
        assert features(model, names="resnet20/stage3_unit3_out").output_shape == (None, 8, 8, 64)

    def test_a_size_that_a_layer_fixes_is_no_stride(self):
        class Fixed(layers.Layer):
            def call(self, x):
                return keras.ops.image.resize(x, (8, 8))

        x = keras.Input((32, 32, 3))
        model = keras.Model(x, layers.Conv2D(4, 1, name="conv")(Fixed(name="fixed")(x)))
        with pytest.raises(ValueError, match="behind fixed, a Fixed, is not known"):
            features(model, strides=(4,))

    def test_channels_first(self):
        x = keras.Input((3, 32, 16))
        y = layers.Conv2D(4, 3, strides=2, padding="same", data_format="channels_first", name="conv")(x)
        (found,) = endpoints(keras.Model(x, layers.ReLU(name="relu")(y)))[-1:]
        assert (found.stride, found.receptive_field) == (2, (3, 3))

    def test_strides_of_two_axes_may_differ(self):
        x = keras.Input((32, 32, 3))
        found = endpoints(keras.Model(x, layers.Conv2D(4, 3, strides=(2, 1), name="conv")(x)))
        assert found[-1].stride is None


class TestTheMainPath:
    """Branches are no levels of the pyramid, and names decide nothing."""

    @pytest.fixture(scope="class")
    def mobile(self):
        return keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), alpha=1.0)

    @pytest.mark.parametrize("first", [False, True])
    def test_an_auxiliary_head(self, mobile, first):
        aux = layers.Conv2D(2, 1, name="aux")(mobile.get_layer("block_3_expand_relu").output)
        outputs = [aux, mobile.output] if first else [mobile.output, aux]
        found = features(keras.Model(mobile.input, outputs))
        assert [y.shape[-1] for y in found.outputs] == [144, 192, 576, 1280]

    def test_an_auxiliary_head_that_goes_deeper(self, mobile):
        deep = layers.Conv2D(2, 3, strides=4, padding="same")(mobile.get_layer("block_12_add").output)
        model = keras.Model(mobile.input, [mobile.output, layers.Flatten()(deep)])
        assert [y.shape[-1] for y in features(model).outputs] == [144, 192, 576, 1280]

    @staticmethod
    def unet():
        x = keras.Input((32, 32, 3))
        skips, y = [], x
        for width in (4, 8, 16):
            y = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"down{width}")(y)
            skips.append(y)
            y = layers.MaxPooling2D(name=f"pool{width}")(y)
        y = layers.Conv2D(32, 3, padding="same", activation="relu", name="bottom")(y)
        for width, skip in zip((17, 9, 5), skips[::-1], strict=True):
            y = layers.Concatenate()([layers.UpSampling2D()(y), skip])
            y = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"up{width}_out")(y)
        return keras.Model(x, layers.Conv2D(2, 1, name="mask")(y))

    def test_a_decoder(self):
        found = features(self.unet(), strides=(1, 2, 4, 8))
        assert [producer(y) for y in found.outputs] == ["down4", "down8", "down16", "bottom"]

    def test_a_feature_pyramid(self):
        net = architectures.create(
            "resnet_tiny", depths=(1, 1, 1), widths=(4, 8, 16), input_shape=(32, 32, 3), classes=0
        )
        levels = features(net, strides=(1, 2, 4)).outputs
        y, outputs = None, []
        for level in levels[::-1]:
            side = layers.Conv2D(6, 1)(level)
            y = side if y is None else layers.Add()([side, layers.UpSampling2D()(y)])
            outputs.append(layers.Conv2D(6, 3, padding="same")(y))
        more = layers.Conv2D(6, 3, strides=2, padding="same")(outputs[0])
        found = features(keras.Model(net.input, [*outputs[::-1], more]), strides=(1, 2, 4))
        assert [y.shape[-1] for y in found.outputs] == [4, 8, 16]
        for a, b in zip(found.outputs, levels, strict=True):
            assert a is b

    def test_a_mask_of_attention(self):
        x = inputs = keras.Input((32, 32, 4))
        x = layers.Conv2D(8, 3, strides=2, padding="same", name="trunk")(x)
        mask = layers.UpSampling2D()(layers.Conv2D(1, 3, strides=2, padding="same", activation="sigmoid")(x))
        x = layers.Multiply(name="masked")([x, mask])
        x = layers.Conv2D(8, 3, strides=4, padding="same", name="next")(x)
        model = keras.Model(inputs, layers.Dense(2)(layers.GlobalMaxPooling2D()(x)))
        assert [producer(y) for y in features(model, strides=(2, 8)).outputs] == ["masked", "next"]

    def test_names_decide_nothing(self, mobile):
        renamed = keras.models.clone_model(
            mobile,
            clone_function=lambda layer: type(layer).from_config(
                {**layer.get_config(), "name": f"{layer.name.removesuffix('_out')}_{len(layer.name)}_out"}
            ),
        )
        wanted = [y.shape for y in features(mobile).outputs]
        assert [y.shape for y in features(renamed).outputs] == wanted


class TestInputs:
    def test_their_structure_stays(self):
        x = keras.Input((8, 8, 3), name="image")
        model = keras.Model({"image": x}, layers.Conv2D(4, 3, strides=2, name="conv")(x))
        assert features(model, strides=(2,))({"image": np.ones((2, 8, 8, 3), "float32")}).shape == (2, 3, 3, 4)

    def test_an_image_with_metadata(self):
        x, facts = keras.Input((16, 16, 3), name="image"), keras.Input((5,), name="facts")
        y = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(x)
        joined = layers.Concatenate()([layers.GlobalAveragePooling2D()(y), layers.Dense(3)(facts)])
        model = keras.Model({"image": x, "facts": facts}, layers.Dense(2)(joined))
        found = features(model, strides=2)
        given = {"image": np.ones((2, 16, 16, 3), "float32"), "facts": np.ones((2, 5), "float32")}
        assert found(given).shape == (2, 8, 8, 4)
        assert found.outputs[0] is y

    def test_the_tower_of_a_siamese_network(self):
        net = architectures.create("siamese_tiny")
        tower = next(layer for layer in net.layers if isinstance(layer, keras.Model))
        names = [each.name for each in endpoints(net)]
        inner = next(name for name in names if name.startswith(f"{tower.name}/"))
        found = features(net, names=inner)
        assert len(found.inputs) == 2
        assert set(map(id, found.weights)) <= set(map(id, net.weights))


class TestNames:
    def test_within_nested_models(self):
        net = pyramid()
        x = keras.Input((32, 32, 3))
        model = keras.Model(x, net(layers.Rescaling(2.0)(x), training=False))
        found = features(model, names=["pyramid/stage1_unit1_out", "pyramid"])
        data = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
        inner = keras.Model(net.input, net.get_layer("stage1_unit1_out").output)
        np.testing.assert_allclose(numpy(found(data)[0]), numpy(inner(2 * data)), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(numpy(found(data)[1]), numpy(model(data)), rtol=1e-5, atol=1e-5)

    def test_the_closest_are_suggested(self):
        with pytest.raises(
            ValueError, match=r"`names` must be among the endpoints of pyramid; got 'stage1_unit1_ou' \(the"
        ):
            features(pyramid(), names="stage1_unit1_ou")
        with pytest.raises(ValueError, match=r"got 'zzz\*' \(kblocks.graph.endpoints lists all\)"):
            features(pyramid(), names="zzz*")

    @pytest.mark.parametrize("names", [(), 3, ["a", 3]])
    def test_what_are_no_names(self, names):
        with pytest.raises(TypeError, match="`names` must be a name, a pattern, or a list or tuple of at least one"):
            features(pyramid(), names=names)

    def test_names_and_strides(self):
        with pytest.raises(TypeError, match="either `strides` or `names` must be given"):
            features(pyramid(), strides=2, names="stem_out")


def test_receptive_fields():
    """Araujo et al., "Computing Receptive Fields of Convolutional Neural Networks", 2019: VGG-16 212, ResNet-50 483."""
    vgg = keras.applications.VGG16(weights=None, include_top=False, input_shape=(64, 64, 3))
    assert endpoints(vgg)[-1].receptive_field == (212, 212)
    resnet = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    assert endpoints(resnet)[-1].receptive_field == (483, 483)
    assert endpoints(resnet)[-1].stride == 32
    alex = keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            layers.Conv2D(64, 11, 4),
            layers.MaxPooling2D(3, 2),
            layers.Conv2D(192, 5, padding="same"),
            layers.MaxPooling2D(3, 2),
            *(layers.Conv2D(384, 3, padding="same") for _ in range(3)),
            layers.MaxPooling2D(3, 2),
        ]
    )
    assert endpoints(alex)[-1].receptive_field == (195, 195)
