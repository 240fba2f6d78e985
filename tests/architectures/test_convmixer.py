"""ConvMixer: counts from the paper's arithmetic, timm's networks, and what can be turned."""

import numpy as np
import pytest

import architectures
import kblocks as kb
from tests.support.models import predict
from tests.support.torch_networks import assert_equal_outputs, assert_parity_in_order, library, randomised
from tests.support.weights import images

# Width, depth, kernel size, patch size, positions along a side.
SIZES = {
    "convmixer_256_8": (256, 8, 5, 2, 16),
    "convmixer_256_16": (256, 16, 8, 1, 32),
    "convmixer_768_32": (768, 32, 7, 7, 32),
    "convmixer_1536_20": (1536, 20, 9, 7, 32),
}


@pytest.mark.parametrize("arch", SIZES)
def test_counts_in_closed_form(arch):
    width, depth, kernel, patch, side = SIZES[arch]
    row = architectures.variant(arch)
    # Each convolution has a bias, and a normalisation behind it.
    stem = (3 * patch**2 + 3) * width
    unit = (kernel**2 + 3) * width + (width + 3) * width
    assert row.params == stem + depth * unit + (width + 1) * row.classes
    macs = side**2 * width * (3 * patch**2 + depth * (kernel**2 + width))
    assert row.macs == macs + width * row.classes


# Table 1 of the paper, and the text about CIFAR-10.
@pytest.mark.parametrize(
    ("arch", "millions"),
    [
        ("convmixer_1536_20", "51.6"),
        ("convmixer_768_32", "21.1"),
        ("convmixer_256_8", "0.6"),
        ("convmixer_256_16", "1.3"),
    ],
)
def test_published_parameters(arch, millions):
    assert f"{architectures.variant(arch).params / 1e6:.1f}" == millions


@pytest.mark.parametrize("arch", ["convmixer_256_8", pytest.param("convmixer_256_16", marks=pytest.mark.slow)])
def test_the_networks_for_cifar_in_timm(arch):
    width, depth, kernel, patch, _ = SIZES[arch]
    net = library("timm").models.convmixer.ConvMixer(width, depth, kernel_size=kernel, patch_size=patch, num_classes=10)
    assert_parity_in_order(architectures.create(arch, input_shape=(16, 16, 3)), net)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["convmixer_768_32", "convmixer_1536_20"])
def test_the_network_of_timm(arch):
    # Of all 32 units, with random weights, PyTorch's own results in single and double precision differ by 0.8 %.
    net = library("timm").create_model(arch)
    net.blocks = net.blocks[:8]
    assert_parity_in_order(architectures.create(arch, input_shape=(56, 56, 3), depth=8), net)


def test_the_weights_of_timm_by_name():
    shape = (32, 32, 3)
    convmixer, nn = library("timm").models.convmixer, library("torch").nn
    net = convmixer.ConvMixer(768, 2, kernel_size=7, patch_size=7, act_layer=nn.ReLU)
    ours = architectures.create("convmixer_768_32", input_shape=shape, depth=2)
    architectures.port_from_torch(ours, randomised(net, shape).state_dict(), "timm")
    assert_equal_outputs(ours, net, shape)


@pytest.mark.parametrize(("shape", "classes"), [((28, 28, 1), 10), ((32, 32, 3), 100)])
def test_small_images(shape, classes):
    model = architectures.create("convmixer_256_8", input_shape=shape, classes=classes, depth=2)
    assert model.get_layer("stage1_unit2_out").output.shape == (None, shape[0] // 2, shape[1] // 2, 256)
    found = predict(model, images(shape))
    assert found.shape == (2, classes)
    assert np.isfinite(found).all()


def test_unknown_sizes():
    model = architectures.create("convmixer_tiny", input_shape=(None, None, 3))
    for size in (16, 21):
        fixed = architectures.create("convmixer_tiny", input_shape=(size, size, 3))
        fixed.set_weights(model.get_weights())
        x = images((size, size, 3))
        np.testing.assert_allclose(predict(model, x), predict(fixed, x), rtol=1e-4, atol=1e-5)


def test_another_stem():
    features = architectures.create("convmixer_tiny", classes=0, stem=kb.stem.cifar)
    assert features.output_shape == (None, 16, 16, 4)
