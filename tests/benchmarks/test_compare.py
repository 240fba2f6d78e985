"""The comparison: what is paired, what is refused and in which words, when a difference counts, and exit statuses."""

import itertools
import json
import statistics
import sys

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from benchmarks import compare
from benchmarks.records import identity
from benchmarks.reporting import significance
from benchmarks.terminal import console
from benchmarks.terminal.errors import UsageError
from tests.support import records as made
from tests.support.process import python

scipy_stats = pytest.importorskip("scipy.stats")

SLOW = (100.0, 101.0, 102.0, 103.0, 104.0)
FAST = (110.0, 111.0, 112.0, 113.0, 114.0)
TIMES = itertools.count()


@pytest.fixture(autouse=True)
def parsed():
    """Flags as on an empty command line, in a wide terminal."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["compare"])
    with flagsaver.flagsaver(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(console.console, "width", 250)
        yield


def record(rate=100.0, **fields):
    """A record, each of a run of its own."""
    return made.record(rate, **{"macs": 10, "time": str(next(TIMES)), **fields})


def runs(rates, **fields):
    """A record for each rate."""
    return [record(rate, **fields) for rate in rates]


@pytest.fixture
def compared(tmp_path, capsys):
    """A function that writes the records of both sides, compares them and returns what was printed."""

    def run(a, b, **options):
        paths = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
        for path, side in zip(paths, (a, b), strict=True):
            path.write_text("".join(json.dumps(each) + "\n" for each in side))
        with flagsaver.flagsaver(**options):
            compare.main([str(path) for path in paths])
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(compared):
    """The same where the comparison is refused; returns the sentence."""

    def run(a, b, **options):
        with pytest.raises(UsageError) as caught:
            compared(a, b, **options)
        return str(caught.value)

    return run


def cells(printed):
    """The cells of the table's rows."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]


def test_a_row_has_medians_ratio_interval_and_verdict(compared):
    # No run of A is as fast as any of B: of the 252 ways to share out ten ranks, that and its mirror image.
    (row,) = cells(compared(runs(SLOW), runs(FAST)))
    ratios = [110 / 104, 114 / 100]
    assert row[:5] == ["resnet20", "5, 5", "102", "112", f"{112 / 102:.3f}"]
    low, high = map(float, row[5].split(" to "))
    assert ratios[0] <= low + 0.001 < 112 / 102 < high - 0.001 <= ratios[1]
    assert row[6] == f"B is faster, p = {2 / 252:.2g}"
    (row,) = cells(compared(runs(FAST), runs(SLOW)))
    assert row[4] == f"{102 / 112:.3f}"
    assert row[6] == f"B is slower, p = {2 / 252:.2g}"


def test_a_disturbed_run_is_no_matter(compared):
    (row,) = cells(compared(runs((*SLOW, 1.0)), runs((*FAST, 1e6))))
    assert row[2:5] == ["102", "112", f"{112.5 / 101.5:.3f}"]


def test_rates_that_overlap_do_not_differ(compared):
    (row,) = cells(compared(runs((1.0, 3.0, 5.0, 7.0, 9.0)), runs((2.0, 4.0, 6.0, 8.0, 10.0))))
    # Ranks 1, 3, 5, 7, 9 sum to 25, which is U = 10 of 25; 174 of the 252 subsets are as far from the middle.
    sums = [abs(sum(each) - 27.5) for each in itertools.combinations(range(1, 11), 5)]
    p_value = sum(far >= 2.5 for far in sums) / len(sums)
    assert row[6] == f"no difference shown, p = {p_value:.2g}"


@pytest.mark.parametrize("seed", range(4))
def test_the_u_test_is_that_of_all_orders_and_that_of_scipy(seed):
    generator = np.random.default_rng(seed)
    a, b = list(generator.normal(100, 5, 5)), list(generator.normal(104, 5, 6))
    pooled = a + b

    def wins(chosen):
        rest = [pooled[index] for index in range(11) if index not in chosen]
        return sum(pooled[index] > other for index in chosen for other in rest)

    far = [abs(wins(chosen) - 15) for chosen in itertools.combinations(range(11), 5)]
    p_value = sum(each >= abs(wins(range(5)) - 15) for each in far) / len(far)
    assert significance.u_test(a, b) == pytest.approx(p_value)
    assert significance.u_test(a, b) == scipy_stats.mannwhitneyu(a, b, alternative="two-sided").pvalue


