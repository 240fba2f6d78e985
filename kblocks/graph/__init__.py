"""What a functional graph makes possible: a model is data that anybody can read, count and cut."""

from kblocks.graph.features import features
from kblocks.graph.profile import Profile, profile

__all__ = ["Profile", "features", "profile"]
