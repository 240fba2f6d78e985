"""ShuffleNet and ShuffleNetV2: counts from the papers, outputs as in pytorchcv and torchvision, small images."""

from dataclasses import replace

import pytest

import architectures
import kblocks as kb
from tests.support.torch_networks import assert_parity_in_order, library


class Count:
    """Parameters and multiply-adds, added up by hand on an image of `size × size`; every convolution has a norm."""

    def __init__(self, size):
        self.size, self.channels, self.params, self.macs = size, 3, 0, 0

    def conv(self, channels, filters, kernel=1, groups=1):
        weights = kernel**2 * channels * filters // groups
        self.params += weights + 2 * filters
        self.macs += self.size**2 * weights

    def stem(self, filters, small):
        self.size //= 1 if small else 2
        self.conv(3, filters, 3)
        self.size //= 1 if small else 2
        self.channels = filters

    def logits(self, classes):
        self.params += (self.channels + 1) * classes
        self.macs += self.channels * classes

    @property
    def row(self):
        return self.params, self.macs


def counts(arch):
    return architectures.variant(arch).params, architectures.variant(arch).macs


V1 = {
    "shufflenet_g1": (1, 24, (144, 288, 576)),
    "shufflenet_g2": (2, 24, (200, 400, 800)),
    "shufflenet_g3": (3, 24, (240, 480, 960)),
    "shufflenet_g4": (4, 24, (272, 544, 1088)),
    "shufflenet_g8": (8, 24, (384, 768, 1536)),
    "shufflenet_g3_050": (3, 12, (120, 240, 480)),
    "shufflenet_g3_025": (3, 6, (60, 120, 240)),
    "shufflenet_g2_cifar": (2, 24, (200, 400, 800)),
    "shufflenet_g3_cifar": (3, 24, (240, 480, 960)),
}


@pytest.mark.parametrize("arch", V1)
def test_the_first_version_from_table_1(arch):
    (groups, stem, widths), small = V1[arch], arch.endswith("cifar")
    count = Count(32 if small else 224)
    count.stem(stem, small)
    for width, depth in zip(widths, (4, 8, 4), strict=True):
        for i in range(depth):
            inner, ungrouped = width // 4, width == widths[0] and i == 0
            count.conv(count.channels, inner, groups=1 if ungrouped else groups)
            count.size //= 1 if i else 2
            count.conv(inner, inner, 3, groups=inner)
            count.conv(inner, width if i else width - count.channels, groups=groups)
            count.channels = width
    count.logits(10 if small else 1000)
    assert counts(arch) == count.row


V2 = {
    "shufflenet_v2_050": (48, 1024), "shufflenet_v2_100": (116, 1024),
    "shufflenet_v2_150": (176, 1024), "shufflenet_v2_200": (244, 2048),
}  # fmt: skip


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("arch", V2)
def test_the_second_version_from_table_5(arch, small):
    width, head = V2[arch]
    count = Count(32 if small else 224)
    count.stem(24, small)
    for depth in (4, 8, 4):
        half = width // 2
        for i in range(depth):
            before = half if i else count.channels
            count.conv(before, half)
            count.size //= 1 if i else 2
            count.conv(half, half, 3, groups=half)
            count.conv(half, half)
            if not i:
                count.conv(before, before, 3, groups=before)
                count.conv(before, half)
            count.channels = width
        width *= 2
    count.conv(count.channels, head)
    count.channels = head
    count.logits(10 if small else 1000)
    assert counts(f"{arch}_cifar" if small else arch) == count.row


# Torchvision's documentation, and the table of chenyaofo's networks for CIFAR-10.
PUBLISHED = {
    "shufflenet_v2_050": 1_366_792, "shufflenet_v2_100": 2_278_604,
    "shufflenet_v2_150": 3_503_624, "shufflenet_v2_200": 7_393_996,
}  # fmt: skip
IN_MILLIONS = {
    "shufflenet_v2_050_cifar": 0.35, "shufflenet_v2_100_cifar": 1.26,
    "shufflenet_v2_150_cifar": 2.49, "shufflenet_v2_200_cifar": 5.37,
}  # fmt: skip


