"""A profile of some steps, for TensorBoard with its profile plug-in, and its longest operations for the terminal."""

import re
from collections import Counter
from pathlib import Path

import keras

from benchmarks.engines import Engine
from benchmarks.terminal.errors import UsageError

STEPS = 5
LONGEST = 12


def check(folder: str) -> None:
    """Raises a `UsageError` now if the profile can't be written later."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise UsageError(f"--trace needs KERAS_BACKEND=tensorflow or jax; got {backend}")
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
        The longest kinds of operations and their milliseconds a step, summed over threads, so that those that run
        beside each other count one by one; `None` where the profile does not tell them, as of steps compiled by XLA.
    """
    steps = min(STEPS, engine.block)
    if keras.backend.backend() == "jax":
        import jax

        with jax.profiler.trace(folder):
            engine.run(steps)
        return None
    import tensorflow as tf

    with tf.profiler.experimental.Profile(folder):
        engine.run(steps)
    if engine.jit:
        return None
    # By its age: of two in one second the later takes the name of the other.
    newest = max(Path(folder).glob("plugins/profile/*/*.xplane.pb"), key=lambda profile: profile.stat().st_mtime_ns)
    return _longest(newest, steps)


def _longest(profile: Path, steps: int) -> dict[str, float] | None:
    try:
        from tensorflow.tsl.profiler.protobuf import xplane_pb2
    except ImportError:  # it is no part of what TensorFlow promises to keep
        return None
    space = xplane_pb2.XSpace.FromString(profile.read_bytes())
    total: Counter[str] = Counter()
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            # An operation is told as `its/name:Kind`; what has no kind are the calls around it.
            kind = re.fullmatch(r"[^:]+:_?(?:Mkl)?(?:Native)?(\w+)", plane.event_metadata[event.metadata_id].name)
            if kind:
                total[kind[1]] += event.duration_ps / 1e9 / steps
    return {kind: round(milliseconds, 3) for kind, milliseconds in total.most_common(LONGEST)} or None
