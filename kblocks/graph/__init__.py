"""Tools that read the graph of a functional model: parameter and multiply-add counts, feature extraction."""

from kblocks.graph.features import features
from kblocks.graph.profile import Profile, profile

__all__ = ["Profile", "features", "profile"]


def __dir__() -> list[str]:
    return __all__
