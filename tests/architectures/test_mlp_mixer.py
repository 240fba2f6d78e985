"""MLP-Mixer: counts from the paper's arithmetic, and timm's networks."""

import numpy as np
import pytest

import architectures
from tests.support.models import predict
from tests.support.torch_networks import assert_equal_outputs, assert_parity_in_order, library, randomised
from tests.support.weights import images

# Width, depth, features between the dense layers on tokens and on channels, tokens, values of a patch.
SIZES = {
    "mixer_s_16": (512, 8, 256, 2048, 196, 768),
    "mixer_b_16": (768, 12, 384, 3072, 196, 768),
    "mixer_nano_cifar": (128, 8, 512, 64, 64, 48),
    "mixer_cifar_512": (512, 6, 256, 256, 64, 48),
}


@pytest.mark.parametrize("arch", SIZES)
def test_counts_in_closed_form(arch):
    width, depth, across, along, tokens, patch = SIZES[arch]
    row = architectures.variant(arch)
    unit = 4 * width + (2 * tokens * across + across + tokens) + (2 * width * along + along + width)
    assert row.params == (patch + 1) * width + depth * unit + 2 * width + (width + 1) * row.classes
    products = 2 * tokens * width * (across + along)
    assert row.macs == tokens * patch * width + depth * products + width * row.classes


# Those of timm's networks.
@pytest.mark.parametrize(("arch", "params"), [("mixer_s_16", 18_528_264), ("mixer_b_16", 59_880_472)])
def test_counts_of_timm(arch, params):
    assert architectures.variant(arch).params == params


@pytest.mark.parametrize(
    ("arch", "theirs", "size"),
    [
        ("mixer_s_16", "mixer_s16_224", 64),
        pytest.param("mixer_s_16", "mixer_s16_224", 224, marks=pytest.mark.slow),
        pytest.param("mixer_b_16", "mixer_b16_224", 64, marks=pytest.mark.slow),
    ],
)
def test_the_network_of_timm(arch, theirs, size):
    net = library("timm").create_model(theirs, img_size=size)
    assert_parity_in_order(architectures.create(arch, input_shape=(size, size, 3)), net)


def test_the_weights_of_timm_by_name():
    shape = (32, 32, 3)
    net = library("timm").models.mlp_mixer.MlpMixer(img_size=32, patch_size=16, num_blocks=2, embed_dim=512)
    ours = architectures.create("mixer_s_16", input_shape=shape, depth=2)
    architectures.port_from_torch(ours, randomised(net, shape).state_dict(), "timm")
    assert_equal_outputs(ours, net, shape)


@pytest.mark.parametrize(("shape", "classes"), [((28, 28, 1), 10), ((32, 32, 3), 100)])
def test_small_images(shape, classes):
    model = architectures.create("mixer_nano_cifar", input_shape=shape, classes=classes)
    assert model.get_layer("norm").output.shape == (None, (shape[0] // 4) ** 2, 128)
    found = predict(model, images(shape))
    assert found.shape == (2, classes)
    assert np.isfinite(found).all()


def test_unknown_sizes_are_refused():
    message = r"^mlp_mixer_tiny can't be built for inputs of any×any×3: `x` must have known sizes; got shape"
    with pytest.raises(ValueError, match=message):
        architectures.create("mlp_mixer_tiny", input_shape=(None, None, 3))