def test_equal_rates_are_no_difference(compared):
    (row,) = cells(compared(runs([100.0] * 5), runs([100.0] * 5)))
    assert row[4:] == ["1.000", "1.000 to 1.000", "no difference shown, p = 1"]


def test_holm_corrects_for_the_number_of_rows():
    assert significance.holm([]) == []
    assert significance.holm([0.03]) == [0.03]
    assert significance.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert significance.holm([0.9, 0.02, 0.8]) == pytest.approx([1.0, 0.06, 1.0])


def test_rows_are_corrected_for_each_other(compared):
    # Alone each would pass at 2/252 = 0.0079; of seven, seven times that would not.
    sizes = 2 ** np.arange(7)
    a = [each for size in sizes for each in runs(SLOW, batch_size=int(size))]
    b = [each for size in sizes for each in runs(FAST, batch_size=int(size))]
    six = compared(a[:30], b[:30])
    assert [row[6] for row in cells(six)] == [f"B is faster, p = {6 * 2 / 252:.2g}"] * 6
    assert "no difference can show" not in six
    seven = compared(a, b)
    assert [row[6] for row in cells(seven)] == [f"no difference shown, p = {7 * 2 / 252:.2g}"] * 7
    # Of six runs a side there are 924 orders: 7 · 2/924 is 0.015.
    assert "with 7 rows no difference can show: at least 6 runs a side are needed" in seven


def test_rows_with_too_few_runs_take_no_part_in_the_correction(compared):
    a, b = runs(SLOW) + runs(SLOW[:3], batch_size=1), runs(FAST) + runs(FAST, batch_size=1)
    rows = cells(compared(a, b))
    assert rows[0][6] == f"B is faster, p = {2 / 252:.2g}"
    assert rows[1][1] == "3, 5"
    assert rows[1][5:] == ["", "too few runs (3, 5): at least five a side are needed"]


@pytest.mark.parametrize(("a", "b"), [(4, 5), (5, 4), (1, 1), (4, 40)])
def test_fewer_than_five_runs_on_a_side_are_too_few(compared, a, b):
    (row,) = cells(compared(runs([100.0 + run for run in range(a)]), runs([200.0 + run for run in range(b)])))
    assert row[6] == f"too few runs ({a}, {b}): at least five a side are needed"
    assert row[2] == f"{statistics.median(range(100, 100 + a)):,.0f}"


def test_the_blocks_of_one_process_are_not_runs(compared):
    # A process that slows down as it goes: a hundred blocks on each side that would look quite unlike each other.
    drift = {"block_steps": [10] * 100, "block_seconds": [1 + 0.01 * block for block in range(100)]}
    calm = {"block_steps": [10] * 100, "block_seconds": [1.0] * 100}
    (row,) = cells(compared([record(100.0, **drift)], [record(150.0, **calm)]))
    assert row[1] == "1, 1"
    assert row[5:] == ["", "too few runs (1, 1): at least five a side are needed"]


def test_rows_are_paired_by_configuration_wherever_they_stand(compared):
    a = [record(rate, batch_size=size) for size in (32, 64, 16) for rate in (size, size + 2.0)]
    b = [record(2 * rate, batch_size=size) for rate in (1.0, 2.0) for size in (128, 16, 32)]
    printed = compared(a, b)
    assert [row[:5] for row in cells(printed)] == [
        ["resnet20, batch_size 32", "2, 2", "33", "3", f"{3 / 33:.3f}"],
        ["resnet20, batch_size 16", "2, 2", "17", "3", f"{3 / 17:.3f}"],
    ]
    assert "unmatched, in A alone: resnet20, batch_size 64 (2 runs)" in printed
    assert "unmatched, in B alone: resnet20, batch_size 128 (2 runs)" in printed
    assert printed.count("unmatched") == 2
    assert "a.jsonl, 6 runs" in printed
    assert "the same everywhere: script throughput, mode training, dataset cifar10, data tfds" in printed


