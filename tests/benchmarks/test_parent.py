"""A child process ends when its parent has been killed, whatever the child is doing."""

import os
import signal
import subprocess
import sys

import pytest

from benchmarks.terminal import parent
from tests.support.process import python, start

# Both hold the standard output of the parent, which thus ends with the last of them.
PARENT = """
import subprocess, sys, time
from benchmarks.terminal import parent

subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=parent.tied())
time.sleep(600)
"""
CHILD = """
import signal, sys, time
from benchmarks.terminal import parent

{setting}
parent.watch()
try:
    print("started", flush=True)
    time.sleep(600)
finally:
    print("cleaned up", flush=True)
"""
SETTINGS = {
    "exits on SIGTERM": ("signal.signal(signal.SIGTERM, lambda *_: sys.exit())", "cleaned up\n"),
    "has no handler": ("", ""),
    "ignores SIGTERM": ("parent.GRACE = 0.1; signal.signal(signal.SIGTERM, signal.SIG_IGN)", ""),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_child_ends_after_its_parent_was_killed(name):
    setting, last_words = SETTINGS[name]
    process = start("-c", PARENT, CHILD.format(setting=setting))
    assert process.stdout.readline() == "started\n"
    process.kill()
    # Waits for the child too, which holds the pipe.
    printed, complaint = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert (printed, complaint) == (last_words, "")


def test_a_signal_while_a_child_starts_leaves_none(monkeypatch):
    started = []

    class Started(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(signal.SIGTERM)

    def terminate(number, frame):
        raise SystemExit(128 + number)

    monkeypatch.setattr(subprocess, "Popen", Started)
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(SystemExit), parent.child([sys.executable, "-c", "import time; time.sleep(600)"]):
            pytest.fail("the signal came before the block")
        assert signal.getsignal(signal.SIGTERM) is terminate
    finally:
        signal.signal(signal.SIGTERM, before)
    (child,) = started
    assert child.returncode == -signal.SIGKILL


def test_a_child_whose_parent_has_ended_already_ends():
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    script = CHILD.format(setting="")
    assert python("-c", script, **{parent.VARIABLE: ended.stdout.decode().strip()}).returncode == -signal.SIGTERM


def test_a_process_that_is_not_tied_watches_nobody(monkeypatch):
    monkeypatch.delenv(parent.VARIABLE, raising=False)
    monkeypatch.setattr(parent.threading, "Thread", None)
    parent.watch()


def test_a_tied_environment_has_one_more_variable():
    assert parent.tied({"A": "1"}) == {"A": "1", parent.VARIABLE: str(os.getpid())}
    assert parent.tied() == {**os.environ, parent.VARIABLE: str(os.getpid())}
