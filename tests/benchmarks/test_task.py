"""What is trained: batches, losses and scores against plain NumPy, and the saved network against the trained one."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers, ops

import architectures
from benchmarks import tasks
from benchmarks.data import Dataset
from benchmarks.tasks import Classification, Pairs, Synthetic, Triplets, few_shot_accuracy
from benchmarks.terminal.errors import UsageError
from tests.support.networks import LIGHT, of_small_images
from tests.support.process import python
from tests.support.weights import randomise


def array(x):
    """Any backend's tensor as NumPy's."""
    return ops.convert_to_numpy(x)


def below_one(*shape, seed=0):
    """Uniform random numbers, float32."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def labelled(y_train, y_test, classes, shape=(4, 4, 1), seed=0):
    """A data set of random images with these labels."""
    rng = np.random.default_rng(seed)
    x = [rng.integers(0, 256, (len(y), *shape), dtype=np.uint8) for y in (y_train, y_test)]
    return Dataset("drawn", "npz:drawn", x[0], np.int32(y_train), x[1], np.int32(y_test), classes)


@pytest.mark.parametrize(("shape", "pad"), [((32, 32, 3), 4), ((5, 7, 1), 1), ((6, 4, 2), 3)])
def test_crop_and_flip_is_a_window_perhaps_mirrored(shape, pad):
    height, width, channels = shape
    rng = np.random.default_rng(0)
    framed = rng.integers(0, 256, (9, height + 2 * pad, width + 2 * pad, channels), dtype=np.uint8)
    rows, uniform = rng.integers(0, 9, 200).astype("int32"), below_one(200, 3)
    uniform[:4] = [[0, 0, 0], [0, 0, 0.5], [np.nextafter(np.float32(1), np.float32(0))] * 3, [0.5, 0.5, 0.49999]]
    expected = []
    for row, (top, left, mirror) in zip(rows, uniform, strict=True):
        y, x = int(top * (2 * pad + 1)), int(left * (2 * pad + 1))
        window = framed[row, y : y + height, x : x + width]
        expected.append(window if mirror < 0.5 else window[:, ::-1])
    windows = array(tasks.images.crop_and_flip(framed, rows, uniform, shape))
    assert windows.dtype == np.uint8
    np.testing.assert_array_equal(windows, np.stack(expected))


def test_every_offset_is_cropped_and_half_is_mirrored():
    # Every pixel tells where it stood, and none has the colour of the frame, which is the mean.
    place = np.r_[0:32, 200:232].astype(np.uint8).reshape(1, 8, 8, 1)
    work = Classification(Dataset("place", "npz:place", place, np.zeros(1), place, np.zeros(1), 10), augment=True)
    n = 20_000
    (windows,), _ = work.draw(work.train, np.zeros(n, "int32"), below_one(n, work.randoms, seed=3))
    framed = np.pad(place[0, ..., 0], 4, constant_values=116)
    found = {}
    for y in range(9):
        for x in range(9):
            window = framed[y : y + 8, x : x + 8]
            found[window.tobytes()], found[window[:, ::-1].tobytes()] = (y, x, 0), (y, x, 1)
    assert len(found) == 2 * 81
    counts = np.zeros((9, 9, 2), int)
    for window in array(windows):
        counts[found[window.tobytes()]] += 1
    # Binomial: 123.5 ± 11.1 in each of 162 cells, 10,000 ± 71 mirrored.
    assert np.abs(counts - n / 162).max() < 5 * 11.1
    assert abs(counts[..., 1].sum() - n / 2) < 5 * 71


def test_labels_stay_with_their_images_when_augmented(small):
    images = small(40, (8, 8, 3))
    work = Classification(images, augment=True)
    rows = np.random.default_rng(0).permutation(40).astype("int32")
    # The middle offset, not mirrored: the images themselves.
    uniform = np.tile(np.float32([0.5, 0.5, 0.25]), (40, 1))
    (x,), y = work.draw(work.train, rows, uniform)
    np.testing.assert_array_equal(array(x), images.x_train[rows])
    np.testing.assert_array_equal(array(y), images.y_train[rows])


def test_without_augmentation_a_batch_is_its_rows(small):
    images = small(40, (8, 8, 3))
    work = Classification(images, augment=False)
    rows = np.array([5, 39, 0, 5], "int32")
    (x,), y = work.draw(work.train, rows, below_one(4, work.randoms))
    np.testing.assert_array_equal(array(x), images.x_train[rows])
    np.testing.assert_array_equal(array(y), images.y_train[rows])


NUMPY = SimpleNamespace(
    arange=np.arange,
    cast=lambda x, dtype: np.asarray(x).astype(dtype),
    minimum=np.minimum,
    mod=np.mod,
    reshape=np.reshape,
    take=np.take,
    where=np.where,
)


