"""Ends a child process with its parent, even if the parent was killed and could not end its children.

The parent starts the child with the first line, the child calls the second as early as possible:

    with parent.child(command) as process: ...
    parent.watch()
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

VARIABLE = "KBLOCKS_BENCHMARKS_PARENT"
INTERVAL = 0.5  # seconds between checks
GRACE = 5.0  # seconds that the child has to clean up after SIGTERM


def tied(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment variables for a child process that ends soon after this process."""
    return {**environment, VARIABLE: str(os.getpid())}


@contextlib.contextmanager
def child(
    command: Sequence[str], environment: Mapping[str, str] = os.environ, **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """A child process that is ended with the block at the latest, and soon after this process if that is killed.

    Args:
        command: program and arguments.
        environment: variables of the child.
        **options: of `subprocess.Popen`.
    """
    with contextlib.ExitStack() as stack:
        with _signals_deferred():
            process = stack.enter_context(subprocess.Popen(command, env=tied(environment), **options))
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield process


def complaint(process: subprocess.Popen[Any], errors: str) -> str:
    """The last line that a failed process wrote to standard error, or how it ended if it wrote none."""
    lines = errors.strip().splitlines() or [f"it ended with status {process.returncode}"]
    return lines[-1].removeprefix("error: ")


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defers SIGINT and SIGTERM to the end of the block: an exception inside `Popen` would leave a child running."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals interrupt the main thread alone.
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for signum in received:
            signal.raise_signal(signum)


def watch() -> None:
    """Ends this process once its parent has ended, if the parent passed `tied()` as its environment.

    First by SIGTERM; if the process has not ended after `GRACE` seconds, at once.
    """
    parent = os.environ.get(VARIABLE)
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(int(parent),), name="parent", daemon=True).start()


def _wait_and_end(parent: int) -> None:
    # A process whose parent ends becomes the child of another one.
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)
