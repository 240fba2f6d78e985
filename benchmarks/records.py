"""Records: one JSON object a line that tells what was run, on what, and what came out."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

from benchmarks.console import UsageError

VERSION = 1
PACKAGES = ("keras", "numpy", "tensorflow", "jax", "torch", "tensorflow-datasets")


def check_writable(path: str, flag: str = "out") -> None:
    """Raises a `UsageError` now if the file that a flag names can't be written later."""
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise UsageError(f"--{flag}={path}: there is no folder {folder}")
    target = path if Path(path).exists() else folder
    if Path(path).is_dir() or not os.access(target, os.W_OK):
        raise UsageError(f"--{flag}={path} can't be written")


def append(path: str, record: Mapping[str, Any]) -> None:
    """Appends a record as one line, whole or not at all."""
    line = (json.dumps(record, allow_nan=False) + "\n").encode()
    # One write to a file opened for appending: two processes don't mix their lines, a killed one leaves none or all.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, size)
                raise UsageError(f"--out={path}: the disk is full")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f"--out={path} can't be written: {error.strerror}") from None


def environment() -> dict[str, Any]:
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
        "cpu": cpu(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _git("rev-parse", "HEAD"),
        "commit_is_changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def describe(record: Mapping[str, Any]) -> str:
    """Backend and device in a few words."""
    environment = record["environment"]
    where = environment["device"]
    if where == "CPU":
        where = f"{environment['cpu_cores']} cores of {environment['cpu']}"
    return f"{record['backend']} on {where}, {record['dtype_policy']}"


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
