"""Main memory: the peak of a process and the memory that it may use."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.measure import environment, memory
from tests.support.process import python

MIB = 2**20

IMPORT = "import json\nfrom benchmarks.measure import memory\n"

# Starts a script from a process that holds little.
LAUNCH = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', sys.argv[1]]))"


def in_a_fresh_process(script, *, launcher=(), **environment):
    """What a script prints last, from JSON."""
    done = python("-c", *launcher, script, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


needs_resource = pytest.mark.skipif(
    importlib.util.find_spec("resource") is None, reason="the system does not tell a process's memory"
)


@needs_resource
@pytest.mark.parametrize("has_proc", [True, False])
def test_the_resident_peak_grows_by_what_is_touched_and_stays(has_proc):
    script = IMPORT + (
        ("" if has_proc else "from pathlib import Path; memory.PROCESS = Path('/no/such/folder')\n")
        + f"""
before = memory.peak_resident_bytes()
held = bytearray({200 * MIB})
held[::4096] = b"1" * len(held[::4096])
after = memory.peak_resident_bytes()
del held
print(json.dumps([before, after, memory.peak_resident_bytes()]))
"""
    )
    # `getrusage`, which is asked where there is no /proc, counts what the starting process held too.
    before, after, later = in_a_fresh_process(script, launcher=[LAUNCH])
    assert 2 * MIB < before < 2**30
    assert 190 * MIB < after - before < 260 * MIB
    assert later > after - 10 * MIB, "the system counts roughly"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
def test_the_resident_peak_is_not_that_of_the_process_that_started_this_one():
    held = np.ones(600 * MIB, "uint8")
    assert in_a_fresh_process(IMPORT + "print(json.dumps(memory.peak_resident_bytes()))") < 500 * MIB
    assert held.all()


def test_the_resident_peak_is_read_from_the_process_status(monkeypatch, tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t 999999 kB\nVmHWM:\t   1234 kB\nVmRSS:\t 1000 kB\n")
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    assert memory.peak_resident_bytes() == 1234 * 1024


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1), ("sunos5", None)])
def test_the_unit_of_the_resident_peak_is_the_systems(monkeypatch, tmp_path, system, unit):
    usage = SimpleNamespace(ru_maxrss=777)
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setitem(sys.modules, "resource", SimpleNamespace(RUSAGE_SELF=0, getrusage={0: usage}.get))
    assert memory.peak_resident_bytes() == (777 * unit if unit else None)


def test_where_no_resource_module_is_there_is_no_resident_peak(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory.peak_resident_bytes() is None


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """`groups("0::/a/b", {"a/b/memory.max": "100"})`: a process in control groups with these limits."""

    def make(process, limits):
        (tmp_path / "cgroup").write_text(process)
        for path, limit in limits.items():
            file = tmp_path / "fs" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(limit)
        monkeypatch.setattr(memory, "PROCESS", tmp_path)
        monkeypatch.setattr(memory, "CGROUPS", tmp_path / "fs")
        pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
        monkeypatch.setattr(os, "sysconf", pages.__getitem__, raising=False)
        return memory.available_bytes()

    return make


@pytest.mark.parametrize(
    ("process", "limits", "granted"),
    [
        ("0::/\n", {"memory.max": "100000\n"}, 100_000),
        ("0::/\n", {"memory.max": "max\n"}, 4_096_000),
        ("0::/\n", {}, 4_096_000),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "2000\n", "memory.max": "3000\n"}, 2000),
        ("0::/a\n", {"b/memory.max": "5\n", "a/memory.max": "99999999999\n"}, 4_096_000),
        # Version 1, seen from the host and from within a container, where the group's path leads nowhere.
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "7000\n"}, 7000),
        ("4:cpu,memory:/docker/123\n", {"memory/memory.limit_in_bytes": "8000\n"}, 8000),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4_096_000),
        ("4:cpu:/a\n", {"memory/a/memory.limit_in_bytes": "7000\n", "a/memory.max": "5\n"}, 4_096_000),
    ],
)
def test_the_memory_granted_is_the_least_of_all_limits(groups, process, limits, granted):
    assert groups(process, limits) == granted


def test_where_the_system_does_not_count_pages_the_memory_is_unknown(monkeypatch):
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert environment.machine()["memory_bytes"] is None
