"""Which runs make a row, which rows are together, and their figures."""

import itertools
import json
import math
import statistics

import pytest

from benchmarks import records
from benchmarks.measure import stats
from benchmarks.reporting import summary
from benchmarks.terminal.errors import UsageError
from tests.support.records import ENVIRONMENT, compared, record, trained


def test_runs_of_a_configuration_are_a_row_with_median_rate(rows):
    rates = (100.0, 900.0, 200.0, 300.0)
    (row,) = rows(*(record(rate, seed=i, learning_rate=0.1 + i) for i, rate in enumerate(rates)))
    assert row.rate == 250.0
    assert len(row.runs) == 4
    assert row.blocks == ([5] * 16, [5 * 128 / rate for rate in rates for _ in range(4)])
    assert row.interval == (None, None)


def test_the_interval_of_a_single_run_is_that_of_its_blocks(rows):
    blocks = {"block_steps": [1, 99], "block_seconds": [1.0, 9.0], "batch_size": 2}
    (row,) = rows(record(20.0, **blocks))
    assert row.interval == stats.rate_interval([1, 99], [1.0, 9.0], 2)
    (row,) = rows(trained())
    assert row.interval == (None, None)


@pytest.mark.parametrize(("count", "low", "high"), [(5, 1, 5), (7, 2, 6)])
def test_the_interval_of_enough_runs_is_that_of_their_median(rows, count, low, high):
    # Of n draws from n runs most are the lowest run in 5.8 % of all cases for n = 5, and in 1.0 % for n = 7; most are
    # of the two lowest in 9.7 % for n = 7. So 2.5 % are reached by the lowest, and by the second lowest.
    (row,) = rows(*(record(float(rate)) for rate in range(1, count + 1)))
    assert row.interval == (low, high)


def test_a_run_that_two_files_hold_counts_once(tmp_path):
    paths = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for path in paths:
        path.write_text(json.dumps(record(100.0)) + "\n")
    (section,) = summary.sections(itertools.chain(*records.gather(map(str, paths))))
    (row,) = section.rows
    assert len(row.runs) == 1


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"commit": "b" * 40}, ["commit aaaaaaa", "commit bbbbbbb"]),
        ({"commit_is_changed": True}, ["commit aaaaaaa", "commit aaaaaaa changed"]),
        ({"optimizer": "adam"}, ["optimizer sgd", "optimizer adam"]),
        ({"versions": ENVIRONMENT["versions"] | {"keras": "3.13"}}, ["keras 3.12.0", "keras 3.13"]),
        ({"augment": False}, ["augment True", "augment False"]),
        ({"batch_size": 64}, ["", ""]),
        ({"arch": "lenet"}, ["", ""]),
        ({"overrides": ["dropout=0.5"]}, ["", ""]),
        ({"dataset": "mnist"}, ["", ""]),
        ({"input": "stream"}, ["", ""]),
        ({"peer": "torch"}, ["", ""]),
        ({"backend": "torch"}, ["", ""]),
        ({"versions": ENVIRONMENT["versions"] | {"jax": "0.8"}}, ["", ""]),
        ({"dtype_policy": "mixed_float16"}, ["", ""]),
        ({"tf32": True}, ["", ""]),
        ({"jit": False}, ["", ""]),
    ],
)
def test_what_a_rate_depends_on_makes_distinguishable_rows(rows, change, note):
    both = rows(record(), record(**change))
    assert len(both) == 2
    assert sorted(row.note for row in both) == sorted(note)
    looks = {(row.settings["network"], row.settings["dataset"], row.settings["batch_size"], row.how) for row in both}
    assert len(looks) == 2


def test_a_note_is_on_the_whole_line_and_on_no_other(rows):
    found = rows(record(), record(commit="b" * 40), record(batch_size=256), record(arch="lenet", commit="b" * 40))
    assert {(row.settings["network"], row.settings["batch_size"]): row.note for row in found[1:]} == {
        ("resnet20", 128): "commit bbbbbbb",
        ("resnet20", 256): "commit aaaaaaa",
        ("lenet", 128): "",
    }


def test_trainings_differ_by_learning_rate_and_epochs(rows):
    found = rows(*(trained(score=score, seed=i) for i, score in enumerate((0.5, 0.7, 0.9))), trained(learning_rate=1.0))
    assert [row.note for row in found] == ["learning rate 0.1", "learning rate 1.0"]
    assert found[0].score == ("accuracy", 0.7)
    assert len(rows(trained(), trained(epochs=3), record())) == 3
    (row,) = rows(trained(metric="pair_accuracy"))
    assert row.score == ("pair accuracy", 0.9)


def test_the_peer_of_version_1_is_that_of_version_2(rows):
    old = record(version=1, input="plain_torch", backend="torch")
    for field in ("peer", "examples"):
        del old[field]
    (row,) = rows(old, record(version=2, peer="torch", backend="torch", examples=None))
    assert row.how == "torch 2.9, resident, peer torch, float32, XLA"


def test_what_must_not_be_compared_is_in_sections_of_its_own(sections):
    gpu = {"device": "Big GPU"}
    found = sections(
        record(mode="inference", optimizer=None, optimizer_arguments=None, learning_rate=None),
        record(data="synthetic", dataset="synthetic"),
        record(data="generated", dataset="generated_28x28x1"),
        record(**gpu),
        record(),
        record(data="npz:mine.npz", dataset="mine"),
    )
    here, there = "2 cores of Abacus 9", "Big GPU with 2 cores of Abacus 9"
    assert [(section.device, section.title, len(section.rows)) for section in found] == [
        (here, "Training on real images", 2),
        (here, "Training on drawn digits", 1),
        (here, "Training on random numbers", 1),
        (here, "Inference on real images", 1),
        (there, "Training on real images", 1),
    ]


