"""The harness: scripts that train networks and time them. Run from the checkout, as `python -m benchmarks.train`."""

import sys
from importlib.util import find_spec
from types import TracebackType


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's own hook, but of one word for whoever interrupts a script that is still importing."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _tell

for _module, _install in (("keras", "-e '.[bench]'"), ("absl", "-e '.[bench]'"), ("rich", "-e '.[bench]'")):
    if find_spec(_module) is None:
        raise SystemExit(f"the benchmarks need the package {_module}: pip install {_install}")
