"""The networks of airbench: their counts, the same networks in PyTorch, and the whitening kernel."""

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from architectures import airbench
from tests.support.models import predict
from tests.support.torch_networks import assert_parity_in_order, library


@pytest.mark.parametrize(
    ("arch", "widths", "depth", "params"),
    [
        ("airbench94", (64, 256, 256), 2, 1_971_352),
        ("airbench95", (128, 384, 384), 2, 4_604_440),
        ("airbench96", (128, 384, 512), 3, 9_915_416),
    ],
)
def test_counts_in_closed_form(arch, widths, depth, params):
    """Of the whitening only the bias is trained, normalisations have a shift alone, and the logits no bias."""
    before, side = 24, 31
    found, macs = 24, side * side * 4 * 3 * 24 + 24
    for width in widths:
        found += 9 * before * width + (depth - 1) * 9 * width * width + depth * width
        macs += side * side * 9 * before * width
        side //= 2
        macs += side * side * (depth - 1) * 9 * width * width
        before = width
    assert side == 3
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (found + 10 * before, macs + 10 * before)
    assert row.params == params
    model = architectures.create(arch)
    frozen = [weight for weight in model.non_trainable_weights if "moving" not in weight.name]
    assert [weight.path for weight in frozen] == ["stem_conv/kernel"]
    assert frozen[0].shape == (2, 2, 3, 24)


def torch_network(widths, depth, scale):
    torch = library("torch")
    nn = torch.nn

    def norm(width):
        layer = nn.BatchNorm2d(width, eps=1e-12)
        layer.weight = None
        return layer

    class Group(nn.Module):
        def __init__(self, before, after):
            super().__init__()
            self.convs = nn.ModuleList(
                nn.Conv2d(after if i else before, after, 3, padding=1, bias=False) for i in range(depth)
            )
            self.norms = nn.ModuleList(norm(after) for _ in range(depth))

        def forward(self, x):
            gelu = nn.functional.gelu
            x = y = gelu(self.norms[0](nn.functional.max_pool2d(self.convs[0](x), 2)))
            y = self.norms[1](self.convs[1](x))
            return gelu(y) if depth == 2 else gelu(x + self.norms[2](self.convs[2](gelu(y))))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.whiten = nn.Conv2d(3, 24, 2, bias=False)
            self.bias = nn.Linear(1, 24, bias=False)  # a layer of its own, as in ours
            self.groups = nn.Sequential(*(Group(a, b) for a, b in zip((24, *widths), widths, strict=False)))
            self.linear = nn.Linear(widths[-1], 10, bias=False)

        def forward(self, x):
            x = self.whiten(x) + self.bias(torch.ones(1, 1)).view(1, -1, 1, 1)
            x = self.groups(nn.functional.gelu(x))
            return self.linear(nn.functional.max_pool2d(x, x.shape[-1]).flatten(1)) * scale

    return Net()


@pytest.mark.parametrize(
    ("arch", "depth"),
    [
        ("airbench_tiny", 3),
        pytest.param("airbench94", 2, marks=pytest.mark.slow),
        pytest.param("airbench95", 2, marks=pytest.mark.slow),
        pytest.param("airbench96", 3, marks=pytest.mark.slow),
    ],
)
def test_the_network_in_torch(arch, depth):
    spec = architectures.variant(arch).spec
    assert_parity_in_order(architectures.create(arch), torch_network(spec.widths, depth, spec.scale))


def test_the_tiny_network_of_two_convolutions_in_torch():
    model = architectures.create("airbench_tiny", unit=airbench.group)
    assert_parity_in_order(model, torch_network((4, 8), 2, 1 / 9))


def test_normalisations():
    for arch, momentum in (("airbench94", 0.6), ("airbench95", 0.6), ("airbench96", 0.9)):
        norms = [x for x in architectures.create(arch).layers if isinstance(x, keras.layers.BatchNormalization)]
        assert {(x.momentum, x.epsilon, x.scale) for x in norms} == {(momentum, 1e-12, False)}


@pytest.mark.parametrize(("channels", "size"), [(3, 2), (1, 2), (3, 3)])
def test_whitened_patches_have_no_correlation(channels, size):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 13, 12, channels))
    images = (noise + np.roll(noise, 1, 1) + 0.3 * noise[..., :1]).astype("float32")  # neighbours are alike
    kernel = airbench.whitening(images, size=size, epsilon=0.0)
    features = size * size * channels
    assert kernel.shape == (size, size, channels, 2 * features)
    np.testing.assert_array_equal(kernel[..., :features], -kernel[..., features:])
    x = keras.Input((13, 12, channels))
    conv = keras.layers.Conv2D(2 * features, size, use_bias=False)
    model = keras.Model(x, conv(x))
    conv.set_weights([kernel])
    y = predict(model, images)[..., :features].reshape(-1, features)
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(features), atol=2e-3)
    # The largest eigenvalue first: its vector is divided by the largest root.
    assert (np.diff((kernel[..., :features] ** 2).sum((0, 1, 2))) > 0).all()


def test_epsilon_limits_what_is_hardly_there():
    images = np.ones((4, 8, 8, 1), "float32")
    kernel = airbench.whitening(images, epsilon=1e-2)
    assert np.abs(kernel).max() <= 1 / np.sqrt(1e-2) + 1e-3


def test_a_kernel_is_set_by_name():
    model = architectures.create("airbench_tiny")
    images = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")
    kernel = architectures.airbench.whitening(images)
    model.get_layer("stem_conv").set_weights([kernel])
    np.testing.assert_array_equal(model.get_layer("stem_conv").get_weights()[0], kernel)


def test_what_whitening_refuses():
    with pytest.raises(ValueError, match="`images` must have rank 4"):
        airbench.whitening(np.zeros((8, 8, 3)))
    with pytest.raises(ValueError, match="`images` must be at least 2×2 for a patch; got 1×8"):
        airbench.whitening(np.zeros((2, 1, 8, 3)))


def test_another_stem_and_unit():
    model = architectures.create("airbench_tiny", stem=kb.stem.cifar, stem_filters=4, unit=kb.residual.basic)
    assert model.get_layer("stage2_unit1_out").output.shape == (None, 4, 4, 8)
    with pytest.raises(ValueError, match=r"`drop_path` must be 0 without `residual`; got 0\.1"):
        airbench.group(keras.Input((8, 8, 3)), 4, drop_path=0.1)
    with pytest.raises(ValueError, match="`widths` must hold at least one width"):
        architectures.create("airbench_tiny", widths=())
