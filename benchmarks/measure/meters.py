"""What a run uses up besides time: memory and energy; and what else there is to say about the machine.

Figures that can't be had are `None`, and no meter ever fails a run.
"""

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

CGROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")
DRIVER = Path("/proc/driver/nvidia/version")

# How the backends tell that memory ran out: where a class is from, its name, and what its message says. The class alone
# is not enough: TensorFlow's is also that of a full disk, XLA's also that of a kernel too large for a core's memory.
MEMORY_RAN_OUT = (
    r"(?<!ran )out of memory|\boom when allocating|failed to allocate|ran out of memory in memory space hbm"
)
XLA_RAN_OUT = rf"resource_exhausted.*({MEMORY_RAN_OUT})|cuda_error_out_of_memory|out of memory allocating \d+ bytes"
OUT_OF_MEMORY = (
    ("tensorflow", "ResourceExhaustedError", MEMORY_RAN_OUT),
    (
        "tensorflow",
        "InternalError",
        r"cuda_error_out_of_memory|failed to allocate memory|dst tensor is not initialized",
    ),
    ("jax", "JaxRuntimeError", XLA_RAN_OUT),
    ("jaxlib", "XlaRuntimeError", XLA_RAN_OUT),
    ("torch", "OutOfMemoryError", ""),
    ("torch", "AcceleratorError", r"\b(cuda|hip) error: out of memory"),
    (
        "builtins",
        "RuntimeError",
        r"\b(cuda|hip|xpu) out of memory|\b(cuda|hip) error: out of memory|mps backend out of memory"
        r"|defaultcpuallocator: (can't allocate|not enough) memory|_status_alloc_failed",
    ),
    ("builtins", "MemoryError", ""),
)


def peak_resident_bytes() -> int | None:
    """The most main memory that the process has held so far; `None` where the system does not tell."""
    # Linux: `getrusage` would count the process that started this one, which lent it its memory for a moment.
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", (PROCESS / "status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    unit = {"linux": 1024, "darwin": 1}.get(sys.platform)
    return unit and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_device_bytes() -> int | None:
    """The most memory of the accelerator that the backend's arrays took at a time; `None` on CPU.

    Since `reset_peak_device_bytes`, or, on JAX, since the start of the process.
    """
    backend = keras.backend.backend()
    if not on_gpu() and not (backend == "jax" and _jax_device().platform == "tpu"):
        return None
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    if backend == "jax":
        # Some allocators keep no statistics.
        return (_jax_device().memory_stats() or {}).get("peak_bytes_in_use")
    import torch

    return torch.cuda.max_memory_allocated()


def reset_peak_device_bytes() -> bool:
    """Starts the peak anew; returns whether it did: on JAX it can't be, and on CPU there is none."""
    backend = keras.backend.backend()
    if not on_gpu() or backend == "jax":
        return False
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")
    else:
        import torch

        torch.cuda.reset_peak_memory_stats()
    return True


class Energy:
    """The energy that the GPU uses while the context is open.

        with Energy() as energy:
            ...
        energy.joules

    `joules` is `None` before the end, on CPU, without the package nvidia-ml-py, and wherever NVML does not answer.
    It is that of the whole board, whoever else uses it: of the first of CUDA_VISIBLE_DEVICES, else of the first.
    The driver brings its counter up to date several times a second: what takes less than a few seconds is told roughly.

    Args:
        interval: seconds between samples of the power, on a GPU that has no counter of energy.
        clock: seconds.
    """

    joules: float | None

    def __init__(self, *, interval: float = 0.05, clock: Callable[[], float] = time.perf_counter) -> None:
        self._interval, self._clock = interval, clock
        self.joules = None

    def __enter__(self) -> "Energy":
        self.joules = self._read = self._nvml = None
        # NVML, its Python package and the driver all have their own errors, and none may reach the run.
        try:
            if on_gpu():
                self._nvml = _open_nvml()
                self._read = self._start(self._nvml)
        except Exception:
            self._close()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if self._read:
                self.joules = self._read()
        except Exception:
            self.joules = None
        finally:
            self._close()

    def _start(self, nvml: ModuleType) -> Callable[[], float | None]:
        """Starts counting; returns the function that ends it, to joules."""
        gpu = _gpu_handle(nvml)
        try:
            before = nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
        except Exception:
            return self._sample(lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000)

        def end() -> float | None:
            millijoules = nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) - before
            # No GPU uses none at all: the counter was not brought up to date in between, or began anew.
            return millijoules / 1000 if millijoules > 0 else None

        return end

    def _sample(self, watts: Callable[[], float]) -> Callable[[], float | None]:
        """Samples the power in a thread; the function that ends it returns the area under the samples."""
        samples = [(self._clock(), watts())]
        stop, failed = threading.Event(), threading.Event()

        def sample() -> None:
            try:
                while not stop.wait(self._interval):
                    samples.append((self._clock(), watts()))
            except Exception:
                failed.set()

        thread = threading.Thread(target=sample, name="energy", daemon=True)
        thread.start()

        def end() -> float | None:
            stop.set()
            thread.join()
            samples.append((self._clock(), watts()))
            joules = sum((later - earlier) * (p + q) / 2 for (earlier, p), (later, q) in pairwise(samples))
            return None if failed.is_set() else joules

        return end

    def _close(self) -> None:
        nvml, self._nvml, self._read = self._nvml, None, None
        try:
            if nvml:
                nvml.nvmlShutdown()
        except Exception:
            pass


