"""Triplet networks and towers: one tower for three images, any architecture as a tower."""

import keras
import numpy as np
import pytest

import architectures
import kblocks as kb
from architectures.lenet import VARIANTS as LENETS
from tests.support.models import predict
from tests.support.weights import randomise


def images(model, count=4):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(count, *x.shape[1:])).astype("float32") for x in model.inputs]


def test_counts():
    """The tower without its head, and a dense layer to 128."""
    rows = {arch: architectures.variant(arch) for arch in architectures.names("triplet_*")}
    assert rows["triplet_lenet"].params == LENETS["lenet"].params - (512 * 10 + 10) + 512 * 128 + 128
    assert rows["triplet_mnist_cnn"].params == 34_826 - 16_010 + 1600 * 128 + 128
    # Images of one channel.
    assert rows["triplet_resnet20"].params == 269_722 - 2 * 9 * 16 - 650 + 64 * 128 + 128


@pytest.mark.parametrize("joint_norm", [False, True])
def test_distances_between_embeddings(joint_norm):
    model = randomise(architectures.create("triplet_tiny", joint_norm=joint_norm))
    embed = architectures.create("triplet_tiny", joint_norm=joint_norm, classes=0)
    embed.set_weights(model.get_weights())
    data = images(model)
    anchor, positive, negative = predict(embed, *data)
    assert anchor.shape == (4, 8)
    for vectors in (anchor, positive, negative):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    expected = np.stack([np.linalg.norm(anchor - x, axis=1) for x in (positive, negative)], 1)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(predict(model, *data), expected, rtol=1e-4, atol=1e-5)


def test_one_tower_for_three():
    model = architectures.create("triplet_lenet")
    (tower,) = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert model.count_params() == tower.count_params() == architectures.variant("triplet_lenet").params
    assert model.output_names == ["distances_out"]


def test_the_embedding_can_be_the_features():
    model = architectures.create("triplet_tiny", units=0, unit_norm=False, distance=kb.tower.dot, classes=0)
    assert [y.shape for y in model.outputs] == [(None, 16)] * 3
    names = [layer.name for layer in model._flatten_layers()]
    assert not [name for name in names if "embedding" in name or "unit_norm" in name]


def test_only_two_distances():
    with pytest.raises(ValueError, match="`classes` must be 2, for two distances, or 0, for the embeddings; got 10"):
        architectures.create("triplet_tiny", classes=10)


class TestTower:
    @pytest.mark.parametrize(
        ("arch", "options", "features"),
        [
            ("resnet20", {}, 64),
            ("resnet_tiny", {"pooling": "flatten"}, 14 * 14 * 8),
            ("lenet_tiny", {"units": (12,)}, 12),
            ("mnist_cnn_tiny", {}, 11 * 11 * 8),
        ],
    )
    def test_any_architecture(self, arch, options, features):
        pair = architectures.create("siamese_lenet", tower=architectures.tower(arch, **options))
        (tower,) = [layer for layer in pair.layers if isinstance(layer, keras.Model)]
        assert tower.output_shape == (None, features)
        assert pair.output_shape == (None, 1)
        three = architectures.create("triplet_lenet", tower=architectures.tower(arch, **options))
        assert three.output_shape == (None, 2)

    def test_it_computes_the_features(self):
        x = keras.Input((16, 16, 3))
        model = randomise(keras.Model(x, architectures.tower("resnet_tiny", widths=(4, 12))(x, name="tower")))
        features = architectures.create("resnet_tiny", classes=0, pooling="avg", widths=(4, 12))
        features.set_weights(model.get_weights())
        data = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
        np.testing.assert_allclose(predict(model, data), predict(features, data), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        ("arguments", "options", "error", "message"),
        [
            (["resnet21"], {}, ValueError, "`arch` must be the name of an architecture; got 'resnet21'"),
            (["siamese_tiny"], {}, ValueError, "`arch` must be an architecture of one image; got 'siamese_tiny'"),
            (["resnet_tiny"], {"pooling": "mean"}, ValueError, "`pooling` must be one of 'avg', 'max', 'flatten'"),
            (["resnet_tiny"], {"width": 4}, TypeError, "resnet_tiny takes no override `width`"),
        ],
    )
    def test_what_is_refused(self, arguments, options, error, message):
        with pytest.raises(error, match=message):
            architectures.tower(*arguments, **options)