DIFFERENCES = [
    ("script", {"script": "train", "epochs": 1, "train_seconds": 9.0}, "throughput and train"),
    ("arch", {"arch": "lenet"}, "resnet20 and lenet"),
    ("macs", {"macs": 11}, "10 and 11"),
    ("overrides", {"overrides": ["depths=[3, 3]", "drop_path=0.1"]}, "none and depths=[3, 3] drop_path=0.1"),
    ("mode", {"mode": "inference"}, "training and inference"),
    ("dataset", {"dataset": "mnist"}, "cifar10 and mnist"),
    ("data", {"data": "npz:/data/mine.npz"}, "tfds and npz"),
    ("augment", {"augment": False}, "on and off"),
    ("input", {"input": "fit"}, "resident and fit"),
    ("peer", {"peer": "timm:resnet20"}, "none and timm:resnet20"),
    ("batch_size", {"batch_size": 256}, "128 and 256"),
    ("backend", {"backend": "torch"}, "jax and torch"),
    ("dtype_policy", {"dtype_policy": "mixed_bfloat16"}, "float32 and mixed_bfloat16"),
    ("jit", {"jit": False}, "on and off"),
    ("optimizer", {"optimizer": None}, "sgd and none"),
    (
        "optimizer_arguments",
        {"optimizer_arguments": {"nesterov": True, "momentum": 0.9}},
        "none and momentum=0.9 nesterov=True",
    ),
    ("device", {"device": "Big GPU"}, "2 cores of Abacus 9 and Big GPU with 2 cores of Abacus 9"),
    ("device", {"cpu": "Abacus 10"}, "2 cores of Abacus 9 and 2 cores of Abacus 10"),
    ("device", {"cpu_cores": 4}, "2 cores of Abacus 9 and 4 cores of Abacus 9"),
    ("device", {"kernel": "6.2"}, "2 cores of Abacus 9 (kernel 6.1) and 2 cores of Abacus 9 (kernel 6.2)"),
    (
        "device",
        {"memory_bytes": 2**35, "cpu_flags": ["abc", "new"]},
        "2 cores of Abacus 9 (cpu_flags xyz, memory_bytes 16) and 2 cores of Abacus 9 (cpu_flags new, memory_bytes 32)",
    ),
    ("tf32", {"tf32": True}, "off and on"),
    ("onednn", {"onednn": False}, "on and off"),
    ("examples", {"examples": 128}, "50000 and 128"),
    ("model_hash", {"model_hash": "12ab"}, "none and 12ab"),
    ("input_shapes", {"input_shapes": [[64, 64, 3]]}, "none and 64×64×3"),
]


@pytest.mark.parametrize(("field", "other", "values"), DIFFERENCES)
def test_a_difference_is_refused_unless_named_by_across(compared, refused, field, other, values):
    a, b = runs(SLOW), runs(FAST, **other)
    assert refused(a, b) == (f"the rows differ in {field} ({values}); --across={field} compares them all the same")
    printed = compared(a, b, across=[field])
    (row,) = cells(printed)
    assert row[0] == ("resnet20" if field != "arch" else "resnet20 / lenet") + (
        "" if field == "arch" else f", {field} {values.replace(' and ', ' / ')}"
    )
    assert row[1] == "5, 5"


def test_every_field_of_the_key_has_been_tried():
    assert {field for field, _, _ in DIFFERENCES} == set(identity.FIELDS)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 7}, {"learning_rate": 0.5}, {"params": 11}, {"steps": 3}, {"overrides": []},
        {"block_steps": [1], "block_seconds": [2.0]}, {"memory_bytes": 2**34 + 2**20}, {"cpu_flags": ["xyz", "abc"]},
        {"commit": "b" * 40}, {"onednn": True}, {"versions": {"keras": "3.99"}},
    ],
)  # fmt: skip
def test_what_is_no_matter_keeps_nothing_apart(compared, other):
    assert len(cells(compared(runs(SLOW), runs(FAST, **other)))) == 1


def test_overrides_are_those_of_the_last_value_in_any_order(compared, refused):
    a, b = runs(SLOW, overrides=["a=1", "b=2"]), runs(FAST, overrides=["b=3", "b=2", "a=1"])
    assert len(cells(compared(a, b))) == 1
    assert "overrides (a=1 b=2 and a=2 b=1)" in refused(a, runs(FAST, overrides=["a=2", "b=1"]))


