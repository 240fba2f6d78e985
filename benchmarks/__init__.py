"""The harness: scripts that train networks and time them. Run from the checkout, as `python -m benchmarks.train`."""

from importlib.util import find_spec

for _module, _install in (("keras", "-e '.[bench]'"), ("absl", "-e '.[bench]'"), ("rich", "-e '.[bench]'")):
    if find_spec(_module) is None:
        raise SystemExit(f"the benchmarks need the package {_module}: pip install {_install}")
