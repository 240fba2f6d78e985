"""Feature pyramid networks: their counts, and their shapes."""

import pytest

import architectures


@pytest.mark.parametrize(
    ("arch", "backbone", "widths"),
    [
        ("fpn_resnet18", 11_689_512 - 513_000, (64, 128, 256, 512)),
        ("fpn_resnet50", 25_557_032 - 2_049_000, (256, 512, 1024, 2048)),
    ],
)
def test_parameters(arch, backbone, widths):
    pyramid = sum(width * 256 + 256 + 9 * 256 * 256 + 256 for width in widths)
    # One convolution at strides 4 and 8, two at 16, three at 32; the first of 256 channels.
    head = 4 * 9 * 256 * 128 + 3 * 9 * 128 * 128 + 7 * 256
    assert architectures.variant(arch).params == backbone + pyramid + head + 128 * 21 + 21


def test_shapes():
    model = architectures.create("fpn_resnet18", input_shape=(100, 129, 3))
    shapes = [model.get_layer(f"pyramid_level{i}_out").output.shape[1:] for i in range(1, 5)]
    assert shapes == [(25, 33, 256), (13, 17, 256), (7, 9, 256), (4, 5, 256)]
    assert model.get_layer("decoder_out").output.shape[1:] == (25, 33, 128)
    assert model.output_shape == (None, 100, 129, 21)
