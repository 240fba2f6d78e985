"""Errors that the user can put right."""

import difflib
from collections.abc import Callable, Iterable


class UsageError(Exception):
    """Something that the person at the keyboard can put right; its text is one sentence that says how."""


def do_each(*actions: Callable[[], None]) -> None:
    """Does each, whichever fails; then raises a `UsageError` of all that did."""
    failed = []
    for action in actions:
        try:
            action()
        except UsageError as error:
            failed.append(str(error))
    if failed:
        raise UsageError("; ".join(failed))


def first_line(error: object) -> str:
    """The first line of an error's message, shortened; its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def closest(value: str, options: Iterable[str]) -> str:
    """`; did you mean …?` with the option that is closest to `value`; empty if none is close."""
    close = difflib.get_close_matches(value, list(options), n=1)
    return f"; did you mean {close[0]}?" if close else ""
