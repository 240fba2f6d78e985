"""Which values of a parameter are tested daily."""

import pytest


def slow(*values):
    """A value, or several, that `make test-slow` tests."""
    return pytest.param(*values, marks=pytest.mark.slow)


def daily(values, chosen):
    """The values, of which only those chosen are tested daily."""
    return [value if value in chosen else slow(value) for value in values]
