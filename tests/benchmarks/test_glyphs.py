"""The drawn digits: reproducible, balanced and varied, and neither trivial nor impossible to tell apart."""

import hashlib

import numpy as np
import pytest

from benchmarks.data import glyphs
from tests.support.process import python

MONO, COLOUR = (28, 28, 1), (32, 32, 3)


def digest(images: np.ndarray, labels: np.ndarray) -> str:
    """A hash of both arrays' bytes."""
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()


def nearest_mean_accuracy(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray):
    """The share of `test` [n, features] whose nearest class mean of `train` is that of its own class."""
    means = np.stack([train[train_labels == digit].mean(axis=0) for digit in range(10)])
    squared_distances = np.square(means).sum(axis=1) - 2 * test @ means.T
    return np.mean(squared_distances.argmin(axis=1) == test_labels)


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each grey image's light, [n] in full pixels, and centre of light, [n, 2] in pixels."""
    light = images[..., 0].astype(np.float64) / 255
    mass = light.sum(axis=(1, 2))
    axis = np.arange(light.shape[1])
    return mass, np.stack([light.sum(axis=2) @ axis, light.sum(axis=1) @ axis], axis=1) / mass[:, None]


@pytest.mark.parametrize("shape", [MONO, COLOUR, (16, 16, 3), (40, 40, 1)])
@pytest.mark.parametrize("count", [1, 10, 300])
def test_shapes_dtypes_and_ranges(count, shape):
    images, labels = glyphs.digits(count, shape)
    assert images.shape == (count, *shape)
    assert images.dtype == np.uint8
    assert labels.shape == (count,)
    assert labels.dtype == np.int64
    assert labels.min() >= 0
    assert labels.max() <= 9
    # Something is drawn on every image, to the last.
    assert np.ptp(images.reshape(count, -1), axis=1).min() > 60


def test_the_shape_defaults_to_that_of_mnist():
    assert digest(*glyphs.digits(20)) == digest(*glyphs.digits(20, MONO, seed=0))


def test_grey_images_are_light_on_dark_and_colour_images_are_coloured():
    grey, _ = glyphs.digits(500, MONO)
    assert np.median(grey) < 30
    assert grey.max() == 255
    colour, _ = glyphs.digits(500, COLOUR)
    paper = np.median(colour, axis=(1, 2))
    assert np.ptp(paper, axis=1).mean() > 20
    # The backgrounds range from dark to light.
    assert paper.mean(axis=1).min() < 50
    assert paper.mean(axis=1).max() > 180


@pytest.mark.parametrize("shape", [MONO, COLOUR])
def test_a_fresh_process_draws_the_same(shape):
    script = (
        "import hashlib; from benchmarks import glyphs; "
        f"images, labels = glyphs.digits(300, {shape}, seed=7); "
        "print(hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest())"
    )
    fresh = python("-c", script)
    assert fresh.returncode == 0, fresh.stderr
    assert fresh.stdout.strip() == digest(*glyphs.digits(300, shape, seed=7))


def test_drawing_leaves_the_global_generator_alone():
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    glyphs.digits(10)
    assert np.random.random() == expected


@pytest.mark.parametrize("shape", [MONO, COLOUR])
def test_no_image_comes_twice_within_or_across_seeds(shape):
    drawn = [glyphs.digits(500, shape, seed=seed) for seed in (0, 1)]
    assert len({image.tobytes() for images, _ in drawn for image in images}) == 1000
    assert np.any(drawn[0][1] != drawn[1][1])


def test_classes_are_balanced_and_in_random_order():
    _, labels = glyphs.digits(1003)
    assert np.bincount(labels).tolist() == [101] * 3 + [100] * 7
    # With random order a label follows an equal one about a tenth of the time.
    assert 50 < np.sum(labels[1:] == labels[:-1]) < 150


def test_grey_classes_can_be_told_apart_but_not_by_their_means_alone():
    train, train_labels = glyphs.digits(5000, MONO, seed=1)
    test, test_labels = glyphs.digits(2000, MONO, seed=2)
    flat = [images.reshape(len(images), -1).astype(np.float32) for images in (train, test)]
    assert 0.4 < nearest_mean_accuracy(flat[0], train_labels, flat[1], test_labels) < 0.8


def test_colour_classes_show_in_the_contrast_with_the_background():
    train, train_labels = glyphs.digits(5000, COLOUR, seed=1)
    test, test_labels = glyphs.digits(1000, COLOUR, seed=2)
    contrasts = []
    for images in (train, test):
        grey = images.mean(axis=3, dtype=np.float32).reshape(len(images), -1)
        contrast = np.abs(grey - np.median(grey, axis=1, keepdims=True))
        contrasts.append(contrast / np.linalg.norm(contrast, axis=1, keepdims=True))
    assert 0.3 < nearest_mean_accuracy(contrasts[0], train_labels, contrasts[1], test_labels) < 0.8


@pytest.mark.parametrize("digit", range(10))
def test_each_digit_moves_about_and_changes_weight(digit):
    images, labels = glyphs.digits(3000, MONO)
    mass, centre = moments(images[labels == digit])
    assert np.all(centre.std(axis=0) > 1)
    np.testing.assert_allclose(centre.mean(axis=0), 13.5, atol=3.5)
    assert mass.std() > 0.2 * mass.mean()


@pytest.mark.parametrize(
    "shape", [(5, 5, 2), (28, 28), (28, 28, 1, 1), (28, 32, 1), (28, 28, 2), (15, 15, 1), (-28, -28, 1), ()]
)
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="`image_shape` must be") as error:
        glyphs.digits(10, shape)
    assert "(size, size, 1) or (size, size, 3)" in str(error.value)
    assert str(error.value).endswith(f"got {shape}")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "`count` must be at least 1; got 0"),
        ({"count": 2.5}, TypeError, "`count` must be an integer; got 2.5"),
        ({"count": True}, TypeError, "`count` must be an integer; got True"),
        ({"count": 10, "seed": -1}, ValueError, "`seed` must be at least 0; got -1"),
        ({"count": 10, "seed": None}, TypeError, "`seed` must be an integer; got None"),
    ],
)
def test_other_counts_and_seeds_are_refused(arguments, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        glyphs.digits(**arguments)
