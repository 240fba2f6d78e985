"""Python in a process of its own, from the checkout and on the backend of these tests."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras

ROOT = Path(__file__).resolve().parents[2]


def python(*arguments: object, given: str = "", timeout: float = 1800, **options: Any) -> subprocess.CompletedProcess:
    """Runs Python to its end; the options are those of `start`."""
    command, how = _command(arguments, **options)
    return subprocess.run(command, input=given, capture_output=True, timeout=timeout, check=False, **how)


def start(*arguments: object, **options: Any) -> subprocess.Popen:
    """Python, its output in pipes.

    Args:
        *arguments: of Python, as `-m` and a module.
        **options: `cwd`, else the checkout; and what its environment has besides, or with `None` lacks.
    """
    command, how = _command(arguments, **options)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)


def _command(arguments: tuple, cwd: Path = ROOT, **changes: str | None) -> tuple[list[str], dict[str, Any]]:
    variables = {**os.environ, "KERAS_BACKEND": keras.backend.backend(), "COLUMNS": "120", **changes}
    if variables["KERAS_BACKEND"] == "jax":
        # It compiles each operation for each shape: optimised, that takes three times as long.
        variables.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    inherited = {name: value for name, value in variables.items() if value is not None}
    return [sys.executable, *map(str, arguments)], {"cwd": cwd, "env": inherited, "text": True, "encoding": "utf-8"}
