"""Tools that read, cut and rewrite the graph of any functional or Sequential model. None of them changes the model."""

from kblocks.graph.calls import Call, calls
from kblocks.graph.draw import draw
from kblocks.graph.features import Endpoint, endpoints, features
from kblocks.graph.fold import fold
from kblocks.graph.gradcam import gradcam
from kblocks.graph.profile import Memory, Profile, Row, profile
from kblocks.graph.surgery import freeze, insert_after, replace, replace_head, widen_input

__all__ = [
    "Call",
    "Endpoint",
    "Memory",
    "Profile",
    "Row",
    "calls",
    "draw",
    "endpoints",
    "features",
    "fold",
    "freeze",
    "gradcam",
    "insert_after",
    "profile",
    "replace",
    "replace_head",
    "widen_input",
]


def __dir__() -> list[str]:
    return __all__
