from tests.support.networks import DEEP, LARGE  # noqa: F401
