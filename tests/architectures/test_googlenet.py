"""GoogLeNet: its counts from the paper's table, its auxiliary heads, what it computes."""

import numpy as np
import pytest

import architectures
from kblocks.graph import profile
from tests.support.counting import Count
from tests.support.models import predict
from tests.support.numpy_layers import Numpy, max_pool, relu
from tests.support.weights import randomise

# Table 1 of the paper, its columns #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj; None is a max-pooling.
GOOGLENET = [
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
]


@pytest.mark.parametrize("arch", ["googlenet", "googlenet_bn", "googlenet_cifar"])
def test_googlenet_from_table_1(arch):
    norm, small = arch != "googlenet", arch == "googlenet_cifar"
    kind = {"norm": norm, "bias": not norm}
    count = Count(32 if small else 224, 3)
    if small:
        count.conv(192, 3, **kind)
    else:
        count.conv(64, 7, stride=2, **kind).pool()
        count.conv(64, 1, **kind).conv(192, 3, **kind).pool()
    for module in GOOGLENET:
        if module is None:
            count.pool()
            continue
        b1, r3, b3, r5, b5, pool = module
        for filters in (b1, r3, r5, pool):
            count.conv(filters, 1, keep=False, **kind)
        count.conv(b3, 3, channels=r3, keep=False, **kind)
        count.conv(b5, 5, channels=r5, keep=False, **kind)
        count.channels = b1 + b3 + b5 + pool
    assert (count.size, count.channels) == (8 if small else 7, 1024)
    count.dense(1024, 10 if small else 1000)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (count.params, count.macs)


class TestAuxiliaryHeads:
    def test_three_outputs_and_their_parameters(self):
        model = architectures.create("googlenet", auxiliary=True)
        assert model.output_names == ["logits", "auxiliary1_logits", "auxiliary2_logits"]
        assert [y.shape for y in model.outputs] == [(None, 1000)] * 3
        # After 4a and 4d: a 5×5 mean of stride 3 makes 14×14 to 4×4; then 128 filters, 1024 units, 1000 classes.
        heads = sum(
            (channels * 128 + 128) + (4 * 4 * 128 * 1024 + 1024) + (1024 * 1000 + 1000) for channels in (512, 528)
        )
        assert profile(model).trainable_params == 6_998_552 + heads
        macs = sum(4 * 4 * channels * 128 + 4 * 4 * 128 * 1024 + 1024 * 1000 for channels in (512, 528))
        assert profile(model).macs == architectures.variant("googlenet").macs + macs
        for i, channels in ((1, 512), (2, 528)):
            assert model.get_layer(f"auxiliary{i}_pool").input.shape == (None, 14, 14, channels)
            assert model.get_layer(f"auxiliary{i}_dropout").rate == 0.7
        assert model.get_layer("auxiliary1_pool").input is model.get_layer("stage2_unit1_out").output
        assert model.get_layer("auxiliary2_pool").input is model.get_layer("stage2_unit4_out").output
        assert model.get_layer("dropout").rate == 0.4

    def test_small_images(self):
        model = architectures.create("googlenet_cifar", auxiliary=True, classes=7)
        assert [y.shape for y in model.outputs] == [(None, 7)] * 3

    def test_no_heads_without_classes(self):
        model = architectures.create("googlenet_tiny", auxiliary=True, classes=0)
        assert model.output_shape == (None, 8, 8, 16)

    def test_one_stage_has_no_middle(self):
        with pytest.raises(ValueError, match=r"`auxiliary` must be False without a second stage; got 1 stage\(s\)"):
            architectures.create("googlenet_tiny", auxiliary=True, stages=(((4, (2, 4), (2, 4), 4),),))


def test_googlenet_in_numpy():
    model = architectures.create("googlenet_tiny", input_shape=(9, 9, 3))
    randomise(model)
    net = Numpy(model)

    images = np.random.default_rng(1).normal(size=(3, 9, 9, 3)).astype("float32")
    x = relu(net.conv(images, "stem_conv"))
    for stage in ("stage1", "stage2", "stage3"):
        if stage != "stage1":
            x = max_pool(x, 3, 2)
        unit = f"{stage}_unit1"
        y1 = relu(net.conv(x, f"{unit}_1x1"))
        y3 = relu(net.conv(relu(net.conv(x, f"{unit}_3x3_reduce")), f"{unit}_3x3"))
        y5 = relu(net.conv(relu(net.conv(x, f"{unit}_5x5_reduce")), f"{unit}_5x5"))
        yp = relu(net.conv(max_pool(x, 3), f"{unit}_pool_project"))
        x = np.concatenate([y1, y3, y5, yp], axis=-1)
    expected = net.dense(x.mean((1, 2)), "logits")
    np.testing.assert_allclose(predict(model, images), expected, rtol=1e-4, atol=1e-4)
