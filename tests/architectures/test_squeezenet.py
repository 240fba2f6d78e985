"""SqueezeNet: its counts, and the networks of torchvision and pytorchcv."""

import pytest

import architectures
import kblocks as kb
from tests.support.torch_networks import assert_parity_in_order, library

FIRES = (16, 16, 32, 32, 48, 48, 64, 64)  # squeeze widths of fire2 to fire9, Table 1


def test_parameters_in_closed_form():
    """Each fire module gives 8 times its squeeze width, half of it by either convolution."""

    def fires(before, norm):
        params = 0
        for width in FIRES:
            half = 4 * width
            params += before * width + width * half + 9 * width * half + (2 if norm else 1) * (width + 2 * half)
            before = 2 * half
        return params

    assert architectures.variant("squeezenet1_0").params == 49 * 3 * 96 + 96 + fires(96, False) + 513 * 1000
    assert architectures.variant("squeezenet1_1").params == 9 * 3 * 64 + 64 + fires(64, False) + 513 * 1000
    small = 9 * 3 * 96 + 192 + fires(96, True) + 513 * 10
    assert architectures.variant("squeezenet_cifar").params == small
    # At 100 classes and with a bias beside each normalisation, as in the table of weiaicunzai.
    assert f"{(small + 90 * 513 + 96 + sum(9 * width for width in FIRES)) / 1e6:.2f}" == "0.78"


# Torchvision's documentation.
@pytest.mark.parametrize(("arch", "published"), [("squeezenet1_0", 1_248_424), ("squeezenet1_1", 1_235_496)])
def test_published_parameters(arch, published):
    assert architectures.variant(arch).params == published


@pytest.mark.parametrize(
    ("arch", "shape"),
    [
        ("squeezenet1_1", (96, 67, 3)),
        pytest.param("squeezenet1_0", (97, 130, 3), marks=pytest.mark.slow),
        pytest.param("squeezenet1_0", (224, 224, 3), marks=pytest.mark.slow),
        pytest.param("squeezenet1_1", (224, 224, 3), marks=pytest.mark.slow),
    ],
)
def test_torchvisions_networks(arch, shape):
    net = getattr(library("torchvision").models, arch)(num_classes=7)
    assert_parity_in_order(architectures.create(arch, input_shape=shape, classes=7), net)


@pytest.mark.slow
def test_the_bypass_of_pytorchcv():
    net = library("pytorchcv.model_provider").get_model("squeezeresnet_v1_0", num_classes=7)
    assert_parity_in_order(architectures.create("squeezenet1_0_bypass", classes=7), net)


def torch_network(stages, stem, classes):
    torch = library("torch")
    nn = torch.nn

    def conv(before, after, size):
        return nn.Sequential(
            nn.Conv2d(before, after, size, padding=size // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()
        )

    class Fire(nn.Module):
        def __init__(self, before, after):
            super().__init__()
            self.squeeze = conv(before, after // 8, 1)
            self.one, self.three = conv(after // 8, after // 2, 1), conv(after // 8, after // 2, 3)
            self.bypass = before == after

        def forward(self, x):
            y = self.squeeze(x)
            y = torch.cat([self.one(y), self.three(y)], 1)
            return x + y if self.bypass else y

    layers = [conv(3, stem, 3)]
    for widths in stages:
        layers.append(nn.MaxPool2d(2))
        for width in widths:
            layers.append(Fire(stem, width))
            stem = width
    return nn.Sequential(*layers, nn.Conv2d(stem, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_the_network_for_cifar_in_torch():
    model = architectures.create("squeezenet_cifar")
    assert_parity_in_order(model, torch_network(((128, 128, 256), (256, 384, 384, 512), (512,)), 96, 10))


def test_shapes_by_layer_name():
    model = architectures.create("squeezenet1_0")
    names = ("stem_out", "stage1_pool", "stage1_unit3_out", "stage2_pool", "stage3_pool", "stage3_unit1_out", "logits")
    assert [model.get_layer(name).output.shape[1:] for name in names] == [
        *((109, 109, 96), (54, 54, 96), (54, 54, 256), (27, 27, 256), (13, 13, 512), (13, 13, 512), (1000,)),
    ]


def test_a_bypass_where_channels_are_kept():
    adds = [
        layer.name
        for layer in architectures.create("squeezenet1_0_bypass").layers
        if "add" in type(layer).__name__.lower()
    ]
    assert [name for name in adds if "unit" in name] == [
        f"stage{i}_unit{j}_out" for i, j in ((1, 2), (2, 1), (2, 3), (3, 1))
    ]


def test_small_images():
    with pytest.raises(ValueError, match=r"32×32×3: the features would be 1×1 \(use `stem=kblocks"):
        architectures.create("squeezenet1_0", input_shape=(32, 32, 3))
    model = architectures.create("squeezenet1_0", input_shape=(28, 28, 1), classes=10, stem=kb.stem.cifar)
    assert model.get_layer("stage3_pool").output.shape == (None, 3, 3, 512)
    with pytest.raises(ValueError, match="`x` must be at least 7×7 for the stem; got 6×6"):
        architectures.create("squeezenet1_0", input_shape=(6, 6, 3))
