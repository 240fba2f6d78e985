"""U-Net: its counts by the paper's figure, and its shapes."""

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from architectures import resnet, unet
from tests.support.models import predict
from tests.support.weights import randomise


def test_parameters_by_the_figure():
    widths = [64, 128, 256, 512, 1024]
    total, before = 0, 1
    for width in widths:
        total += 9 * before * width + width + 9 * width * width + width
        before = width
    for width in widths[-2::-1]:
        total += 4 * 2 * width * width + width + 9 * 2 * width * width + width + 9 * width * width + width
    assert architectures.variant("unet").params == total + 64 * 2 + 2
    # 23 convolutions: "In total the network has 23 convolutional layers."
    model = architectures.create("unet", input_shape=(64, 64, 1))
    assert len([layer for layer in model.layers if hasattr(layer, "kernel")]) == 23


def test_shapes_by_the_figure():
    model = architectures.create("unet")
    found = {name: model.get_layer(name).output.shape[1:] for name in SHAPES}
    assert found == SHAPES
    assert model.output_shape == (None, 512, 512, 2)


SHAPES = {
    "stage1_unit1_out": (512, 512, 64), "stage5_pool": (32, 32, 512), "stage5_unit1_out": (32, 32, 1024),
    "decoder_level4_up": (64, 64, 512), "decoder_level4_concat": (64, 64, 1024), "decoder_level4_out": (64, 64, 512),
    "decoder_level1_concat": (512, 512, 128), "decoder_level1_out": (512, 512, 64), "logits": (512, 512, 2),
}  # fmt: skip


@pytest.mark.parametrize("size", [(28, 28), (37, 50)])
@pytest.mark.parametrize("arch", ["unet_tiny", "unet_resnet20"])
def test_sizes_that_are_not_divisible(arch, size):
    model = architectures.create(arch, input_shape=(*size, 1))
    assert model.output_shape == (None, *size, 10)


def test_the_encoder_has_the_layers_of_its_network():
    net, model = randomise(architectures.create("resnet20")), architectures.create("unet_resnet20")
    ours = [layer.name for layer in net.layers if layer.weights and layer.name != "logits"]
    others = [
        layer.name for layer in model.layers if layer.weights and not layer.name.startswith(("decoder", "logits"))
    ]
    assert sorted(ours) == sorted(others)
    architectures.copy_weights(
        net, model, skip=[layer.name for layer in model.layers if layer.weights and layer.name not in ours]
    )
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    for name in ("stage1_unit3_out", "stage3_unit3_out"):
        found, expected = (predict(kb.graph.features(each, names=name), x) for each in (model, net))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_encoder_reads_its_style():
    x = keras.Input((16, 16, 3))
    model = keras.Model(x, unet.contracting(x, widths=(4, 6), unit=kb.residual.basic, style=resnet.STYLE, name="mine"))
    assert model.output_shape == (None, 8, 8, 6)
    assert model.layers[-1].name == "mine_stage2_unit1_out"


def test_a_network_of_another_number_of_classes_is_loaded(tmp_path):
    model = randomise(architectures.create("unet_resnet18", input_shape=(64, 64, 3)))
    model.save(tmp_path / "model.keras")
    options = {"input_shape": (64, 64, 3), "weights": tmp_path / "model.keras"}
    same, other = (
        architectures.create("unet_resnet18", **options),
        architectures.create("unet_resnet18", classes=4, **options),
    )
    for a, b in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert other.output_shape == (None, 64, 64, 4)
    for layer in model.layers:
        if layer.name != "logits_conv":
            for a, b in zip(layer.get_weights(), other.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
