"""Streamed batches: what `task.draw` makes by Keras's own functions, every example once an epoch, on any backend."""

import dataclasses
import itertools
import sys

import keras
import numpy as np
import pytest
from keras import ops

import architectures
from benchmarks.data import Dataset
from benchmarks.engines import pipeline
from benchmarks.tasks import Classification, Pairs, Synthetic, Triplets
from benchmarks.terminal.errors import UsageError

tf = pytest.importorskip("tensorflow")


def array(x):
    """Any backend's tensor as NumPy's."""
    return ops.convert_to_numpy(x)


def telling(work):
    """A task whose batches tell, as two inputs more, of which rows and random numbers they were drawn."""
    draw = work.draw

    def told(train, rows, uniform, **options):
        inputs, targets = draw(train, rows, uniform, **options)
        return [*inputs, rows, uniform], targets

    work.draw = told
    return work, draw


def taken(work, count, *, batch_size, seed=0):
    """The first batches as NumPy arrays: lists of inputs, and targets."""
    stream = pipeline.batches(work, batch_size=batch_size, seed=seed).as_numpy_iterator()
    return [(list(inputs), targets) for inputs, targets in itertools.islice(stream, count)]


TASKS = {
    "plain": lambda images: Classification(images, augment=False),
    "augmented": lambda images: Classification(images, augment=True),
    "pairs": Pairs,
    "triplets": lambda images: Triplets(
        dataclasses.replace(images, y_train=images.y_train % 3, y_test=images.y_test % 3, classes=3)
    ),
    "synthetic": lambda images: Synthetic(architectures.create("multi_input_tiny"), batch_size=7, seed=0),
}


@pytest.mark.parametrize("kind", TASKS)
def test_batches_are_those_of_the_task(small, kind):
    work, draw = telling(TASKS[kind](small(40, (8, 8, 3))))
    batches = taken(work, 14, batch_size=7, seed=3)
    for (*inputs, rows, uniform), targets in batches:
        assert rows.shape == (7,)
        assert (uniform.shape, uniform.dtype) == ((7, work.randoms), np.float32)
        assert ((uniform >= 0) & (uniform < 1)).all()
        expected, labels = draw(work.train, *(ops.convert_to_tensor(x) for x in (rows, uniform)))
        for ours, theirs in zip([*inputs, targets], [*expected, labels], strict=True):
            assert ours.dtype == array(theirs).dtype
            np.testing.assert_array_equal(ours, array(theirs))
    numbers = np.concatenate([uniform for (*_, uniform), _ in batches]).reshape(-1)
    assert len(set(numbers.tolist())) == numbers.size == 14 * 7 * work.randoms


def test_a_batch_holds_the_images_and_labels_of_its_rows(small):
    images = small(40, (8, 8, 3))
    work, _ = telling(Classification(images, augment=False))
    for (x, rows, _), y in taken(work, 12, batch_size=9):
        np.testing.assert_array_equal(x, images.x_train[rows])
        np.testing.assert_array_equal(y, images.y_train[rows])


def numbered(count):
    """Images that tell their own number by their colour."""
    x = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 4, 1))
    y = np.arange(count, dtype="int32")
    return Classification(Dataset("numbered", "npz:numbered", x, y, x, y, count), augment=False)


def epochs_of(count, batch_size, number, seed=0):
    """The rows of some epochs, batch by batch, read off the images."""
    steps = count // batch_size
    batches = taken(numbered(count), number * steps, batch_size=batch_size, seed=seed)
    for (x,), y in batches:
        np.testing.assert_array_equal(x, np.broadcast_to(y[:, None, None, None], x.shape))
    rows = [targets.tolist() for _, targets in batches]
    return [rows[at : at + steps] for at in range(0, len(rows), steps)]


