"""Times how long networks take to build, ours and keras.applications' own, in turns.

    python -m benchmarks.build
    python -m benchmarks.build "resnet*" --times=5

Both are built with random weights, at the row's own input shape. The ratio is of the medians, ours over theirs: below 1
ours is the faster one. Where Keras's network leaves out the scale of each normalisation, as its Inceptions do, ours is
built without it too, so that both make the same weights.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from absl import flags

from benchmarks import quiet

with quiet.start_up():
    import keras

# isort: split
import architectures
import kblocks as kb
from benchmarks import console
from benchmarks.console import UsageError

WITHOUT_SCALE = ("inception_v3", "inception_resnet_v2")

FLAGS = flags.FLAGS
flags.DEFINE_integer("times", 3, "How often each network is built.", lower_bound=1)


def main(patterns: Sequence[str]) -> None:
    """Prints a line for each row that keras.applications has too."""
    wanted = [arch for pattern in patterns or ("*",) for arch in architectures.names(pattern)]
    rows = {arch: row for arch in wanted if (row := architectures.variant(arch)).keras is not None}
    if not rows:
        raise UsageError(f"no network of keras.applications matches {' '.join(patterns)!r}")
    console.say(f"{'network':34}{'ours, s':>10}{'Keras, s':>10}{'ratio':>8}")
    ratios = []
    for arch, row in rows.items():
        alike = {"style": without_scale(row.spec.style)} if arch in WITHOUT_SCALE else {}
        ours, theirs = alternate(partial(architectures.create, arch, **alike), partial(row.keras, weights=None))
        ratios.append(ours / theirs)
        console.say(f"{arch:34}{ours:10.2f}{theirs:10.2f}{ratios[-1]:8.2f}")
    console.say(f"{'median of the ratios':54}{statistics.median(ratios):8.2f}")


def without_scale(style: kb.Style) -> kb.Style:
    """A style whose normalisations have no γ."""
    return replace(style, norm=partial(style.norm, scale=False))


def alternate(*makers: Callable[[], keras.Model]) -> list[float]:
    """The median seconds of each, all of them once in each round; the first round is not counted."""
    seconds: list[list[float]] = [[] for _ in makers]
    for turn in range(FLAGS.times + 1):
        for maker, taken in zip(makers, seconds, strict=True):
            keras.utils.clear_session()
            gc.collect()  # what the other left
            began = time.perf_counter()
            maker()
            if turn:
                taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]


if __name__ == "__main__":
    console.launch(main, positional=True)
