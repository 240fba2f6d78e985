"""Keeps the native start-up notices of TensorFlow out of a newcomer's terminal."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def start_up() -> Iterator[None]:
    """Drops what is written to standard error inside, by native code too; shows it after all if it ends early.

    TensorFlow writes notices before its log level counts, so that the level alone does not keep them out. With
    `TF_CPP_MIN_LOG_LEVEL=0` in the environment nothing is dropped.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") == "0":
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except (Exception, SystemExit):  # but whoever interrupts it asks for nothing more
            sys.stderr.flush()
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
