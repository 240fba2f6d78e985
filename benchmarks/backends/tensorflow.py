"""TensorFlow."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras

from benchmarks.backends.base import ACCELERATOR, CPU, Backend, Workload

# Of a full disk, too, TensorFlow says ResourceExhaustedError.
_OUT_OF_MEMORY = (
    r"(?<!ran )out of memory|\boom when allocating|failed to allocate|ran out of memory in memory space hbm"
)


class TensorFlow(Backend):
    name = "tensorflow"
    out_of_memory = (
        ("tensorflow", "ResourceExhaustedError", _OUT_OF_MEMORY),
        (
            "tensorflow",
            "InternalError",
            r"cuda_error_out_of_memory|failed to allocate memory|dst tensor is not initialized",
        ),
    )
    can_trace = True

    def __init__(self) -> None:
        import tensorflow as tf

        self._tf: Any = tf

    def device_name(self) -> str:
        config = self._tf.config
        accelerators = config.get_visible_devices("GPU") or config.get_visible_devices("TPU")
        if not accelerators:
            return "CPU"
        name = config.experimental.get_device_details(accelerators[0]).get("device_name")
        return str(name or accelerators[0].device_type)

    def device_count(self) -> int:
        kinds = (self._tf.config.get_visible_devices(kind) for kind in ("GPU", "TPU", "CPU"))
        return next(len(devices) for devices in kinds if devices)

    def is_gpu(self) -> bool:
        return bool(self._tf.config.get_visible_devices("GPU"))

    def peak_bytes(self) -> int | None:
        return self._tf.config.experimental.get_memory_info("GPU:0")["peak"] if self.is_gpu() else None

    def reset_peak_bytes(self) -> bool:
        if not self.is_gpu():
            return False
        self._tf.config.experimental.reset_memory_stats("GPU:0")
        return True

    def cuda_version(self) -> str | None:
        version: str | None = self._tf.sysconfig.get_build_info().get("cuda_version")
        return version

    def allows_tf32(self) -> bool:
        return bool(self._tf.config.experimental.tensor_float_32_execution_enabled())

    def uses_onednn(self) -> bool | None:
        # Unset, TensorFlow decides by the processor, and has no public function that tells.
        setting = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
        return None if self.is_gpu() or setting is None else setting.lower() in ("1", "true")

    def compute_capability(self) -> tuple[int, int] | None:
        gpu = self._tf.config.get_visible_devices("GPU")[0]
        capability: tuple[int, int] | None
        capability = self._tf.config.experimental.get_device_details(gpu).get("compute_capability")
        return capability

    def workload(self) -> Workload:
        tf = self._tf
        # XLA has kernels of its own for products on CPU, slower than TensorFlow's.
        product = tf.function(keras.ops.matmul, jit_compile=False, autograph=False)

        # Only XLA updates the variable in place; otherwise the sum is a new array that replaces the variable's.
        increment = tf.function(lambda x: x.assign(x + 1), jit_compile=True, autograph=False)

        def multiply(a: Any, b: Any) -> Any:
            c = product(a, b)
            tf.test.experimental.sync_devices()
            return c

        def sweeper(x: Any) -> Callable[[int], Any]:
            variable = tf.Variable(x)

            def sweep(passes: int) -> Any:
                for _ in range(passes):
                    increment(variable)
                tf.test.experimental.sync_devices()
                return variable

            return sweep

        is_accelerated = any(tf.config.get_visible_devices(kind) for kind in ("GPU", "TPU"))
        return Workload(ACCELERATOR if is_accelerated else CPU, multiply, sweeper)

    def trace(self, folder: str) -> AbstractContextManager[Any]:
        profile: AbstractContextManager[Any] = self._tf.profiler.experimental.Profile(folder)
        return profile

    def operation_ms(self, folder: Path) -> dict[str, float] | None:
        try:
            from tensorflow.tsl.profiler.protobuf import xplane_pb2
        except ImportError:  # it is not part of TensorFlow's public API
            return None
        # By modification time: of two profiles written in the same second the later one has the same name as the first.
        newest = max(folder.glob("plugins/profile/*/*.xplane.pb"), key=lambda profile: profile.stat().st_mtime_ns)
        space = xplane_pb2.XSpace.FromString(newest.read_bytes())
        total: Counter[str] = Counter()
        for plane in space.planes:
            for event in (event for line in plane.lines for event in line.events):
                # An operation is named `its/name:Kind`; events without a kind are the calls around operations.
                kind = re.fullmatch(r"[^:]+:_?(?:Mkl)?(?:Native)?(\w+)", plane.event_metadata[event.metadata_id].name)
                if kind:
                    total[kind[1]] += event.duration_ps / 1e9
        return dict(total)


def for_input() -> Any:
    """TensorFlow for reading data; unless Keras computes with it, it does not use the GPU, whose memory it would take.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    import tensorflow as tf

    if keras.backend.backend() != TensorFlow.name:
        with contextlib.suppress(RuntimeError):  # too late: its devices are in use already
            tf.config.set_visible_devices([], "GPU")
    return tf
