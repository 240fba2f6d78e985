"""Keras's backends: what the harness asks of them besides Keras's operations. One file each, one contract in `base`.

    backend = backends.current()
    backend.device_name(), backend.peak_bytes(), backend.may_use_tf32()

To add a backend, write its file and add its class to `BACKENDS`. All files are imported on every backend, so each
imports its framework only when its class is instantiated.
"""

import re

import keras

from benchmarks.backends.base import Backend
from benchmarks.backends.jax import Jax
from benchmarks.backends.tensorflow import TensorFlow
from benchmarks.backends.torch import Torch

__all__ = ["BACKENDS", "Backend", "current", "is_out_of_memory"]

BACKENDS: dict[str, type[Backend]] = {backend.name: backend for backend in (TensorFlow, Jax, Torch)}

# NumPy's own error is a subclass.
PYTHON_OUT_OF_MEMORY = (("builtins", "MemoryError", ""),)


def current() -> Backend:
    """The backend that Keras uses; a plain `Backend`, which knows no figures, if the harness has no file for it."""
    return BACKENDS.get(keras.backend.backend(), Backend)()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that the memory of the device or main memory ran out.

    Recognised by the names of its classes and by its message, so that no backend needs to be installed. An error that
    was raised from an out-of-memory error is not one itself.
    """
    classes = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    message = str(error)
    patterns = [*PYTHON_OUT_OF_MEMORY, *(row for backend in BACKENDS.values() for row in backend.out_of_memory)]
    return any(
        (package, name) in classes and re.search(pattern, message, re.IGNORECASE | re.DOTALL)
        for package, name, pattern in patterns
    )
