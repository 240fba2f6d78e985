"""Ends a child process soon after its parent has ended, even if the parent was killed and could not end its children.

subprocess.Popen(command, env=parent.tied())    # in the parent
parent.watch()                                  # in the child, as early as possible
"""

import os
import signal
import threading
import time
from collections.abc import Mapping

VARIABLE = "KBLOCKS_BENCHMARKS_PARENT"
INTERVAL = 0.5  # seconds between checks
GRACE = 5.0  # seconds that the child has to clean up after SIGTERM


def tied(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment variables for a child process that ends soon after this process."""
    return {**environment, VARIABLE: str(os.getpid())}


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
