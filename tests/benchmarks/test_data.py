"""Where the images come from: each source is read correctly, and each failure is one sentence with a remedy."""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import socket
import sys
import tarfile
import tempfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from benchmarks import data
from benchmarks.data import network
from benchmarks.terminal.errors import UsageError
from tests.support.process import python

NPZ_TESTS, NPZ_TRAINS = 6, 12
SAID = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def arrays(**changes):
    """The arrays of a correct file; `None` removes one."""
    rng = np.random.default_rng(0)
    good = {
        "x_train": rng.integers(0, 256, (NPZ_TRAINS, 5, 4), dtype=np.uint8),
        "y_train": np.arange(NPZ_TRAINS) % 3,
        "x_test": rng.integers(0, 256, (NPZ_TESTS, 5, 4), dtype=np.uint8),
        "y_test": np.arange(NPZ_TESTS) % 3,
    }
    return {name: array for name, array in (good | changes).items() if array is not None}


@pytest.fixture
def npz(tmp_path):
    """A function that writes arrays to a file and returns its path."""

    def write(**changes):
        path = tmp_path / "set.npz"
        np.savez(path, **arrays(**changes))
        return str(path)

    return write


def sentence(call, *arguments):
    """The text of the `UsageError` that a call must raise: one line, from within no other exception."""
    with pytest.raises(UsageError) as caught:
        call(*arguments)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_real_sets_are_read_whole(real, name):
    images = real(name)
    train, test = {"mnist": (60_000, 10_000), "cifar10": (50_000, 10_000)}[name]
    assert (images.name, images.source, images.classes, images.image_shape) == (name, "tfds", 10, SAID[name])
    for x, y, count in ((images.x_train, images.y_train, train), (images.x_test, images.y_test, test)):
        assert (x.shape, x.dtype) == ((count, *SAID[name]), np.uint8)
        assert (y.shape, y.dtype) == ((count,), np.int32)
        # No row was left as it was allocated: every image has some contrast.
        assert np.ptp(x.reshape(count, -1), axis=1).min() > 0