def device_details() -> dict[str, Any]:
    """What a record's environment says of the device besides its name.

    Returns:
        `device_count` (that the backend sees, of the kind it computes on), `driver` and `cuda` (versions of NVIDIA's
        driver and of the CUDA that the backend was built for; `None` on CPU), `tf32` (see `may_use_tf32`) and
        `memory_bytes` (main memory granted to the process). `None` for what can't be had.
    """
    return {
        "device_count": _or_none(_device_count),
        "driver": _or_none(_driver) if on_gpu() else None,
        "cuda": _or_none(_cuda) if on_gpu() else None,
        "tf32": _or_none(may_use_tf32),
        "memory_bytes": _or_none(_memory_bytes),
    }


def on_gpu() -> bool:
    """Whether Keras's backend computes on a GPU of NVIDIA's kind."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.get_visible_devices("GPU"))
    if backend == "jax":
        return _jax_device().platform in ("gpu", "cuda")
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    return False


def may_use_tf32() -> bool | None:
    """Whether some float32 products (those in convolutions too) may round their factors to TF32; `None`: not known."""
    if not on_gpu():
        # A TPU rounds too, to bfloat16; a CPU does not.
        return False
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return False
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        allowed = tf.config.experimental.tensor_float_32_execution_enabled()
        details = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[0])
        capability = details.get("compute_capability")
    elif backend == "jax":
        import jax

        # Anything less is left to XLA, which takes TF32.
        allowed = jax.config.jax_default_matmul_precision not in ("highest", "float32", "F32_F32_F32")
        found = re.match(r"(\d+)\.(\d+)", str(getattr(_jax_device(), "compute_capability", "")))
        capability = found and tuple(map(int, found.groups()))
    else:
        import torch

        allowed = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        capability = torch.cuda.get_device_capability() if torch.version.cuda else None
    if not allowed:
        return False
    # TF32 came with compute capability 8.0.
    return None if not capability else tuple(capability) >= (8, 0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory, or main memory, ran out.

    Told by the names of its classes and by its message, on the backends that are installed and those that are not. An
    error that another was raised from is not looked at.
    """
    classes = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__}
    message = str(error)
    return any(
        (root, name) in classes and re.search(pattern, message, re.IGNORECASE | re.DOTALL)
        for root, name, pattern in OUT_OF_MEMORY
    )


def _or_none(ask: Callable[[], Any]) -> Any:
    """The answer, or `None` where asking fails."""
    try:
        return ask()
    except Exception:
        return None


def _jax_device() -> Any:
    import jax

    return jax.devices()[0]


def _device_count() -> int | None:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        kinds = (tf.config.get_visible_devices(kind) for kind in ("GPU", "TPU", "CPU"))
        return next(len(devices) for devices in kinds if devices)
    if backend == "jax":
        import jax

        return jax.device_count()
    if backend == "torch":
        import torch

        return torch.cuda.device_count() or 1
    return None


def _open_nvml() -> ModuleType:
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def _gpu_handle(nvml: ModuleType) -> Any:
    """NVML's handle of the GPU that CUDA calls the first, given that both count them alike: a machine of unequal GPUs
    needs CUDA_DEVICE_ORDER=PCI_BUS_ID for that."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    if first and not first.isdecimal():
        return nvml.nvmlDeviceGetHandleByUUID(first)
    return nvml.nvmlDeviceGetHandleByIndex(int(first or 0))


def _driver() -> str | None:
    try:
        nvml = _open_nvml()
        try:
            version = nvml.nvmlSystemGetDriverVersion()
        finally:
            nvml.nvmlShutdown()
        return version.decode() if isinstance(version, bytes) else version
    except Exception:
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", DRIVER.read_text())
        return found and found[1]


def _cuda() -> str | None:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.sysconfig.get_build_info().get("cuda_version")
    if backend == "jax":
        # As "cuda 12080", after a line that names the interface.
        found = re.search(r"cuda (\d+)", _jax_device().client.platform_version)
        return found and f"{int(found[1]) // 1000}.{int(found[1]) % 1000 // 10}"
    import torch

    return torch.version.cuda


def _memory_bytes() -> int | None:
    """Main memory: the machine's, or what a control group of the process grants if that is less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _cgroup_limits():
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):
            continue  # there is no such group seen from here, or its limit is "max"
    return min(limits)


def _cgroup_limits() -> list[Path]:
    """The files with the limits of the process's control groups, of versions 1 and 2, and of the groups around them."""
    try:
        lines = (PROCESS / "cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            root, name = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        inside = root / group.lstrip("/")
        files += [folder / name for folder in (inside, *inside.parents) if folder.is_relative_to(root)]
    return files
