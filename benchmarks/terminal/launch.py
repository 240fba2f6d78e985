"""Runs a command: parses its flags, and turns errors into one line and an exit status."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from absl import app, flags, logging

from benchmarks.terminal import parent, quiet
from benchmarks.terminal.errors import UsageError


def launch(main: Callable[..., None], *, positional: bool = False) -> None:
    """Parses the flags and calls `main`, with the positional arguments if `positional`.

    A `UsageError` becomes one line on standard error and exit status 1; an interrupt becomes `interrupted`, followed by
    the exception's own message, and exit status 130. SIGTERM ends the command by an exception, so that child processes
    are ended too. A child process that was started with `parent.tied` ends when its parent is gone.
    """

    def terminate(number: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + number)

    def guarded(arguments: list[str]) -> int:
        try:
            if not flags.FLAGS["verbosity"].present:
                logging.set_verbosity(logging.WARNING)
            if positional:
                main(arguments[1:])
            elif len(arguments) > 1:
                raise UsageError(f"unexpected argument {arguments[1]!r}: options are written --name=value")
            else:
                main()
        except UsageError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt as error:
            print(f"interrupted {error}".rstrip(), file=sys.stderr)
            return 130
        return 0

    signal.signal(signal.SIGTERM, terminate)
    parent.watch()
    app.run(guarded, flags_parser=_parse)


def start_keras() -> None:
    """Imports Keras on its backend and initialises the devices, without the native start-up notices.

    Commands import Keras here, after their flags are parsed, so that `--help` and wrong flags answer at once.

    Raises:
        UsageError: Keras or its backend can't be imported.
    """
    # On processors without AVX-512 TensorFlow leaves oneDNN off, though its convolutions are faster there too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with quiet.start_up():
        try:
            import keras
        except (ImportError, ValueError) as error:
            backend = os.environ.get("KERAS_BACKEND", "tensorflow")
            raise UsageError(
                f"Keras can't be imported with the backend {backend} ({error}); KERAS_BACKEND selects another"
            ) from None
        keras.ops.zeros(())  # The backend initialises its devices at its first operation.


def _parse(arguments: list[str]) -> list[str]:
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(f"error: {error}")
    except (SystemExit, BrokenPipeError):  # `--help`: absl exits with status 1, and the reader may close the pipe.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            from benchmarks.terminal.console import console

            console.on_broken_pipe()
        sys.exit(0)