def test_the_real_sets_have_the_published_numbers_of_each_label(real):
    mnist = real("mnist")
    assert np.bincount(mnist.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The mean and deviation that everyone normalises MNIST by.
    assert mnist.x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert mnist.x_train.std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_real_cifar_has_as_many_of_each_label(real):
    cifar = real("cifar10")
    assert np.bincount(cifar.y_train).tolist() == [5000] * 10
    assert np.bincount(cifar.y_test).tolist() == [1000] * 10
    np.testing.assert_allclose(cifar.x_train.mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=8e-3)


def test_real_images_and_labels_belong_together(real):
    mnist = real("mnist")
    x = mnist.x_train.reshape(60_000, -1).astype("float32")
    means = np.stack([x[mnist.y_train == digit].mean(0) for digit in range(10)])
    test = mnist.x_test.reshape(10_000, -1).astype("float32")
    nearest = (np.square(means).sum(1) - 2 * test @ means.T).argmin(1)
    assert np.mean(nearest == mnist.y_test) == pytest.approx(0.82, abs=0.01)


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int64"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_gives_back_what_was_saved(tmp_path, channels, column, dtype, save):
    rng = np.random.default_rng(1)
    x_train, x_test = (rng.integers(0, 256, (n, 6, 7, *channels), dtype=np.uint8) for n in (9, 4))
    y_train, y_test = np.arange(9, dtype=dtype) % 4, np.array([3, 0, 1, 1], dtype)
    path = tmp_path / "my images.npz"
    shape = (-1, 1) if column else (-1,)
    save(path, x_train=x_train, y_train=y_train.reshape(shape), x_test=x_test, y_test=y_test.reshape(shape))
    images = data.load("cifar10", f"npz:{path}")
    assert (images.name, images.source, images.classes) == ("my images.npz", f"npz:{path}", 4)
    assert images.image_shape == (6, 7, *(channels or (1,)))
    assert images.x_train.dtype == images.x_test.dtype == np.uint8
    assert images.y_train.dtype == images.y_test.dtype == np.int32
    np.testing.assert_array_equal(images.x_train.reshape(x_train.shape), x_train)
    np.testing.assert_array_equal(images.x_test.reshape(x_test.shape), x_test)
    assert images.y_train.tolist() == y_train.tolist()
    assert images.y_test.tolist() == y_test.tolist()


def test_a_file_of_one_class_still_makes_a_network_of_two(npz):
    assert data.from_npz(npz(y_train=np.zeros(12, int), y_test=np.zeros(6, int))).classes == 2


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"y_test": None}, ["x_train, y_train, x_test, y_test", "missing: y_test"]),
        ({"x_train": None, "y_train": None}, ["missing: x_train, y_train"]),
        ({"x_train": np.zeros((12, 20), np.uint8)}, ["x_train", "uint8", "(12, 20)"]),
        ({"x_test": np.zeros((6, 5, 4, 1, 1), np.uint8)}, ["x_test", "(6, 5, 4, 1, 1)"]),
        ({"x_train": np.zeros((12, 5, 4), np.float32)}, ["x_train must be uint8", "float32"]),
        ({"x_test": np.zeros((6, 5, 4), np.int64)}, ["x_test must be uint8", "int64"]),
        ({"x_train": np.zeros((0, 5, 4), np.uint8), "y_train": np.zeros(0, int)}, ["x_train", "(0, 5, 4)"]),
        ({"x_test": np.zeros((0, 5, 4), np.uint8), "y_test": np.zeros(0, int)}, ["x_test", "(0, 5, 4)"]),
        ({"x_train": np.zeros((12, 0, 4), np.uint8)}, ["x_train", "(12, 0, 4)"]),
        ({"x_train": np.zeros((12, 5, 4, 3), np.uint8)}, ["(5, 4, 3) and (5, 4, 1)", "one shape"]),
        ({"x_test": np.zeros((6, 4, 5), np.uint8)}, ["(5, 4, 1) and (4, 5, 1)"]),
        ({"y_train": np.zeros(11, int)}, ["y_train must be 12 whole numbers", "(11,)"]),
        ({"y_test": np.zeros((6, 2), int)}, ["y_test must be 6 whole numbers", "(6, 2)"]),
        ({"y_train": np.zeros((1, 12), int)}, ["y_train", "(1, 12)"]),
        ({"y_train": np.zeros(12)}, ["y_train", "whole numbers", "float64"]),
        ({"y_test": np.zeros(6, bool)}, ["y_test", "bool"]),
        ({"y_train": np.arange(12) - 1}, ["y_train must not be negative", "-1"]),
        ({"y_test": np.array([0, 1, 2, 0, 1, -3])}, ["y_test must not be negative", "-3"]),
        ({"y_test": np.array([0, 1, 2, 0, 1, 3])}, ["y_test must be below 3", "got 3"]),
        ({"y_train": np.arange(12) % 3 * 100_000}, ["y_train must hold every class from 0", "got 3 of 200,001"]),
        ({"y_train": np.array([0] * 11 + [2**32 + 1])}, ["y_train", str(2**32 + 1)]),
        ({"y_train": np.array([0] * 11 + [2**31], np.uint64)}, ["y_train", str(2**31)]),
        ({"y_train": np.array([0, "1"] * 6, object)}, ["set.npz"]),
    ],
)
def test_what_is_wrong_with_the_arrays_is_said(npz, changes, parts):
    path = npz(**changes)
    text = sentence(data.from_npz, path)
    assert path in text
    for part in parts:
        assert part in text


def spoilt(kind, folder):
    """A path that holds no readable .npz file."""
    path = folder / "set.npz"
    if kind == "missing":
        return path
    if kind == "missing folder":
        return folder / "nowhere" / "set.npz"
    if kind == "folder":
        path.mkdir()
        return path
    if kind == "npy":
        np.save(folder / "set.npy", np.zeros(3))
        return folder / "set.npy"
    if kind in ("text", "empty"):
        path.write_text("x_train y_train\n" * 20 if kind == "text" else "")
        return path
    if kind == "zip of something else":
        with zipfile.ZipFile(path, "w") as archive:
            for name in data.npz.ARRAYS:
                archive.writestr(f"{name}.npy", b"\x93NUMPY but not really")
        return path
    (np.savez_compressed if kind == "damaged compressed" else np.savez)(path, **arrays())
    whole = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        # The damage is in the values of x_train, beyond the array's header.
        at = 150 if kind == "damaged" else 100
        path.write_bytes(whole[:at] + bytes(255 - b for b in whole[at : at + 60]) + whole[at + 60 :])
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "missing folder",
        "folder",
        "npy",
        "text",
        "empty",
        "zip of something else",
        "truncated",
        "damaged",
        "damaged compressed",
    ],
)
def test_what_is_no_npz_file_is_said(tmp_path, kind):
    path = spoilt(kind, tmp_path)
    text = sentence(data.load, "mnist", f"npz:{path}")
    assert str(path) in text
    assert ("there is no file" in text) == (kind in ("missing", "missing folder", "folder"))


