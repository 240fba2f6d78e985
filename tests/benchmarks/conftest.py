"""What the tests of the harness share: small data sets, the real ones where they are at hand, settings put back."""

import functools
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import data, records
from benchmarks.reporting import summary


@pytest.fixture(autouse=True)
def _settings_put_back():
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="session")
def small():
    """`small(60, (8, 8, 3))`: random images whose first rows hold every class; a third as many to test on."""

    def make(count=60, shape=(28, 28, 1), classes=10, seed=0):
        rng = np.random.default_rng(seed)
        tests = max(classes, count // 3)
        labels = [np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)]) for n in (count, tests)]
        images = [rng.integers(0, 256, (n, *shape), dtype=np.uint8) for n in (count, tests)]
        y_train, y_test = (y.astype("int32") for y in labels)
        return data.Dataset("small", "npz:small.npz", images[0], y_train, images[1], y_test, classes)

    return make


@pytest.fixture(scope="session")
def real():
    """`real("mnist")`: the data set of the folder TFDS_DATA_DIR; the test is skipped where it is not there."""

    @functools.cache
    def load(name):
        folder = os.environ.get("TFDS_DATA_DIR")
        if not folder:
            pytest.skip("TFDS_DATA_DIR is not set")
        if not list(Path(folder, name).glob("*/dataset_info.json")):
            pytest.skip(f"TFDS_DATA_DIR holds no {name}")
        if find_spec("tensorflow_datasets") is None:
            pytest.skip("tensorflow-datasets is not installed")
        return data.from_tfds(name)

    return load


@pytest.fixture
def sections(tmp_path):
    """A function from records to their sections."""

    def read(*found):
        path = tmp_path / "runs.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in found))
        return summary.sections(*records.gather([str(path)]))

    return read


@pytest.fixture
def rows(sections):
    """A function from records of one section to its rows."""

    def read(*found):
        (section,) = sections(*found)
        return section.rows

    return read


@pytest.fixture
def fake_backend(monkeypatch):
    """`fake_backend("torch", module)`: Keras's backend is this module."""

    def install(name, module):
        monkeypatch.setattr(keras.backend, "backend", lambda: name)
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return install
