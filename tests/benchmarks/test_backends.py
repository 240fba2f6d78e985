"""The engines of all backends train the same thing: from equal weights on equal batches, equal losses."""

import importlib.util
import json
import re

import keras
import numpy as np
import pytest

import architectures
from tests.support.losses import CASES
from tests.support.process import python


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """A function from a backend to its losses, case by case, in a fresh process."""
    folder, known = tmp_path_factory.mktemp("weights"), {}
    for arch in {arch for arch, *_ in CASES}:
        keras.utils.set_random_seed(1)
        architectures.create(arch, input_shape=(28, 28, 1)).save_weights(folder / f"{arch}.weights.h5")

    def look_up(backend):
        if importlib.util.find_spec(backend) is None:
            pytest.skip(f"{backend} is not installed")
        if backend not in known:
            answer = python("-m", "tests.support.losses", folder, KERAS_BACKEND=backend)
            assert answer.returncode == 0, answer.stderr
            known[backend] = json.loads(answer.stdout.splitlines()[-1])
        return known[backend]

    return look_up


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("case", range(len(CASES)), ids=["-".join(map(str, case)) for case in CASES])
def test_equal_losses(backend, case, losses):
    ours, expected = losses(backend)[case], losses("tensorflow")[case]
    assert len(set(expected)) == CASES[case][1], "the network must have learned something at each step"
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


# What is quickly told of each engine; all of it is run by the slow test.
ALIKE = " or ".join(
    (
        "those_of_the_task",
        "images_and_labels_of_its_rows",
        "takes_every_example_once and stream-off-21",
        "leaves_no_trace and not float32",
        "what_follows and stream",
        "loss_of_each_batch and off",
        "several_inputs",
        "peers and not replaces_ours and not of_another_size",
        "test_trace",
    )
)
FILES = [f"tests/benchmarks/test_{name}.py" for name in ("engines", "pipeline", "peers", "trace")]


@pytest.mark.parametrize("which", [ALIKE, pytest.param("test", marks=pytest.mark.slow)], ids=["quick", "all"])
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_pass_what_this_one_passes(backend, which):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    if keras.backend.backend() == backend:
        pytest.skip("these tests run in this process")
    done = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES, "-k", which, timeout=3600, KERAS_BACKEND=backend
    )
    assert done.returncode == 0, done.stdout[-20_000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20