def resize(monkeypatch, dataset, train, test):
    """Changes the numbers of images in a row of the catalogue."""
    monkeypatch.setitem(data.ROWS, dataset, dataclasses.replace(data.ROWS[dataset], train=train, test=test))


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_generated_digits_take_the_shape_and_never_the_name(monkeypatch, dataset):
    resize(monkeypatch, dataset, 300, 300)
    images = data.load(dataset, "generated")
    again = data.load(dataset, "generated")
    assert dataset not in images.name
    assert images.name == {"mnist": "generated_28x28x1", "cifar10": "generated_32x32x3"}[dataset]
    assert images.source == "generated"
    assert (images.x_train.shape, images.x_test.shape) == ((300, *SAID[dataset]),) * 2
    assert images.y_train.dtype == images.y_test.dtype == np.int32
    assert np.bincount(images.y_train).tolist() == [30] * 10
    np.testing.assert_array_equal(images.x_train, again.x_train)
    # What is tested on was not trained on.
    assert not {x.tobytes() for x in images.x_train} & {x.tobytes() for x in images.x_test}


@contextlib.contextmanager
def server(answer):
    """An address on this machine: `None` accepts and never answers, bytes are what it answers.

    At the end no thread of it or of its clients is left.
    """
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    if answer is not None:
                        connection.recv(4096)
                        connection.sendall(answer)
                        connection.close()

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/file.gz"
        try:
            yield url
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # ends `accept`, which closing does not
            serving.join()
            for connection in connections:
                connection.close()
            for thread in threading.enumerate():
                if thread.name == f"HEAD {url}":
                    thread.join()


@pytest.fixture
def unasked(monkeypatch):
    """No address but this machine's is asked, and none through a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")


def redirect(monkeypatch, dataset, url):
    """Changes the addresses in a row of the catalogue."""
    monkeypatch.setitem(data.ROWS, dataset, dataclasses.replace(data.ROWS[dataset], url=url, keras_url=url))


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(None, "no answer|timed out"), (NOT_FOUND, "404"), (b"what?\r\n\r\n", "what"), (b"", "closed|reset")],
)
@pytest.mark.usefixtures("unasked")
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fetch_that_cannot_start_is_given_up(tmp_path, monkeypatch, answer, reason):
    pytest.importorskip("tensorflow_datasets")
    # A server that is silent is so until the end of the test: only giving up ends the call.
    monkeypatch.setattr(network, "CONNECT_SECONDS", 1.0 if answer is None else 60.0)
    with server(answer) as url:
        redirect(monkeypatch, "mnist", url)
        text = sentence(data.from_tfds, "mnist", str(tmp_path))
    assert f"mnist is not in {tmp_path} and can't be fetched" in text
    for remedy in ("--data_dir", "TFDS_DATA_DIR", "--data=npz:PATH", "--data=generated"):
        assert remedy in text
    assert any(part in text for part in reason.split("|"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("address", ["refused", "https://name.invalid/file.gz", "no address"])
def test_an_address_that_leads_nowhere_is_given_up(tmp_path, monkeypatch, address):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(network, "CONNECT_SECONDS", 5.0)
    if address == "refused":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/file.gz"
    redirect(monkeypatch, "cifar10", address)
    text = sentence(data.load, "cifar10", "tfds", str(tmp_path))
    assert f"cifar10 is not in {tmp_path} and can't be fetched" in text


@pytest.mark.usefixtures("unasked")
def test_a_fetch_that_can_start_is_not_refused(monkeypatch):
    monkeypatch.setattr(network, "CONNECT_SECONDS", 60.0)
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
        assert network.unreachable(url) == ""


@pytest.mark.usefixtures("unasked")
def test_a_fetch_that_breaks_off_is_said(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Builder:
        def download_and_prepare(self):
            raise OSError("the line is dead\nand buried")

    monkeypatch.setattr(network, "unreachable", lambda url: "")
    monkeypatch.setattr(tfds, "builder", lambda name, data_dir: Builder())
    text = sentence(data.from_tfds, "mnist", str(tmp_path))
    assert "mnist could not be fetched" in text
    assert "the line is dead" in text
    assert "--data=generated" in text


def copied(name, folder):
    """A copy of a real set's folder; the test is skipped where there is none."""
    source = os.environ.get("TFDS_DATA_DIR")
    found = sorted(Path(source, name).glob("*/dataset_info.json")) if source else []
    if not found:
        pytest.skip(f"TFDS_DATA_DIR is not set or holds no {name}")
    pytest.importorskip("tensorflow_datasets")
    target = folder / name / found[-1].parent.name
    shutil.copytree(found[-1].parent, target)
    return target


