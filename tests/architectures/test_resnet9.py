"""ResNet-9: its counts, and the same network in PyTorch."""

import keras
import numpy as np
import pytest

import architectures
from tests.support.counting import Count
from tests.support.models import predict
from tests.support.torch_networks import assert_parity_in_order, library


def test_counts_in_closed_form():
    count = Count(32, 3)
    count.conv(64, 3)
    for width, residual in ((128, True), (256, False), (512, True)):
        count.conv(width, 3)
        count.pool()
        if residual:
            count.conv(width, 3).conv(width, 3)
    assert count.size == 4
    row = architectures.variant("resnet9")
    assert (row.params, row.macs) == (count.params + 512 * 10, count.macs + 512 * 10)  # no bias
    assert row.params == 6_573_120


def torch_network(widths, residuals, stem, scale):
    torch = library("torch")
    nn = torch.nn

    def conv(before, after):
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

    class Residual(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.convs = nn.Sequential(conv(width, width), conv(width, width))

        def forward(self, x):
            return x + self.convs(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            layers = [conv(3, stem)]
            for before, after, residual in zip((stem, *widths), widths, residuals, strict=False):
                layers += [conv(before, after), nn.MaxPool2d(2), *([Residual(after)] if residual else [])]
            self.features = nn.Sequential(*layers, nn.MaxPool2d(4), nn.Flatten())
            self.linear = nn.Linear(widths[-1], 10, bias=False)

        def forward(self, x):
            return scale * self.linear(self.features(x))

    return Net()


@pytest.mark.parametrize("arch", ["resnet9_tiny", pytest.param("resnet9", marks=pytest.mark.slow)])
def test_the_network_in_torch(arch):
    spec = architectures.variant(arch).spec
    net = torch_network(spec.widths, spec.residuals, spec.stem_filters, spec.scale)
    assert_parity_in_order(architectures.create(arch), net)


def test_the_scale_is_that_of_the_logits():
    models = [architectures.create("resnet9_tiny", scale=scale) for scale in (1.0, 0.125)]
    models[1].set_weights(models[0].get_weights())
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(predict(models[1], x), 0.125 * predict(models[0], x), rtol=1e-5, atol=1e-6)


def test_drop_path():
    model = architectures.create("resnet9", drop_path=0.2)
    found = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert found == {"stage1_unit1_drop_path": 0.2, "stage3_unit1_drop_path": 0.2}


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"`residuals` must hold a value for each of `widths`; got \(True,\) and "):
        architectures.create("resnet9_tiny", residuals=(True,))
    with pytest.raises(ValueError, match="the output of the stem must be at least 8×8 for 4 stages; got 4×4"):
        architectures.create("resnet9", input_shape=(4, 4, 3))