def test_brackets_are_printed_as_they_are(compared):
    a = runs(SLOW, overrides=["widths=[bold]"]) + runs(SLOW)
    b = [each | {"seed": 1} for each in a]
    assert [row[0] for row in cells(compared(a, b))] == ["resnet20, overrides widths=[bold]", "resnet20"]


def test_the_closest_rows_are_named_where_nothing_pairs(refused):
    a = runs(SLOW, batch_size=32, backend="torch", input="fit") + runs(SLOW, batch_size=128)
    b = runs(FAST, batch_size=256, jit=False) + runs(FAST, batch_size=16, arch="lenet", mode="inference")
    assert refused(a, b) == (
        "the closest rows differ in batch_size (128 and 256) and jit (on and off); "
        "--across=batch_size,jit compares them all the same"
    )
    message = refused(a[5:], b[:5], across=["batch_size"])
    assert message == "the rows differ in jit (on and off); --across=batch_size,jit compares them all the same"


def test_another_device_is_refused_even_where_other_rows_pair(compared, refused):
    a = runs(SLOW) + runs(SLOW, batch_size=256)
    b = runs(FAST) + runs(FAST, batch_size=256, cpu_cores=8)
    cores = "2 cores of Abacus 9 and 8 cores of Abacus 9"
    message = f"rows differ in device ({cores}); --across=device compares them all the same"
    assert refused(a, b) == f"the {message}"
    # Nor are other rows, as close to each other, what the message names then.
    assert refused(runs(SLOW, batch_size=64) + a, runs(FAST, batch_size=32) + b) == f"the closest {message}"
    assert len(cells(compared(a, b, across=["device"]))) == 2


def test_a_device_that_only_one_side_has_is_unmatched(compared):
    printed = compared(runs(SLOW) + runs(SLOW, device="Big GPU"), runs(FAST))
    assert len(cells(printed)) == 1
    assert "unmatched, in A alone: resnet20, device Big GPU with 2 cores of Abacus 9 (5 runs)" in printed


def test_a_mixture_on_one_side_is_refused(refused):
    a = runs(SLOW, backend="tensorflow") + runs(FAST, backend="torch")
    message = refused(a, runs(FAST), across=["backend"])
    assert "a.jsonl holds resnet20 with backend tensorflow and torch; with --across=backend each file" in message
    message = refused(runs(FAST), a, across=["backend"])
    assert "b.jsonl holds" in message


def test_only_records_of_status_ok_are_compared(compared, refused):
    failed = [
        *(made.failed(seed=seed) for seed in range(3)),
        made.failed(status="non_finite_loss"),
        record(9e9, status="non_finite_loss"),
    ]
    printed = compared(failed[:4] + runs(SLOW) + failed[4:], runs(FAST))
    assert "a.jsonl: not compared are 2 of status non_finite_loss, 3 of status out_of_memory\n" in printed
    assert "b.jsonl:" not in printed
    (row,) = cells(printed)
    assert row[1:3] == ["5, 5", "102"]
    message = refused(runs(SLOW), failed[:3])
    assert message.endswith("b.jsonl holds no record of status ok of its own, but 3 of status out_of_memory")
    assert refused([], runs(SLOW)).endswith("a.jsonl holds no record of status ok of its own")


def test_old_records_have_no_status_and_no_mode(compared):
    old = [{key: value for key, value in each.items() if key not in ("status", "mode")} for each in runs(SLOW)]
    assert len(cells(compared(old, runs(FAST)))) == 1


@pytest.mark.parametrize("version", [1, 2, None])
def test_another_version_is_refused(refused, version):
    message = refused(runs(SLOW), [*runs(FAST), record(1.0, version=version)])
    assert message.endswith(f"b.jsonl holds a record of version {version}; only those of version 3 are compared")


def test_a_missing_version_is_refused(refused):
    lacking = record()
    del lacking["version"]
    assert "a.jsonl holds a record of version None" in refused([lacking], runs(FAST))


def test_a_run_that_stands_in_several_places_counts_once(compared, refused):
    a, b = runs(SLOW), runs(FAST)
    (row,) = cells(compared([*a, a[0], *a], [a[1], *b, b[2]]))
    assert row[1] == "5, 5"
    assert row[2:4] == ["102", "112"]
    assert refused(a, a).endswith("b.jsonl holds no record of status ok of its own")