@pytest.mark.parametrize("damage", ["truncated", "gone", "metadata"])
def test_a_corrupt_folder_is_said(tmp_path, damage):
    folder = copied("mnist", tmp_path)
    (record,) = folder.glob("mnist-test.tfrecord*")
    if damage == "truncated":
        os.truncate(record, record.stat().st_size // 2)
    elif damage == "gone":
        record.unlink()
    else:
        (folder / "dataset_info.json").write_text("{")
    text = sentence(data.from_tfds, "mnist", str(tmp_path))
    assert f"mnist in {folder} can't be read" in text
    assert "delete the folder" in text


@pytest.mark.parametrize("count", [3, 4, 5])
def test_fewer_images_than_the_folder_says_are_refused(tmp_path, monkeypatch, count):
    tfds = pytest.importorskip("tensorflow_datasets")
    import tensorflow as tf

    class Builder:
        name = "mnist"
        info = SimpleNamespace(splits={split: SimpleNamespace(num_examples=4) for split in ("train", "test")})

        def as_dataset(self, split, as_supervised):
            return tf.data.Dataset.from_tensor_slices((np.ones((count, 28, 28, 1), np.uint8), np.arange(count)))

    monkeypatch.setattr(tfds, "builder_from_directory", lambda folder: Builder())
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").touch()
    if count == 4:
        assert data.from_tfds("mnist", str(tmp_path)).y_train.tolist() == [0, 1, 2, 3]
    else:
        assert "can't be read" in sentence(data.from_tfds, "mnist", str(tmp_path))


def test_the_folder_is_the_flags_before_the_environments(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(network, "unreachable", lambda url: "switched off")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "environment"))
    assert str(tmp_path / "environment") in sentence(data.from_tfds, "mnist")
    assert str(tmp_path / "flag") in sentence(data.from_tfds, "mnist", str(tmp_path / "flag"))


def test_without_tensorflow_datasets_the_install_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    text = sentence(data.from_tfds, "mnist")
    assert "mnist needs tensorflow-datasets" in text
    assert "pip install -e '.[bench]'" in text
    assert "--data=generated" in text


def test_what_cannot_be_had_is_replaced_with_a_line(monkeypatch, capsys):
    def fails(dataset, source, data_dir):
        raise UsageError("no MNIST here")

    monkeypatch.setattr(data, "load", fails)
    resize(monkeypatch, "mnist", 30, 20)
    images = data.load_or_generate("mnist")
    assert (images.name, images.source) == ("generated_28x28x1", "generated")
    said = capsys.readouterr().out
    assert "no MNIST here" in said
    assert "generated digits, which are not mnist" in said


def test_the_catalogue_has_the_published_facts():
    facts = {name: (row.shape, row.train, row.test, row.classes) for name, row in data.ROWS.items()}
    assert facts == {
        "mnist": ((28, 28, 1), 60_000, 10_000, 10),
        "fashion_mnist": ((28, 28, 1), 60_000, 10_000, 10),
        "kmnist": ((28, 28, 1), 60_000, 10_000, 10),
        "cifar10": ((32, 32, 3), 50_000, 10_000, 10),
        "cifar100": ((32, 32, 3), 50_000, 10_000, 100),
        "svhn_cropped": ((32, 32, 3), 73_257, 26_032, 10),
    }
    assert tuple(data.ROWS) == data.NAMES
    for name, row in data.ROWS.items():
        assert row.name == name
        assert len(set(row.labels)) == row.classes
    # Both label the classes in alphabetical order.
    for name in ("cifar10", "cifar100"):
        assert list(data.ROWS[name].labels) == sorted(data.ROWS[name].labels)


def test_the_catalogue_is_read_without_keras():
    code = (
        "import sys; from benchmarks import data; assert 'svhn_cropped' in data.NAMES; "
        "print([name for name in ('keras', 'tensorflow', 'tensorflow_datasets', 'torch') if name in sys.modules])"
    )
    fresh = python("-c", code)
    assert (fresh.returncode, fresh.stdout.strip()) == (0, "[]"), fresh.stderr