@pytest.mark.parametrize("kind", ["plain", "augmented", "pairs", "triplets", "synthetic"])
def test_batches_are_the_same_by_other_functions(small, kind):
    images = small(40, (8, 8, 3))
    work = {
        "plain": lambda: Classification(images, augment=False),
        "augmented": lambda: Classification(images, augment=True),
        "pairs": lambda: Pairs(images),
        "triplets": lambda: Triplets(small(40, (8, 8, 3), classes=3)),
        "synthetic": lambda: Synthetic(architectures.create("multi_input_tiny"), batch_size=8, seed=0),
    }[kind]()
    rows = np.random.default_rng(0).integers(0, work.count, 64).astype("int32")
    uniform = below_one(64, work.randoms, seed=1)
    by_numpy = work.draw(work.train, rows, uniform, ops=NUMPY)
    by_keras = work.draw(work.train, *(ops.convert_to_tensor(x) for x in (rows, uniform)))
    for ours, theirs in zip([*by_numpy[0], by_numpy[1]], [*by_keras[0], by_keras[1]], strict=True):
        assert type(ours) is np.ndarray
        assert ours.dtype == array(theirs).dtype
        np.testing.assert_array_equal(ours, array(theirs))


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (3, 5, 2)])
def test_normalised_images_have_mean_0_and_deviation_1(shape):
    rng = np.random.default_rng(1)
    # Channels that differ in brightness and contrast.
    x = np.clip(rng.normal(60, 25, (700, *shape)) + 40 * np.arange(shape[-1]), 0, 255).astype(np.uint8)
    images = Dataset("drawn", "npz:drawn", x, np.zeros(700, "int32"), x[:1], np.zeros(1, "int32"), 10)
    (prepared,) = Classification(images, augment=False).prepare([x])
    prepared = array(prepared)
    assert prepared.dtype == np.float32
    exact = x.astype("float64")
    exact = (exact - exact.mean((0, 1, 2))) / exact.std((0, 1, 2))
    np.testing.assert_allclose(prepared, exact, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(prepared.astype("float64").mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(prepared.astype("float64").std((0, 1, 2)), 1, atol=1e-5)


def test_images_of_one_colour_are_normalised_to_zero():
    mean, std = tasks.images.channel_statistics(np.full((5, 4, 4, 1), 200, np.uint8))
    np.testing.assert_allclose(
        array(tasks.images.normalise(np.full((1, 4, 4, 1), 200, np.uint8), mean, std)), 0, atol=1e-3
    )


def test_the_frame_is_about_zero_when_normalised(small):
    work = Classification(small(50, (8, 8, 3)), augment=True)
    framed = work.train["images"]
    assert framed.shape == (50, 16, 16, 3)
    (prepared,) = work.prepare([framed])
    border = np.ones((16, 16), bool)
    border[4:12, 4:12] = False
    # Half a step of 255 is what rounding to uint8 leaves.
    assert np.abs(array(prepared)[:, border]).max() <= 0.5 / 255 / work.statistics[1].min() + 1e-6
    np.testing.assert_array_equal(framed[:, 4:12, 4:12], small(50, (8, 8, 3)).x_train)


@pytest.fixture(scope="module")
def pairs():
    """A task of 5 classes of unequal sizes, 60,000 of its pairs, and what they show."""
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(5), rng.choice(5, 295, p=[0.1, 0.1, 0.2, 0.25, 0.35])])
    images = labelled(y, np.arange(50) % 5, 5)
    # The images tell which row they are.
    images.x_train.reshape(300, -1)[:, :2] = np.stack(np.divmod(np.arange(300), 256), axis=1)
    work = Pairs(images)
    rows = np.arange(60_000, dtype="int32") % 300
    (first, second), same = work.draw(work.train, rows, below_one(60_000, work.randoms))
    first, second = (array(x).reshape(60_000, -1)[:, :2].astype(int) @ [256, 1] for x in (first, second))
    return images, rows, first, second, array(same)


def test_half_of_the_pairs_show_the_same_class_as_labelled(pairs):
    images, rows, first, second, same = pairs
    np.testing.assert_array_equal(first, rows)
    np.testing.assert_array_equal(images.y_train[first] == images.y_train[second], same == 1)
    assert set(same.tolist()) == {0, 1}
    assert abs(same.mean() - 0.5) < 5 * 0.5 / 60_000**0.5


