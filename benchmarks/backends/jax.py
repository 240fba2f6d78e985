"""JAX."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras

from benchmarks.backends.base import ACCELERATOR, CPU, Backend, Workload

# Of a kernel that needs too much of a core's memory, too, XLA says RESOURCE_EXHAUSTED.
_OUT_OF_MEMORY = (
    r"resource_exhausted.*((?<!ran )out of memory|\boom when allocating|failed to allocate"
    r"|ran out of memory in memory space hbm)|cuda_error_out_of_memory|out of memory allocating \d+ bytes"
)


class Jax(Backend):
    name = "jax"
    out_of_memory = (
        ("jax", "JaxRuntimeError", _OUT_OF_MEMORY),
        ("jaxlib", "XlaRuntimeError", _OUT_OF_MEMORY),
    )
    can_trace = True

    def __init__(self) -> None:
        import jax

        self._jax: Any = jax

    @property
    def _device(self) -> Any:
        return self._jax.devices()[0]

    def device_name(self) -> str:
        return "CPU" if self._device.platform == "cpu" else str(self._device.device_kind)

    def device_count(self) -> int:
        return int(self._jax.device_count())

    def is_gpu(self) -> bool:
        return self._device.platform in ("gpu", "cuda")

    def peak_bytes(self) -> int | None:
        """Peak memory of the accelerator since the start of the process: JAX can't reset it."""
        if not self.is_gpu() and self._device.platform != "tpu":
            return None
        # Some allocators keep no statistics.
        peak: int | None = (self._device.memory_stats() or {}).get("peak_bytes_in_use")
        return peak

    def cuda_version(self) -> str | None:
        # As "cuda 12080", after a line that names the interface.
        found = re.search(r"cuda (\d+)", self._device.client.platform_version)
        return found and f"{int(found[1]) // 1000}.{int(found[1]) % 1000 // 10}"

    def allows_tf32(self) -> bool:
        # At any lower precision XLA decides, and it takes TF32.
        return self._jax.config.jax_default_matmul_precision not in ("highest", "float32", "F32_F32_F32")

    def compute_capability(self) -> tuple[int, int] | None:
        found = re.match(r"(\d+)\.(\d+)", str(getattr(self._device, "compute_capability", "")))
        return found and (int(found[1]), int(found[2]))

    def workload(self) -> Workload:
        jax = self._jax
        product = jax.jit(keras.ops.matmul)
        # The result takes the memory of the donated argument.
        increment = jax.jit(lambda x: x + 1, donate_argnums=0)

        def multiply(a: Any, b: Any) -> Any:
            return jax.block_until_ready(product(a, b))

        def sweeper(x: Any) -> Callable[[int], Any]:
            def sweep(passes: int) -> Any:
                nonlocal x
                for _ in range(passes):
                    x = increment(x)
                return jax.block_until_ready(x)

            return sweep

        return Workload(CPU if self._device.platform == "cpu" else ACCELERATOR, multiply, sweeper)

    def trace(self, folder: str) -> AbstractContextManager[Any]:
        profile: AbstractContextManager[Any] = self._jax.profiler.trace(folder)
        return profile
