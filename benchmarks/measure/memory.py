"""Main memory: the peak of this process, and how much it may use. `None` where the system does not provide a figure."""

import os
import re
import sys
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")


def peak_resident_bytes() -> int | None:
    """Peak resident memory of the process so far."""
    # On Linux `getrusage` would include the parent process, whose memory is shared for a moment after the fork.
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


def available_bytes() -> int:
    """Main memory of the machine, or the limit of a control group of the process if that is lower.

    Raises:
        Exception: the system does not provide the size of its memory.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _cgroup_limits():
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):
            continue  # the group is not visible from here, or its limit is "max"
    return min(limits)


def _cgroup_limits() -> list[Path]:
    """Files with the limits of the process's control groups (versions 1 and 2) and of their parents."""
    try:
        lines = (PROCESS / "cgroup").read_text().splitlines()
    except OSError:
        return []
    files: list[Path] = []
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
