"""Weights of torchvision and timm: equal outputs from random weights, and what needs neither of them installed."""

import sys
from dataclasses import replace
from functools import cache, partial

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from architectures import efficientnet
from architectures.registry import FAMILIES
from tests.support.marks import slow
from tests.support.models import predict
from tests.support.torch_networks import assert_equal_outputs, library, randomised
from tests.support.weights import images, randomise

SHAPE = (67, 90, 3)  # sides that no stride divides

RELU6 = replace(kb.style.RELU6_BN, padding="symmetric")
SWISH = replace(kb.style.SWISH_BN, padding="symmetric")
SWISH_3 = replace(efficientnet.STYLE, padding="symmetric")
V1_5 = {"unit": kb.residual.bottleneck}
FAMILY = {family.name: family for family in FAMILIES}
EFFICIENTNET_TINY = architectures.variant("efficientnet_tiny").spec


def assert_parity(arch, net, source, shape=SHAPE, **overrides):
    randomised(net, shape)
    ours = architectures.create(arch, input_shape=shape, classes=7, **overrides)
    architectures.port_from_torch(ours, net.state_dict(), source)
    assert_equal_outputs(ours, net, shape)


class TestTorchvision:
    @pytest.mark.parametrize(
        ("arch", "name", "overrides"),
        [
            slow("resnet18", "resnet18", {}),
            slow("resnet34", "resnet34", {}),
            slow("resnet50_v1_5", "resnet50", {}),
            slow("resnet50", "resnet50", V1_5),
            slow("resnet50_v1_5", "wide_resnet50_2", {"unit": partial(kb.residual.bottleneck, ratio=1 / 2)}),
            slow("resnext50_32x4d", "resnext50_32x4d", {}),
            slow("densenet121", "densenet121", {}),
            slow("densenet169", "densenet169", {}),
            slow("mobilenet_v2", "mobilenet_v2", {"style": RELU6}),
            slow("efficientnet_b0", "efficientnet_b0", {"style": SWISH}),
            slow("efficientnet_b1", "efficientnet_b1", {"style": SWISH}),
            slow("efficientnet_v2_s", "efficientnet_v2_s", {"style": SWISH_3}),
            slow("convnext_tiny", "convnext_tiny", {}),
        ],
    )
    def test_the_same_logits(self, arch, name, overrides):
        models = library("torchvision").models
        assert_parity(arch, getattr(models, name)(num_classes=7), "torchvision", **overrides)

    @pytest.mark.parametrize(("arch", "block"), [("resnet18", "BasicBlock"), ("resnet50_v1_5", "Bottleneck")])
    def test_resnet(self, arch, block):
        models = library("torchvision").models.resnet
        net = models.ResNet(getattr(models, block), [1, 2, 1, 1], num_classes=7)
        assert_parity(arch, net, "torchvision", depths=(1, 2, 1, 1))

    def test_densenet(self):
        net = library("torchvision").models.DenseNet(8, (2, 1, 3, 2), 16, num_classes=7)
        assert_parity("densenet121", net, "torchvision", depths=(2, 1, 3, 2), growth=8, stem_filters=16)

    def test_mobilenet_v2(self):
        stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 1, 2))
        net = library("torchvision").models.MobileNetV2(7, inverted_residual_setting=[list(row) for row in stages])
        assert_parity("mobilenet_v2", net, "torchvision", style=RELU6, stages=stages)

    def test_convnext(self):
        models = library("torchvision").models.convnext
        net = models.ConvNeXt([models.CNBlockConfig(8, 16, 2), models.CNBlockConfig(16, None, 1)], num_classes=7)
        assert_parity("convnext_toy", net, "torchvision", depths=(2, 1), widths=(8, 16))

    def test_efficientnet(self):
        models = library("torchvision").models.efficientnet
        fused, plain = models.FusedMBConvConfig, models.MBConvConfig
        configs = [fused(1, 3, 1, 8, 8, 1), fused(2, 3, 2, 8, 8, 1), plain(2, 5, 2, 8, 8, 2), plain(1, 3, 1, 8, 16, 1)]
        net = models.EfficientNet(configs, 0.0, num_classes=7, last_channel=16)
        stages = (*EFFICIENTNET_TINY.stages, (kb.mobile.mbconv, 3, 1, 16, 1, 1))
        assert_parity("efficientnet_tiny", net, "torchvision", style=SWISH, stages=stages)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "arch", [*architectures.names("efficientnet_b*"), "efficientnet_v2_s", "efficientnet_v2_m"]
    )
    def test_epsilons_of_efficientnet(self, arch):
        models, torch = library("torchvision").models, library("torch")
        with torch.device("meta"):
            net = getattr(models, arch)()
        ((_, epsilon),) = efficientnet.torch_settings(arch, "torchvision")
        assert {module.eps for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {epsilon}

    @pytest.mark.parametrize("norm", [False, True])
    @pytest.mark.parametrize(
        ("arch", "shape", "pools", "layout", "depths", "widths"),
        [
            ("vgg16", (28, 28, 3), 2, [4, "M", 8, 8, "M"], (1, 2), (4, 8)),
            slow("vgg11", (224, 224, 3), 5, "A", (1, 1, 2, 2, 2), (64, 128, 256, 512, 512)),
            slow("vgg13", (224, 224, 3), 5, "B", (2, 2, 2, 2, 2), (64, 128, 256, 512, 512)),
            slow("vgg16", (224, 224, 3), 5, "D", (2, 2, 3, 3, 3), (64, 128, 256, 512, 512)),
        ],
    )
    def test_vgg(self, norm, arch, shape, pools, layout, depths, widths):
        models, torch = library("torchvision").models.vgg, library("torch")
        with torch.device("meta"):  # without memory for dense layers of 4096
            net = models.VGG(torch.nn.Identity(), init_weights=False)
        net.features = models.make_layers(models.cfgs[layout] if isinstance(layout, str) else layout, norm)
        linear, relu, dropout = torch.nn.Linear, torch.nn.ReLU, torch.nn.Dropout
        sizes = (linear(49 * widths[-1], 16), linear(16, 12), linear(12, 7))
        net.classifier = torch.nn.Sequential(sizes[0], relu(), dropout(), sizes[1], relu(), dropout(), sizes[2])
        overrides = {"depths": depths, "widths": widths, "pools": pools, "hidden": (16, 12)}
        assert_parity(f"{arch}_bn" if norm else arch, net, "torchvision", shape, **overrides)

    def test_parameters_that_are_being_trained_and_of_half_the_precision(self):
        models = library("torchvision").models
        net = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=7)
        ours = architectures.create("resnet18", input_shape=SHAPE, classes=7, depths=(1, 1, 1, 1))
        state = dict(net.named_parameters()) | dict(net.named_buffers())
        assert state["fc.weight"].requires_grad
        state["fc.weight"] = state["fc.weight"].bfloat16()
        architectures.port_from_torch(ours, state)
        found = ours.get_layer("logits").get_weights()[0]
        np.testing.assert_array_equal(found, state["fc.weight"].detach().float().numpy().T)


