"""Models leave Keras: exported formats compute the same in the runtime on the other side, a model of each family."""

import json
from importlib.util import find_spec

import keras
import numpy as np
import pytest

import architectures
from tests.support.models import predict
from tests.support.networks import TINY
from tests.support.process import python
from tests.support.weights import randomise

pytestmark = pytest.mark.slow
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the export of another backend")


def build(family):
    model = randomise(architectures.create(TINY[family]))
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(2, *each.shape[1:])).astype("float32") for each in model.inputs]
    return model, x, [np.asarray(y) for y in keras.tree.flatten(predict(model, *x))]


def check(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())


@on_tensorflow
@pytest.mark.parametrize("family", TINY)
def test_saved_model(family, tmp_path):
    import tensorflow as tf

    model, x, expected = build(family)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))  # its functions live as long as it does
    given = [tf.convert_to_tensor(each) for each in x]
    check([y.numpy() for y in tf.nest.flatten(loaded.serve(given if len(given) > 1 else given[0]))], expected)


@on_tensorflow
@pytest.mark.parametrize("family", TINY)
def test_onnx(family, tmp_path):
    for package in ("tf2onnx", "onnxruntime"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    import onnxruntime

    model, x, expected = build(family)
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    feeds = {each.name: value for each, value in zip(session.get_inputs(), x, strict=True)}
    check(session.run(None, feeds), expected)


@on_tensorflow
@pytest.mark.parametrize("family", TINY)
def test_litert(family, tmp_path):
    if find_spec("ai_edge_litert") is None:
        pytest.skip("ai-edge-litert is not installed")
    from ai_edge_litert.interpreter import Interpreter

    model, x, expected = build(family)
    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    run = Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
    names = sorted(run.get_input_details())
    given = dict(zip(names, x, strict=True))
    found = [[] for _ in expected]
    for row in range(len(x[0])):
        outputs = run(**{name: value[row : row + 1] for name, value in given.items()})
        for into, name in zip(found, sorted(outputs), strict=True):
            into.append(outputs[name])
    check([np.concatenate(each) for each in found], expected)


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
        model, x, y = build(family)
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
