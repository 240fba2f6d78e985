"""What the numbers depend on besides the flags: device, processor, versions, commit."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

from benchmarks.measure import meters

# Records change a tracked file there, run by run.
ALL_BUT_RESULTS = (":/", ":(top,exclude)benchmarks/results")
PACKAGES = ("keras", "numpy", "tensorflow", "jax", "torch", "tensorflow-datasets")


def collect() -> dict[str, Any]:
    """What the numbers depend on besides the flags: device, processor, versions, commit."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device(),
        **meters.device_details(),
        "cpu": cpu(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _git("rev-parse", "HEAD"),
        "commit_is_changed": bool(_git("status", "--porcelain", "--untracked-files=no", "--", *ALL_BUT_RESULTS)),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def device() -> str:
    """The accelerator that Keras's backend computes on, or `CPU`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        accelerators = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU")
        if accelerators:
            return tf.config.experimental.get_device_details(accelerators[0]).get("device_name", "GPU")
    elif backend == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return jax.devices()[0].device_kind
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    return "CPU"


def cpu() -> str:
    """The processor's model."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """What git prints, or `None` where there is no git or no repository."""
    try:
        answer = subprocess.run(
            ("git", *arguments), cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
