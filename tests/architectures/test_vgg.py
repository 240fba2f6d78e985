"""VGG: its rows from the paper's tables, its head, and small images."""

from itertools import pairwise

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from tests.support.models import predict
from tests.support.numpy_layers import Numpy, relu
from tests.support.torch_networks import assert_parity_in_order, library
from tests.support.weights import randomise

WIDTHS = (64, 128, 256, 512, 512)
# Columns A, B, D and E of Table 1.
DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("arch", DEPTHS)
def test_counts_in_closed_form(arch, norm):
    params, macs, side, channels = 0, 0, 224, 3
    for depth, width in zip(DEPTHS[arch], WIDTHS, strict=True):
        for _ in range(depth):
            # A bias, or the scale and the shift of a normalisation.
            params += 9 * channels * width + (2 * width if norm else width)
            macs += side**2 * 9 * channels * width
            channels = width
        side //= 2
    assert (side, channels) == (7, 512)
    for features, units in ((7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)):
        params += features * units + units
        macs += features * units
    row = architectures.variant(f"{arch}_bn" if norm else arch)
    assert (row.params, row.macs) == (params, macs)
    assert sum(DEPTHS[arch]) + 3 == int(arch.removeprefix("vgg"))


# Torchvision's documentation; its normalised networks have a bias beside each normalisation.
@pytest.mark.parametrize(
    ("arch", "published", "biases"),
    [
        ("vgg11", 132_863_336, 0),
        ("vgg13", 133_047_848, 0),
        ("vgg16", 138_357_544, 0),
        ("vgg19", 143_667_240, 0),
        ("vgg11_bn", 132_868_840, 64 + 128 + 2 * 256 + 4 * 512),
        ("vgg13_bn", 133_053_736, 2 * 64 + 2 * 128 + 2 * 256 + 4 * 512),
        ("vgg16_bn", 138_365_992, 2 * 64 + 2 * 128 + 3 * 256 + 6 * 512),
        ("vgg19_bn", 143_678_248, 2 * 64 + 2 * 128 + 4 * 256 + 8 * 512),
    ],
)
def test_published_parameters(arch, published, biases):
    row = architectures.variant(arch)
    assert row.params == published - biases
    if biases:
        assert f"{published:,}" in row.source
        assert f"{biases:,}" in row.departures


# At 10 classes, in millions: kuangliu's and bearpaw's with one dense layer, chenyaofo's, and huyvnphan's with 4096.
@pytest.mark.parametrize(
    ("arch", "published"),
    [
        ("vgg11", (9.231, 9.756, 28.150)),
        ("vgg13", (9.416, 9.941, 28.334)),
        ("vgg16", (14.728, 15.254, 33.647)),
        ("vgg19", (20.041, 20.566, 38.959)),
    ],
)
def test_counts_for_cifar(arch, published):
    """Five poolings leave one position; each repository has a bias beside each normalisation, which ours lacks."""
    convs, macs, channels, side, biases = 0, 0, 3, 32, 0
    for depth, width in zip(DEPTHS[arch], WIDTHS, strict=True):
        for _ in range(depth):
            convs += 9 * channels * width + 2 * width
            macs += side**2 * 9 * channels * width
            biases += width
            channels = width
        side //= 2
    for suffix, units, millions in zip(("", "_512", "_4096"), ((), (512,) * 2, (4096,) * 2), published, strict=True):
        sizes = (512, *units, 10)
        dense = sum(a * b for a, b in pairwise(sizes))
        row = architectures.variant(f"{arch}_bn_cifar{suffix}")
        assert (row.params, row.macs) == (convs + dense + sum(sizes[1:]), macs + dense)
        assert (row.params + biases) / 1e6 == pytest.approx(millions, abs=6e-4)


def torch_network(layout, hidden):
    """Torchvision's, without biases beside normalisations, on the one position that is left."""
    nn, models = library("torch").nn, library("torchvision").models.vgg
    features = models.make_layers(layout, True)
    for module in features:
        if isinstance(module, nn.Conv2d):
            module.bias = None
    channels = [width for width in layout if width != "M"][-1]
    layers = []
    for units in hidden:
        layers += [nn.Linear(channels, units), nn.ReLU(), nn.Dropout()]
        channels = units
    return nn.Sequential(features, nn.Flatten(), *layers, nn.Linear(channels, 10))


