"""Runs a command: parses its flags and turns errors into one line and an exit status."""

import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from absl import app, flags, logging

from benchmarks.terminal import parent
from benchmarks.terminal.console import console
from benchmarks.terminal.errors import UsageError


def launch(main: Callable[..., None], *, positional: bool = False) -> None:
    """Parses the flags and runs `main`, with the positional arguments where it takes such.

    A `UsageError` becomes one line and exit status 1. SIGTERM ends the script as an exception does, so that what it has
    started ends with it. A script that another one started by `parent.tied` ends with that one.
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
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        return 0

    signal.signal(signal.SIGTERM, terminate)
    parent.watch()
    app.run(guarded, flags_parser=_parse)


def _parse(arguments: list[str]) -> list[str]:
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(f"error: {error}")
    except (SystemExit, BrokenPipeError):  # of --help, which absl ends with status 1 and whose reader may leave
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            console.on_broken_pipe()
        sys.exit(0)
