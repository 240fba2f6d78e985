"""NVIDIA's driver and its library NVML, which the package nvidia-ml-py wraps.

Where one of them is missing, these functions raise errors of many classes.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

DRIVER = Path("/proc/driver/nvidia/version")


@contextmanager
def nvml() -> Iterator[Any]:
    """Opens NVML; an error on closing it is ignored."""
    import pynvml

    pynvml.nvmlInit()
    try:
        yield pynvml
    finally:
        with suppress(Exception):
            pynvml.nvmlShutdown()


def first_gpu(library: Any) -> Any:
    """NVML's handle of the GPU that CUDA lists first.

    Without CUDA_VISIBLE_DEVICES this assumes that both use the same order; a machine with different GPUs needs
    CUDA_DEVICE_ORDER=PCI_BUS_ID for that.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    if first and not first.isdecimal():
        return library.nvmlDeviceGetHandleByUUID(first)
    return library.nvmlDeviceGetHandleByIndex(int(first or 0))


def driver_version() -> str | None:
    """Version of the driver, from NVML or else from the kernel module."""
    try:
        with nvml() as library:
            version: str | bytes = library.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else version
    except Exception:
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", DRIVER.read_text())
        return found and found[1]
