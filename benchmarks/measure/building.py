"""Times how long networks take to build, ours and keras.applications' own, in turns."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras

import architectures


@dataclass
class Built:
    """The networks of one side.

    Attributes:
        layers: number of layers of each.
        seconds: duration of each build.
    """

    layers: int
    seconds: list[float]


def networks(patterns: list[str]) -> list[str]:
    """The architectures that match a shell pattern and that keras.applications has too."""
    names = [arch for pattern in patterns or ["*"] for arch in architectures.names(pattern)]
    return [arch for arch in dict.fromkeys(names) if architectures.variant(arch).keras is not None]


def both(arch: str, times: int) -> tuple[Built, Built]:
    """Ours and the network of keras.applications, each built `times` times with random weights.

    Args:
        arch: one of `networks`.
        times: number of timed builds of each.
    """
    row = architectures.variant(arch)
    assert row.keras is not None
    ours = partial(architectures.create, arch, **_like_keras(arch, row.spec))
    first, second = alternate(times, ours, partial(row.keras, weights=None))
    return first, second


def _like_keras(arch: str, spec: Any) -> dict[str, Any]:
    """Overrides that remove what the network of keras.applications does not have."""
    if arch.startswith("inception"):
        return {"style": replace(spec.style, norm=partial(spec.style.norm, scale=False))}
    if arch.startswith("vgg"):
        return {"dropout": 0.0}
    return {}


def alternate(times: int, *makers: Callable[[], keras.Model]) -> list[Built]:
    """Builds a network by each maker in each round, in alternating order; the first round is not timed."""
    found = [Built(0, []) for _ in makers]
    for turn in range(times + 1):
        order = range(len(makers))
        for i in order if turn % 2 else reversed(order):
            keras.utils.clear_session()
            gc.collect()  # the memory of the network before
            began = time.perf_counter()
            model = makers[i]()
            if turn:
                found[i].seconds.append(time.perf_counter() - began)
            found[i].layers = len(model.layers)
            del model
    return found
