"""Inception-v3 and -v4 and Inception-ResNet: their counts from the published widths, their shapes, and small images."""

from functools import cache
from types import SimpleNamespace

import keras
import pytest

import architectures
import kblocks as kb
from architectures import inception, inception_resnet


@cache
def network(arch):
    """A row as it stands; it takes seconds to build."""
    return architectures.create(arch)


class Count:
    """Parameters and multiply-adds, added up by hand on an image of `size × size`."""

    def __init__(self, channels):
        self.channels, self.params, self.macs = channels, 0, 0

    def convs(self, *convs, channels=None):
        """Convolutions `(taps, filters, size)`, each with a normalisation, one after the other."""
        channels = channels or self.channels
        for taps, filters, size in convs:
            self.params += taps * channels * filters + 2 * filters
            self.macs += size * size * taps * channels * filters
            channels = filters
        return channels

    def stem(self):
        self.channels = self.convs((9, 32, 149), (9, 32, 147), (9, 64, 147), (1, 80, 73), (9, 192, 71))

    def module(self, size, *branches, pool=None):
        """Branches of `(taps, filters)` side by side, and the pooled input: `pool` channels of it, or all."""
        branches = [*branches, *([[(1, pool)]] if pool else [])]
        widths = [self.convs(*((taps, filters, size) for taps, filters in branch)) for branch in branches]
        self.channels = sum(widths) + (0 if pool else self.channels)

    def reduction(self, size, *branches):
        """Branches of which the last convolution halves the image, and the pooled input."""
        widths = []
        for branch in branches:
            *inner, last = branch
            widths.append(self.convs(*((*conv, size) for conv in inner), (*last, (size - 1) // 2)))
        self.channels += sum(widths)

    def unit(self, size, *branches):
        """Branches, and a 1×1 convolution with a bias back to the width of the input."""
        width = sum(self.convs(*((*conv, size) for conv in branch)) for branch in branches)
        self.params += width * self.channels + self.channels
        self.macs += size * size * width * self.channels

    def logits(self):
        self.params += self.channels * 1000 + 1000
        self.macs += self.channels * 1000


def test_inception_v3_in_closed_form():
    count = Count(3)
    count.stem()
    for pool in (32, 64, 64):
        count.module(35, [(1, 64)], [(1, 48), (25, 64)], [(1, 64), (9, 96), (9, 96)], pool=pool)
    count.reduction(35, [(9, 384)], [(1, 64), (9, 96), (9, 96)])
    assert count.channels == 768
    for width in (128, 160, 160, 192):
        double = [(1, width), (7, width), (7, width), (7, width), (7, 192)]
        count.module(17, [(1, 192)], [(1, width), (7, width), (7, 192)], double, pool=192)
    count.reduction(17, [(1, 192), (9, 320)], [(1, 192), (7, 192), (7, 192), (9, 192)])
    assert count.channels == 1280
    for _ in range(2):
        count.convs((1, 384, 8))
        count.convs((1, 448, 8), (9, 384, 8))
        count.module(8, [(1, 320)], pool=192)
        count.channels += sum(count.convs((3, 384, 8), channels=384) for _ in range(4))
    assert count.channels == 2048
    count.logits()
    row = architectures.variant("inception_v3")
    assert (row.params, row.macs) == (count.params, count.macs)
    # Torchvision's figure has an auxiliary head in it: a 1×1 and a 5×5 convolution, and logits.
    assert row.params + (768 * 128 + 256) + (25 * 128 * 768 + 2 * 768) + (768 * 1000 + 1000) == 27_161_264
    assert round(row.macs / 1e9, 3) == 5.713


def test_inception_resnet_v2_in_closed_form():
    count = Count(3)
    count.stem()
    count.module(35, [(1, 96)], [(1, 48), (25, 64)], [(1, 64), (9, 96), (9, 96)], pool=64)
    assert count.channels == 320
    for _ in range(10):
        count.unit(35, [(1, 32)], [(1, 32), (9, 32)], [(1, 32), (9, 48), (9, 64)])
    count.reduction(35, [(9, 384)], [(1, 256), (9, 256), (9, 384)])
    assert count.channels == 1088
    for _ in range(20):
        count.unit(17, [(1, 192)], [(1, 128), (7, 160), (7, 192)])
    count.reduction(17, [(1, 256), (9, 384)], [(1, 256), (9, 288)], [(1, 256), (9, 288), (9, 320)])
    assert count.channels == 2080
    for _ in range(10):
        count.unit(8, [(1, 192)], [(1, 192), (3, 224), (3, 256)])
    count.channels = count.convs((1, 1536, 8))
    count.logits()
    row = architectures.variant("inception_resnet_v2")
    assert (row.params, row.macs) == (count.params, count.macs)
    # Keras's figure has the moving statistics in it, two for each normalised channel, and no γ.
    normalised = 30_272
    assert row.params - normalised + 2 * normalised == 55_873_736


def stem_of_v4():
    count = Count(3)
    count.convs((9, 32, 149), (9, 32, 147), (9, 64, 147))
    count.convs((9, 96, 73), channels=64)
    count.convs((1, 64, 73), (9, 96, 71), channels=64 + 96)
    count.convs((1, 64, 73), (7, 64, 73), (7, 64, 73), (9, 96, 71), channels=64 + 96)
    count.convs((9, 192, 35), channels=96 + 96)
    count.channels = 192 + 192
    return count


def test_inception_v4_in_closed_form():
    count = stem_of_v4()
    for _ in range(4):
        count.module(35, [(1, 96)], [(1, 64), (9, 96)], [(1, 64), (9, 96), (9, 96)], pool=96)
    assert count.channels == 384
    count.reduction(35, [(9, 384)], [(1, 192), (9, 224), (9, 256)])
    assert count.channels == 1024
    for _ in range(7):
        double = [(1, 192), (7, 192), (7, 224), (7, 224), (7, 256)]
        count.module(17, [(1, 384)], [(1, 192), (7, 224), (7, 256)], double, pool=128)
    count.reduction(17, [(1, 192), (9, 192)], [(1, 256), (7, 256), (7, 320), (9, 320)])
    assert count.channels == 1536
    for _ in range(3):
        count.convs((1, 384, 8))
        count.convs((1, 384, 8), (3, 448, 8), (3, 512, 8))
        for channels in (384, 384, 512, 512):
            count.convs((3, 256, 8), channels=channels)
        count.module(8, [(1, 256)], pool=256)
        count.channels += 4 * 256
    assert count.channels == 1536
    count.logits()
    row = architectures.variant("inception_v4")
    # As timm 1.0.31 has them.
    assert (row.params, row.macs) == (count.params, count.macs) == (42_679_816, 12_253_974_624)


def test_inception_resnet_v1_in_closed_form():
    count = Count(3)
    count.channels = count.convs((9, 32, 149), (9, 32, 147), (9, 64, 147), (1, 80, 73), (9, 192, 71), (9, 256, 35))
    for _ in range(5):
        count.unit(35, [(1, 32)], [(1, 32), (9, 32)], [(1, 32), (9, 32), (9, 32)])
    count.reduction(35, [(9, 384)], [(1, 192), (9, 192), (9, 256)])
    assert count.channels == 896
    for _ in range(10):
        count.unit(17, [(1, 128)], [(1, 128), (7, 128), (7, 128)])
    count.reduction(17, [(1, 256), (9, 384)], [(1, 256), (9, 256)], [(1, 256), (9, 256), (9, 256)])
    assert count.channels == 1792
    for _ in range(6):
        count.unit(8, [(1, 192)], [(1, 192), (3, 192), (3, 192)])
    features = count.params
    count.logits()
    row = architectures.variant("inception_resnet_v1")
    assert (row.params, row.macs) == (count.params, count.macs)
    # The network of facenet-pytorch: an embedding of 512 with a normalisation, and logits of 8,631 people.
    assert features + 512 * 1792 + 2 * 512 + 8631 * 513 == 27_910_327


def test_networks_for_small_images():
    # A convolution in place of the stem, and 10 classes.
    v3, v4 = Count(3), stem_of_v4()
    v3.stem()
    for arch, stem, filters, features in (("v3", v3, 192, 2048), ("v4", v4, 384, 1536)):
        large, small = (architectures.variant(f"inception_{arch}{end}").params for end in ("", "_cifar"))
        assert large - small == stem.params - (27 * filters + 2 * filters) + 990 * (features + 1)


SHAPES = {
    "inception_v3": {
        "stem_conv3": (147, 147, 64), "stem_out": (35, 35, 192),
        "stage1_unit1_out": (35, 35, 256), "stage1_unit2_out": (35, 35, 288), "stage1_unit3_out": (35, 35, 288),
        "stage2_unit1_out": (17, 17, 768), "stage2_unit5_out": (17, 17, 768), "stage3_unit1_out": (8, 8, 1280),
        "stage3_unit2_out": (8, 8, 2048), "stage3_unit3_out": (8, 8, 2048), "pool": (2048,), "logits": (1000,),
    },
    "inception_resnet_v2": {
        "stem_out": (35, 35, 192), "stage1_module_out": (35, 35, 320), "stage1_unit10_out": (35, 35, 320),
        "stage2_module_out": (17, 17, 1088), "stage2_unit20_out": (17, 17, 1088), "stage3_module_out": (8, 8, 2080),
        "stage3_unit10_out": (8, 8, 2080), "conv_act": (8, 8, 1536), "pool": (1536,), "logits": (1000,),
    },
}  # fmt: skip


@pytest.mark.parametrize("arch", SHAPES)
def test_shapes_by_layer_name(arch):
    model = network(arch)
    assert {name: model.get_layer(name).output.shape[1:] for name in SHAPES[arch]} == SHAPES[arch]
    assert model.get_layer("dropout").rate == 0.2
    if arch == "inception_resnet_v2":
        # The last residual is neither scaled nor activated.
        assert isinstance(model.get_layer("stage3_unit10_out"), keras.layers.Add)
        names = [layer.name for layer in model.layers]
        assert "stage3_unit9_scale" in names
        assert "stage3_unit10_scale" not in names


NETWORKS = [("inception_v3", {}), ("inception_resnet_v2", {"depths": (1, 1, 1)})]


@pytest.mark.parametrize(("arch", "overrides"), NETWORKS)
@pytest.mark.parametrize(
    ("shape", "stem", "sizes"),
    [
        ((32, 32, 3), kb.stem.cifar, (32, 15, 7)),
        ((28, 28, 1), kb.stem.mnist, (32, 15, 7)),
        ((28, 28, 1), kb.stem.cifar, (28, 13, 6)),
        ((7, 7, 3), kb.stem.cifar, (7, 3, 1)),
        ((75, 75, 3), kb.stem.inception_v3, (7, 3, 1)),
    ],
)
def test_small_images(arch, overrides, shape, stem, sizes):
    model = architectures.create(arch, input_shape=shape, classes=10, stem=stem, **overrides)
    assert tuple(model.get_layer(f"stage{i}_unit1_out").output.shape[1] for i in (1, 2, 3)) == sizes
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize(("arch", "overrides"), NETWORKS)
def test_too_small_images_are_refused_with_the_least_size(arch, overrides):
    with pytest.raises(ValueError, match=r"32×32×3: `x` must be at least 75×75 for the stem .*kblocks\.stem\.cifar"):
        architectures.create(arch, input_shape=(32, 32, 3), **overrides)
    with pytest.raises(ValueError, match="at least 7×7 for 3 stages; got 6×8"):
        architectures.create(arch, input_shape=(6, 8, 3), stem=kb.stem.cifar, **overrides)


def test_drop_path_rises_to_the_last_unit():
    model = architectures.create("inception_resnet_tiny", depths=(1, 2, 1), drop_path=0.4)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    units = ["stage2_unit1", "stage2_unit2", "stage3_unit1", "stage3_unit2"]
    assert rates == {f"{unit}_drop_path": pytest.approx(0.1 * i) for i, unit in enumerate(units, 1)} | {"dropout": 0.2}


def test_what_stages_need():
    with pytest.raises(ValueError, match=r"`stages` must hold at least one stage, all tuples"):
        architectures.create("inception_tiny", stages=())
    for wrong in ({"depths": (1, 1)}, {"depths": (), "units": (), "modules": ()}):
        with pytest.raises(ValueError, match="`modules`, `units` and `depths` must be of one length, at least 1; got "):
            architectures.create("inception_resnet_tiny", **wrong)


def numbered(convs):
    """A stand-in for a network of keras.applications: layers with nothing but numbers, from 7 on."""
    kinds = ((keras.layers.Conv2D, "conv2d", (1, 1)), (keras.layers.BatchNormalization, "batch_normalization", ()))
    found = [kind(*arguments, name=f"{prefix}_{i}") for kind, prefix, arguments in kinds for i in range(7, 7 + convs)]
    return SimpleNamespace(layers=found)


@pytest.mark.parametrize(
    ("family", "convs", "last"),
    [(inception, 94, "stage3_unit3_pool_project"), (inception_resnet, 203, "stage3_unit10_rows2")],
)
def test_a_name_left_out_moves_no_other(family, convs, last):
    arch = "inception_v3" if family is inception else "inception_resnet_v2"
    names = [layer.name for layer in network(arch).layers if layer.weights]
    theirs = numbered(convs)
    found = family.keras_names(names, theirs)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(names)
    assert found["stem_conv1"] == "conv2d_7"
    assert found[last] == f"conv2d_{6 + convs}"
    assert found[f"{last}_norm"] == f"batch_normalization_{6 + convs}"
    del found["stem_conv1"]
    assert family.keras_names(names[1:][::-1], theirs) == found
