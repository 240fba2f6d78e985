"""What is shipped and how it is set up: setup.cfg, the wheel, and the Makefile's own steps."""

import configparser
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.process import ROOT

PYTEST = "-m pytest --numprocesses=logical --maxprocesses=8 --dist=loadscope"


@pytest.fixture(scope="module")
def config():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text):
    return [line for line in text.splitlines() if line]


def distribution(requirement):
    return re.match(r"[\w-]+", requirement)[0]


def members(config, extra):
    """Returns the names of the distributions that an extra brings, through the extras that it names."""
    found = set()
    for requirement in lines(config["options.extras_require"][extra]):
        if inner := re.fullmatch(r"kblocks\[([\w,]+)\]", requirement):
            found |= set().union(*(members(config, name) for name in inner[1].split(",")))
        else:
            found.add(distribution(requirement))
    return found


def test_a_plain_install_brings_keras_and_a_backend_alone(config):
    required = lines(config["options"]["install_requires"])
    assert {distribution(r) for r in required} == {"h5py", "keras", "numpy", "tensorflow"}


@pytest.mark.parametrize(
    ("extra", "needed"),
    [
        ("bench", {"tensorflow-datasets", "importlib_resources", "absl-py", "rich"}),
        ("report", {"matplotlib", "scipy"}),
        ("jax", {"jax"}),
        ("torch", {"torch"}),
        ("safetensors", {"safetensors"}),
        ("gpu", {"tensorflow"}),
        (
            "test",
            {"pytest", "pytest-xdist", "safetensors", "tensorflow-datasets", "importlib_resources", "absl-py", "rich"},
        ),
        ("dev", {"ruff", "mypy", "build", "pytest"}),
    ],
)
def test_extra_brings(config, extra, needed):
    assert needed <= members(config, extra)


def test_gpu_brings_the_cuda_libraries(config):
    assert "tensorflow[and-cuda]" in lines(config["options.extras_require"]["gpu"])


def test_python_versions_agree(config):
    oldest = re.fullmatch(r">=3\.(\d+)", config["options"]["python_requires"])[1]
    named = re.findall(r":: 3\.(\d+)$", config["metadata"]["classifiers"], re.MULTILINE)
    assert min(named, key=int) == oldest
    assert f'target-version = "py3{oldest}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"sys.version_info < (3, {oldest})" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.slow