def test_every_other_class_is_as_likely_as_any(pairs):
    images, _, first, second, same = pairs
    a, b = images.y_train[first][same == 0], images.y_train[second][same == 0]
    for label in range(5):
        counts = np.bincount(b[a == label], minlength=5)
        assert counts[label] == 0
        expected = counts.sum() / 4
        assert np.all(np.abs(np.delete(counts, label) - expected) < 5 * expected**0.5)


@pytest.mark.parametrize("wanted", [0, 1])
def test_every_image_of_a_class_is_as_likely_a_partner(pairs, wanted):
    images, _, _, second, same = pairs
    for label in range(5):
        chosen = second[(same == wanted) & (images.y_train[second] == label)]
        members = np.flatnonzero(images.y_train == label)
        counts = np.bincount(chosen, minlength=300)[members]
        expected = len(chosen) / len(members)
        assert np.all(np.abs(counts - expected) < 5.5 * expected**0.5)
    assert np.all(np.bincount(second[same == wanted], minlength=300) > 0)


def test_the_largest_random_number_stays_within_its_class():
    work = Pairs(labelled([0, 1, 1, 2, 2, 2, 2], [0, 1, 2], 3))
    top = np.nextafter(np.float32(1), np.float32(0))
    for same, label in ((0.0, 1), (top, 0)):
        uniform = np.tile(np.float32([same, top, top]), (7, 1))
        (_, second), y = work.draw(work.train, np.arange(7, dtype="int32"), uniform)
        second = [next(i for i in range(7) if np.array_equal(work.train["images"][i], x)) for x in array(second)]
        labels = work.train["labels"]
        assert array(y).tolist() == [label] * 7
        assert [(labels[i] == labels[j]) == label for i, j in enumerate(second)] == [True] * 7


def test_pairs_need_every_class():
    with pytest.raises(UsageError, match="none of class 1"):
        Pairs(labelled([0, 2, 2], [0, 1, 2], 3))
    with pytest.raises(UsageError, match="none of class 2"):
        Pairs(labelled([0, 1, 2], [0, 1, 1], 3))


@pytest.fixture(scope="module")
def triples():
    """A task of 5 classes of unequal sizes, and the rows of 60,000 of its triples."""
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(5), np.arange(5), rng.choice(5, 290, p=[0.1, 0.1, 0.2, 0.25, 0.35])])
    images = labelled(y, np.arange(50) % 5, 5)
    # The images tell which row they are.
    images.x_train.reshape(300, -1)[:, :2] = np.stack(np.divmod(np.arange(300), 256), axis=1)
    work = Triplets(images)
    rows = np.arange(60_000, dtype="int32") % 300
    drawn, _ = work.draw(work.train, rows, below_one(60_000, work.randoms))
    found = [array(x).reshape(60_000, -1)[:, :2].astype(int) @ [256, 1] for x in drawn]
    return images.y_train, rows, *found


def test_a_positive_is_another_image_of_the_class_and_a_negative_is_of_another(triples):
    labels, rows, anchor, positive, negative = triples
    np.testing.assert_array_equal(anchor, rows)
    np.testing.assert_array_equal(labels[positive], labels[anchor])
    assert (positive != anchor).all()
    assert (labels[negative] != labels[anchor]).all()


def test_every_positive_and_every_negative_of_a_class_is_as_likely_as_any(triples):
    labels, _, anchor, positive, negative = triples
    for label in range(5):
        members = np.flatnonzero(labels == label)
        counts = np.bincount(positive[labels[anchor] == label], minlength=300)[members]
        # Each is drawn by the others of its class, 200 times each.
        assert np.all(np.abs(counts - 200) < 5.5 * 200**0.5)
        chosen = negative[labels[negative] == label]
        counts = np.bincount(chosen, minlength=300)[members]
        assert np.all(np.abs(counts - len(chosen) / len(members)) < 5.5 * (len(chosen) / len(members)) ** 0.5)
        classes = np.bincount(labels[negative[labels[anchor] == label]], minlength=5)
        expected = classes.sum() / 4
        assert classes[label] == 0
        assert np.all(np.abs(np.delete(classes, label) - expected) < 5 * expected**0.5)


def test_the_largest_random_number_stays_within_the_classes_of_a_triple():
    work = Triplets(labelled([0, 1, 0, 1, 1, 2, 2], [0, 1, 2] * 2, 3))
    top = np.nextafter(np.float32(1), np.float32(0))
    for value in (0.0, top):
        drawn, _ = work.draw(work.train, np.arange(7, dtype="int32"), np.full((7, 3), value, "float32"))
        rows = [
            [next(i for i in range(7) if np.array_equal(work.train["images"][i], x)) for x in array(each)]
            for each in drawn
        ]
        labels = work.train["labels"][np.array(rows)]
        assert (labels[0] == labels[1]).all()
        assert (labels[0] != labels[2]).all()
        assert (np.array(rows[0]) != rows[1]).all()