@pytest.mark.parametrize(("count", "batch_size"), [(48, 8), (50, 8), (15, 8), (12, 12), (6, 1)])
def test_an_epoch_takes_every_example_once_in_whole_batches(count, batch_size):
    epochs = epochs_of(count, batch_size, 4)
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [batch_size] * (count // batch_size)
        rows = list(itertools.chain(*epoch))
        assert len(set(rows)) == len(rows)
        assert set(rows) <= set(range(count))
    assert len({str(epoch) for epoch in epochs}) == 4


def test_what_an_epoch_leaves_out_changes():
    left_out = [frozenset(range(50)) - set(itertools.chain(*epoch)) for epoch in epochs_of(50, 8, 12)]
    assert {len(rest) for rest in left_out} == {2}
    assert len(set(left_out)) > 8


def test_the_order_is_no_slow_drift():
    # Of a shuffle through a small buffer the first batch would come from the first rows.
    first = [np.mean(epoch[0]) for epoch in epochs_of(200, 20, 40)]
    # The mean of 20 of the numbers 0 to 199: 99.5 ± 12.3.
    assert abs(np.mean(first) - 99.5) < 5 * 12.3 / 40**0.5
    assert 8 < np.std(first) < 17


@pytest.mark.parametrize("kind", TASKS)
def test_batches_follow_the_seed(small, kind):
    images = small(40, (8, 8, 3))
    one, same, other = (taken(telling(TASKS[kind](images))[0], 9, batch_size=7, seed=seed) for seed in (5, 5, 6))
    for (inputs, targets), (inputs_again, targets_again) in zip(one, same, strict=True):
        for a, b in zip([*inputs, targets], [*inputs_again, targets_again], strict=True):
            np.testing.assert_array_equal(a, b)
    drawn, others = ([inputs for inputs, _ in each] for each in (one, other))
    for (*_, rows, uniform), (*_, other_rows, other_uniform) in zip(drawn, others, strict=True):
        assert rows.tolist() != other_rows.tolist()
        assert not set(uniform.reshape(-1).tolist()) & set(other_uniform.reshape(-1).tolist())


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_any_seed_of_the_flag_will_do(seed):
    ((rows,),) = epochs_of(6, 6, 1, seed=seed)
    assert sorted(rows) == list(range(6))


def test_every_offset_is_cropped_and_half_is_mirrored():
    # Every pixel tells where it stood, and none has the colour of the frame, which is the mean.
    place = np.r_[0:32, 200:232].astype(np.uint8).reshape(1, 8, 8, 1)
    framed = np.pad(place[0, ..., 0], 4, constant_values=116)
    found = {}
    for y, x in itertools.product(range(9), repeat=2):
        window = framed[y : y + 8, x : x + 8]
        found[window.tobytes()], found[window[:, ::-1].tobytes()] = (y, x, 0), (y, x, 1)
    n = 1000
    images = Dataset("place", "npz:place", place.repeat(n, 0), np.zeros(n, "int32"), place, np.zeros(1, "int32"), 10)
    counts = np.zeros((9, 9, 2), int)
    for (windows,), _ in taken(Classification(images, augment=True), 20, batch_size=n, seed=2):
        assert windows.dtype == np.uint8
        for window in windows:
            counts[found[window.tobytes()]] += 1
    # Binomial: 123.5 ± 11.1 in each of 162 cells, 10,000 ± 71 mirrored.
    assert np.abs(counts - 20 * n / 162).max() < 5 * 11.1
    assert abs(counts[..., 1].sum() - 10 * n) < 5 * 71


def test_shapes_are_known_before_anything_runs(small):
    # Else XLA could not compile a step of them.
    dataset = pipeline.batches(Classification(small(40, (8, 8, 3)), augment=True), batch_size=7, seed=0)
    (images,), labels = dataset.element_spec
    assert images == tf.TensorSpec((7, 8, 8, 3), tf.uint8)
    assert labels == tf.TensorSpec((7,), tf.int32)


def test_without_tensorflow_one_sentence_says_what_to_install(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UsageError, match=r"--input=stream .*TensorFlow: pip install tensorflow$"):
        pipeline.batches(Classification(small(20, (8, 8, 1)), augment=False), batch_size=4, seed=0)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_tensorflow_takes_a_gpu_only_to_compute_on_it(small, monkeypatch, backend):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    hidden = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda devices, kind: hidden.append((devices, kind)))
    pipeline.batches(Classification(small(20, (8, 8, 1)), augment=False), batch_size=4, seed=0)
    assert hidden == ([] if backend == "tensorflow" else [([], "GPU")])
