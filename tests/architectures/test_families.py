"""What every family does: on a tensor of the user's own, on small images, with each pooling, beside others."""

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from tests.support.marks import daily, slow
from tests.support.models import predict
from tests.support.networks import CONVOLUTIONAL, FAMILIES, LARGE, OF_IMAGES, OF_SEVERAL_INPUTS, PER_PIXEL, TINY
from tests.support.weights import randomise


def layer_names(outputs, inputs):
    return [
        layer.name for layer in keras.Model(inputs, outputs).layers if not isinstance(layer, keras.layers.InputLayer)
    ]


class TestBackbone:
    @pytest.mark.parametrize("family", OF_IMAGES)
    def test_on_a_tensor_of_the_users_own(self, family):
        module = FAMILIES[family]
        spec = module.variants[TINY[family]].spec
        inputs = keras.Input((28, 28, 1), name="image")
        x = keras.layers.ZeroPadding2D(2, name="mine")(inputs)
        first, second = module.backbone(x, spec), module.backbone(x, spec)
        left = module.backbone(x, spec, name="left")
        assert first.shape == second.shape == left.shape
        names = [name for name in layer_names([first, second, left], inputs) if name != "mine"]
        assert len(set(names)) == len(names)
        # Three sets of layers: two under fresh prefixes of the family's name, one under the prefix given.
        parts = [name.removeprefix("left_") for name in names if name.startswith("left_")]
        assert len(names) == 3 * len(parts)
        own = [name for name in names if name.startswith(f"{family}_")]
        assert len(own) == 2 * len(parts)
        for part in parts:
            assert len([name for name in own if name.endswith(f"_{part}")]) >= 2
        # The layers are those of the row without its head.
        row = architectures.create(TINY[family], input_shape=(32, 32, 1), classes=0)
        found = [layer.name for layer in row.layers if not isinstance(layer, keras.layers.InputLayer)]
        # ConvNeXt normalises what comes after the pooling, and without a pooling the features themselves.
        assert parts == [name for name in found if (family, name) != ("convnext", "norm")]

    @pytest.mark.parametrize("family", OF_SEVERAL_INPUTS)
    def test_on_several_tensors(self, family):
        module = FAMILIES[family]
        row = module.variants[TINY[family]]
        inputs = [keras.Input(shape) for shape in row.input_shapes]
        outputs = [module.backbone(inputs, row.spec, name=name) for name in (None, None, "left")]
        names = layer_names(keras.tree.flatten(outputs), inputs)
        assert len(set(names)) == len(names)
        left = [name for name in names if name.startswith("left_")]
        assert len(names) == 3 * len(left)
        assert len([name for name in names if name.startswith(f"{family}_")]) == 2 * len(left)


POOLS = {"avg": lambda x: x.mean((1, 2)), "max": lambda x: x.max((1, 2)), "flatten": lambda x: x.reshape(len(x), -1)}
LAYERS = {"avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D", "flatten": "Flatten"}


class TestPooling:
    # ConvNeXt normalises what is pooled, see its own tests.
    @pytest.mark.parametrize("pooling", ["avg", slow("max"), "flatten"])
    @pytest.mark.parametrize("family", [family for family in CONVOLUTIONAL if family != "convnext"])
    def test_of_the_features(self, family, pooling):
        options = {"input_shape": (32, 32, 3), "classes": 0}
        images = architectures.create(TINY[family], **options)
        vectors = architectures.create(TINY[family], **options, pooling=pooling)
        randomise(vectors)
        architectures.copy_weights(vectors, images)
        x = np.random.default_rng(1).normal(size=(3, 32, 32, 3)).astype("float32")
        expected = POOLS[pooling](predict(images, x))
        assert expected.std() > 0
        np.testing.assert_allclose(predict(vectors, x), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("pooling", POOLS)
    @pytest.mark.parametrize("family", CONVOLUTIONAL)
    def test_before_the_logits(self, family, pooling):
        model = architectures.create(TINY[family], classes=4, pooling=pooling)
        assert type(model.get_layer("pool")).__name__ == LAYERS[pooling]
        assert model.output_shape == (None, 4)

    @pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {*CONVOLUTIONAL, *PER_PIXEL}))
    def test_of_vectors_is_refused(self, family):
        with pytest.raises(
            ValueError, match="`pooling` must be None where the features are vectors already; got 'max'"
        ):
            architectures.create(TINY[family], pooling="max")

    @pytest.mark.parametrize("classes", [None, 0])
    @pytest.mark.parametrize("family", PER_PIXEL)
    def test_of_pixels_is_refused(self, family, classes):
        with pytest.raises(ValueError, match="`pooling` must be None where each pixel has its logits; got 'avg'"):
            architectures.create(TINY[family], classes=classes, pooling="avg")


# The networks for large images: each day few, with stems and units of several kinds. Tokens are no images, and have no
# stem; ConvMixer reduces no image of any size to 1×1.
QUICK = {"resnet18", "vgg16_bn", "mobilenet_v2_035", "efficientnet_b0"}
WITH_STEM = sorted(arch for arch in LARGE if FAMILIES[architectures.family(arch)].downsampling)
REDUCING = [arch for arch in WITH_STEM if architectures.family(arch) != "convmixer"]


def each_network(names):
    return pytest.mark.parametrize("arch", daily(names, QUICK))


POOLS_LEFT = {"vgg": 3, "alexnet": 1}


class TestSmallImages:
    @pytest.mark.parametrize(("shape", "stem"), [((32, 32, 3), kb.stem.cifar), ((28, 28, 1), kb.stem.mnist)])
    @each_network(WITH_STEM)
    def test_more_than_one_position_is_left(self, arch, shape, stem):
        pools = POOLS_LEFT.get(architectures.family(arch))
        overrides = {"pools": pools} if pools else {"stem": stem}
        features = architectures.create(arch, input_shape=shape, classes=0, **overrides)
        assert min(features.output_shape[1:3]) >= 2

    @pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1)])
    @each_network(REDUCING)
    def test_without_a_word_they_are_refused_with_the_way_out(self, arch, shape):
        way = "`pools=`" if architectures.family(arch) in POOLS_LEFT else r"kblocks\.stem\.(cifar|bare)"
        with pytest.raises(ValueError, match=rf"{arch} can't be built for inputs of {shape[0]}×.*: .*{way}"):
            architectures.create(arch, input_shape=shape)
