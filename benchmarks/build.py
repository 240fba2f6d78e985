"""Times how long networks take to build, ours and keras.applications' own, in turns.

    python -m benchmarks.build
    python -m benchmarks.build "resnet*" --times=9

Both are built with random weights, at the row's own input shape. The ratio is of the medians, ours over theirs: below 1
ours is faster; if its 95 % bootstrap interval contains 1, no difference is shown. What Keras's network lacks, the scale
of each normalisation in its Inceptions and the dropout in its VGGs, is removed from ours. The table shows both numbers
of layers.
"""

import statistics
from collections.abc import Sequence

from absl import flags

from benchmarks.measure import stats
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError
from benchmarks.terminal.launch import launch, start_keras

FLAGS = flags.FLAGS
flags.DEFINE_integer("times", 5, "How often each network is built.", lower_bound=1)


def main(patterns: Sequence[str]) -> None:
    """Prints a line for each row that keras.applications has too."""
    start_keras()
    from benchmarks.measure import building

    names = building.networks(list(patterns))
    if not names:
        raise UsageError(f"no network of keras.applications matches {' '.join(patterns)!r}")
    console.say(
        f"{'network':30}{'layers of ours, Keras':>23}{'ours, s':>10}{'Keras, s':>10}{'ratio':>8}{'interval':>13}"
    )
    ratios = []
    for arch in names:
        ours, theirs = building.both(arch, FLAGS.times)
        a, b = (statistics.median(side.seconds) for side in (ours, theirs))
        low, high = stats.ratio_interval(theirs.seconds, ours.seconds)
        ratios.append(a / b)
        counts = f"{ours.layers}, {theirs.layers}"
        interval = "" if low is None else f"{low:.2f}–{high:.2f}"
        console.say(f"{arch:30}{counts:>23}{a:10.2f}{b:10.2f}{ratios[-1]:8.2f}{interval:>13}")
    console.say(f"{'median of the ratios':73}{statistics.median(ratios):8.2f}")


if __name__ == "__main__":
    launch(main, positional=True)