def test_rows_of_a_network_are_together_by_batch_size(rows):
    found = rows(
        record(batch_size=512), record(arch="lenet"), record(batch_size=64), record(arch="lenet", batch_size=2)
    )
    order = [(row.settings["network"], row.settings["batch_size"]) for row in found]
    assert order == [("resnet20", 64), ("resnet20", 512), ("lenet", 2), ("lenet", 128)]


@pytest.mark.parametrize("field", ["arch", "params", "environment", "cpu_cores", "time", "command"])
def test_a_line_that_lacks_something_is_named(sections, field):
    wrong = record(environment=dict(ENVIRONMENT))
    del (wrong if field in wrong else wrong["environment"])[field]
    with pytest.raises(UsageError, match=rf"runs\.jsonl, line 2, lacks a field or has it in another form: '{field}'"):
        sections(record(), wrong)


RATES = [{"images_per_second": rate} for rate in (0, 0.0, -1.0, None, "fast", True, math.nan, math.inf)]
FIELDS = [
    {"block_seconds": [0.1, 0.0, 0.1, 0.1]}, {"block_seconds": [0.1] * 3}, {"block_seconds": None}, {"block_steps": []},
    {"batch_size": None}, {"batch_size": 0}, {"batch_size": -1}, {"batch_size": "8"}, {"dataset": None},
    {"mode": None}, {"trainable_params": None}, {"status": None}, {"overrides": 3}, {"data": 3}, {"environment": None},
    {"flops_per_second": None}, {"flops_per_step": "many"}, {"peak_flops_per_second": 0.0}, {"script": "other"},
]  # fmt: skip


@pytest.mark.parametrize("change", [*RATES, *FIELDS], ids=str)
def test_a_field_of_another_form_is_named(sections, change):
    with pytest.raises(UsageError, match=r"runs\.jsonl, line 2, lacks .*'(\w+)'") as caught:
        sections(record(), record() | change)
    assert f"'{next(iter(change))}'" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"ratio": None}, {"environment": None}, {"ratio_low": None}, {"runs": 0}, {"peer": None}, {"p_value": "small"}],
    ids=str,
)
def test_a_field_of_a_comparison_of_another_form_is_named(sections, change):
    with pytest.raises(UsageError, match=r"runs\.jsonl, line 1, lacks .*'(\w+)'") as caught:
        sections(compared() | change)
    assert f"'{next(iter(change))}'" in str(caught.value)


@pytest.mark.parametrize("field", ["epochs", "train_seconds", "images_per_second"])
def test_a_training_without_its_figures_is_named(sections, field):
    with pytest.raises(UsageError, match=rf"'{field}' is None"):
        sections(trained() | {field: None})


def test_a_share_is_of_the_highest_peak_of_the_device(rows):
    half, most = record(rate=500.0, peak_flops_per_second=5e11), record(batch_size=64, rate=2000.0)
    other = record(arch="lenet", dtype_policy="bfloat16", peak_flops_per_second=None)
    found = rows(half, most, other)
    assert [row.peak_share for row in found] == pytest.approx([240e6 * 2000 / 1e12, 240e6 * 500 / 1e12, None])


def test_a_share_is_of_a_peak_of_an_equal_device(rows, sections):
    other = {"kernel": "6.2", "peak_flops_per_second": 4e12}
    here, there = sections(record(peak_flops_per_second=None), record(**other), record(batch_size=64))
    assert [row.peak_share for row in here.rows] == pytest.approx([240e6 * 1000 / 1e12] * 2)
    assert [row.peak_share for row in there.rows] == pytest.approx([240e6 * 1000 / 4e12])
    assert (here.device, there.device) == ("2 cores of Abacus 9 (kernel 6.1)", "2 cores of Abacus 9 (kernel 6.2)")
    # Of old records it is not known whether devices of one name are equal: a share is of the run's own peak.
    old = {"kernel": None, "cpu_flags": None}
    found = rows(
        record(**old, peak_flops_per_second=1e12), record(2000.0, **old, peak_flops_per_second=4e12),
        record(3000.0, **old, peak_flops_per_second=None), record(**old, batch_size=64, peak_flops_per_second=None),
    )  # fmt: skip
    shares = [row.peak_share for row in found]
    assert shares == [None, pytest.approx((240e6 * 1000 / 1e12 + 240e6 * 2000 / 4e12) / 2)]


def test_devices_of_one_name_are_distinguished_by_what_differs(sections):
    found = sections(record(), record(cpu_flags=["abc", "new", "xyz"]), record(memory_bytes=2**35), record(cpu="Other"))
    assert [section.device.removeprefix("2 cores of ") for section in found] == [
        "Abacus 9 (cpu_flags fewer, memory_bytes 16)",
        "Abacus 9 (cpu_flags new, memory_bytes 16)",
        "Abacus 9 (cpu_flags fewer, memory_bytes 32)",
        "Other",
    ]


def test_comparisons_are_no_runs(sections):
    assert sections(compared()) == []
    assert summary.comparisons([record(), compared()]) == [compared()]


def test_networks_of_different_sizes_are_rows_of_their_own(rows):
    found = rows(record(), record(macs=50_000_000))
    assert [row.note for row in found] == ["macs 40000000", "macs 50000000"]


def test_medians_are_of_runs_that_have_the_field(rows):
    (row,) = rows(record(peak_share=None), record(2000.0, peak_share=0.5), record(3000.0, peak_share=0.25))
    assert row.figure("peak_share") == statistics.median([0.5, 0.25])
    assert row.figure("nothing") is None