def test_an_unknown_name_or_source_is_said():
    for call in (data.find, data.load, data.from_keras, data.from_tfds, data.generated):
        text = sentence(call, "cifar_100")
        assert "svhn_cropped" in text
        assert "got 'cifar_100'; did you mean cifar100?" in text
    assert "tfds, keras, npz:PATH, generated; got 'kaggle'" in sentence(data.load, "mnist", "kaggle")


@pytest.fixture
def library(monkeypatch):
    """tensorflow-datasets, kept from asking the network."""
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(tfds.core.utils.gcs_utils, "_is_gcs_disabled", True)
    return tfds


def drawn(name, count, seed=0):
    """Random images of a data set's shape and labels; the first and the last class are among them."""
    rng = np.random.default_rng(seed)
    row = data.ROWS[name]
    labels = np.r_[0, row.classes - 1, rng.integers(0, row.classes, count - 2)]
    return rng.integers(0, 256, (count, *row.shape), dtype=np.uint8), labels


@pytest.mark.parametrize("name", data.NAMES)
def test_each_set_is_read_as_its_library_prepares_it(library, tmp_path, name):
    builder = library.builder_cls(name)(data_dir=str(tmp_path))
    features = builder.info.features
    row = data.ROWS[name]
    assert (features["image"].shape, features["label"].num_classes) == (row.shape, row.classes)
    if name in ("mnist", "fashion_mnist", "kmnist", "svhn_cropped"):  # of CIFAR the download has the names
        assert features["label"].names == list(row.labels)
    splits = {"train": drawn(name, 23, seed=1), "test": drawn(name, 11, seed=2)}
    # What the set has besides.
    more = {"id": "one", "coarse_label": 3}
    others = {"extra": drawn(name, 3)} if name == "svhn_cropped" else {}

    def examples(images, labels):
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield i, {"image": image, "label": label} | {key: more[key] for key in features if key in more}

    builder._split_generators = lambda manager: {key: examples(*split) for key, split in (splits | others).items()}
    builder.download_and_prepare()
    images = data.load(name, "tfds", str(tmp_path))
    assert (images.name, images.source, images.classes, images.image_shape) == (name, "tfds", row.classes, row.shape)
    for key, x, y in (("train", images.x_train, images.y_train), ("test", images.x_test, images.y_test)):
        assert (x.dtype, y.dtype) == (np.uint8, np.int32)
        # The library shuffles them when it prepares them.
        found = sorted((image.tobytes(), int(label)) for image, label in zip(x, y, strict=True))
        assert found == sorted((image.tobytes(), int(label)) for image, label in zip(*splits[key], strict=True))


@pytest.fixture
def versions(tmp_path):
    """A function that makes folders of MNIST with a `dataset_info.json`; returns the library's folder."""

    def make(*names):
        for name in names:
            (tmp_path / "mnist" / name).mkdir(parents=True)
            (tmp_path / "mnist" / name / "dataset_info.json").touch()
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["3.0.1", "10.0.0", "9.9.9"], "10.0.0"),
        (["3.0.2", "3.0.10"], "3.0.10"),
        (["3.0.1", "3.1.0.incompleteA1B2C3", "4.0.0.incomplete"], "3.0.1"),
        (["3.0.1.incompleteA1B2C3", "downloads"], None),
        ([], None),
    ],
)
def test_the_newest_complete_version_is_taken(versions, names, newest):
    folder = versions(*names)
    (folder / "mnist" / "99.0.0").mkdir(parents=True)  # nothing in it
    assert data.tfds.locate("mnist", folder) == (folder, newest and folder / "mnist" / newest)


def test_the_folder_of_the_set_or_a_version_will_do(versions):
    folder = versions("3.0.1", "10.0.0")
    locate = data.tfds.locate
    assert locate("mnist", folder / "mnist") == (folder, folder / "mnist" / "10.0.0")
    assert locate("mnist", folder / "mnist" / "3.0.1") == (folder, folder / "mnist" / "3.0.1")
    # Where nothing is prepared, the parent is where it will be.
    assert locate("mnist", folder / "mnist" / "3.0.0") == (folder, None)
    assert locate("cifar10", folder / "cifar10") == (folder, None)
    # A folder of another set is one that may hold any.
    assert locate("cifar10", folder / "mnist") == (folder / "mnist", None)
    (folder / "mnist" / "mnist" / "3.0.2").mkdir(parents=True)
    (folder / "mnist" / "mnist" / "3.0.2" / "dataset_info.json").touch()
    assert locate("mnist", folder / "mnist") == (folder / "mnist", folder / "mnist" / "mnist" / "3.0.2")


