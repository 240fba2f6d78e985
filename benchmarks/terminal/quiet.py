"""Suppresses the native start-up messages of TensorFlow."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def start_up() -> Iterator[None]:
    """Suppresses standard error inside the context, of native code too; prints it if the context ends in an exception.

    TensorFlow writes messages before it reads its log level, so that the level alone does not suppress them. With
    `TF_CPP_MIN_LOG_LEVEL=0` in the environment nothing is suppressed.
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
        except (Exception, SystemExit):  # not KeyboardInterrupt: whoever interrupts needs no messages
            sys.stderr.flush()
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