class TestTimm:
    @pytest.mark.parametrize(
        ("arch", "name", "overrides"),
        [
            slow("resnet18", "resnet18", {}),
            slow("resnet50_v1_5", "resnet50", {}),
            slow("resnet50_c", "resnet50c", {}),
            slow("resnet50_d", "resnet50d", {}),
            slow("resnext50_32x4d", "resnext50_32x4d", {}),
            slow("resnext101_32x4d", "resnext101_32x4d", {}),
            slow("se_resnet50", "seresnet50", {}),
            slow("densenet121", "densenet121", {}),
            slow("mobilenet_v2_050", "mobilenetv2_050", {"style": RELU6}),
            slow("mobilenet_v2_140", "mobilenetv2_140", {"style": RELU6}),
            slow("efficientnet_b0", "efficientnet_b0", {"style": SWISH}),
            ("efficientnet_b0", "tf_efficientnet_b0", {}),
            slow("efficientnet_b1", "efficientnet_b1", {"style": SWISH}),
            slow("efficientnet_v2_b0", "tf_efficientnetv2_b0", {}),
            slow("efficientnet_v2_s", "tf_efficientnetv2_s", {}),
            ("convnext_tiny", "convnext_atto", {"depths": (2, 2, 6, 2), "widths": (40, 80, 160, 320)}),
            slow("convnext_tiny", "convnext_tiny", {}),
        ],
    )
    def test_the_same_logits(self, arch, name, overrides):
        net = library("timm").create_model(name, num_classes=7)
        assert_parity(arch, net, "timm", **overrides)

    def test_resnet_with_all_that_its_rows_have(self):
        models = library("timm").models.resnet
        options = {"stem_type": "deep", "stem_width": 8, "avg_down": True, "block_args": {"attn_layer": "se"}}
        net = models.ResNet(models.Bottleneck, [1, 2, 1, 1], num_classes=7, cardinality=2, base_width=32, **options)
        unit = partial(kb.residual.bottleneck, groups=2, attention=kb.attention.squeeze_excite)
        assert_parity("resnet50_d", net, "timm", depths=(1, 2, 1, 1), unit=unit, stem_filters=16)

    @pytest.mark.parametrize("norm", [False, True])
    def test_vgg(self, norm):
        vgg, torch = library("timm").models.vgg, library("torch")
        norms = {"norm_layer": torch.nn.BatchNorm2d} if norm else {}
        net = vgg.VGG([4, "M", 8, 8, "M"], num_classes=7, mlp_ratio=0.01, **norms)
        overrides = {"depths": (1, 2), "widths": (4, 8), "pools": 2, "hidden": (40, 4096)}
        assert_parity("vgg16_bn" if norm else "vgg16", net, "timm", (28, 28, 3), **overrides)