def test_triples_need_two_images_of_every_class():
    with pytest.raises(UsageError, match="triples need two images of every class; got one of class 1"):
        Triplets(labelled([0, 0, 1, 2, 2], [0, 1, 2] * 2, 3))
    with pytest.raises(UsageError, match="triples need images of two classes; got 1"):
        Triplets(labelled([0, 0], [0, 0], 1))


@pytest.mark.parametrize("form", ["embeddings", "distances"])
def test_the_loss_of_triples_is_the_hinge_of_their_distances(form):
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(9, 4)).astype("float32") for _ in range(3)]
    vectors[1][:3] = vectors[0][:3]
    near, far = (np.sqrt(((vectors[0] - other) ** 2).sum(-1)) for other in vectors[1:])
    work = Triplets(labelled([0, 1] * 2, [0, 1] * 2, 2))
    outputs = vectors if form == "embeddings" else [np.stack([near, far], axis=1)]
    expected = np.maximum(near - far + 0.2, 0).mean()
    assert float(work.loss(outputs, np.zeros(9, "int32"))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("batch_size", [7, 40])
def test_the_triplet_accuracy_counts_the_closer_positives(batch_size):
    images = labelled(np.arange(60) % 6, np.arange(40) % 6, 6)
    work = Triplets(images)
    model = Seen(lambda batch: [x.reshape(len(x), -1) for x in batch])
    score = work.score(model, batch_size)
    anchor, positive, negative = (
        np.concatenate([batch[i] for batch in model.batches]).reshape(40, -1) for i in range(3)
    )
    np.testing.assert_allclose(anchor, array(work.prepare([images.x_test])[0]).reshape(40, -1), rtol=1e-6)
    near, far = (((anchor - other) ** 2).sum(-1) for other in (positive, negative))
    assert 0 < score == np.mean(near < far) < 1


def test_three_images_of_one_shape_are_a_triple(small):
    images = small(60, (6, 6, 1), classes=3)
    for heads in ([layers.Dense(2)], [layers.Dense(5)] * 3):
        assert isinstance(tasks.for_model(own([(6, 6, 1)] * 3, *heads), images, augment=False), Triplets)
    for heads in ([layers.Dense(3)], [layers.Dense(5)] * 2, [layers.Dense(5), layers.Dense(5), layers.Dense(4)]):
        with pytest.raises(UsageError, match="own must have three embeddings or two distances for a triple"):
            tasks.for_model(own([(6, 6, 1)] * 3, *heads), images, augment=False)
    with pytest.raises(UsageError, match="--augment is for classification: pairs and triples are not augmented"):
        tasks.for_model(own([(6, 6, 1)] * 3, layers.Dense(2)), images, augment=True)


class TestFewShot:
    def test_classes_far_apart_are_told_apart(self):
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(8), 20)
        x = 100 * np.eye(8)[labels] + rng.normal(size=(160, 8))
        assert few_shot_accuracy(x, labels, ways=5, shots=1, queries=10, episodes=20) == (1.0, 0.0)

    def test_embeddings_of_nothing_are_guesses(self):
        labels = np.repeat(np.arange(10), 30)
        x = np.random.default_rng(0).normal(size=(300, 4))
        mean, half = few_shot_accuracy(x, labels, ways=5, shots=5, episodes=400)
        assert abs(mean - 0.2) < 3 * half < 0.05

    def test_the_accuracy_is_that_of_the_formula(self):
        # Two classes on a line, at unit variance: with many shots the error is that of half their distance.
        rng = np.random.default_rng(0)
        labels = np.repeat([3, 7], 4000)
        x = (rng.normal(size=8000) + np.where(labels == 7, 2.0, 0.0))[:, None]
        mean, half = few_shot_accuracy(x, labels, ways=2, shots=500, queries=500, episodes=100)
        assert mean == pytest.approx(0.8413, abs=0.01)
        assert 0 < half < 0.01

    def test_more_shots_are_better_and_a_seed_repeats(self):
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(6), 40)
        x = 1.5 * np.eye(6)[labels] + rng.normal(size=(240, 6))
        one, five, again = (few_shot_accuracy(x, labels, shots=n, episodes=200) for n in (1, 5, 1))
        assert one == again
        assert five[0] > one[0] + 0.05

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"ways": 9}, "9 classes need 16 examples each; got 8 such classes"),
            ({"shots": 10}, "5 classes need 25 examples each; got 0 such classes"),
            ({"queries": 0}, "`queries` must be a positive integer; got 0"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, options, message):
        with pytest.raises(UsageError, match=message):
            few_shot_accuracy(np.zeros((160, 2)), np.repeat(np.arange(8), 20), **options)