def test_wheel_holds_the_two_packages_and_nothing_else(config, tmp_path):
    pytest.importorskip("setuptools", minversion="70.1")
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "benchmarks", tree / "benchmarks", ignore=shutil.ignore_patterns("results"))
    for package in ("kblocks", "architectures", "tests"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for left_out in ("benchmarks", "tests"):
        (tree / left_out / "__init__.py").touch()  # a package, which a wider search would take along
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    pip_wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    built = subprocess.run([*pip_wheel, "-w", tmp_path, "."], cwd=tree, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr

    version = config["metadata"]["version"]
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"kblocks-{version}-py3-none-any.whl"
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("kblocks", "architectures")
        for path in (ROOT / package).rglob("*.py")
    }
    assert held == sources | {"kblocks/py.typed", "architectures/py.typed", "architectures/facts.json"}


@pytest.fixture
def checkout(tmp_path):
    """A copy of the files that make works from, in a folder with a space in its name."""
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
        os.utime(folder / name, (0, 0))
    return folder


def make(folder, *arguments):
    # These tests may be run by make themselves, and must not inherit its flags.
    inherited = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON", "ARGS", "KERAS_BACKEND"}
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def assert_refused(result, folder, sentence):
    assert result.returncode != 0
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert sentence in result.stderr
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("target", ["bench", "test"])
def test_make_refuses_an_old_python(checkout, tmp_path, target):
    old = script(
        tmp_path / "python3.8",
        f"""exec "{sys.executable}" -c "import sys; sys.version_info = (3, 8, 18); $2" """,
    )
    result = make(checkout, target, f"PYTHON={old}")
    assert_refused(result, checkout, f'kblocks needs Python 3.11 or newer, and "{old}" is older')


def test_make_refuses_a_missing_python(checkout):
    result = make(checkout, "test", "PYTHON=python3.999")
    assert_refused(result, checkout, 'no Python runs as "python3.999"')


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_make_refuses_a_python_that_cannot_make_an_environment(checkout, tmp_path, module):
    bare = script(
        tmp_path / "python3",
        f"""exec "{sys.executable}" -c "import sys; sys.modules['{module}'] = None; $2" """,
    )
    result = make(checkout, "test", f"PYTHON={bare}")
    assert_refused(result, checkout, "its modules venv and ensurepip")


@pytest.fixture
def python(tmp_path):
    """A stand-in for Python that notes what it is asked to do and whose pip fails while `broken` exists."""
    return script(
        tmp_path / "a python",
        f"""
        case "$1 $2" in
        "-c "*) ;;
        "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >>"{tmp_path}/asked" ;;
        "-m pip") echo "pip $6" >>"{tmp_path}/asked" && test ! -e "{tmp_path}/broken" ;;
        *) echo "${{KERAS_BACKEND:+$KERAS_BACKEND }}$*" >>"{tmp_path}/asked" ;;
        esac""",
    )


def asked(python):
    """Returns what `python` was asked since the last look."""
    log = python.parent / "asked"
    noted = log.read_text(encoding="utf-8").splitlines()
    log.unlink()
    return noted


def test_make_sets_up_once(checkout, python):
    assert make(checkout, "test", f"PYTHON={python}").returncode == 0
    assert asked(python) == ["venv", "pip .[test]", PYTEST]
    assert make(checkout, "test", "ARGS=-x -k residual").returncode == 0
    assert asked(python) == [f"{PYTEST} -x -k residual"]
    assert make(checkout, "bench", "ARGS=--arch=lenet").returncode == 0
    assert asked(python) == ["pip .[bench]", "-m benchmarks.train --arch=lenet"]


def test_make_test_backends_runs_them_in_turn(checkout, python):
    assert make(checkout, "test-backends", f"PYTHON={python}").returncode == 0
    run = f"{PYTEST} tests/kblocks tests/architectures tests/test_promise.py"
    assert asked(python) == ["venv", "pip .[test]", *(f"{name} {run}" for name in ("tensorflow", "jax", "torch"))]


def test_make_test_backends_needs_all_of_them(checkout, python):
    python.write_text(python.read_text().replace('"-c "*) ;;', """"-c "*"'torch'"*) exit 1 ;; "-c "*) ;;"""))
    result = make(checkout, "test-backends", f"PYTHON={python}")
    assert result.returncode != 0
    assert "torch is not installed; install it with: .venv/bin/python -m pip install torch\n" in result.stderr
    assert asked(python) == ["venv", "pip .[test]"]


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml"])
def test_make_installs_again_after_a_change(checkout, python, name):
    make(checkout, "test", f"PYTHON={python}")
    asked(python)
    os.utime(checkout / name)
    make(checkout, "test")
    assert asked(python) == ["pip .[test]", PYTEST]


def test_make_starts_afresh_after_a_failed_install(checkout, python):
    broken = python.parent / "broken"
    broken.touch()
    assert make(checkout, "test", f"PYTHON={python}").returncode != 0
    assert asked(python) == ["venv", "pip .[test]"]
    broken.unlink()
    assert make(checkout, "test").returncode == 0
    assert asked(python) == ["venv", "pip .[test]", PYTEST]


def test_make_starts_afresh_with_another_python(checkout, python):
    make(checkout, "test", f"PYTHON={python}")
    other = Path(shutil.copy(python, python.with_name("another")))
    asked(python)
    make(checkout, "test", f"PYTHON={other}")
    assert asked(python) == ["venv", "pip .[test]", PYTEST]


def test_make_uses_an_environment_that_was_there(checkout, python):
    (checkout / ".venv/bin").mkdir(parents=True)
    shutil.copy(python, checkout / ".venv/bin/python")
    (checkout / ".venv/mine").touch()
    make(checkout, "test")
    assert asked(python) == ["pip .[test]", PYTEST]
    assert (checkout / ".venv/mine").exists()