def test_published_parameters():
    assert {arch: architectures.variant(arch).params for arch in PUBLISHED} == PUBLISHED
    assert {arch: round(architectures.variant(arch).params / 1e6, 2) for arch in IN_MILLIONS} == IN_MILLIONS
    # The networks for CIFAR-100 elsewhere.
    assert round((architectures.variant("shufflenet_g3_cifar").params + 90 * 961) / 1e6, 1) == 1.0


def rows(arches, quick):
    return [arch if arch in quick else pytest.param(arch, marks=pytest.mark.slow) for arch in arches]


PYTORCHCV = {
    "shufflenet_g1": "shufflenet_g1_w1", "shufflenet_g2": "shufflenet_g2_w1", "shufflenet_g3": "shufflenet_g3_w1",
    "shufflenet_g4": "shufflenet_g4_w1", "shufflenet_g8": "shufflenet_g8_w1",
    "shufflenet_g3_050": "shufflenet_g3_wd2", "shufflenet_g3_025": "shufflenet_g3_wd4",
}  # fmt: skip


@pytest.mark.parametrize("arch", rows(PYTORCHCV, {"shufflenet_g3_025"}))
def test_the_first_version_as_in_pytorchcv(arch):
    net = library("pytorchcv.model_provider").get_model(PYTORCHCV[arch])
    assert_parity_in_order(architectures.create(arch), net)


def torchvision_net(arch, **options):
    width = arch.removeprefix("shufflenet_v2_")
    return getattr(library("torchvision").models, f"shufflenet_v2_x{int(width) / 100:.1f}".replace(".", "_"))(**options)


PARTS = {
    "kept_depthwise": "branch1.0", "kept_depthwise_norm": "branch1.1",
    "kept_conv": "branch1.2", "kept_conv_norm": "branch1.3",
}  # fmt: skip


def torchvision_names():
    """The convolutions of the two branches of a stage's first unit may have one shape."""
    return {
        f"stage{stage}_unit1_{ours}": f"stage{stage + 1}.0.{theirs}"
        for stage in (1, 2, 3)
        for ours, theirs in PARTS.items()
    }


@pytest.mark.parametrize("arch", rows(V2, {"shufflenet_v2_050"}))
def test_the_second_version_as_in_torchvision(arch):
    assert_parity_in_order(architectures.create(arch), torchvision_net(arch), torchvision_names())


@pytest.mark.parametrize("arch", rows(V2, {"shufflenet_v2_050"}))
def test_the_second_version_for_small_images_as_chenyaofo_changes_torchvisions(arch):
    net = torchvision_net(arch, num_classes=10)
    net.conv1[0].stride = (1, 1)
    net.maxpool = library("torch").nn.Identity()
    assert_parity_in_order(architectures.create(f"{arch}_cifar"), net, torchvision_names())


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1)])
@pytest.mark.parametrize("arch", ["shufflenet_g3_cifar", "shufflenet_v2_050_cifar"])
def test_small_images(arch, shape):
    model = architectures.create(arch, input_shape=shape, classes=100)
    assert [model.get_layer(f"stage{i}_unit1_out").output.shape[1] for i in (1, 2, 3)] == [
        shape[0] // 2,
        -(-shape[0] // 4),
        4,
    ]
    assert model.output_shape == (None, 100)


@pytest.mark.parametrize("arch", ["shufflenet_tiny", "shufflenet_v2_tiny"])
def test_images_of_any_size(arch):
    model = architectures.create(arch, input_shape=(None, None, 3), classes=0)
    assert model.output_shape[:3] == (None, None, None)
    style = replace(kb.RELU_BN, padding="same")
    assert architectures.create(arch, input_shape=(17, 15, 3), classes=0, style=style).output_shape[1:3] == (5, 4)


def test_what_the_stages_need():
    with pytest.raises(ValueError, match="`filters` must be divisible by `2`; got 7 and 2"):
        architectures.create("shufflenet_v2_tiny", widths=(7, 12))
    with pytest.raises(ValueError, match=r"`filters` must be above the channels of `x` where .*; got 16 and 16"):
        architectures.create("shufflenet_tiny", widths=(16, 16))
    with pytest.raises(ValueError, match="`depths` and `widths` must be of one length"):
        architectures.create("shufflenet_tiny", depths=(1,))
