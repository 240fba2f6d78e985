"""NASNet: its rows from the paper's figures, which cell sees which, and what can be turned."""

import numpy as np
import pytest

import architectures
import kblocks as kb
from tests.support.models import predict


class Count:
    """Parameters and multiply-adds of convolutions with a normalisation each."""

    def __init__(self):
        self.params = self.macs = 0

    def conv(self, kernels, filters, positions):
        self.params += kernels + 2 * filters
        self.macs += positions * kernels

    def separable_twice(self, size, channels, filters, positions):
        self.conv(size**2 * channels + channels * filters, filters, positions)
        self.conv(size**2 * filters + filters**2, filters, positions)

    def cell(self, x, previous, filters, reduces):
        """Figure 4 of the paper; `x` and `previous` are sides and channels, and so is what it returns."""
        (side, channels), (side_before, channels_before) = x, previous
        out = -(-side // 2) if reduces else side
        self.conv(channels * filters, filters, side**2)
        if side_before != side or channels_before != filters:
            # Halved or not, each output value takes all channels of one pixel.
            self.conv(channels_before * filters, filters, side**2)
        for size in (5, 7, 7, 5, 3) if reduces else (5, 3, 5, 3, 3):
            self.separable_twice(size, filters, filters, out**2)
        return out, (4 if reduces else 6) * filters


def count(depth, filters, stem_filters, side, *, large, skips, classes):
    total = Count()
    if large:
        side = (side - 1) // 2
    total.conv(27 * stem_filters, stem_filters, side**2)
    x = previous = (side, stem_filters)
    if large:
        # The first cell's previous is its input as it is, which three of its separable convolutions take.
        out, width = -(-side // 2), filters // 4
        total.conv(stem_filters * width, width, side**2)
        for size, channels in ((5, width), (7, stem_filters), (7, stem_filters), (5, stem_filters), (3, width)):
            total.separable_twice(size, channels, width, out**2)
        x = (out, 4 * width)
        x, previous = total.cell(x, previous, filters // 2, True), x
    for stage in range(3):
        if stage:
            reduced = total.cell(x, previous, filters, True)
            x, previous = reduced, previous if skips else x
        for _ in range(depth):
            x, previous = total.cell(x, previous, filters, False), x
        filters *= 2
    total.params += (x[1] + 1) * classes
    total.macs += x[1] * classes
    return total, x


@pytest.mark.parametrize(
    ("arch", "plan", "last"),
    [
        ("nasnet_mobile", {"depth": 4, "filters": 44, "stem_filters": 32, "side": 224}, (7, 1056)),
        ("nasnet_large", {"depth": 6, "filters": 168, "stem_filters": 96, "side": 331, "skips": True}, (11, 4032)),
        (
            "nasnet_cifar",
            {"depth": 6, "filters": 32, "stem_filters": 96, "side": 32, "large": False, "classes": 10},
            (8, 768),
        ),
    ],
)
def test_counts_from_figure_4(arch, plan, last):
    total, features = count(**{"large": True, "skips": False, "classes": 1000} | plan)
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (total.params, total.macs)
    assert features == last


@pytest.mark.parametrize(
    ("arch", "params", "macs"),
    [("nasnet_mobile", 5.3e6, 564e6), ("nasnet_large", 88.9e6, 23.8e9), ("nasnet_cifar", 3.3e6, None)],
)
def test_the_papers_own_figures(arch, params, macs):
    row = architectures.variant(arch)
    assert row.params == pytest.approx(params, rel=0.01)
    assert macs is None or row.macs == pytest.approx(macs, rel=0.001)


def source_of(model, name):
    """The layer that feeds another one."""
    return model.get_layer(name).input._keras_history.operation.name


@pytest.mark.parametrize("skips", [False, True])
def test_which_cell_sees_which(skips):
    model = architectures.create(
        "nasnet_tiny", depths=(2, 2), widths=(2, 4), stem_widths=(2, 2), skip_reduction=skips, input_shape=(32, 32, 3)
    )
    assert {x: (source_of(model, f"{x}_act"), source_of(model, f"{x}_previous_act")) for x in (
        "stem_reduction2", "stage1_unit1", "stage1_unit2", "stage2_reduction", "stage2_unit1", "stage2_unit2",
    )} == {
        "stem_reduction2": ("stem_reduction1_out", "stem_out"),
        "stage1_unit1": ("stem_reduction2_out", "stem_reduction1_out"),
        "stage1_unit2": ("stage1_unit1_out", "stem_reduction2_out"),
        "stage2_reduction": ("stage1_unit2_out", "stage1_unit1_out"),
        "stage2_unit1": ("stage2_reduction_out", "stage1_unit1_out" if skips else "stage1_unit2_out"),
        "stage2_unit2": ("stage2_unit1_out", "stage2_reduction_out"),
    }  # fmt: skip
    # The first cell takes the stem for both, the reduction as it is.
    assert source_of(model, "stem_reduction1_act") == source_of(model, "stem_reduction1_right1_act1") == "stem_out"
    halved = [layer.name for layer in model.layers if layer.name.endswith("_previous_shift")]
    assert halved == [f"{x}_previous_shift" for x in ("stem_reduction2", "stage1_unit1", "stage2_unit1")]


def test_shapes_by_layer_name():
    model = architectures.create("nasnet_mobile", depths=(1, 1, 1))
    assert {name: model.get_layer(name).output.shape[1:] for name in (
        "stem_out", "stem_reduction1_out", "stem_reduction2_out", "stage1_unit1_previous_norm", "stage1_unit1_out",
        "stage2_reduction_out", "stage2_unit1_out", "stage3_unit1_out", "act", "pool", "logits",
    )} == {
        "stem_out": (111, 111, 32), "stem_reduction1_out": (56, 56, 44), "stem_reduction2_out": (28, 28, 88),
        "stage1_unit1_previous_norm": (28, 28, 44), "stage1_unit1_out": (28, 28, 264),
        "stage2_reduction_out": (14, 14, 352), "stage2_unit1_out": (14, 14, 528), "stage3_unit1_out": (7, 7, 1056),
        "act": (7, 7, 1056), "pool": (1056,), "logits": (1000,),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("input_shape", "overrides", "side"),
    [
        ((32, 32, 3), {"stem": kb.stem.nasnet}, 1),
        ((32, 32, 3), {"stem": kb.stem.cifar}, 2),
        ((28, 28, 1), {"stem": kb.stem.cifar}, 2),
        ((32, 32, 3), {"stem": kb.stem.cifar, "stem_widths": ()}, 8),
        ((28, 28, 1), {"stem": kb.stem.cifar, "stem_widths": ()}, 7),
        ((9, 5, 3), {"stem": kb.stem.nasnet}, 1),
    ],
)
def test_small_images(input_shape, overrides, side):
    model = architectures.create(
        "nasnet_mobile", input_shape=input_shape, depths=(1, 1, 1), widths=(4, 4, 4), classes=10, **overrides
    )
    assert model.get_layer("act").output.shape == (None, side, side, 24)
    x = np.random.default_rng(0).normal(size=(2, *input_shape)).astype("float32")
    assert np.isfinite(predict(model, x)).all()


def test_a_single_position_is_asked_for():
    with pytest.raises(ValueError, match=r"32×32×3: the features would be 1×1 \(use `stem=kblocks\.stem\.mnist` at"):
        architectures.create("nasnet_mobile", input_shape=(32, 32, 3), depths=(1, 1, 1))


def test_unknown_sizes():
    model = architectures.create("nasnet_tiny", input_shape=(None, None, 3))
    for size in (16, 21):
        fixed = architectures.create("nasnet_tiny", input_shape=(size, size, 3))
        fixed.set_weights(model.get_weights())
        x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
        found, expected = (predict(each, x) for each in (model, fixed))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match=r"any×any×3: `x` must have known sizes, on which .* depends; got shape"):
        architectures.create("nasnet_mobile", input_shape=(None, None, 3))
    with pytest.raises(ValueError, match="`x` must be at least 3×3 for a window of 3×3 without padding; got 2×2"):
        architectures.create("nasnet_mobile", input_shape=(2, 2, 3))
    with pytest.raises(ValueError, match=r"`depths` and `widths` must be of one length; got \(1, 1\) and \(4,\)"):
        architectures.create("nasnet_tiny", widths=(4,))
    with pytest.raises(ValueError, match=r"`depths` must hold at least one stage; got \(\)"):
        architectures.create("nasnet_tiny", depths=())
    with pytest.raises(ValueError, match="`depths` must be a positive integer; got 0"):
        architectures.create("nasnet_tiny", depths=(1, 0))


def test_drop_path_rises_to_the_last_cell():
    model = architectures.create("nasnet_tiny", depths=(2, 2), drop_path=0.4)
    rates = {}
    for layer in model.layers:
        if layer.name.endswith("_drop_path"):
            rates.setdefault(layer.name.removesuffix("_drop_path").rpartition("_")[0], set()).add(layer.rate)
    places = ["stage1_unit2", "stage2_reduction", "stage2_unit1", "stage2_unit2"]
    assert list(rates) == places
    assert [found.pop() for found in rates.values()] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert not any(rates.values())


def test_dropout():
    assert architectures.create("nasnet_tiny", dropout=0.3).get_layer("dropout").rate == 0.3
    assert architectures.variant("nasnet_mobile").spec.dropout == 0.5