@pytest.mark.parametrize(("suffix", "hidden"), [("", ()), ("_512", (6, 5))])
def test_the_form_for_cifar_is_torchvisions(suffix, hidden):
    overrides = {"widths": (4, 8, 8, 8, 8), **({"hidden": hidden} if hidden else {})}
    model = architectures.create(f"vgg11_bn_cifar{suffix}", **overrides)
    net = torch_network([4, "M", 8, "M", 8, 8, "M", 8, 8, "M", 8, 8, "M"], hidden)
    assert_parity_in_order(model, net)


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "layout"), [("vgg11", "A"), ("vgg13", "B"), ("vgg16", "D"), ("vgg19", "E")])
def test_the_networks_for_cifar_are_torchvisions(arch, layout):
    cfgs = library("torchvision").models.vgg.cfgs
    assert_parity_in_order(architectures.create(f"{arch}_bn_cifar"), torch_network(cfgs[layout], ()))


def test_the_form_for_cifar_at_other_sizes():
    overrides = {"widths": (4, 8, 8, 8, 8)}
    model = architectures.create("vgg11_bn_cifar", input_shape=(28, 28, 1), classes=100, **overrides)
    assert model.get_layer("stage5_pool").output.shape == (None, 1, 1, 8)
    assert model.output_shape == (None, 100)


def small(arch="vgg16", **overrides):
    """A network of few channels."""
    arguments = {"input_shape": (32, 32, 3), "classes": 10, "widths": (2, 2, 4, 4, 4), "hidden": (8, 8)} | overrides
    return architectures.create(arch, **arguments)


def test_shapes_by_layer_name():
    model = small(input_shape=(64, 96, 3))
    names = ("stage1_conv2", "stage1_pool", "stage3_conv3", "stage5_conv3", "stage5_pool", "pool", "hidden_dense2")
    assert [model.get_layer(name).output.shape[1:] for name in names] == [
        *((64, 96, 2), (32, 48, 2), (16, 24, 4), (4, 6, 4), (2, 3, 4), (24,), (8,)),
    ]


def test_a_pyramid_holds_what_is_left_before_each_pooling():
    strides = (1, 2, 4, 8, 16, 32)
    pyramid = kb.graph.features(small(input_shape=(64, 64, 3)), strides=strides)
    assert [y._keras_history.operation.name for y in pyramid.outputs] == [
        *("stage1_conv2", "stage2_conv2", "stage3_conv3", "stage4_conv3", "stage5_conv3"),
        "stage5_pool",
    ]


def test_the_network_in_numpy():
    model = architectures.create("vgg_tiny", input_shape=(8, 9, 2), dropout=0.9)
    randomise(model)
    net = Numpy(model)
    x = np.random.default_rng(0).normal(size=(2, 8, 9, 2)).astype("float32")
    y = x
    for names in (("stage1_conv1",), ("stage2_conv1", "stage2_conv2")):
        for name in names:
            y = relu(net.conv(y, name))
        h, w = y.shape[1] // 2, y.shape[2] // 2
        y = y[:, : 2 * h, : 2 * w].reshape(2, h, 2, w, 2, -1).max((2, 4))
    y = y.reshape(2, -1)
    y = net.dense(relu(net.dense(y, "hidden_dense1")), "logits")
    np.testing.assert_allclose(predict(model, x), y, rtol=1e-4, atol=1e-4)


