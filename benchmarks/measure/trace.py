"""A profile of some steps, for TensorBoard with its profile plug-in, and the longest operations for the terminal."""

from pathlib import Path

import keras

from benchmarks import backends
from benchmarks.engines import Engine
from benchmarks.terminal.errors import UsageError

STEPS = 5
LONGEST = 12


def check(folder: str) -> None:
    """Raises a `UsageError` now if the profile can't be written later."""
    able = [name for name, backend in backends.BACKENDS.items() if backend.can_trace]
    if not backends.current().can_trace:
        raise UsageError(f"--trace needs KERAS_BACKEND={' or '.join(able)}; got {keras.backend.backend()}")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--trace={folder} can't be made a folder: {error.strerror}") from None


def write(folder: str, engine: Engine) -> dict[str, float] | None:
    """Runs some steps under the profiler of Keras's backend.

    Args:
        folder: in which the profile is written.
        engine: warmed up.

    Returns:
        The longest kinds of operations with their milliseconds per step, summed over threads: operations that run at
        the same time count separately. `None` if the profile does not name them, as for steps compiled by XLA.
    """
    backend = backends.current()
    steps = min(STEPS, engine.block)
    with backend.trace(folder):
        engine.run(steps)
    if engine.jit:
        return None
    total = backend.operation_ms(Path(folder)) or {}
    longest = sorted(total.items(), key=lambda each: -each[1])[:LONGEST]
    return {kind: round(milliseconds / steps, 3) for kind, milliseconds in longest} or None
