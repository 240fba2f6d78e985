"""PyramidNet: its rows from the paper's arithmetic, what they compute, and what can be turned."""

import keras
import pytest

import architectures
from kblocks.residual import pyramid_bottleneck
from tests.support.counting import Count
from tests.support.torch_networks import assert_parity_in_order, library


@pytest.mark.parametrize(
    ("depth", "widening", "bottleneck"),
    [
        *((110, 48, False), (110, 84, False), (110, 270, False), (164, 48, True), (164, 84, True)),
        *((164, 270, True), (200, 240, True), (236, 220, True), (272, 200, True)),
    ],
)
def test_counts_in_closed_form(depth, widening, bottleneck):
    # Two convolutions a unit or three, beside the stem's and the dense layer.
    units = (depth - 2) // (3 if bottleneck else 2)
    count = Count(32, 3)
    count.conv(16, 3)
    for i in range(units):
        width = round(16 + widening * (i + 1) / units)
        stride = 2 if i and i % (units // 3) == 0 else 1
        count.params += 2 * count.channels
        if bottleneck:
            count.conv(width, 1).conv(width, 3, stride=stride).conv(4 * width, 1)
        else:
            count.conv(width, 3, stride=stride).conv(width, 3)
    assert count.channels == (16 + widening) * (4 if bottleneck else 1)
    count.params += 2 * count.channels
    count.dense(count.channels, 10)
    row = architectures.variant(f"pyramidnet{depth}_a{widening}")
    assert (row.params, row.macs) == (count.params, count.macs)


# Of pytorchcv, counted by building its networks; and the paper's Table 4, in millions.
PUBLISHED = {
    "pyramidnet110_a48": (1_772_706, 1.7),
    "pyramidnet110_a84": (3_904_446, 3.8),
    "pyramidnet110_a270": (28_485_477, 28.3),
    "pyramidnet164_a270": (27_216_021, 27.0),
    "pyramidnet200_a240": (26_752_702, 26.6),
    "pyramidnet236_a220": (26_969_046, 26.8),
    "pyramidnet272_a200": (26_210_842, 26.0),
}


@pytest.mark.parametrize("arch", PUBLISHED)
def test_published_parameters(arch):
    params, millions = PUBLISHED[arch]
    assert architectures.variant(arch).params == params
    # The authors' first normalisations are not affine.
    assert millions == pytest.approx(params / 1e6, rel=0.05)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("arch", "theirs"),
    [
        slow("pyramidnet110_a48", "pyramidnet110_a48_cifar10"),
        slow("pyramidnet110_a84", "pyramidnet110_a84_cifar10"),
        slow("pyramidnet110_a270", "pyramidnet110_a270_cifar10"),
        slow("pyramidnet164_a270", "pyramidnet164_a270_bn_cifar10"),
        slow("pyramidnet200_a240", "pyramidnet200_a240_bn_cifar10"),
        slow("pyramidnet236_a220", "pyramidnet236_a220_bn_cifar10"),
        slow("pyramidnet272_a200", "pyramidnet272_a200_bn_cifar10"),
    ],
)
def test_pytorchcv_computes_the_same(arch, theirs):
    assert_parity_in_order(architectures.create(arch), library("pytorchcv.model_provider").get_model(theirs))


@pytest.mark.parametrize(("arch", "bottleneck"), [("pyramidnet110_a48", False), ("pyramidnet164_a48", True)])
def test_pytorchcv_computes_the_same_with_fewer_units(arch, bottleneck):
    net = library("pytorchcv.models.pyramidnet_cifar").get_pyramidnet_cifar(10, 20, 48, bottleneck)
    depths = (2, 2, 2) if bottleneck else (3, 3, 3)
    assert_parity_in_order(architectures.create(arch, depths=depths), net)


def test_widths_rise_linearly():
    model = architectures.create(
        "pyramidnet_tiny", unit=pyramid_bottleneck, depths=(2, 2), widening=10, expansion=4, drop_path=0.3
    )
    units = [f"stage{i}_unit{j}" for i in (1, 2) for j in (1, 2)]
    # 4 and 2½ more each time: 6.5, 9, 11.5, 14, which are rounded to even.
    assert [model.get_layer(f"{unit}_out").output.shape[1:] for unit in units] == [
        *((16, 16, 24), (16, 16, 36), (8, 8, 48), (8, 8, 56)),
    ]
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("field", ["widening", "expansion"])
def test_sizes_are_positive(field):
    with pytest.raises(ValueError, match=f"`{field}` must be a positive integer; got 0"):
        architectures.create("pyramidnet_tiny", **{field: 0})


def test_without_a_stage_there_is_no_network():
    with pytest.raises(ValueError, match=r"`depths` must hold at least one stage; got \(\)"):
        architectures.create("pyramidnet_tiny", depths=())