@pytest.mark.parametrize("classes", [1, 3])
def test_synthetic_labels_for_each_pixel(classes):
    x = keras.Input((6, 5, 2))
    model = keras.Model(x, layers.Conv2D(classes, 1)(x))
    work = Synthetic(model, batch_size=4, seed=0)
    assert work.train["y"].shape == (work.count, 6, 5, 1)
    assert set(np.unique(work.train["y"])) == set(range(max(2, classes)))
    z = np.random.default_rng(0).normal(0, 2, (4, 6, 5, classes)).astype("float32")
    y = work.train["y"][:4]
    log_p = log_softmax(z if classes > 1 else np.concatenate([0 * z, z], axis=-1))
    expected = -np.take_along_axis(log_p, y, axis=-1).mean()
    assert float(work.loss([z], y)) == pytest.approx(expected, rel=1e-4)
    assert float(work.keras_loss(y, z)) == pytest.approx(expected, rel=1e-4)


class Seen:
    """Replaces a model: keeps the batches it is called on; `answer` makes the outputs."""

    def __init__(self, answer):
        self.answer, self.batches = answer, []

    def predict_on_batch(self, inputs):
        self.batches.append([array(x) for x in (inputs if isinstance(inputs, list) else [inputs])])
        return self.answer(self.batches[-1])


@pytest.mark.parametrize("batch_size", [1, 7, 20, 64])
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_accuracy_is_the_count_of_right_answers(small, batch_size, outputs):
    images = small(60, (4, 4, 1))
    work = Classification(images, augment=True)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20, 10)).astype("float32")
    logits[::3] += 9 * np.eye(10, dtype="float32")[images.y_test[::3]]
    at = iter(range(0, 20, batch_size))

    def answer(batch):
        i = next(at)
        part = logits[i : i + batch_size]
        return part if outputs == 1 else [part, -part, 0 * part]

    model = Seen(answer)
    right = sum(int(np.argmax(row)) == label for row, label in zip(logits, images.y_test, strict=True))
    assert 0 < right < 20
    assert work.score(model, batch_size) == right / 20
    shown = np.concatenate([batch[0] for batch in model.batches])
    np.testing.assert_allclose(shown, array(work.prepare([images.x_test])[0]), rtol=1e-6)


def test_the_pair_accuracy_counts_the_same_pairs_in_every_run():
    images = labelled(np.arange(60) % 6, np.arange(40) % 6, 6)
    seen = []
    for batch_size in (7, 40):
        work = Pairs(images)
        model = Seen(lambda batch: batch[0][:, 0, 0] - batch[1][:, 0, 0])
        score = work.score(model, batch_size)
        first, second = (np.concatenate([batch[i] for batch in model.batches]) for i in (0, 1))
        seen.append((first, second, score))
    first, second, score = seen[0]
    np.testing.assert_array_equal(first, seen[1][0])
    np.testing.assert_array_equal(second, seen[1][1])
    assert score == seen[1][2]
    prepared = array(work.prepare([images.x_test])[0])
    np.testing.assert_allclose(first, prepared, rtol=1e-6)
    labels = [images.y_test[np.argmin(np.abs(prepared - x).sum((1, 2, 3)))] for x in second]
    same = images.y_test == labels
    assert 8 <= same.sum() <= 32
    assert score == np.mean((first[:, 0, 0, 0] > second[:, 0, 0, 0]) == same)


