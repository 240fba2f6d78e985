"""What all tests share: compiled functions are freed after each module."""

import sys

import keras
import pytest


@pytest.fixture(scope="module", autouse=True)
def _compiled_functions_freed():
    yield
    if keras.backend.backend() == "jax":
        # JAX keeps every operation that it has compiled, for every shape, in memory.
        sys.modules["jax"].clear_caches()