@pytest.mark.parametrize("part", ["mnist", "mnist/3.0.1", "."])
def test_real_images_are_read_from_each_of_these_folders(tmp_path, monkeypatch, part):
    copied("mnist", tmp_path)
    monkeypatch.chdir(tmp_path / part)
    assert data.from_tfds("mnist", ".").x_test.shape == (10_000, 28, 28, 1)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, npz):
    path = npz()
    monkeypatch.setenv("HOME", str(tmp_path))
    images = data.load("mnist", "npz:~/set.npz")
    assert (images.name, images.source) == ("set.npz", f"npz:{path}")
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(network, "unreachable", lambda url: "switched off")
    assert f"mnist is not in {tmp_path}/sets and" in sentence(data.from_tfds, "mnist", "~/sets")
    assert "there is no file ~no-such-user/set.npz" in sentence(data.from_npz, "~no-such-user/set.npz")
    assert "~no-such-user/sets" in sentence(data.from_tfds, "mnist", "~no-such-user/sets")


def keras_cache(folder, name, train, test):
    """Writes a data set as `keras.datasets` keeps it."""
    folder = folder / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    if name == "mnist":
        (x, y), (x_test, y_test) = ((x[..., 0], np.uint8(y)) for x, y in (train, test))
        np.savez(folder / "mnist.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    elif name == "fashion_mnist":
        (folder / "fashion-mnist").mkdir()
        for prefix, (x, y) in (("train", train), ("t10k", test)):
            for kind, header, array in (("images-idx3", 16, x), ("labels-idx1", 8, np.uint8(y))):
                content = gzip.compress(bytes(header) + array.tobytes())
                (folder / "fashion-mnist" / f"{prefix}-{kind}-ubyte.gz").write_bytes(content)
    else:
        fine, inner = name == "cifar100", {"cifar10": "cifar-10", "cifar100": "cifar-100"}[name]
        files = {"train": train, "test": test}
        if not fine:
            parts = np.array_split(np.arange(50_000), 5)
            files = {f"data_batch_{i}": [x[part] for x in train] for i, part in enumerate(parts, 1)} | {
                "test_batch": test
            }
        with tarfile.open(folder / f"{inner}-{'python' if fine else 'batches-py'}-target_archive", "w") as archive:
            for file, (x, y) in files.items():
                content = pickle.dumps(
                    {
                        b"data": x.transpose(0, 3, 1, 2).reshape(len(x), -1),
                        b"fine_labels" if fine else b"labels": y.tolist(),
                        b"coarse_labels": [0] * len(y),
                    },
                    protocol=4,
                )
                entry = tarfile.TarInfo(f"{inner}-{'python' if fine else 'batches-py'}/{file}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def digest(array):
    """A hash of an array's values."""
    return hashlib.sha256(array.tobytes()).hexdigest()


# Only the published files have the published hashes; these are not they.
WITHOUT_TENSORFLOW = """
import hashlib, json, sys
sys.modules["tensorflow"] = sys.modules["tensorflow_datasets"] = None
from benchmarks import data
from benchmarks.data import network
network.unreachable = lambda url: "switched off"
from benchmarks.terminal.errors import UsageError
import keras
from keras.src.utils import file_utils
file_utils.validate_file = lambda *arguments, **options: True
answers = {}
for name in data.NAMES:
    try:
        images = data.load(name)
    except UsageError as error:
        answers[name] = str(error)
        continue
    arrays = (images.x_train, images.y_train, images.x_test, images.y_test)
    answers[name] = [
        images.name,
        images.source,
        images.classes,
        [[str(x.dtype), list(x.shape), hashlib.sha256(x.tobytes()).hexdigest()] for x in arrays],
    ]
print(json.dumps([keras.backend.backend(), answers]))
"""


def test_without_tensorflow_they_are_read_by_keras(tmp_path):
    pytest.importorskip("jax")
    sets = {
        "mnist": (drawn("mnist", 20), drawn("mnist", 10, seed=1)),
        "fashion_mnist": (drawn("fashion_mnist", 20, seed=2), drawn("fashion_mnist", 10, seed=3)),
        "cifar10": (drawn("cifar10", 50_000, seed=4), drawn("cifar10", 10, seed=5)),  # Keras wants this many
        "cifar100": (drawn("cifar100", 120, seed=6), drawn("cifar100", 110, seed=7)),
    }
    for name, (train, test) in sets.items():
        keras_cache(tmp_path, name, train, test)
    fresh = python("-c", WITHOUT_TENSORFLOW, KERAS_HOME=str(tmp_path), KERAS_BACKEND="jax")
    assert fresh.returncode == 0, fresh.stderr
    backend, answers = json.loads(fresh.stdout.splitlines()[-1])
    assert backend == "jax"
    for name, ((x, y), (x_test, y_test)) in sets.items():
        expected = [x, np.int32(y), x_test, np.int32(y_test)]
        assert answers[name][:3] == [name, "keras", data.ROWS[name].classes]
        for array, found in zip(expected, answers[name][3], strict=True):
            assert found == [str(array.dtype), list(array.shape), digest(array)]
    for name in ("kmnist", "svhn_cropped"):
        assert f"keras.datasets has no {name}" in answers[name]
        assert "pip install -e '.[bench]'" in answers[name]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_what_keras_lacks_offline_is_said(tmp_path, monkeypatch, name):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    asked = []
    monkeypatch.setattr(network, "unreachable", lambda url: asked.append(url) or "switched off")
    text = sentence(data.load, name, "keras")
    assert f"{name} is not in {tmp_path}/datasets and can't be downloaded (switched off)" in text
    for remedy in ("KERAS_HOME", "--data=npz:PATH", "--data=generated"):
        assert remedy in text
    assert asked == [data.ROWS[name].keras_url]


def test_what_keras_cannot_read_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(network, "unreachable", lambda url: "switched off")

    def fails():
        raise OSError("the line is dead\nand buried")

    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mnist.npz").touch()
    monkeypatch.setattr(keras.datasets.mnist, "load_data", fails)
    text = sentence(data.from_keras, "mnist")
    assert f"mnist in {tmp_path}/datasets can't be read (delete mnist.npz" in text
    assert "the line is dead" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x": np.zeros((4, 28, 27), np.uint8)},
            r"images must be uint8, .images, 28, 28, 1.; got uint8 .4, 28, 27, 1.",
        ),
        ({"x": np.zeros((4, 28, 28), np.float32)}, "images must be uint8.*float32"),
        ({"x": np.zeros((0, 28, 28), np.uint8), "y": np.zeros(0)}, "images must be uint8"),
        ({"y": np.zeros(3, int)}, "one for each of 4 images"),
        ({"y": np.array([0, 1, 2, 10])}, "labels must be from 0 to 9; got 0 to 10"),
        ({"y": np.array([0, 1, -2, 3])}, "labels must be from 0 to 9; got -2 to 3"),
    ],
)
def test_what_does_not_fit_its_row_is_refused(monkeypatch, tmp_path, changes, message):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(network, "unreachable", lambda url: "")
    good = {"x": np.zeros((4, 28, 28), np.uint8), "y": np.arange(4)}
    splits = [tuple((good | more).values()) for more in ({}, changes)]
    for train, test in (splits, splits[::-1]):
        monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda pair=(train, test): pair)
        assert re.search(message, sentence(data.from_keras, "mnist"))


def test_the_source_is_keras_where_the_library_is_missing(monkeypatch):
    for name in ("from_tfds", "from_keras"):
        monkeypatch.setattr(data, name, lambda dataset, data_dir=None, name=name: (name, data_dir))
    for installed, data_dir, expected in (
        (True, None, ("from_tfds", None)),
        (False, None, ("from_keras", None)),
        # The folder is that of tensorflow-datasets, whose absence is then the error.
        (False, "sets", ("from_tfds", "sets")),
    ):
        monkeypatch.setattr(data.tfds, "is_installed", lambda installed=installed: installed)
        assert data.load("mnist", None, data_dir) == expected
    assert data.load("mnist", "keras") == ("from_keras", None)
    assert data.load("mnist", "tfds") == ("from_tfds", None)


@pytest.mark.parametrize("missing", ["tensorflow", "tensorflow_datasets"])
def test_without_tensorflow_the_library_is_not_usable(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert not data.tfds.is_installed()