def log_softmax(z):
    """In float64."""
    z = z.astype("float64")
    return z - z.max(-1, keepdims=True) - np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True))


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_the_loss_is_cross_entropy_with_auxiliary_losses(small, outputs):
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 5, (12, 10)).astype("float32") for _ in range(outputs)]
    y = rng.integers(0, 10, 12).astype("int32")
    terms = [-log_softmax(z)[np.arange(12), y].mean() for z in logits]
    # Szegedy et al. 2014 weigh the auxiliary losses by 0.3.
    expected = terms[0] + 0.3 * sum(terms[1:])
    assert float(Classification(small(), augment=False).loss(logits, y)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_pairs_is_binary_cross_entropy():
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 5, (50, 1)).astype("float32"), rng.integers(0, 2, 50)
    x = z[:, 0].astype("float64")
    expected = (np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0) - x * y).mean()
    work = Pairs(labelled([0, 1], [0, 1], 2))
    assert float(work.loss([z], y.astype("int32"))) == pytest.approx(expected, rel=1e-5)
    assert float(work.keras_loss(y[:, None].astype("float32"), z)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_for_fit_is_the_same(small):
    rng = np.random.default_rng(0)
    logits, y = rng.normal(0, 3, (12, 10)).astype("float32"), rng.integers(0, 10, 12).astype("int32")
    work = Classification(small(), augment=False)
    assert float(work.keras_loss(y, logits)) == pytest.approx(float(work.loss([logits], y)), rel=1e-6)


def test_synthetic_losses_of_probabilities_are_their_logs():
    model = architectures.create("shared_dense_tiny")
    work = Synthetic(model, batch_size=8, seed=0)
    rng = np.random.default_rng(0)
    p = [rng.uniform(0.1, 0.9, (8, 1)).astype("float32") for _ in range(2)]
    y = rng.integers(0, 2, (8, 2)).astype("int32")
    expected = sum(-np.where(y[:, i] == 1, np.log(q[:, 0]), np.log(1 - q[:, 0])).mean() for i, q in enumerate(p))
    assert float(work.loss(p, y)) == pytest.approx(expected, rel=1e-5)


ENDINGS = {
    "softmax": (lambda x: layers.Dense(4, "softmax")(x), True),
    "sigmoid": (lambda x: layers.Dense(1, "sigmoid")(x), True),
    "softmax by itself": (lambda x: layers.Activation("softmax")(layers.Dense(4)(x)), True),
    "softmax called logits": (lambda x: layers.Dense(4, "softmax", name="logits")(x), True),
    "logits": (lambda x: layers.Dense(4, name="logits")(x), False),
    "logits called predictions": (lambda x: layers.Dense(4, name="predictions")(x), False),
    "a logit": (lambda x: layers.Dense(1)(x), False),
    "no activation": (lambda x: layers.Activation("linear", name="probabilities")(layers.Dense(4)(x)), False),
    "no activations at all": (lambda x: layers.Reshape((4,))(layers.Dense(4)(x)), False),
    "a layer": (lambda x: layers.Softmax()(layers.Dense(4)(x)), True),
    "an operation": (lambda x: ops.softmax(layers.Dense(4)(x)), True),
    "operation sigmoid": (lambda x: ops.sigmoid(layers.Dense(1)(x)), True),
    "a model": (lambda x: keras.Sequential([keras.Input((3,)), layers.Dense(4, "softmax")])(x), True),
    "a model of logits": (lambda x: keras.Sequential([keras.Input((3,)), layers.Dense(4)])(x), False),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_synthetic_losses_are_of_what_the_network_ends_in(name):
    ending, is_probability = ENDINGS[name]
    x = keras.Input((3,))
    model = keras.Model(x, ending(x))
    work = Synthetic(model, batch_size=8, seed=0)
    rng = np.random.default_rng(0)
    z, classes = rng.normal(0, 2, (8, model.output_shape[-1])).astype("float32"), max(2, model.output_shape[-1])
    y = rng.integers(0, classes, (8, 1)).astype("int32")
    # One logit is that of class 1 beside a logit of 0 of class 0.
    log_p = log_softmax(z if z.shape[1] > 1 else np.concatenate([0 * z, z], axis=1))
    outputs = np.exp(log_p if z.shape[1] > 1 else log_p[:, 1:]).astype("float32") if is_probability else z
    assert float(work.loss([outputs], y)) == pytest.approx(-log_p[np.arange(8), y[:, 0]].mean(), rel=1e-4)


@pytest.mark.parametrize(
    "arch",
    [pytest.param(name, marks=pytest.mark.slow) if name not in LIGHT else name for name in architectures.names()],
)
def test_synthetic_data_fits_every_network(arch):
    model = architectures.create(arch, **of_small_images(arch))
    work = Synthetic(model, batch_size=2, seed=0)
    assert work.count % 2 == 0
    assert {len(x) for x in work.train.values()} == {work.count}
    inputs, targets = work.draw(work.train, np.array([1, work.count - 1], "int32"), below_one(2, work.randoms))
    assert [tuple(x.shape) for x in inputs] == [(2, *x.shape[1:]) for x in model.inputs]
    outputs = model(work.prepare(inputs) if len(inputs) > 1 else work.prepare(inputs)[0])
    outputs = outputs if isinstance(outputs, list) else [outputs]
    assert array(targets).max(initial=0) < max(2, *(y.shape[-1] for y in outputs))
    loss = float(work.loss(outputs, targets))
    assert np.isfinite(loss)
    assert loss > 0
    assert work.complete(model) is model


def test_synthetic_data_follows_its_seed_and_has_no_score():
    model = architectures.create("mlp_tiny")
    one, same, other = (Synthetic(model, batch_size=4, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.train["x0"], same.train["x0"])
    assert np.any(one.train["x0"] != other.train["x0"])
    assert one.train["x0"].dtype == np.uint8
    with pytest.raises(UsageError, match="no test set"):
        one.score(model, 4)


def test_synthetic_data_is_one_batch_where_images_are_large(monkeypatch):
    monkeypatch.setattr(tasks.synthetic, "RESIDENT_BYTES", 5 * 4 * 784)
    model = architectures.create("mlp_tiny")
    assert Synthetic(model, batch_size=4, seed=0).count == 5 * 4
    assert Synthetic(model, batch_size=21, seed=0).count == 21


def test_the_inputs_of_a_network_choose_its_task(small):
    images = small(30, (28, 28, 1))
    assert isinstance(tasks.for_model(architectures.create("lenet_tiny"), images, augment=True), Classification)
    assert isinstance(tasks.for_model(architectures.create("siamese_tiny"), images, augment=False), Pairs)
    with pytest.raises(UsageError, match="--augment is for classification"):
        tasks.for_model(architectures.create("siamese_tiny"), images, augment=True)
    with pytest.raises(UsageError, match=r"\(16, 16, 3\).*\(28, 28, 1\).*--dataset=synthetic"):
        tasks.for_model(architectures.create("resnet_tiny"), images, augment=False)
    with pytest.raises(UsageError, match=r"\(3,\) and \(2,\)"):
        tasks.for_model(architectures.create("multi_input_tiny"), images, augment=False)


RELOAD = """
import json, sys
import numpy as np
import keras
saved = np.load(sys.argv[2])
model = keras.models.load_model(sys.argv[1])
outputs = model.predict_on_batch([saved[name] for name in sorted(saved.files)] if len(saved.files) > 1 else saved["x0"])
ours = [name for name in sys.modules if name.partition(".")[0] in ("benchmarks", "architectures", "kblocks")]
outputs = outputs if isinstance(outputs, list) else [outputs]
print(json.dumps([ours, [y.tolist() for y in outputs]]))
"""


@pytest.mark.parametrize("arch", ["resnet_tiny", "siamese_tiny", "googlenet_tiny"])
def test_the_complete_network_is_loaded_by_keras_alone(small, tmp_path, arch):
    shape = architectures.variant(arch).input_shapes[0]
    images = small(60, shape)
    model = architectures.create(arch, **({"auxiliary": True} if arch == "googlenet_tiny" else {}))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in model.weights])
    work = tasks.for_model(model, images, augment=False)
    raw = [images.x_test[:6], images.x_test[6:12]][: len(model.inputs)]
    expected = tasks.base.predict(model, work.prepare(raw))
    complete = work.complete(model)
    for y, z in zip(expected, tasks.base.predict(complete, raw), strict=True):
        np.testing.assert_allclose(z, y, rtol=1e-4, atol=1e-4)
    complete.save(tmp_path / "net.keras")
    np.savez(tmp_path / "raw.npz", **{f"x{i}": x for i, x in enumerate(raw)})
    fresh = python("-I", "-c", RELOAD, tmp_path / "net.keras", tmp_path / "raw.npz", cwd=tmp_path)
    assert fresh.returncode == 0, fresh.stderr
    ours, outputs = json.loads(fresh.stdout.splitlines()[-1])
    assert ours == []
    for y, z in zip(expected, outputs, strict=True):
        np.testing.assert_allclose(np.array(z), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", ["lenet_tiny", "resnet_tiny", "siamese_tiny", "googlenet_tiny"])
def test_create_takes_the_complete_network(small, tmp_path, arch):
    options = {"auxiliary": True} if arch == "googlenet_tiny" else {}
    images = small(60, architectures.variant(arch).input_shapes[0])
    model = randomise(architectures.create(arch, **options))
    complete = tasks.for_model(model, images, augment=False).complete(model)
    complete.save(tmp_path / "net.keras")
    loaded = architectures.create(arch, weights=tmp_path / "net.keras", **options)
    raw = [images.x_test[:6], images.x_test[6:12]][: len(model.inputs)]
    found, expected = (tasks.base.predict(each, raw) for each in (loaded, complete))
    for y, z in zip(found, expected, strict=True):
        assert np.std(z) > 0
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-4)
    # For another number of classes the head is new.
    other = architectures.create(arch, weights=tmp_path / "net.keras", classes=3, **options)
    assert {y.shape[-1] for y in other.outputs} == {3}


def test_examples_for_fit_are_all_prepared_and_in_order(small):
    images = small(30, (8, 8, 1))
    work = Classification(images, augment=False)
    (x,), y = work.examples(30, seed=0)
    np.testing.assert_allclose(x, array(work.prepare([images.x_train])[0]), rtol=1e-6)
    np.testing.assert_array_equal(y, images.y_train)
    (x,), y = work.examples(7, seed=0)
    assert (len(x), len(y)) == (7, 7)


def own(inputs, *heads):
    """A user's own model: outputs are functions of the inputs, flattened and concatenated."""
    inputs = [keras.Input(shape) for shape in inputs]
    flat = [layers.Flatten()(x) for x in inputs]
    x = layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    return keras.Model(inputs, [head(x) for head in heads], name="own")


@pytest.mark.parametrize("ending", ["logits", "softmax", "sequential"])
def test_a_model_of_ones_own_is_trained_on_its_outputs(small, ending):
    images = small(60, (6, 6, 1))
    model = own([(6, 6, 1)], layers.Dense(10, None if ending == "logits" else "softmax"))
    if ending == "sequential":
        model = keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(10), layers.Softmax()])
    work = tasks.for_model(model, images, augment=False)
    assert isinstance(work, Classification)
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 2, (12, 10)).astype("float32"), rng.integers(0, 10, 12).astype("int32")
    log_p = log_softmax(z)
    outputs = z if ending == "logits" else np.exp(log_p).astype("float32")
    expected = -log_p[np.arange(12), y].mean()
    assert float(work.loss([outputs], y)) == pytest.approx(expected, rel=1e-4)
    assert float(work.keras_loss(y, outputs)) == pytest.approx(expected, rel=1e-4)
    right = np.argmax(array(model(work.prepare([images.x_test])[0])), -1) == images.y_test
    assert work.score(model, 7) == pytest.approx(right.mean())


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_pairs_by_a_model_of_ones_own(activation):
    images = labelled(np.arange(60) % 6, np.arange(40) % 6, 6)
    work = tasks.for_model(own([(4, 4, 1)] * 2, layers.Dense(1, activation)), images, augment=False)
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 2, (40, 1)).astype("float32"), rng.integers(0, 2, 40).astype("int32")
    probabilities = 1 / (1 + np.exp(-z))
    expected = -np.log(np.where(y == 1, probabilities[:, 0], 1 - probabilities[:, 0])).mean()
    outputs = probabilities if activation else z
    assert float(work.loss([outputs], y)) == pytest.approx(expected, rel=1e-4)
    assert float(work.keras_loss(y[:, None].astype("float32"), outputs)) == pytest.approx(expected, rel=1e-4)
    # The same predictions have the same score, as logits and as probabilities.
    assert work.score(Seen(lambda batch: outputs), 40) == Pairs(images).score(Seen(lambda batch: z), 40)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: own([(6, 6, 1)], layers.Dense(9)),
            r"own must have an output for each of the 10 classes; got .*\(None, 9\)",
        ),
        (lambda: own([(6, 6, 1)], layers.Dense(10), layers.Dense(1)), r"10 classes; got .*10\) and \(None, 1\)"),
        (lambda: own([(6, 6, 1)], layers.Reshape((6, 6))), r"10 classes; got .*\(None, 6, 6\)"),
        (lambda: own([(6, 6, 1)], layers.Dense(10), layers.Dense(10, "softmax")), "all logits or all probabilities"),
        (lambda: own([(6, 6, 1)] * 2, layers.Dense(2)), r"own must have one output for a pair.*\(None, 2\)"),
    ],
)
def test_outputs_that_do_not_fit_the_images_are_refused(small, model, message):
    with pytest.raises(UsageError, match=message):
        tasks.for_model(model(), small(30, (6, 6, 1)), augment=False)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: own([(6, 6)], layers.Reshape((6, 6))), r"own has an output of shape \(None, 6, 6\)"),
        (
            lambda: keras.Sequential([keras.Input((None, None, 3)), layers.GlobalAveragePooling2D()], name="own"),
            r"own takes inputs of shape \(None, None, 3\); .*--input_shape",
        ),
        (
            lambda: keras.Sequential(
                [keras.Input((5,), dtype="int32"), layers.Embedding(9, 2), layers.Flatten()], name="own"
            ),
            "own takes inputs of int32",
        ),
    ],
)
def test_models_that_synthetic_data_does_not_fit_are_refused(model, message):
    with pytest.raises(UsageError, match=message):
        Synthetic(model(), batch_size=4, seed=0)


@pytest.mark.parametrize(("shape", "classes"), [((64, 64, 3), 7), ((40, 24, 1), 100)])
def test_synthetic_data_has_the_size_and_classes_of_the_network(shape, classes):
    model = architectures.create("resnet_tiny", input_shape=shape, classes=classes)
    work = Synthetic(model, batch_size=512, seed=0)
    assert work.train["x0"].shape == (work.count, *shape)
    assert set(np.unique(work.train["y"])) <= set(range(classes))
    assert work.train["y"].max() > classes / 2
