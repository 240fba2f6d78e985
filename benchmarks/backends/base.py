"""The contract of a backend. Its default answers are those for a backend about which nothing is known."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras

from benchmarks.terminal.errors import UsageError


@dataclass(frozen=True)
class Scale:
    """Which sizes are large for a device.

    Attributes:
        first_n: rows of the first square matrix, a multiple of `measure.peak.BLOCK`.
        long_seconds: time of a product compared to which the overhead of launching it is small.
        array_bytes: size of an array that exceeds every cache.
        passes: passes over that array that are timed together, so that they take long.
    """

    first_n: int
    long_seconds: float
    array_bytes: int
    passes: int


CPU = Scale(first_n=512, long_seconds=0.05, array_bytes=2**29, passes=1)
ACCELERATOR = Scale(first_n=4096, long_seconds=0.01, array_bytes=2**30, passes=16)


@dataclass(frozen=True)
class Workload:
    """The operations whose speed is the peak of a device.

    Attributes:
        scale: sizes for this device.
        multiply: returns the product of two matrices once it is computed.
        sweeper: from an array to a function of a number of passes, each of which adds one to every element in place;
            it returns the array once they are done. It owns the array: the caller keeps no reference.
    """

    scale: Scale
    multiply: Callable[[Any, Any], Any]
    sweeper: Callable[[Any], Callable[[int], Any]]


class Backend:
    """What the harness asks of a Keras backend.

    Attributes:
        name: as in KERAS_BACKEND.
        out_of_memory: errors that say that memory ran out: the package of the class, its name, and a pattern that the
            message must match, since some of these classes serve for other errors too.
        can_trace: whether `trace` is implemented.
    """

    name: ClassVar[str]
    out_of_memory: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    can_trace: ClassVar[bool] = False

    def device_name(self) -> str:
        """Name of the accelerator, or `"CPU"`."""
        return "CPU"

    def device_count(self) -> int | None:
        """Number of visible devices of the kind that the backend computes on; `None` if unknown."""
        return None

    def is_gpu(self) -> bool:
        """Whether the backend computes on a GPU (CUDA or ROCm)."""
        return False

    def peak_bytes(self) -> int | None:
        """Peak memory of the accelerator since `reset_peak_bytes`; `None` on CPU and where it is unknown."""
        return None

    def reset_peak_bytes(self) -> bool:
        """Resets the peak; returns whether there was one that could be reset."""
        return False

    def cuda_version(self) -> str | None:
        """Version of CUDA that the backend was built for; `None` if unknown."""
        return None

    def may_use_tf32(self) -> bool | None:
        """Whether float32 products, including those in convolutions, may be computed in TF32; `None` if unknown."""
        # A TPU rounds too, but to bfloat16.
        if not self.is_gpu() or os.environ.get("NVIDIA_TF32_OVERRIDE") == "0" or not self.allows_tf32():
            return False
        capability = self.compute_capability()
        return None if capability is None else capability >= (8, 0)

    def allows_tf32(self) -> bool:
        """Whether the backend's settings allow TF32; asked on GPUs alone."""
        return False

    def uses_onednn(self) -> bool | None:
        """Whether oneDNN computes convolutions on the CPU, where that is a setting; `None` elsewhere."""
        return None

    def compute_capability(self) -> tuple[int, int] | None:
        """Compute capability of the GPU; `None` if it has none."""
        return None

    def workload(self) -> Workload:
        """The operations that `measure.peak` times."""
        raise UsageError(
            f"the peak of the device can't be measured with KERAS_BACKEND={keras.backend.backend()}: pass --nopeak"
        )

    def trace(self, folder: str) -> AbstractContextManager[Any]:
        """Writes a profile of what runs inside the context into a folder."""
        raise NotImplementedError

    def operation_ms(self, folder: Path) -> dict[str, float] | None:
        """Milliseconds of each kind of operation in the newest profile of a folder; `None` if they can't be read.

        They are summed over threads: operations that run at the same time count separately.
        """
        return None
