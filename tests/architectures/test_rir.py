"""ResNet in ResNet: its row in closed form, and what it computes."""

import pytest

import architectures
from tests.support.counting import Count
from tests.support.torch_networks import assert_parity_in_order, library


def test_counts_in_closed_form():
    count = Count(32, 3)
    count.conv(48, 3, keep=False).conv(48, 3)
    for i, (depth, width) in enumerate(zip((4, 6, 6), (48, 96, 192), strict=True)):
        for j in range(depth):
            stride = 2 if i and not j else 1
            if stride > 1:
                count.conv(width, 1, stride=stride, norm=False, keep=False)
            for _ in range(3):
                count.conv(width, 3, stride=stride, norm=False, keep=False)
            count.conv(width, 3, stride=stride, norm=False)
            count.params += 2 * 2 * width
    count.dense(2 * 192, 10)
    row = architectures.variant("rir")
    assert (row.params, row.macs) == (count.params, count.macs)


def test_published_parameters():
    # Of pytorchcv, counted by building its network: with a normalisation of 10 channels in place of 10 biases.
    assert architectures.variant("rir").params == 9_492_980 - 2 * 10 + 10


def names(depths):
    """The modules in pytorchcv's network, which run in another order than ours."""
    found = {"stem": "features.init_block.res_conv", "stem_transient": "features.init_block.trans_conv"}
    found = {
        f"{ours}_conv{end}": f"{path}.{of}"
        for ours, path in found.items()
        for end, of in (("", "conv"), ("_norm", "bn"))
    }
    parts = {
        "conv1": "res_pass_conv",
        "conv2": "trans_cross_conv",
        "conv3": "trans_pass_conv",
        "conv4": "res_cross_conv",
        "norm": "res_postactiv.bn",
        "transient_norm": "trans_postactiv.bn",
    }
    for i, depth in enumerate(depths, 1):
        for j in range(1, depth + 1):
            found |= {f"stage{i}_unit{j}_{ours}": f"features.stage{i}.unit{j}.{path}" for ours, path in parts.items()}
    return found


@pytest.mark.parametrize(
    ("depths", "widths"),
    [((1, 2), (8, 12)), pytest.param((4, 6, 6), (48, 96, 192), marks=pytest.mark.slow)],
)
def test_pytorchcv_computes_the_same(depths, widths):
    zoo = library("pytorchcv.models.rir_cifar")
    from torch import nn

    channels = [[width] * depth for depth, width in zip(depths, widths, strict=True)]
    net = zoo.CIFARRiR(channels, widths[0], 2 * widths[-1])
    # Ours has no normalisation here.
    net.output = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * widths[-1], 10))
    model = architectures.create("rir", depths=depths, widths=widths)
    assert_parity_in_order(model, net, names=names(depths))


def test_a_convolution_before_the_pooling_is_a_dense_layer_behind_it():
    zoo = library("pytorchcv.models.rir_cifar")
    import torch

    head = zoo.CIFARRiR([[4]], 4, 8).output.eval()
    x = torch.randn(2, 8, 8, 8)
    kernel = head.final_conv.conv.weight[:, :, 0, 0]
    scale = (1 + head.final_conv.bn.eps) ** -0.5
    with torch.no_grad():
        torch.testing.assert_close(head(x)[:, :, 0, 0], x.mean((2, 3)) @ kernel.T * scale)
