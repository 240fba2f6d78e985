"""DenseNet: its rows from the paper's arithmetic, and what can be turned."""

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from tests.support.models import predict

LARGE = {"growth": 32, "channels": 64, "side": 56, "stem": 49, "stem_side": 112, "classes": 1000}
SMALL = {"growth": 12, "side": 32, "stem": 9, "stem_side": 32, "classes": 10}


@pytest.mark.parametrize(
    ("arch", "depths", "plan"),
    [
        ("densenet121", (6, 12, 24, 16), LARGE),
        ("densenet169", (6, 12, 32, 32), LARGE),
        ("densenet201", (6, 12, 48, 32), LARGE),
        ("densenet_bc100_12", (16, 16, 16), {**SMALL, "channels": 24}),
        ("densenet40_12", (12, 12, 12), {**SMALL, "channels": 16, "plain": True}),
    ],
)
def test_counts_in_closed_form(arch, depths, plan):
    channels, side, k, plain = plan["channels"], plan["side"], plan["growth"], plan.get("plain", False)
    large = plan is LARGE
    params = plan["stem"] * 3 * channels + (2 * channels if large else 0)
    macs = plan["stem_side"] ** 2 * plan["stem"] * 3 * channels
    for i, depth in enumerate(depths):
        if i:
            out = channels if plain else channels // 2
            params += 2 * channels + channels * out
            macs += side**2 * channels * out
            channels, side = out, side // 2
        for _ in range(depth):
            kernels = 9 * channels * k if plain else channels * 4 * k + 9 * 4 * k * k
            params += 2 * channels + kernels + (0 if plain else 2 * 4 * k)
            macs += side**2 * kernels
            channels += k
    params += 2 * channels + (channels + 1) * plan["classes"]
    row = architectures.variant(arch)
    assert (row.params, row.macs) == (params, macs + channels * plan["classes"])
    # The stem, the logits, two transitions or three, and one or two convolutions a layer.
    name = "".join(character for character in arch.removesuffix("_12") if character.isdigit())
    assert int(name) == 2 + len(depths) - 1 + sum(depths) * (1 if plain else 2)


# Torchvision's documentation.
@pytest.mark.parametrize(
    ("arch", "params"), [("densenet121", 7_978_856), ("densenet169", 14_149_480), ("densenet201", 20_013_928)]
)
def test_published_parameters(arch, params):
    assert architectures.variant(arch).params == params


@pytest.mark.parametrize(("input_shape", "side"), [((32, 32, 3), 4), ((28, 28, 1), 3)])
def test_small_images(input_shape, side):
    model = architectures.create(
        "densenet121", input_shape=input_shape, classes=10, stem=kb.stem.cifar, depths=(1, 2, 1, 1)
    )
    assert model.get_layer("act").output.shape[1:3] == (side, side)
    assert np.isfinite(predict(model, np.ones((1, *input_shape), "float32"))).all()


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match=r"densenet121 can't be built .*the features would be 1×1"):
        architectures.create("densenet121", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="the output of the stem must be at least 2×2 for 2 stages; got 1×1"):
        architectures.create("densenet_tiny", input_shape=(1, 1, 3))


def test_shapes_by_layer_name():
    model = architectures.create("densenet121", depths=(2, 1, 1, 1), growth=8)
    names = ("stem_out", "stage1_unit2_out", "transition1_out", "stage2_unit1_out", "transition3_out", "act")
    assert [model.get_layer(name).output.shape[1:] for name in names] == [
        *((56, 56, 64), (56, 56, 80), (28, 28, 40), (28, 28, 48), (7, 7, 16), (7, 7, 24)),
    ]


def test_overrides():
    model = architectures.create("densenet_tiny", dropout=0.2, compression=1.0, expansion=None, depths=(1, 1))
    dropouts = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropouts == ["stage1_unit1_dropout2", "transition1_dropout", "stage2_unit1_dropout2"]
    assert model.get_layer("act").output.shape == (None, 8, 8, 8 + 4 + 4)
    with pytest.raises(ValueError, match="`depths` must hold at least one dense block"):
        architectures.create("densenet_tiny", depths=())