def test_what_is_not_a_whole_record_is_refused(refused):
    wrong = record() | {"images_per_second": True}
    message = "b.jsonl, line 2, lacks a field or has it in another form: 'images_per_second' is True"
    assert refused(runs(SLOW), [record(1.0), wrong]).endswith(message)


@pytest.mark.parametrize("paths", [[], ["a.jsonl"], ["a.jsonl", "b.jsonl", "c.jsonl"]])
def test_two_files_are_compared(paths):
    with pytest.raises(UsageError, match=f"two files of records are compared, as A.jsonl B.jsonl; got {len(paths)}"):
        compare.main(paths)


def test_an_unknown_field_is_refused(refused):
    message = refused(runs(SLOW), runs(FAST), across=["backend", "batchsize"])
    assert message == f"--across must be of {', '.join(identity.FIELDS)}; got 'batchsize'"


def test_without_scipy_one_sentence_says_how_to_get_it(compared, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    assert refused(runs(SLOW), runs(FAST)) == "the comparison needs the package scipy: pip install -e '.[report]'"
    # It is needed only for a test that can be made.
    assert "too few runs" in compared(runs(SLOW[:2]), runs(FAST))


def spread(middle, width):
    """Five rates."""
    return [middle + width * step for step in (-2, -1, 0, 1, 2)]


@pytest.mark.parametrize(
    ("a", "b", "floor", "fails"),
    [
        (spread(100, 0.1), spread(90, 0.1), 0.95, True),  # the whole interval is below
        (spread(100, 0.1), spread(90, 0.1), 0.85, False),
        (spread(100, 10), spread(90, 10), 0.95, False),  # the ratio is below, the interval reaches above
        (spread(100, 0.1), spread(110, 0.1), 1.2, True),  # a floor above 1 asks for a gain
        (spread(100, 0.1), spread(100, 0.1), 1.0, False),  # not below
        ([100.0], [90.0], 0.95, True),  # too few to tell, and below
        ([100.0], [99.0], 0.95, False),
        (spread(100, 10), spread(90, 10)[:4], 0.95, True),  # four runs would not tell
    ],
)
def test_a_row_fails_below_the_floor_with_its_interval(compared, capsys, a, b, floor, fails):
    if not fails:
        assert "failed" not in compared(runs(a), runs(b), fail_below=floor)
        return
    with pytest.raises(SystemExit) as caught:
        compared(runs(a), runs(b), fail_below=floor)
    assert caught.value.code == 2
    ratio = statistics.median(b) / statistics.median(a)
    assert capsys.readouterr().out.endswith(f"failed, below --fail_below={floor:g}: resnet20 ({ratio:.3f})\n")


def test_the_rows_that_failed_are_named_in_one_line(compared, capsys):
    a = [each for size in (1, 2, 4) for each in runs(SLOW, batch_size=size)]
    b = runs(SLOW, batch_size=1) + runs((50.0,) * 5, batch_size=2) + runs((80.0,), batch_size=4)
    with pytest.raises(SystemExit):
        compared(a, b, fail_below=0.9)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "failed, below --fail_below=0.9: resnet20, batch_size 2 (0.490); resnet20, batch_size 4 (0.784)"


def test_a_row_without_a_partner_does_not_fail(compared):
    a = runs(FAST) + runs(FAST, batch_size=256)
    assert "unmatched" in compared(a, runs(FAST), fail_below=0.9)


@pytest.mark.parametrize(
    ("b", "options", "status", "message"),
    [
        (FAST, ["--fail_below=1"], 0, "B is faster"),
        ((50.0,) * 5, ["--fail_below=0.9"], 2, "failed, below --fail_below=0.9: resnet20 (0.490)"),
        (FAST, ["--across=batchsize"], 1, "error: --across must be of"),
    ],
)
def test_exit_statuses(tmp_path, b, options, status, message):
    paths = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for path, rates in zip(paths, (SLOW, b), strict=True):
        path.write_text("".join(json.dumps(each) + "\n" for each in runs(rates)))
    done = python("-m", "benchmarks.compare", *paths, *options, COLUMNS="200")
    assert done.returncode == status, done.stderr
    assert message in (done.stderr if status == 1 else done.stdout)
    assert "Traceback" not in done.stderr