class TestHead:
    @pytest.mark.parametrize(
        ("pooling", "features"), [(None, 2 * 2 * 4), ("flatten", 2 * 2 * 4), ("avg", 4), ("max", 4)]
    )
    def test_the_dense_layers_fit_themselves(self, pooling, features):
        model = small(input_shape=(64, 64, 3), pooling=pooling)
        assert model.get_layer("hidden_dense1").kernel.shape == (features, 8)
        assert model.get_layer("logits").kernel.shape == (8, 10)

    @pytest.mark.parametrize(("pooling", "features"), [(None, 2 * 2 * 4), ("avg", 4)])
    def test_no_dense_layers(self, pooling, features):
        model = small(input_shape=(64, 64, 3), hidden=(), pooling=pooling)
        assert model.get_layer("logits").kernel.shape == (features, 10)

    @pytest.mark.parametrize(("pooling", "shape"), [(None, (2, 2, 4)), ("avg", (4,)), ("flatten", (16,))])
    def test_features_have_no_dense_layers(self, pooling, shape):
        model = small(input_shape=(64, 64, 3), classes=0, pooling=pooling)
        assert model.output_shape == (None, *shape)
        assert not [layer.name for layer in model.layers if "hidden" in layer.name]

    def test_dropout_follows_each_dense_layer(self):
        dropouts = [layer for layer in small(pools=4).layers if isinstance(layer, keras.layers.Dropout)]
        assert [(layer.name, layer.rate) for layer in dropouts] == [("hidden_dropout1", 0.5), ("hidden_dropout2", 0.5)]

    def test_the_dense_layers_are_not_normalised(self):
        model = small("vgg16_bn", pools=4)
        norms = [layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        assert len(norms) == 13
        assert not [name for name in norms if "hidden" in name]

    def test_unknown_sizes_are_averaged_but_not_flattened(self):
        assert small(input_shape=(None, None, 3), pooling="avg")(np.zeros((1, 40, 64, 3))).shape == (1, 10)
        for hidden in ((8, 8), ()):
            with pytest.raises(ValueError, match=r'`x` must have known sizes to be flattened; .*`pooling="avg"` takes'):
                small(input_shape=(None, None, 3), hidden=hidden)


class TestSmallImages:
    @pytest.mark.parametrize("classes", [10, 0])
    def test_a_single_position_is_asked_for(self, classes):
        with pytest.raises(ValueError, match=r"32×32×3: the features would be 1×1 \(use fewer `pools=`, or pass"):
            small(classes=classes)
        assert small(classes=classes, pools=5).get_layer("stage5_pool").output.shape == (None, 1, 1, 4)
        assert small(classes=classes, input_shape=(33, 33, 3)).get_layer("stage5_pool").output.shape == (None, 1, 1, 4)

    @pytest.mark.parametrize(("pools", "side"), [(4, 1), (3, 3), (1, 14), (0, 28)])
    def test_fewer_poolings(self, pools, side):
        model = small(input_shape=(28, 28, 1), pools=pools)
        assert model.get_layer("stage5_conv3").output.shape[1:3] == (28 // 2 ** min(pools, 4),) * 2
        assert model.get_layer("pool").output.shape == (None, side * side * 4)

    @pytest.mark.parametrize(("pools", "least"), [(5, 32), (3, 8)])
    def test_too_small_images_are_refused_with_the_least_size(self, pools, least):
        message = f"`x` must be at least {least}×{least} for {pools} poolings; got {least - 1}×{least}"
        with pytest.raises(ValueError, match=message):
            small(input_shape=(least - 1, least, 3), pools=pools)

    @pytest.mark.parametrize("pools", [-1, 6])
    def test_more_poolings_than_stages_are_refused(self, pools):
        with pytest.raises(ValueError, match=f"`pools` must be one of 0, 1, 2, 3, 4, 5; got {pools}"):
            small(pools=pools)

    def test_the_form_that_is_usual_for_cifar(self):
        """Five poolings and no dense layers: 14,728,266 parameters where each convolution has a bias too."""
        model = architectures.create("vgg16_bn", input_shape=(32, 32, 3), classes=10, pools=5, hidden=())
        assert kb.graph.profile(model).trainable_params == 14_728_266 - 4_224


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ((2, 2), r"`depths` and `widths` must be of one length; got \(2, 2\) and"),
        ((), r"`depths` must hold at least one stage; got \(\)"),
        ((1.5,) * 5, "`depths` must be a positive integer; got 1.5"),
    ],
)
def test_depths_and_widths_of_one_length(depths, message):
    with pytest.raises(ValueError, match=message):
        small(depths=depths)


def test_a_row_that_ends_in_one_position_may_do_so_with_other_heads_and_sizes():
    small = {"widths": (4, 8, 8, 8, 8)}
    for options in ({"input_shape": (28, 28, 1)}, {"dropout": 0.1}, {"input_shape": (16, 16, 3), "hidden": (4,)}):
        model = architectures.create("vgg11_bn_cifar", **options, **small)
        assert model.get_layer("stage5_pool").output.shape == (None, 1, 1, 8)
