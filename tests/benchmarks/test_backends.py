"""The engines of all backends train the same thing: from equal weights on equal batches, equal losses."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import architectures
from tests.benchmarks.losses import CASES

ROOT = Path(__file__).parents[2]


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
            answer = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.losses", str(folder)],
                cwd=ROOT,
                env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
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
