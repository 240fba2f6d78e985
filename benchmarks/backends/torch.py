"""PyTorch."""

from collections.abc import Callable
from typing import Any

import keras

from benchmarks.backends.base import ACCELERATOR, CPU, Backend, Workload


class Torch(Backend):
    name = "torch"
    out_of_memory = (
        ("torch", "OutOfMemoryError", ""),
        ("torch", "AcceleratorError", r"\b(cuda|hip) error: out of memory"),
        (
            "builtins",
            "RuntimeError",
            r"\b(cuda|hip|xpu) out of memory|\b(cuda|hip) error: out of memory|mps backend out of memory"
            r"|defaultcpuallocator: (can't allocate|not enough) memory|_status_alloc_failed",
        ),
    )

    def __init__(self) -> None:
        import torch

        self._torch: Any = torch

    def device_name(self) -> str:
        return str(self._torch.cuda.get_device_name()) if self.is_gpu() else "CPU"

    def device_count(self) -> int:
        return self._torch.cuda.device_count() or 1

    def is_gpu(self) -> bool:
        return bool(self._torch.cuda.is_available())

    def peak_bytes(self) -> int | None:
        return self._torch.cuda.max_memory_allocated() if self.is_gpu() else None

    def reset_peak_bytes(self) -> bool:
        if not self.is_gpu():
            return False
        self._torch.cuda.reset_peak_memory_stats()
        return True

    def cuda_version(self) -> str | None:
        version: str | None = self._torch.version.cuda
        return version

    def allows_tf32(self) -> bool:
        backends = self._torch.backends
        return bool(backends.cuda.matmul.allow_tf32 or backends.cudnn.allow_tf32)

    def compute_capability(self) -> tuple[int, int] | None:
        # Of a GPU that ROCm drives it is a number of another kind.
        capability: tuple[int, int] | None = self._torch.version.cuda and self._torch.cuda.get_device_capability()
        return capability

    def workload(self) -> Workload:
        torch, kind = self._torch, keras.ops.zeros(()).device.type

        def synchronize() -> None:
            if kind != "cpu":
                getattr(torch, kind).synchronize()

        def multiply(a: Any, b: Any) -> Any:
            # By default PyTorch allows TF32 in convolutions but not in products. The peak is to bound both.
            before = torch.get_float32_matmul_precision()
            if before == "highest" and self.may_use_tf32():
                torch.set_float32_matmul_precision("high")
            try:
                c = keras.ops.matmul(a, b)
            finally:
                if torch.get_float32_matmul_precision() != before:
                    torch.set_float32_matmul_precision(before)
            synchronize()
            return c

        def sweeper(x: Any) -> Callable[[int], Any]:
            def sweep(passes: int) -> Any:
                for _ in range(passes):
                    x.add_(1)
                synchronize()
                return x

            return sweep

        return Workload(CPU if kind == "cpu" else ACCELERATOR, multiply, sweeper)
