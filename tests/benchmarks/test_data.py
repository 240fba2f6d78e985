"""Where the images come from: each source read right, and each failure one sentence that says what to do."""

import contextlib
import os
import shutil
import socket
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import data
from benchmarks.terminal.errors import UsageError

NPZ_TESTS, NPZ_TRAINS = 6, 12
SAID = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}


def arrays(**changes):
    """The arrays of a good file; a changed one may be `None` for left out."""
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
    """Writes arrays to a file and gives its path."""

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
    ("changes", "told"),
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
def test_what_is_wrong_with_the_arrays_is_told(npz, changes, told):
    path = npz(**changes)
    text = sentence(data.from_npz, path)
    assert path in text
    for part in told:
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
def test_what_is_no_npz_file_is_told(tmp_path, kind):
    path = spoilt(kind, tmp_path)
    text = sentence(data.load, "mnist", f"npz:{path}")
    assert str(path) in text
    assert ("there is no file" in text) == (kind in ("missing", "missing folder", "folder"))


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_generated_digits_take_the_shape_and_never_the_name(monkeypatch, dataset):
    assert data.SIZES == {"mnist": (60_000, 10_000), "cifar10": (50_000, 10_000)}
    monkeypatch.setitem(data.SIZES, dataset, (300, 300))
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
    """An address on this machine: `None` accepts and never answers, bytes are what it answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    if answer is not None:
                        connection.recv(4096)
                        connection.sendall(answer)
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/file.gz"
        finally:
            for connection in connections:
                connection.close()


@pytest.fixture
def unasked(monkeypatch):
    """No address but this machine's is asked, and none through a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(None, "no answer|timed out"), (NOT_FOUND, "404"), (b"what?\r\n\r\n", "what"), (b"", "closed|reset")],
)
@pytest.mark.usefixtures("unasked")
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fetch_that_cannot_start_is_given_up(tmp_path, monkeypatch, answer, reason):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(data.tfds, "CONNECT_SECONDS", 1.0)
    with server(answer) as url:
        monkeypatch.setitem(data.tfds.ORIGINS, "mnist", url)
        # Far below any patience of the operating system or of tensorflow-datasets.
        began = time.monotonic()
        text = sentence(data.from_tfds, "mnist", str(tmp_path))
        assert time.monotonic() - began < 30
    assert f"mnist is not in {tmp_path} and can't be fetched" in text
    for remedy in ("--data_dir", "TFDS_DATA_DIR", "--data=npz:PATH", "--data=generated"):
        assert remedy in text
    assert any(part in text for part in reason.split("|"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("address", ["refused", "https://name.invalid/file.gz", "no address"])
def test_an_address_that_leads_nowhere_is_given_up(tmp_path, monkeypatch, address):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(data.tfds, "CONNECT_SECONDS", 5.0)
    if address == "refused":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/file.gz"
    monkeypatch.setitem(data.tfds.ORIGINS, "cifar10", address)
    text = sentence(data.load, "cifar10", "tfds", str(tmp_path))
    assert f"cifar10 is not in {tmp_path} and can't be fetched" in text


@pytest.mark.usefixtures("unasked")
def test_a_fetch_that_can_start_is_not_refused(monkeypatch):
    monkeypatch.setattr(data.tfds, "CONNECT_SECONDS", 5.0)
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
        assert data.tfds._unreachable(url) == ""


@pytest.mark.usefixtures("unasked")
def test_a_fetch_that_breaks_off_is_told(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Builder:
        def download_and_prepare(self):
            raise OSError("the line is dead\nand buried")

    monkeypatch.setattr(data.tfds, "_unreachable", lambda url: "")
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
def test_a_corrupt_folder_is_told(tmp_path, damage):
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
def test_fewer_images_than_the_folder_says_are_told(tmp_path, monkeypatch, count):
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
    monkeypatch.setattr(data.tfds, "_unreachable", lambda url: "switched off")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "environment"))
    assert str(tmp_path / "environment") in sentence(data.from_tfds, "mnist")
    assert str(tmp_path / "flag") in sentence(data.from_tfds, "mnist", str(tmp_path / "flag"))


def test_without_tensorflow_datasets_the_install_line_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    text = sentence(data.from_tfds, "mnist")
    assert "mnist needs tensorflow-datasets" in text
    assert "pip install -e '.[bench]'" in text
    assert "--data=generated" in text


def test_what_cannot_be_had_is_replaced_with_a_line(monkeypatch, capsys):
    def fails(dataset, data_dir=None):
        raise UsageError("no MNIST here")

    monkeypatch.setattr(data, "from_tfds", fails)
    monkeypatch.setitem(data.SIZES, "mnist", (30, 20))
    images = data.load_or_generate("mnist")
    assert (images.name, images.source) == ("generated_28x28x1", "generated")
    said = capsys.readouterr().out
    assert "no MNIST here" in said
    assert "generated digits, which are not mnist" in said
