"""The environment in a record, compared with other sources than the harness uses."""

import builtins
import json
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import keras
import numpy as np
import pytest

from benchmarks.measure import environment
from tests.support.process import python


def test_device_processor_versions_and_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/train.py", "--arch=lenet", "--seed=3"])
    before = datetime.now(UTC)
    found = json.loads(json.dumps(environment.collect(), allow_nan=False))
    assert set(found) == {
        "time", "device", "device_count", "driver", "cuda", "tf32", "onednn", "cpu", "cpu_cores", "cpu_flags",
        "memory_bytes", "kernel", "platform", "python", "versions", "commit", "commit_is_changed", "command",
    }  # fmt: skip
    time = datetime.fromisoformat(found["time"])
    assert time.tzinfo is not None
    assert before.replace(microsecond=0) <= time <= datetime.now(UTC)
    assert found["versions"]["keras"] == keras.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert keras.backend.backend() in found["versions"]
    assert found["python"] == platform.python_version()
    assert 1 <= found["cpu_cores"] <= multiprocessing.cpu_count()
    assert found["cpu"].strip() == found["cpu"] != ""
    assert found["device"]
    assert found["command"] == ["train.py", "--arch=lenet", "--seed=3"]


def test_a_package_that_is_not_there_has_no_version(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("keras", "no-such-package-here"))
    assert set(environment.collect()["versions"]) == {"keras"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the harness seems to lie: a folder that is in no repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    inside = tmp_path / "benchmarks"
    inside.mkdir()
    monkeypatch.setattr(environment, "__file__", str(inside / "environment.py"))
    return inside


def git(folder, *arguments):
    """What git prints."""
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_checkout(folder, monkeypatch, tmp_path_factory):
    git(folder.parent, "init", "--quiet")
    (folder / "environment.py").write_text("one\n")
    (folder / "results").mkdir()
    (folder / "results" / "runs.jsonl").write_text("one\n")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "--message=one")
    # Not that of the folder one stands in.
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    found = environment.collect()
    assert re.fullmatch("[0-9a-f]{40}", found["commit"])
    assert found["commit"] == git(folder, "rev-parse", "HEAD")
    assert found["commit_is_changed"] is False
    (folder / "results.jsonl").write_text("untracked\n")
    (folder / "results" / "runs.jsonl").write_text("one\ntwo\n")
    assert environment.collect()["commit_is_changed"] is False
    (folder / "environment.py").write_text("two\n")
    assert environment.collect()["commit_is_changed"] is True


def test_outside_a_repository_there_is_no_commit(folder):
    assert environment.collect()["commit"] is None


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.collect()["commit"] is None


def test_without_proc_there_is_still_a_processor(monkeypatch):
    def fails(*arguments, **keywords):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", fails)
    monkeypatch.setattr(builtins, "open", fails)
    assert environment.cpu()
    assert environment.cpu_flags() == []


X86 = """processor\t: 0
model name\t: Abacus 9 @ 3.0GHz
flags\t\t: fpu sse sse2 ssse3 fma sse4_1 sse4_2 avx f16c avx2 avx512f avx512_bf16 amx_tile amx_int8 avx_vnni
vmx flags\t: avx512_of_another_line
processor\t: 1
model name\t: another
flags\t\t: avx512_of_another_processor
"""
ARM = """processor\t: 0
Features\t: fp asimd aes crc32 asimdhp sve sve2 i8mm bf16
CPU part\t: 0xd4f
"""


@pytest.mark.parametrize(
    ("text", "name", "flags"),
    [
        (X86, "Abacus 9 @ 3.0GHz", "amx_int8 amx_tile avx avx2 avx512_bf16 avx512f avx_vnni f16c fma sse4_2"),
        (ARM, platform.processor() or platform.machine(), "asimd asimdhp bf16 i8mm sve sve2"),
    ],
    ids=["x86", "ARM"],
)
def test_the_first_processor_and_its_instruction_sets(monkeypatch, tmp_path, text, name, flags):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    assert environment.cpu() == name
    assert environment.cpu_flags() == flags.split()


@pytest.mark.skipif(shutil.which("lscpu") is None or sys.platform != "linux", reason="there is no lscpu")
def test_lscpu_names_the_same_processor():
    env = {**os.environ, "LC_ALL": "C"}
    found = subprocess.run(["lscpu"], capture_output=True, text=True, check=True, env=env).stdout
    assert environment.cpu() in found
    assert set(environment.cpu_flags()) <= set(found.split())
    kernel = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
    assert environment.machine()["kernel"] == kernel


@pytest.mark.parametrize(("setting", "expected"), [(None, "1"), ("0", "0")])
def test_onednn_is_on_unless_it_is_turned_off(setting, expected):
    code = (
        "from benchmarks.terminal.launch import start_keras\nstart_keras()\n"
        "import json, os\nfrom benchmarks import backends\n"
        "print(json.dumps([os.environ['TF_ENABLE_ONEDNN_OPTS'], backends.current().uses_onednn()]))"
    )
    done = python("-c", code, TF_ENABLE_ONEDNN_OPTS=setting)
    on = expected == "1" if keras.backend.backend() == "tensorflow" else None
    assert json.loads(done.stdout) == [expected, on]
