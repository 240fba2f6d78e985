"""DeepLab against torchvision's, and its counts."""

from dataclasses import replace
from functools import partial

import keras
import pytest

import architectures
from architectures import deeplab, resnet
from kblocks.graph import profile
from tests.support.torch_networks import assert_parity_in_order, library

# Of the auxiliary classifier in torchvision's figures: a 3×3 convolution of 1024 channels to 256, and a 1×1 one to 21.
AUXILIARY = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21


@pytest.mark.parametrize(
    ("arch", "params"), [("deeplab_v3_resnet50", 42_004_074), ("deeplab_v3_resnet101", 60_996_202)]
)
def test_published_parameters(arch, params):
    assert architectures.variant(arch).params == params - AUXILIARY


def test_parameters_of_version_3_plus():
    backbone = 25_557_032 - (2048 * 1000 + 1000)
    pyramid = 2 * (2048 * 256 + 512) + 3 * (9 * 2048 * 256 + 512) + 5 * 256 * 256 + 512
    decoder = (256 * 48 + 96) + (9 * (256 + 48) * 256 + 512) + (9 * 256 * 256 + 512)
    assert architectures.variant("deeplab_v3_plus_resnet50").params == backbone + pyramid + decoder + 256 * 21 + 21


def theirs(depths, classes):
    """Torchvision's network, its output alone, channels last."""
    library("torchvision")
    import torch
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.resnet import Bottleneck, ResNet
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    class Out(torch.nn.Module):
        def __init__(self):
            super().__init__()
            encoder = ResNet(Bottleneck, list(depths), replace_stride_with_dilation=[False, True, True])
            self.net = DeepLabV3(IntermediateLayerGetter(encoder, {"layer4": "out"}), DeepLabHead(2048, classes))

        def forward(self, x):
            return self.net(x)["out"].permute(0, 2, 3, 1)

    return Out()


def names_of(model):
    """Torchvision's modules by the names of our layers."""
    found = {"logits_conv": "classifier.4", "decoder_conv": "classifier.1", "decoder_conv_norm": "classifier.2"}
    for name, path in resnet.torch_names([layer.name for layer in model.layers], "torchvision").items():
        if name.startswith(("stem", "stage")):
            found[name] = f"backbone.{path}"
    aspp = {f"conv{i}": f"convs.{i - 1}.0" for i in range(1, 5)} | {"mean_conv": "convs.4.1", "project": "project.0"}
    for name, path in aspp.items():
        branch, _, index = path.rpartition(".")
        found[f"decoder_aspp_{name}"] = f"classifier.0.{path}"
        found[f"decoder_aspp_{name}_norm"] = f"classifier.0.{branch}.{int(index) + 1}"
    return {name: f"net.{path}" for name, path in found.items()}


@pytest.mark.parametrize(
    ("depths", "side"), [((1, 1, 1, 1), 32), pytest.param((3, 4, 6, 3), 64, marks=pytest.mark.slow)], ids=str
)
def test_it_is_torchvisions(depths, side):
    net = theirs(depths, 5)
    options = {}
    if depths != (3, 4, 6, 3):
        spec = replace(resnet.VARIANTS["resnet50_v1_5"].spec, depths=depths, output_stride=8)
        options = {"encoder": partial(resnet.backbone, spec=spec)}
    model = architectures.create("deeplab_v3_resnet50", input_shape=(side, side, 3), classes=5, **options)
    assert_parity_in_order(model, net, names=names_of(model))


def test_shapes():
    model = architectures.create("deeplab_v3_plus_resnet50", input_shape=(129, 100, 3))
    found = {name: model.get_layer(name).output.shape[1:] for name in ("stage1_unit3_out", "stage4_unit3_out")}
    assert found == {"stage1_unit3_out": (33, 25, 256), "stage4_unit3_out": (9, 7, 2048)}
    assert model.get_layer("decoder_fuse_out").output.shape[1:] == (33, 25, 256)
    assert model.output_shape == (None, 129, 100, 21)


def test_any_size():
    model = architectures.create("deeplab_tiny", input_shape=(None, None, 3))
    assert model.output_shape == (None, None, None, 10)
    assert profile(model, (16, 16, 3)).macs == architectures.variant("deeplab_tiny").macs


def test_one_stride_or_two():
    with pytest.raises(ValueError, match=r"`strides` must hold one stride, or two for version 3\+; got \(\)"):
        architectures.create("deeplab_tiny", strides=())
    with pytest.raises(ValueError, match=r"`strides` must be among 1, 2, the strides of .*; got 4"):
        architectures.create("deeplab_tiny", strides=(4,))
    assert architectures.create("deeplab_tiny", strides=(2,)).output_shape == (None, 16, 16, 10)


def test_the_strides_are_those_of_the_tensor_it_is_called_on():
    x = keras.Input((32, 32, 3))
    y = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)
    assert deeplab.backbone(y, deeplab.VARIANTS["deeplab_tiny"].spec).shape == (None, 16, 16, 6)
