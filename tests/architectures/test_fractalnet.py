"""FractalNet: its row in closed form, what it computes, and its drop-path."""

import keras
import pytest

import architectures
from tests.support.counting import Count
from tests.support.torch_networks import assert_parity_in_order, library


def test_counts_in_closed_form():
    count = Count(32, 3)
    for width in (64, 128, 256, 512, 512):
        # Columns of 4, 2 and 1 convolutions, the first of each from the block's input.
        for _ in range(3):
            count.conv(width, 3, keep=False)
        count.channels = width
        for _ in range(4):
            count.conv(width, 3)
        count.pool()
    count.dense(512, 10)
    row = architectures.variant("fractalnet")
    assert (row.params, row.macs) == (count.params, count.macs)


def test_published_parameters():
    # Of pytorchcv, counted by building its network.
    assert architectures.variant("fractalnet").params == 33_724_618


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_pytorchcv_computes_the_same_with_fewer_channels(columns):
    assert_parity((8, 6, 12), columns)


@pytest.mark.slow
def test_pytorchcv_computes_the_same():
    assert_parity((64, 128, 256, 512, 512), 3)


def assert_parity(widths, columns):
    rates = tuple(i / 10 for i in range(len(widths)))
    net = library("pytorchcv.models.fractalnet_cifar").CIFARFractalNet(list(widths), columns, list(rates), 0.15, 0.5)
    size = 2 ** len(widths)
    model = architectures.create(
        "fractalnet",
        input_shape=(size, size, 3),
        widths=widths,
        dropouts=rates,
        columns=columns,
        pools=len(widths) - 1,
    )
    # In a row theirs begins with the shallowest of the columns that end there, ours with the first.
    names = {}
    for i in range(1, len(widths) + 1):
        for column in range(columns):
            span = 2 ** (columns - 1 - column)
            for conv in range(1, 2**column + 1):
                theirs = f"features.unit{i}.block.blocks.block{conv * span}.subblock{columns - column}"
                ours = f"stage{i}_column{column + 1}_conv{conv}"
                names |= {ours: f"{theirs}.conv", f"{ours}_norm": f"{theirs}.bn"}
    assert_parity_in_order(model, net, names=names)


def test_rates():
    model = architectures.create("fractalnet_tiny", dropouts=(0.2, 0.3), drop_path=0.4)
    found = {layer.name: layer.rate for layer in model.layers if "Dropout" in type(layer).__name__}
    assert found == {
        **{f"stage1_column{name}": 0.2 for name in ("1_dropout1", "2_dropout1", "2_dropout2")},
        **{f"stage2_column{name}": 0.3 for name in ("1_dropout1", "2_dropout1", "2_dropout2")},
        **{f"stage{i}_out_kept": 0.4 for i in (1, 2)},
    }
    plain = architectures.create("fractalnet_tiny", dropouts=(0.0, 0.0), drop_path=0.0)
    assert not [layer for layer in plain.layers if isinstance(layer, keras.layers.Dropout | keras.layers.Softmax)]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"widths": ()}, r"`widths` and `dropouts` must be of one length; got \(\) and \(0.0, 0.1\)"),
        ({"dropouts": (0.0,)}, r"`widths` and `dropouts` must be of one length; got \(4, 8\) and \(0.0,\)"),
        ({"pools": 3}, "`pools` must be one of 0, 1, 2; got 3"),
        ({"columns": 0}, "`columns` must be a positive integer; got 0"),
    ],
)
def test_what_does_not_fit_is_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        architectures.create("fractalnet_tiny", **overrides)
