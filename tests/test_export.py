"""Models leave Keras: exported formats compute the same in the runtime on the other side, a model of each family."""

import json
from importlib.util import find_spec

import keras
import numpy as np
import pytest

import architectures
from tests.support.exports import FORMATS, PACKAGES, difference, outputs, refusal
from tests.support.networks import TINY
from tests.support.process import python
from tests.support.weights import randomise

pytestmark = pytest.mark.slow
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the export of another backend")


def build(family):
    model = randomise(architectures.create(TINY[family]))
    rng = np.random.default_rng(0)
    return model, [rng.normal(size=(2, *each.shape[1:])).astype("float32") for each in model.inputs]


@on_tensorflow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("family", TINY)
def test_the_other_runtime_computes_the_same(family, form, tmp_path):
    for package in PACKAGES[form]:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    model, x = build(family)
    if (reason := refusal(model, form)) is not None:
        pytest.skip(f"{form} does not take {reason}")
    assert difference(outputs(model, x), FORMATS[form](model, x, tmp_path)) < 1e-4


ELSEWHERE = """
import json, sys
sys.modules.update(dict.fromkeys(("kblocks", "architectures", "benchmarks")))
import keras, numpy as np

errors = {}
for name in json.loads(sys.argv[2]):
    model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras")
    data = np.load(f"{sys.argv[1]}/{name}.npz")
    x = [data[f"x{i}"] for i in range(len(model.inputs))]
    y = keras.tree.flatten(model.predict_on_batch(x if len(x) > 1 else x[0]))
    errors[name] = max(
        float(np.abs(a - data[f"y{i}"]).max() / np.abs(data[f"y{i}"]).max()) for i, a in enumerate(y)
    )
print(json.dumps([keras.backend.backend(), errors]))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_saved_on_one_backend_loaded_on_another(backend, tmp_path):
    """In a process that can't import our packages."""
    if backend == keras.backend.backend():
        pytest.skip("other tests load on the backend of these")
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    for family in TINY:
        model, x = build(family)
        y = outputs(model, x)
        model.save(tmp_path / f"{family}.keras")
        np.savez(
            tmp_path / f"{family}.npz",
            **{f"x{i}": each for i, each in enumerate(x)},
            **{f"y{i}": each for i, each in enumerate(y)},
        )
    done = python("-c", ELSEWHERE, tmp_path, json.dumps(list(TINY)), cwd=tmp_path, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr[-3000:]
    name, errors = json.loads(done.stdout.splitlines()[-1])
    assert name == backend
    assert set(errors) == set(TINY)
    assert max(errors.values()) < 1e-4, errors