def entries(layer, prefix, order=None):
    """The weights of a layer of ours as PyTorch has them; `order` permutes the input features of a dense layer."""
    found = dict(zip([weight.name for weight in layer.weights], layer.get_weights(), strict=True))
    kernel = found.get("kernel")
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        kernel = np.stack([kernel[:, :, i // kernel.shape[3], i % kernel.shape[3]] for i in range(kernel[0, 0].size)])
        kernel = kernel[:, None]
    elif kernel is not None and kernel.ndim == 4:
        kernel = np.moveaxis(kernel, (3, 2), (0, 1))
    elif kernel is not None:
        kernel = (kernel if order is None else kernel[order]).T
    if layer.name.endswith("scale_gamma"):
        return {prefix: kernel if prefix.endswith("gamma") else kernel[:, :, None]}
    state = {f"{prefix}.weight": kernel if kernel is not None else found["gamma"]}
    for ours, theirs in (("bias", "bias"), ("beta", "bias"), ("moving_mean", "running_mean")):
        if ours in found:
            state[f"{prefix}.{theirs}"] = found[ours]
    if "moving_variance" in found:
        state[f"{prefix}.running_var"] = found["moving_variance"]
        state[f"{prefix}.num_batches_tracked"] = np.array(7)
    return state


RESNET_TINY = {
    "stem_conv": "conv1",
    "stem_conv_norm": "bn1",
    "stage1_unit1_conv1": "layer1.0.conv1",
    "stage1_unit1_conv1_norm": "layer1.0.bn1",
    "stage1_unit1_conv2": "layer1.0.conv2",
    "stage1_unit1_conv2_norm": "layer1.0.bn2",
    "stage2_unit1_conv1": "layer2.0.conv1",
    "stage2_unit1_conv1_norm": "layer2.0.bn1",
    "stage2_unit1_conv2": "layer2.0.conv2",
    "stage2_unit1_conv2_norm": "layer2.0.bn2",
    "logits": "fc",
}


def state_of(model, names=RESNET_TINY):
    """The state dict that the network would have in PyTorch."""
    state = {}
    for name, prefix in names.items():
        state |= entries(model.get_layer(name), prefix)
    return state


def tiny(seed=None, **options):
    model = architectures.create("resnet_tiny", **options)
    return model if seed is None else randomise(model, seed)


def names_in(model, arch, source):
    """The map of names of the family, for what the network has."""
    layers = [layer.name for layer in model.layers if layer.weights]
    names = FAMILY[architectures.family(arch)].torch_names(layers, source)
    return {name: names[name] for name in layers if name in names}


def assert_same_weights(a, b):
    for layer in a.layers:
        for one, other in zip(layer.get_weights(), b.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=layer.name)


@cache
def layers_of(arch):
    """The names of a network's layers; narrower dense layers and fewer others do not change them."""
    smaller = {
        "vgg16": {"hidden": (8, 8)},
        "vgg16_bn": {"hidden": (8, 8)},
        "densenet121": {"depths": (1, 3, 1, 1)},
        "resnet50_v1_5": {"depths": (1, 1, 1, 1)},
        "convnext_tiny": {"depths": (1, 1, 9, 3), "widths": (8, 8, 8, 8)},
        "efficientnet_v2_b0": {"depth": 0.1},
    }
    model = architectures.create(arch, classes=2, input_shape=(64, 64, 3), **smaller.get(arch, {}))
    return [layer.name for layer in model.layers]


class TestNames:
    @pytest.mark.parametrize(
        ("arch", "source", "ours", "theirs"),
        [
            ("resnet50_v1_5", "torchvision", "stage3_unit1_shortcut", "layer3.0.downsample.0"),
            ("resnet50_v1_5", "timm", "stage3_unit1_shortcut_norm", "layer3.0.downsample.1"),
            ("densenet121", "torchvision", "stage2_unit3_conv1_norm", "features.denseblock2.denselayer3.norm1"),
            ("densenet121", "timm", "transition3_conv", "features.transition3.conv"),
            ("densenet121", "torchvision", "norm", "features.norm5"),
            ("mobilenet_v2", "torchvision", "stage1_unit1_depthwise_norm", "features.1.conv.0.1"),
            ("mobilenet_v2", "torchvision", "stage1_unit1_project", "features.1.conv.1"),
            ("mobilenet_v2", "torchvision", "stage7_unit1_project_norm", "features.17.conv.3"),
            ("mobilenet_v2", "torchvision", "head_conv", "features.18.0"),
            ("mobilenet_v2", "timm", "stage1_unit1_project", "blocks.0.0.conv_pw"),
            ("mobilenet_v2", "timm", "stage2_unit2_project_norm", "blocks.1.1.bn3"),
            ("efficientnet_b0", "torchvision", "stage1_unit1_attention_reduce", "features.1.0.block.1.fc1"),
            ("efficientnet_b0", "torchvision", "stage2_unit2_project_norm", "features.2.1.block.3.1"),
            ("efficientnet_b0", "torchvision", "head_conv_norm", "features.8.1"),
            ("efficientnet_b0", "timm", "stage2_unit1_attention_expand", "blocks.1.0.se.conv_expand"),
            ("efficientnet_v2_b0", "timm", "stage1_unit1_project_norm", "blocks.0.0.bn1"),
            ("efficientnet_v2_b0", "timm", "stage2_unit1_expand", "blocks.1.0.conv_exp"),
            ("convnext_tiny", "torchvision", "stage3_unit9_dense2", "features.5.8.block.5"),
            ("convnext_tiny", "torchvision", "stage2_unit1_downsample", "features.2.1"),
            ("convnext_tiny", "timm", "stage2_unit1_downsample_norm", "stages.1.downsample.0"),
            ("convnext_tiny", "timm", "stage4_unit3_scale_gamma", "stages.3.blocks.2.gamma"),
            ("vgg16", "torchvision", "stage5_conv3", "features.28"),
            ("vgg16_bn", "torchvision", "stage5_conv3_norm", "features.41"),
            ("vgg16", "torchvision", "hidden_dense2", "classifier.3"),
            ("vgg16", "timm", "hidden_dense2", "pre_logits.fc2"),
        ],
    )
    def test_as_documented(self, arch, source, ours, theirs):
        names = FAMILY[architectures.family(arch)].torch_names(layers_of(arch), source)
        assert names[ours] == theirs

    @pytest.mark.parametrize("source", ["torchvision", "timm"])
    @pytest.mark.parametrize("name", [family.name for family in FAMILIES if family.torch_names])
    def test_every_layer_has_a_counterpart_of_its_own(self, name, source):
        family = FAMILY[name]
        for arch in (arch for arch, row in family.variants.items() if row.source == "for tests"):
            model = architectures.create(arch)
            layers = [layer.name for layer in model.layers if layer.weights]
            names = family.torch_names(layers, source)
            if name == "densenet":  # its tiny row has a stem without a normalisation, which PyTorch's has not
                layers.remove("stem_out")
            assert set(layers) <= names.keys()
            assert len({names[layer] for layer in layers}) == len(layers)


class TestPort:
    def test_each_weight_by_name(self):
        source, target = tiny(0), tiny()
        state = state_of(source)
        assert state["layer2.0.conv1.weight"].shape == (8, 4, 3, 3)
        # In any order, and as whatever NumPy can read.
        state = {key: state[key].tolist() for key in sorted(state, reverse=True)}
        architectures.port_from_torch(target, state)
        assert_same_weights(target, source)

    def test_tensors_are_taken_off_their_device(self):
        class Tensor:
            """Stands in for a tensor of PyTorch, which refuses what it must be asked for in this order."""

            def __init__(self, array, done=()):
                self.array, self.done = array, done

            def __getattr__(self, name):
                if name not in ("detach", "cpu", "float"):
                    raise AttributeError(name)
                return lambda: Tensor(self.array, (*self.done, name))

            def numpy(self):
                assert self.done == ("detach", "cpu", "float")
                return self.array

        source, target = tiny(0), tiny()
        architectures.port_from_torch(target, {key: Tensor(value) for key, value in state_of(source).items()})
        assert_same_weights(target, source)

    def test_dense_layers_behind_an_image(self):
        ours = randomise(architectures.create("vgg_tiny", input_shape=(12, 8, 3)))
        features = keras.Model(ours.input, ours.get_layer("stage2_pool").output)
        x = images((12, 8, 3))
        planes = predict(features, x).transpose(0, 3, 1, 2)  # channels first, as in PyTorch
        assert planes.shape == (2, 8, 3, 2)
        rng = np.random.default_rng(0)
        weights = [rng.normal(size=shape).astype("float32") for shape in ((8, 48), (8,), (10, 8), (10,))]
        state = entries(ours.get_layer("stage1_conv1"), "features.0")
        state |= entries(ours.get_layer("stage2_conv1"), "features.3")
        state |= entries(ours.get_layer("stage2_conv2"), "features.5")
        state |= dict(zip(("classifier.0.weight", "classifier.0.bias"), weights, strict=False))
        state |= {"classifier.3.weight": weights[2], "classifier.3.bias": weights[3]}
        hidden = np.maximum(planes.reshape(2, -1) @ weights[0].T + weights[1], 0)
        expected = hidden @ weights[2].T + weights[3]
        architectures.port_from_torch(ours, state)
        np.testing.assert_allclose(predict(ours, x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())

    def test_a_bias_before_a_normalisation_goes_into_the_mean(self):
        options = {"depths": (1,), "widths": (4,), "pools": 1, "classes": 0, "input_shape": (8, 8, 3)}
        ours = randomise(architectures.create("vgg16_bn", **options))
        x = images((8, 8, 3))
        before = keras.Model(ours.input, ours.get_layer("stage1_conv1").output)
        state = entries(ours.get_layer("stage1_conv1"), "features.0")
        state |= entries(ours.get_layer("stage1_conv1_norm"), "features.1")
        state["features.0.bias"] = bias = np.array([1, -2, 3, -4], "float32")
        gamma, beta, mean, variance = ours.get_layer("stage1_conv1_norm").get_weights()
        y = np.maximum(gamma * (predict(before, x) + bias - mean) / np.sqrt(variance + 1e-5) + beta, 0)
        architectures.port_from_torch(ours, state)
        expected = y.reshape(2, 4, 2, 4, 2, 4).max((2, 4))
        np.testing.assert_allclose(predict(ours, x), expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("classes", [0, 3])
    def test_another_head(self, classes):
        source, target = tiny(0), tiny(1, classes=classes)
        skip = ["logits"] if classes else []
        architectures.port_from_torch(target, state_of(source), skip=skip)
        for name in RESNET_TINY.keys() - {"logits"}:
            for a, b in zip(source.get_layer(name).get_weights(), target.get_layer(name).get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
        if classes:
            np.testing.assert_array_equal(
                target.get_layer("logits").get_weights()[0], tiny(1, classes=3).get_layer("logits").get_weights()[0]
            )

    def test_a_model_of_another_name(self):
        source, target = tiny(0), tiny(name="mine")
        with pytest.raises(ValueError, match=r"`arch` must be given, as the model's name is not an .*; got 'mine'"):
            architectures.port_from_torch(target, state_of(source))
        architectures.port_from_torch(target, state_of(source), arch="resnet_tiny")
        assert_same_weights(target, source)

    @pytest.mark.parametrize(
        ("arch", "source", "overrides"),
        [
            ("mobilenet_v2_tiny", "torchvision", {"style": RELU6}),
            ("mobilenet_v2_tiny", "timm", {"style": RELU6}),
            ("efficientnet_tiny", "torchvision", {"style": SWISH}),
            ("efficientnet_tiny", "timm", {"style": SWISH}),
            ("efficientnet_tiny", "timm", {}),
            ("convnext_toy", "torchvision", {}),
            ("convnext_toy", "timm", {}),
            ("vgg_tiny", "torchvision", {"pooling": "avg"}),
            ("vgg_tiny", "timm", {"pooling": "avg"}),
            ("resnet_tiny", "timm", {}),
            ("densenet121", "torchvision", {"depths": (1, 2), "growth": 4, "preprocessing": True}),
        ],
    )
    def test_there_and_back(self, arch, source, overrides):
        target = architectures.create(arch, **overrides)
        ours = randomise(architectures.create(arch, **overrides))
        architectures.port_from_torch(target, state_of(ours, names_in(ours, arch, source)), source)
        assert_same_weights(target, ours)


class TestFiles:
    def test_safetensors(self, tmp_path):
        files = pytest.importorskip("safetensors.numpy", reason="writes a file with it, and it is not installed")
        source, target = tiny(0), tiny()
        state = {key: np.ascontiguousarray(value) for key, value in state_of(source).items()}
        files.save_file(state, tmp_path / "model.safetensors")
        architectures.port_from_torch(target, tmp_path / "model.safetensors")
        assert_same_weights(target, source)

    def test_a_damaged_one(self, tmp_path):
        pytest.importorskip("safetensors", reason="reads a file with it, and it is not installed")
        (tmp_path / "model.safetensors").write_bytes(b"nothing")
        with pytest.raises(ValueError, match=r"`weights` must be a .safetensors file; got '.*model.safetensors' \(.+"):
            architectures.port_from_torch(tiny(), tmp_path / "model.safetensors")

    def test_without_the_package(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "safetensors", None)
        monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
        (tmp_path / "model.safetensors").write_bytes(b"")
        with pytest.raises(ImportError, match=r"^`weights` can't be read .*\(pip install 'kblocks\[safetensors\]'\)$"):
            architectures.port_from_torch(tiny(), tmp_path / "model.safetensors")

    def test_one_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"`weights` must be a file that exists; got '.*a.safetensors'"):
            architectures.port_from_torch(tiny(), tmp_path / "a.safetensors")

    def test_one_of_pytorch(self, tmp_path):
        with pytest.raises(ValueError, match=r"a file that ends in .safetensors; got '.*model.pth' \(`torch.load`"):
            architectures.port_from_torch(tiny(), tmp_path / "model.pth")


class Module:
    def state_dict(self):
        return {}


def without(*prefixes):
    return lambda state: {key: value for key, value in state.items() if not key.startswith(prefixes)}


def having(**changes):
    return lambda state: state | {key.replace("__", "."): value for key, value in changes.items()}


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            (
                without("layer2.0.conv1", "fc"),
                ValueError,
                r"^`resnet_tiny` has layers without a counterpart in the torchvision weights: stage2_unit1_conv1 "
                r"\(layer2.0.conv1\), logits \(fc\)$",
            ),
            (
                without("layer2.0.bn1.running_var"),
                ValueError,
                "^`weights` must hold layer2.0.bn1.running_var, the moving_variance of layer stage2_unit1_conv1_norm; ",
            ),
            (without("fc.bias"), ValueError, "^`weights` must hold fc.bias, the bias of layer logits; "),
            (
                having(layer2__1__conv1__weight=np.ones((8, 8, 3, 3)), layer2__1__bn1__num_batches_tracked=np.array(1)),
                ValueError,
                "^the torchvision weights have entries without a counterpart in `resnet_tiny`: layer2.1.conv1.weight$",
            ),
            (having(conv1__weight_g=np.ones(4)), ValueError, "entries without a counterpart in .*: conv1.weight_g$"),
            (
                having(conv1__weight=np.ones((4, 3, 7, 7))),
                ValueError,
                r"stem_conv needs a kernel of shape \(3, 3, 3, 4\); got one of shape \(7, 7, 3, 4\), conv1.weight",
            ),
            (
                having(bn1__running_mean=np.ones(5)),
                ValueError,
                r"stem_conv_norm needs a moving_mean of shape \(4,\); got one of shape \(5,\), bn1.running_mean$",
            ),
            (
                having(fc__weight=np.ones((3, 8)), fc__bias=np.ones(3)),
                ValueError,
                r"^layer logits needs a kernel of shape \(8, 10\); got one of shape \(8, 3\), fc.weight \(pass "
                r"`skip=\['logits'\]` to keep",
            ),
            (having(fc__weight=np.ones(80)), ValueError, r"of shape \(8, 10\); got one of shape \(80,\), fc.weight"),
            (having(fc__weight=None), TypeError, "must hold arrays of numbers; got NoneType for 'fc.weight'"),
            (having(fc__weight="w"), TypeError, "must hold arrays of numbers; got str for 'fc.weight'"),
            (having(fc__weight=[[1], [1, 2]]), TypeError, "must hold arrays of numbers; got list for 'fc.weight'"),
            (lambda state: list(state), TypeError, "a mapping of names to arrays, or the path .*; got list$"),
            (lambda state: {1: 2}, TypeError, "a mapping of names to arrays, or the path .*; got dict$"),
            (lambda state: Module(), TypeError, r"; got Module \(`state_dict\(\)` returns one\)$"),
        ],
    )
    def test_what_does_not_fit_and_nothing_is_changed(self, change, error, message):
        target = tiny(1)
        state, before = state_of(target), target.get_weights()
        with pytest.raises(error, match=message):
            architectures.port_from_torch(target, change({key: 2 * value for key, value in state.items()}))
        for a, b in zip(before, target.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_weights_of_another_family(self):
        mobile = architectures.create("mobilenet_v2_tiny")
        state = state_of(mobile, names_in(mobile, "mobilenet_v2_tiny", "torchvision"))
        with pytest.raises(ValueError, match=r"without a counterpart in the timm weights: stem_conv \(conv1\), .*more"):
            architectures.port_from_torch(tiny(), state, "timm")

    def test_arguments(self):
        model = tiny()
        with pytest.raises(ValueError, match="`source` must be one of 'torchvision', 'timm'; got 'torch'"):
            architectures.port_from_torch(model, {}, "torch")
        with pytest.raises(TypeError, match=r"`model` must be a keras.Model; got None"):
            architectures.port_from_torch(None, {})
        with pytest.raises(TypeError, match="`skip` must be a collection of names; got 'logits'"):
            architectures.port_from_torch(model, {}, skip="logits")
        with pytest.raises(ValueError, match=r"`skip` must hold names of layers of resnet_tiny .*; got 'logit'"):
            architectures.port_from_torch(model, {}, skip=["logit"])
        with pytest.raises(ValueError, match=r"`arch` must be of a family with a map .*; got one of lenet"):
            architectures.port_from_torch(architectures.create("lenet_tiny"), {})


SMALL = {"input_shape": (32, 32, 3), "depths": (1, 1), "widths": (8, 16), "stem_filters": 8}


def unpadded(x, filters, *, style, name):
    return kb.stem.imagenet(x, filters, style=replace(style, padding="valid"), name=name)


class TestNetworksThatComputeSomethingElse:
    @pytest.mark.parametrize(
        ("arch", "source", "overrides", "message"),
        [
            (
                "resnet50",
                "torchvision",
                SMALL,
                "^layer stage2_unit1_conv1 of `resnet50` must have stride 1; got 2: in torchvision the 3×3 .*"
                "`unit=kblocks.residual.bottleneck`",
            ),
            ("resnet50_v2", "timm", SMALL, "^`resnet50_v2` has layers without a counterpart .*: stage1_unit1_norm"),
            (
                "mobilenet_v2_tiny",
                "torchvision",
                {},
                "^`model` must have padding 'symmetric' and epsilon 1e-05, to compute what mobilenet_v2_tiny in "
                "torchvision does; got padding 'same' and epsilon 0.001 .*`style=`",
            ),
            ("mobilenet_v2_tiny", "timm", {"style": kb.style.RELU6_BN}, "got padding 'same' and epsilon 1e-05"),
            (
                "efficientnet_tiny",
                "timm",
                {"style": kb.style.SWISH_BN},
                "must have padding 'symmetric' and epsilon 1e-05, or padding 'same' and epsilon 0.001, .*; got padding "
                "'same' and epsilon 1e-05",
            ),
            ("efficientnet_tiny", "torchvision", {"style": SWISH_3}, "got padding 'symmetric' and epsilon 0.001"),
            (
                "efficientnet_b5",
                "torchvision",
                {"stages": EFFICIENTNET_TINY.stages, "depth": 1.0, "style": SWISH},
                "must have padding 'symmetric' and epsilon 0.001, .*; got padding 'symmetric' and epsilon 1e-05",
            ),
            ("resnet_tiny", "timm", {"style": kb.RELU_BN}, "got padding 'same' and epsilon 1e-05"),
            (
                "resnet_tiny",
                "timm",
                {"style": replace(kb.RELU_BN, padding="floor"), "input_shape": (17, 17, 3)},
                "got padding 'floor' and epsilon 1e-05",
            ),
            (
                "densenet121",
                "timm",
                {"depths": (1, 1), "growth": 4, "stem": unpadded},
                "got padding 'valid'",
            ),
            (
                "convnext_toy",
                "timm",
                {"style": replace(kb.style.GELU_LN, norm=partial(kb.style.layer_norm, epsilon=1e-5))},
                "epsilon 1e-06, to compute what .*; got epsilon 1e-05",
            ),
            (
                "vgg16",
                "torchvision",
                {"depths": (1,), "widths": (4,), "pools": 1, "classes": 0, "preprocessing": True},
                "`model` must be built with `preprocessing=False`: weights of torchvision need another",
            ),
        ],
    )
    def test_are_refused(self, arch, source, overrides, message):
        model = architectures.create(arch, **overrides)
        with pytest.raises(ValueError, match=message):
            architectures.port_from_torch(model, state_of(model, names_in(model, arch, source)), source)
