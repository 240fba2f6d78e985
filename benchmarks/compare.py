"""Compares the throughput of the runs of two files, and tests whether the difference is significant.

    python -m benchmarks.compare before.jsonl after.jsonl
    python -m benchmarks.compare tensorflow.jsonl jax.jsonl --across=backend,jit
    python -m benchmarks.compare before.jsonl after.jsonl --fail_below=0.97

Each record is one run in its own process, and runs are what is counted, not blocks. So time each configuration at least
five times, if possible in turns: what slows the machine for a while then slows both sides.

    for i in 1 2 3 4 5; do
        KERAS_BACKEND=tensorflow python -m benchmarks.throughput --out=tensorflow.jsonl
        KERAS_BACKEND=jax python -m benchmarks.throughput --out=jax.jsonl
    done

A record that is in both files, or twice in one, counts once, as the first file's.

Runs of the same configuration (docs/records.md) in both files make a row of the table: the median throughput of each
side, the ratio B/A with its 95 % confidence interval (bootstrap over runs), and the two-sided Mann–Whitney U test at
5 %, corrected for the number of rows. Fields that differ on purpose are named by `--across`.

`--fail_below=RATIO` ends with status 2 where a row fails: its ratio is below RATIO, and either its whole interval is
below RATIO too or it has too few runs for an interval. Unmatched rows don't fail. Status 1 is for files that can't be
compared.
"""

from collections.abc import Sequence

from absl import flags

from benchmarks import records
from benchmarks.records.identity import FIELDS
from benchmarks.reporting import comparison, significance
from benchmarks.terminal.errors import UsageError
from benchmarks.terminal.launch import launch

FLAGS = flags.FLAGS
flags.DEFINE_list("across", [], f"Fields that may differ between the two files, of {', '.join(FIELDS)}.")
flags.DEFINE_float("fail_below", None, "End with status 2 where a ratio B/A is below this.", lower_bound=0.0)


def main(paths: Sequence[str]) -> None:
    """Prints the comparison; fails where `--fail_below` says so."""
    across, floor = FLAGS.across, FLAGS.fail_below
    significance.check_floor(floor)
    if len(paths) != 2:
        raise UsageError(f"two files of records are compared, as A.jsonl B.jsonl; got {len(paths)}")
    for field in across:
        if field not in FIELDS:
            raise UsageError(f"--across must be of {', '.join(FIELDS)}; got {field!r}")
    a, b = (significance.sides(path, found, across) for path, found in zip(paths, records.gather(paths), strict=True))
    rows = significance.judge(significance.pair(a, b, across))
    comparison.show(paths, a, b, rows)
    failed = [] if floor is None else [row for row in rows if significance.fails(row, floor)]
    if failed:
        comparison.show_failed(failed, floor, a, b)
        raise SystemExit(2)


if __name__ == "__main__":
    launch(main, positional=True)
