"""Times how long networks take to build, ours and keras.applications' own, in turns.

    python -m benchmarks.build
    python -m benchmarks.build "resnet*" --times=9

Both are built with random weights, at the row's own input shape. The ratio is of the medians, ours over theirs: below 1
ours is the faster one; where its 95 % interval, a bootstrap, holds 1, the two can't be told apart. Where Keras's
network leaves something out, the scale of each normalisation in its Inceptions and the dropout in its VGGs, ours is
built without it too. What differs still, the table shows: the number of layers.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from absl import flags

from benchmarks.terminal import quiet

with quiet.start_up():
    import keras

# isort: split
import architectures
from benchmarks.cli.launch import launch
from benchmarks.measure import stats
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError

FLAGS = flags.FLAGS
flags.DEFINE_integer("times", 5, "How often each network is built.", lower_bound=1)


def main(patterns: Sequence[str]) -> None:
    """Prints a line for each row that keras.applications has too."""
    wanted = [arch for pattern in patterns or ("*",) for arch in architectures.names(pattern)]
    rows = {arch: row for arch in wanted if (row := architectures.variant(arch)).keras is not None}
    if not rows:
        raise UsageError(f"no network of keras.applications matches {' '.join(patterns)!r}")
    console.say(
        f"{'network':30}{'layers of ours, Keras':>23}{'ours, s':>10}{'Keras, s':>10}{'ratio':>8}{'interval':>13}"
    )
    ratios = []
    for arch, row in rows.items():
        ours, theirs = alternate(
            partial(architectures.create, arch, **alike(arch, row.spec)), partial(row.keras, weights=None)
        )
        a, b = (statistics.median(side.seconds) for side in (ours, theirs))
        low, high = stats.ratio_interval(theirs.seconds, ours.seconds)
        ratios.append(a / b)
        counts = f"{ours.layers}, {theirs.layers}"
        interval = "" if low is None else f"{low:.2f}–{high:.2f}"
        console.say(f"{arch:30}{counts:>23}{a:10.2f}{b:10.2f}{ratios[-1]:8.2f}{interval:>13}")
    console.say(f"{'median of the ratios':73}{statistics.median(ratios):8.2f}")


def alike(arch: str, spec: Any) -> dict[str, Any]:
    """The overrides without which ours has something that keras.applications' network of that name leaves out."""
    if arch.startswith("inception"):
        return {"style": replace(spec.style, norm=partial(spec.style.norm, scale=False))}
    if arch.startswith("vgg"):
        return {"dropout": 0.0}
    return {}


@dataclass
class Built:
    """What a maker's networks have in common: how many layers, and the seconds that each took."""

    layers: int
    seconds: list[float]


def alternate(*makers: Callable[[], keras.Model]) -> list[Built]:
    """Each maker's networks, built once in each round and in turns the first; the opening round is not timed."""
    seconds: list[list[float]] = [[] for _ in makers]
    layers = [0] * len(makers)
    for turn in range(FLAGS.times + 1):
        order = range(len(makers))
        for i in order if turn % 2 else reversed(order):
            keras.utils.clear_session()
            gc.collect()  # what the other left
            began = time.perf_counter()
            model = makers[i]()
            if turn:
                seconds[i].append(time.perf_counter() - began)
            layers[i] = len(model.layers)
            del model
    return [Built(count, taken) for count, taken in zip(layers, seconds, strict=True)]


if __name__ == "__main__":
    launch(main, positional=True)
