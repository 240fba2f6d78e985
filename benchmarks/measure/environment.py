"""What the numbers of a record depend on besides the flags: device, processor, versions, commit."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import backends
from benchmarks.measure import memory, nvidia

# Running the harness changes tracked files there.
ALL_BUT_RESULTS = (":/", ":(top,exclude)benchmarks/results")
PACKAGES = ("keras", "numpy", "tensorflow", "jax", "torch", "tensorflow-datasets")
CPUINFO = Path("/proc/cpuinfo")

# The instruction sets that products of matrices use, of x86 and of ARM.
INSTRUCTION_SETS = r"sse4_2|avx|avx2|fma|f16c|avx512\w*|avx_vnni\w*|amx_\w+|asimd\w*|sve\w*|sme\w*|i8mm|bf16"

T = TypeVar("T")


def collect() -> dict[str, Any]:
    """The `environment` of a record, see docs/records.md."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine(),
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": _git("rev-parse", "HEAD"),
        "commit_is_changed": bool(_git("status", "--porcelain", "--untracked-files=no", "--", *ALL_BUT_RESULTS)),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def machine() -> dict[str, Any]:
    """The part of `collect` that describes the machine; `None` for what is unknown."""
    backend = backends.current()
    is_gpu = backend.is_gpu()
    return {
        "device": backend.device_name(),
        "device_count": _or_none(backend.device_count),
        "driver": _or_none(nvidia.driver_version) if is_gpu else None,
        "cuda": _or_none(backend.cuda_version) if is_gpu else None,
        "tf32": _or_none(backend.may_use_tf32),
        "onednn": _or_none(backend.uses_onednn),
        "cpu": cpu(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_flags": cpu_flags(),
        "memory_bytes": _or_none(memory.available_bytes),
        "kernel": platform.release(),
        "platform": platform.platform(),
    }


def cpu() -> str:
    """Model name of the processor."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """Instruction sets of the processor on which the speed of products depends; empty if unknown."""
    flags = _cpuinfo("flags") or _cpuinfo("Features") or ""
    return sorted(flag for flag in flags.split() if re.fullmatch(INSTRUCTION_SETS, flag))


def _cpuinfo(key: str) -> str | None:
    """The value that the kernel lists for the first processor, if any."""
    try:
        found = re.search(rf"^{key}\s*:\s*(.*\S)", CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return found and found[1]


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git(*arguments: str) -> str | None:
    """Output of a git command; `None` without git or outside a repository."""
    try:
        answer = subprocess.run(
            ("git", *arguments), cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _or_none(ask: Callable[[], T]) -> T | None:
    """The answer, or `None` if asking fails."""
    try:
        return ask()
    except Exception:
        return None
