"""The report: which runs make a row, which rows stand together, what is drawn, and what is written."""

import base64
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from benchmarks import page, plots, summary
from benchmarks.console import UsageError

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks" / "results" / "two_cores.jsonl"
MARKS = "<!-- results -->", "<!-- end of results -->"
ENVIRONMENT = {
    "time": "2030-01-01T00:00:00+00:00", "device": "CPU", "device_count": 1, "driver": None, "cuda": None,
    "tf32": False, "memory_bytes": 2**34, "cpu": "Abacus 9", "cpu_cores": 2, "platform": "Linux", "python": "3.12.0",
    "versions": {"keras": "3.12.0", "jax": "0.9", "torch": "2.9", "tensorflow": "2.21"},
    "commit": "a" * 40, "commit_is_changed": False, "command": ["throughput.py", "--arch=resnet20"],
}  # fmt: skip


def record(rate=1000.0, **fields):
    """A record of the throughput script whose blocks all go at one rate; the environment's fields are put there."""
    environment = ENVIRONMENT | {field: fields.pop(field) for field in ENVIRONMENT if field in fields}
    batch_size = fields.get("batch_size", 128)
    made = {
        "version": 3, "script": "throughput", "status": "ok", "arch": "resnet20", "overrides": [],
        "dataset": "cifar10", "data": "tfds", "examples": 50000, "input": "resident", "mode": "training", "peer": None,
        "batch_size": batch_size, "augment": True, "backend": "jax", "dtype_policy": "float32", "jit": True,
        "optimizer": "sgd", "optimizer_arguments": {}, "learning_rate": 0.1, "seed": 0, "params": 270000,
        "trainable_params": 270000, "macs": 40000000, "steps": 20, "block_steps": [5] * 4,
        "block_seconds": [5 * batch_size / rate] * 4, "images_per_second": rate, "images_per_second_low": 0.9 * rate,
        "images_per_second_high": 1.2 * rate, "is_steady": True, "peak_memory_bytes": None,
        "peak_resident_bytes": 3 * 2**20, "flops_per_step": 240000000 * batch_size,
        "flops_per_second": 240000000 * rate, "peak_flops_per_second": 1e12, "peak_bytes_per_second": 5e10,
        "peak_share": 240000000 * rate / 1e12, "environment": environment,
    }  # fmt: skip
    return made | fields


def failed(**fields):
    """A record without figures."""
    made = record(**{"status": "out_of_memory", **fields})
    figures = ("images_per_second", "block_", "peak_", "flops_", "is_steady")
    return {field: value for field, value in made.items() if not field.startswith(figures)}


def trained(rate=1000.0, score=0.9, metric="accuracy", **fields):
    """A record of the training script."""
    made = failed(script="train", status="ok", **{"epochs": 2, "train_seconds": 30.0, **fields})
    return made | {"images_per_second": rate, f"test_{metric}": score}


def large_set():
    """Twelve networks with long names at five batch sizes on two backends, with scores and runs out of memory."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(12):
        what = {"arch": f"network_number_{i}_with_a_name_that_is_rather_long", "params": int(50_000 * 1.7**i)}
        for backend in ("tensorflow", "jax"):
            for batch_size in (32, 128, 512, 2048, 8192):
                how = {**what, "backend": backend, "batch_size": batch_size, "dtype_policy": "mixed_bfloat16"}
                rate = float(3e6 / 1.7**i * batch_size / (batch_size + 300) * rng.uniform(0.8, 1.2))
                if i + batch_size / 1000 > 15:
                    found.append(failed(**how))
                    continue
                seconds = (5 * batch_size / rate * rng.uniform(0.98, 1.05, 20)).tolist()
                bytes_per_step = 240000000 * batch_size / rng.uniform(5, 90)
                roof = {"peak_flops_per_second": 2e15, "peak_bytes_per_second": 4e12, "bytes_per_step": bytes_per_step}
                found.append(record(rate, block_steps=[5] * 20, block_seconds=seconds, **how, **roof))
            found.append(trained(rate, float(0.9 + 0.003 * i * rng.uniform(0.9, 1)), **{**how, "batch_size": 128}))
    return found


@pytest.fixture
def sections(tmp_path):
    """A function from records to their sections."""

    def read(*found):
        path = tmp_path / "runs.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in found))
        return summary.sections([str(path)])

    return read


@pytest.fixture
def rows(sections):
    """A function from records of one section to its rows."""

    def read(*found):
        (section,) = sections(*found)
        return section.rows

    return read


def test_runs_of_one_configuration_are_a_row_with_the_median_rate(rows):
    rates = (100.0, 900.0, 200.0, 300.0)
    (row,) = rows(*(record(rate, seed=i, learning_rate=0.1 + i) for i, rate in enumerate(rates)))
    assert row.rate == 250.0
    assert len(row.runs) == 4
    assert row.blocks == ([5] * 16, [5 * 128 / rate for rate in rates for _ in range(4)])
    assert row.interval == (None, None)


def test_the_interval_of_a_single_run_is_its_record_s(rows):
    (row,) = rows(record(100.0))
    assert row.interval == (90.0, 120.0)
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
    (section,) = summary.sections(map(str, paths))
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
def test_what_a_rate_depends_on_makes_rows_that_can_be_told_apart(rows, change, note):
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


def test_trainings_differ_by_their_rates_and_epochs_and_their_scores_have_a_median(rows):
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


def test_rows_of_a_network_stand_together_in_order_of_their_batches(rows):
    found = rows(
        record(batch_size=512), record(arch="lenet"), record(batch_size=64), record(arch="lenet", batch_size=2)
    )
    order = [(row.settings["network"], row.settings["batch_size"]) for row in found]
    assert order == [("resnet20", 64), ("resnet20", 512), ("lenet", 2), ("lenet", 128)]


@pytest.mark.parametrize("field", ["arch", "params", "environment", "tf32", "time", "command"])
def test_a_line_that_lacks_something_is_named(sections, field):
    wrong = record(environment=dict(ENVIRONMENT))
    del (wrong if field in wrong else wrong["environment"])[field]
    with pytest.raises(UsageError, match=rf"runs\.jsonl, line 2, lacks a field or has it in another form: '{field}'"):
        sections(record(), wrong)


@pytest.mark.parametrize("rate", [0.0, -1.0, None, "fast"])
def test_a_rate_that_is_none_is_named(sections, rate):
    with pytest.raises(UsageError, match=r"runs\.jsonl, line 2, "):
        sections(record(), record() | {"images_per_second": rate})


def test_a_share_is_of_the_highest_peak_that_was_measured_on_the_device(rows):
    half, most = record(rate=500.0, peak_flops_per_second=5e11), record(batch_size=64, rate=2000.0)
    other = record(arch="lenet", dtype_policy="bfloat16", peak_flops_per_second=None)
    found = rows(half, most, other)
    assert [row.peak_share for row in found] == pytest.approx([240e6 * 2000 / 1e12, 240e6 * 500 / 1e12, None])


def compared(**fields):
    """A record of a comparison."""
    made = {field: record()[field] for field in summary.COMPARISON if field in record()} | {"version": 3}
    figures = {"peer_images_per_second": 10.0, "ratio": 2.0, "ratio_low": 1.9, "ratio_high": 2.1, "p_value": 0.01}
    return made | figures | {"script": "versus", "peer": "fit", "runs": 5} | fields


def test_a_comparison_that_two_files_hold_is_told_once_and_one_that_lacks_something_is_named(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(compared()) + "\n")
    assert report(tmp_path / "a.jsonl", tmp_path / "b.jsonl").count("2.00 (1.90–2.10)") == 1
    lacking = compared()
    del lacking["ratio_low"]
    (tmp_path / "b.jsonl").write_text(json.dumps(lacking) + "\n")
    with pytest.raises(UsageError, match=r"b\.jsonl, line 1, lacks the field ratio_low"):
        summary.comparisons([str(tmp_path / "b.jsonl")])


def test_networks_of_different_sizes_are_rows_of_their_own(rows):
    found = rows(record(), record(macs=50_000_000))
    assert [row.note for row in found] == ["macs 40000000", "macs 50000000"]


# What is drawn


def points(axes):
    """The points that stand for rows."""
    return [point for marker in plots.MARKERS for (point,) in lines(axes, marker=marker)]


@contextlib.contextmanager
def drawing(folder):
    """A function from records of one section to its plots and, by their names, the figures of those that are drawn."""
    figure = pytest.importorskip("matplotlib.figure")
    shown = []
    save = figure.Figure.savefig

    def savefig(self, *arguments, **options):
        shown.append(self)
        save(self, *arguments, **options)

    def draw(*found):
        shown.clear()
        path = folder / "runs.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in found))
        (section,) = summary.sections([str(path)])
        made = list(plots.plots(section, plots.looks(section.rows)))
        names = [plot.name for plot in made if plot.svg is not None]
        return made, dict(zip(names, shown, strict=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure.Figure, "savefig", savefig)
        yield draw


@pytest.fixture
def drawn(tmp_path):
    """See `drawing`."""
    with drawing(tmp_path) as draw:
        yield draw


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The plots and figures of the large set."""
    with drawing(tmp_path_factory.mktemp("large")) as draw:
        return draw(*large_set())


def words(figure):
    """All that is written in a figure."""
    from matplotlib.text import Text

    unseen = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        unseen |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    found = [text for text in figure.findobj(Text) if text not in unseen]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def lines(axes, **properties):
    """The lines of axes that have some properties, as points."""
    chosen = [
        each for each in axes.lines if all(getattr(each, f"get_{key}")() == is_ for key, is_ in properties.items())
    ]
    return [list(map(tuple, each.get_xydata().tolist())) for each in chosen]


def test_throughput_is_drawn_against_batch_size(drawn):
    found = [record(100.0 * i, batch_size=2**i) for i in (5, 7, 6)] + [record(50.0, batch_size=32, backend="torch")]
    _, figures = drawn(*found, failed(batch_size=256), record(arch="lenet"), trained(7.0))
    first, second = figures["batch_sizes"].axes
    assert first.get_title() == "resnet20, cifar10"
    assert second.get_title() == "lenet, cifar10"
    assert (first.get_xscale(), first.xaxis.get_transform().base) == ("log", 2)
    colour, marker = plots.COLOURS[0], plots.MARKERS[0]
    assert lines(first, color=colour, marker=marker) == [[(32, 500), (64, 600), (128, 700)]]
    assert lines(first, color=plots.COLOURS[1], marker=plots.MARKERS[1]) == [[(32, 50)]]
    bars = first.containers[0].lines[2][0].get_segments()
    assert [np.round(bar[:, 1], 6).tolist() for bar in bars] == [[450, 600], [540, 720], [630, 840]]
    (((x, y),),) = lines(first, marker="x")
    assert x == 256
    assert first.get_ylim()[0] < y < 0
    (cross,) = (line for line in first.lines if line.get_marker() == "x")
    assert cross.get_color() == colour
    assert first.get_xlim()[0] < 32 < 256 < first.get_xlim()[1]
    assert first.get_ylim()[1] > 840
    assert min(first.get_yticks()) == 0
    assert second.get_ylim()[0] == 0
    assert not lines(second, marker="x")
    texts = {text.get_text() for text in words(figures["batch_sizes"])}
    assert {"out of memory", "batch size, images a step", "throughput, images/s"} <= texts
    assert {"jax 0.9, resident, float32, XLA", "torch 2.9, resident, float32, XLA", "256"} <= texts


def test_a_network_that_always_failed_has_its_panel(drawn):
    made, figures = drawn(record(), failed(arch="lenet"), failed(arch="lenet", backend="torch", status="gone_wrong"))
    _, second = figures["batch_sizes"].axes
    ((_, above),), ((_, below),) = lines(second, marker="x")
    assert 0 > above > below > second.get_ylim()[0]
    assert "out of memory or gone wrong" in {text.get_text() for text in words(figures["batch_sizes"])}
    assert "cross" in made[0].text


def test_scores_are_drawn_apart_for_each_data_set(drawn):
    mnist = {"dataset": "mnist", "arch": "lenet"}
    found = [trained(10.0, 0.5), trained(20.0, 0.6, arch="wide"), trained(30.0, 0.9, **mnist)]
    found += [trained(40.0, 0.8, backend="torch", **mnist), trained(5.0, 0.7, metric="pair_accuracy", dataset="mnist")]
    made, figures = drawn(*found)
    first, second = figures["scores"].axes
    assert points(first) == [(10, 50), (20, 60)]
    assert points(second) == [(30, 90), (40, 80)]
    assert (first.get_title(), first.get_ylabel(), first.get_xlabel()) == (
        "cifar10", "test accuracy, %", "throughput, images/s",
    )  # fmt: skip
    assert second.get_title() == "mnist"
    assert {"resnet20, 128", "wide, 128", "lenet, 128"} <= {text.get_text() for text in words(figures["scores"])}
    assert "scores" in {plot.name for plot in made}


def test_labels_are_joined_to_their_points(drawn):
    _, figures = drawn(trained(10.0, 0.5), trained(20.0, 0.501, arch="wide"), trained(300.0, 0.9, arch="lenet"))
    (axes,) = figures["scores"].axes
    leaders = [line for line in axes.lines if line.get_transform() == axes.transAxes]
    starts = [
        axes.transData.inverted().transform(line.get_transform().transform(line.get_xydata()[0])) for line in leaders
    ]
    np.testing.assert_allclose(starts, [(10, 50), (20, 50.1), (300, 90)], rtol=1e-6)
    ends = {round(line.get_xydata()[-1][1], 6) for line in leaders}
    assert ends == {round(text.xy[1], 6) for text in axes.texts}


@pytest.mark.parametrize(("first", "second"), [(300.0, 310.0), (3.0, 3.0), (0.21, 0.22), (99.0, 3e6)])
def test_a_scale_has_labels_without_exponents_around_all_points(drawn, first, second):
    _, figures = drawn(record(first), record(second, arch="lenet"))
    axis = figures["parameters"].axes[0].xaxis
    low, high = axis.get_view_interval()
    ticks = dict(zip(axis.get_ticklocs(), (text.get_text() for text in axis.get_ticklabels()), strict=True))
    assert 2 <= len(ticks) <= 6
    assert all(low <= tick <= high for tick in (*ticks, first, second))
    assert {float(text.replace(",", "")) for text in ticks.values()} == {round(tick, 9) for tick in ticks}
    assert not any("e" in text for text in ticks.values())


def test_parameters_are_drawn_at_the_fastest_batch_size(drawn):
    found = [record(10.0, batch_size=1), record(30.0, batch_size=2), record(20.0, batch_size=4)]
    _, figures = drawn(*found, record(5.0, backend="torch"), record(7.0, arch="lenet", params=5000), trained(99.0))
    (axes,) = figures["parameters"].axes
    assert sorted(points(axes)) == [(5, 270000), (7, 5000), (30, 270000)]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("throughput, images/s", "parameters")
    written = [text.get_text() for text in words(figures["parameters"])]
    assert [written.count(name) for name in ("resnet20, cifar10", "lenet, cifar10")] == [1, 1]


def test_step_times_show_percentiles_in_milliseconds(drawn):
    # Steps of 1 to 100 ms, one a block, in disorder: the 5th, 50th and 95th are 5, 50 and 95 ms.
    seconds = [(37 * i % 101) / 1000 for i in range(1, 101)]
    _, figures = drawn(record(block_steps=[1] * 100, block_seconds=seconds))
    left, right = figures["step_times_1"].axes
    assert left.get_xlabel() == "a step, ms"
    assert left.get_xscale() == "log"
    for axes, unit in ((left, 1), (right, 50)):
        (bar,) = lines(axes, linewidth=6)
        assert bar == [(pytest.approx(5 / unit), 0), (pytest.approx(95 / unit), 0)]
        assert lines(axes, marker="|") == [[(pytest.approx(50 / unit), 0)]]
    assert lines(left, linewidth=1) == [[(pytest.approx(1), 0), (pytest.approx(100), 0)]]
    (dots,) = lines(right, marker=".")
    assert (len(dots), dots[0][0], dots[-1][0]) == (plots.DOTS, pytest.approx(0.02), pytest.approx(2))
    texts = {text.get_text() for text in words(figures["step_times_1"])}
    assert {"50 (5–95)", "ms: median (5th–95th percentile)", "resnet20, cifar10, 128"} <= texts


def test_a_block_is_as_long_as_its_mean_step_and_one_far_off_is_an_arrow_at_the_edge(drawn):
    seconds = [0.11, *[0.12] * 32, 9.0]
    _, figures = drawn(record(block_steps=[10] * 34, block_seconds=seconds))
    left, right = figures["step_times_1"].axes
    assert lines(left, marker="|") == [[(pytest.approx(12), 0)]]
    assert lines(right, marker=">") == [[(right.get_xlim()[1], 0)]]
    assert lines(right, marker="<") == [[(right.get_xlim()[0], 0)]]
    assert 0.95 < right.get_xlim()[0] < right.get_xlim()[1] < 1.05


def test_many_step_times_go_on_pages_without_losing_a_row(large):
    made, figures = large
    pages = [figure for name, figure in figures.items() if name.startswith("step_times")]
    medians = [len(lines(figure.axes[0], marker="|")) for figure in pages]
    assert sum(medians) == sum(each["script"] == "throughput" and each["status"] == "ok" for each in large_set())
    assert max(medians) <= plots.BARS
    assert len(medians) > 1
    assert f"Step times, 2 of {len(pages)}" in {plot.title for plot in made}


def test_the_roof_is_the_best_of_each_precision_and_bounds_are_markers(drawn):
    half = {"dtype_policy": "mixed_bfloat16", "peak_flops_per_second": 4e12, "flops_per_second": 1e12}
    found = [
        record(flops_per_second=2e11, peak_bytes_per_second=4e10, peak_flops_per_second=9e11),
        record(arch="lenet", flops_per_second=1e11, flops_per_step=600, bytes_per_step=20),
        record(arch="wide", **half),
    ]
    _, figures = drawn(*found, trained())
    (axes,) = figures["roofline"].axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("arithmetic intensity, FLOP/byte", "arithmetic, GFLOP/s")
    first, last = axes.get_xlim()
    roofs = lines(axes, color="black", linewidth=1.2)
    assert roofs == [
        [(first, pytest.approx(50 * first)), (20, 1000), (last, 1000)],
        [(first, pytest.approx(50 * first)), (80, 4000), (last, 4000)],
    ]
    dashed, solid = lines(axes, linestyle="--"), lines(axes, color=plots.COLOURS[0], linewidth=1, linestyle="-")
    assert dashed == [[(4, 200), (last, 200)], [(20, 1000), (last, 1000)]]
    assert solid == [[(2, 100), (30, 100)]]
    hollow = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() in plots.MARKERS[:2]]
    assert (hollow.count("white"), hollow.count(plots.COLOURS[0])) == (2 + len(roofs), 1)
    texts = {text.get_text() for text in words(figures["roofline"])}
    assert "float32: 1,000 GFLOP/s, ridge at 20 FLOP/byte" in texts
    assert "mixed_bfloat16: 4,000 GFLOP/s, ridge at 80 FLOP/byte" in texts
    assert {"50 GB/s", "resnet20, 128", "lenet, 128", "wide, 128"} <= texts


def test_of_many_rows_the_roofline_names_the_fastest_of_each_line(drawn, large):
    written = [text.get_text().replace("_with_a_name_that_is_rather_long", "") for text in words(large[1]["roofline"])]
    labels = [text for text in written if text.startswith("network")]
    rates = {}
    for each in large_set():
        if each["script"] == "throughput" and each["status"] == "ok":
            line = each["arch"].partition("_with")[0], each["backend"]
            rates.setdefault(line, {})[each["flops_per_second"]] = f"{line[0]}, {each['batch_size']:,}"
    assert sorted(labels) == sorted(line[max(line)] for line in rates.values())
    _, figures = drawn(*(record(batch_size=2**i) for i in range(5)))
    written = [text.get_text() for text in words(figures["roofline"])]
    assert {f"resnet20, {2**i}" for i in range(5)} <= set(written)


def test_what_is_above_the_roof_is_in_view(drawn):
    _, figures = drawn(record(flops_per_second=5e12))
    assert figures["roofline"].axes[0].get_ylim()[1] > 5000


def test_the_roof_of_a_large_device_is_told_in_larger_units(drawn):
    _, figures = drawn(record(peak_flops_per_second=5e14, peak_bytes_per_second=4e12))
    texts = {text.get_text() for text in words(figures["roofline"])}
    assert {"float32: 500 TFLOP/s, ridge at 125 FLOP/byte", "4 TB/s", "arithmetic, TFLOP/s"} <= texts


def test_plots_without_data_are_left_out_with_a_sentence(drawn):
    names = {"batch_sizes", "scores", "parameters", "step_times", "roofline"}
    for found, some in (
        ([failed()], set()),
        ([trained()], set()),
        ([record()], {"batch_sizes", "step_times_1", "roofline"}),
    ):
        made, figures = drawn(*found)
        assert set(figures) == some
        left_out = {plot.name for plot in made if plot.text.startswith("Left out: ")}
        assert left_out == names - {name.removesuffix("_1") for name in some}
    made, figures = drawn(record(peak_flops_per_second=None, peak_bytes_per_second=None, peak_share=None))
    assert "roofline" not in figures


def test_a_look_stands_for_one_way_to_run_in_all_plots(sections):
    (section,) = sections(*(record(backend=backend, dtype_policy=policy) for backend in "abcdefgh" for policy in "xyz"))
    looks = plots.looks(section.rows)
    assert list(looks) == [row.how for row in section.rows]
    assert len(set(looks.values())) == 24
    assert len(set(plots.COLOURS)) == 7
    assert len(set(plots.MARKERS)) == 11


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([0.5], [0.5]),
        ([0.2, 0.5, 0.8], [0.2, 0.5, 0.8]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.5, 0.49], [0.545, 0.445]),
        ([0.5, 0.5, 0.9, 0.5], [0.4, 0.5, 0.9, 0.6]),
        ([1.0, 1.0], [0.9, 1.0]),
        ([-0.5, 0.0, 0.05], [0.0, 0.1, 0.2]),
    ],
)
def test_labels_are_spread_no_further_than_they_must_be(wanted, expected):
    np.testing.assert_allclose(plots.spread(wanted, 0.1), expected, atol=1e-12)


def overlapping(figure):
    """Pairs of texts that cover each other by more than a hair, and texts that leave the figure."""
    renderer = figure.canvas.get_renderer()
    inside = figure.bbox.padded(1)
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in words(figure)]
    boxes = [(text, box.padded(-1)) for text, box in boxes]
    beyond = [text for text, box in boxes if not (inside.contains(*box.min) and inside.contains(*box.max))]
    return beyond + [(a, b) for (a, first), (b, second) in combinations(boxes, 2) if first.overlaps(second)]


def no_text_covers_another(figures):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for name, figure in figures.items():
        FigureCanvasAgg(figure).draw()
        assert not overlapping(figure), name


def test_no_text_covers_another_in_a_large_set(large):
    _, figures = large
    assert len(figures) > 6
    no_text_covers_another(figures)


def test_long_names_leave_room_for_the_axes_and_stand_beside_them(large):
    _, figures = large
    for figure in figures.values():
        for axes in figure.axes:
            box = axes.get_window_extent()
            assert box.width > 0.23 * figure.bbox.width
            beside = [text.get_window_extent() for text in axes.texts if text.get_window_extent().x0 > box.x1]
            assert all(box.y0 - 9 < (each.y0 + each.y1) / 2 < box.y1 + 9 for each in beside)


def test_no_text_covers_another_in_the_records_of_this_repository(drawn):
    for section in summary.sections([str(RECORDS)]):
        _, figures = drawn(*(run for row in section.rows for run in row.runs))
        no_text_covers_another(figures)


# What is written


def python(*arguments, **environment):
    """Runs Python in the checkout."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "300", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def report(*arguments, **environment):
    """Runs the report; fails where it fails."""
    done = python("-m", "benchmarks.report", *arguments, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


NASTY = 'x<script>alert("&")</script>|`*'


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a report on runs of many kinds."""
    pytest.importorskip("matplotlib")
    where = tmp_path_factory.mktemp("report")
    many = [record(float(rate), time=f"2030-01-0{i}T00:00:00+00:00") for i, rate in enumerate(range(500, 570, 10), 1)]
    pair = [record(10.5, batch_size=1), record(12.5, batch_size=1)]
    found = [
        *many, *pair, failed(batch_size=4096), trained(metric="pair_accuracy", score=0.875, epochs=1),
        record(1000.0, batch_size=256, is_steady=False, peak_memory_bytes=5 * 2**20, commit="b" * 40),
        record(arch=NASTY, data="synthetic", dataset="synthetic", command=["throughput.py", f"--arch={NASTY}"]),
        record(mode="inference"), record(device="Big GPU", driver="5.5", cuda="13", backend="torch", tf32=True),
    ]  # fmt: skip
    runs = where / "runs.jsonl"
    runs.write_text("".join(json.dumps(each) + "\n" for each in found))
    printed = report(runs, f"--out={where}/new/report")
    assert printed == f"wrote {where}/new/report/report.html and, with its pictures, report.md\n"
    return where / "new" / "report"


def tables(text):
    """The tables of a Markdown document by the heading above: a dictionary for each row."""
    found = {}
    for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in body.splitlines() if line.startswith("|")]
        if lines:
            headings, _, *cells = [[cell.strip() for cell in line] for line in lines]
            found[title] = [dict(zip(headings, row, strict=True)) for row in cells]
    return found


def test_the_tables_say_it_all(written):
    found = tables((written / "report.md").read_text())
    device = "2 cores of Abacus 9"
    assert [len(found[f"{title}, {device}"]) for title in ("Training on real images", "Inference on real images")] == [
        5,
        1,
    ]
    one, many, scored, steady, failed_row = found[f"Training on real images, {device}"]
    common = {"network": "`resnet20`", "data": "cifar10", "parameters": "270,000"}
    how = "jax 0.9, resident, float32, XLA"
    blank = dict.fromkeys(("runs", "test score", "trained for", "remark"), "")
    assert one == common | blank | {
        "batch": "1", "how": how, "images/s": "11.5", "95 % interval": "range 10.5–12.5", "runs": "2",
        "step, ms": "80 (80–95.2)", "share of peak": "0.276 %", "peak memory": "3 MiB",
    }  # fmt: skip
    assert many == common | blank | {
        "batch": "128", "how": how, "images/s": "530", "95 % interval": "510–550", "runs": "7",
        "step, ms": "242 (229–256)", "share of peak": "12.7 %", "peak memory": "3 MiB",
    }  # fmt: skip
    assert scored == common | dict.fromkeys(one, "") | common | {
        "batch": "128", "how": how, "images/s": "1,000", "test score": "87.50 % pair accuracy",
        "trained for": "1 epoch, 30 s",
    }  # fmt: skip
    assert steady == common | blank | {
        "batch": "256", "how": how, "images/s": "1,000", "95 % interval": "900–1,200", "step, ms": "256 (256–256)",
        "share of peak": "24 %", "peak memory": "5 MiB", "remark": "not steady",
    }  # fmt: skip
    assert failed_row == dict.fromkeys(one, "") | common | {"batch": "4,096", "how": how, "images/s": "out of memory"}
    (inferred,) = found[f"Inference on real images, {device}"]
    assert not {"runs", "test score", "trained for", "remark"} & set(inferred)
    (gpu,) = found[f"Training on real images, Big GPU with {device}"]
    assert gpu["how"] == "torch 2.9, resident, float32 with TF32, XLA"
    (synthetic,) = found[f"Training on random numbers, {device}"]
    assert synthetic["data"] == "synthetic"


def test_the_environment_and_the_commands_are_there(written):
    text = (written / "report.md").read_text()
    found = tables(text)
    here = {row["what"].strip("`"): row["value"] for row in found["2 cores of Abacus 9"]}
    assert (here["processor"], here["cores"], here["memory"]) == ("Abacus 9", "2", "16 GiB")
    assert (here["keras"], here["jax"], here["commit"]) == ("3.12.0", "0.9", "aaaaaaa; bbbbbbb")
    assert here["time"] == "2030-01-01T00:00:00+00:00 to 2030-01-07T00:00:00+00:00"
    assert "driver" not in here
    there = {row["what"].strip("`"): row["value"] for row in found["Big GPU with 2 cores of Abacus 9"]}
    assert (there["driver"], there["CUDA"], there["time"]) == ("5.5", "13", "2030-01-01T00:00:00+00:00")
    first, second = re.findall(r"<details>.*?</details>", text, re.DOTALL)
    assert "The commands of 14 runs" in first
    assert "\nKERAS_BACKEND=jax python -m benchmarks.throughput --arch=resnet20  # 13 times\n" in first
    assert "\nKERAS_BACKEND=torch python -m benchmarks.throughput --arch=resnet20\n" in second


class Outline(HTMLParser):
    """What is in a page, and whether its tags close."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)

    def all(self, tag):
        return [attributes for each, attributes in self.tags if each == tag]


def test_the_page_is_whole_and_asks_for_nothing(written):
    text = (written / "report.html").read_text()
    outline = Outline(text)
    assert not outline.open
    assert not {tag for tag, _ in outline.tags} & {"script", "link", "iframe", "object"}
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in outline.all("meta")[1]["content"]
    addresses = [value for _, attributes in outline.tags for key, value in attributes.items() if key in ("src", "href")]
    assert len(addresses) == len(outline.all("img")) > 8
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    assert all(image["alt"] for image in outline.all("img"))
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert len(outline.all("details")) == 2
    # Seven sections and environments, each with a head; eight rows of results, and the facts.
    assert len(outline.all("table")) == 4 + 2
    assert NASTY in outline.texts
    assert any(f"--arch={NASTY}" in each for each in outline.texts)


def test_the_pictures_of_the_page_are_those_beside_the_document(written):
    images = Outline((written / "report.html").read_text()).all("img")
    embedded = [base64.b64decode(image["src"].partition(",")[2]) for image in images]
    names = re.findall(r"!\[[^]]+\]\((.*?)\)", (written / "report.md").read_text())
    assert len(set(names)) == len(names)
    assert [(written / name).read_bytes() for name in names] == embedded
    assert {path.name for path in written.iterdir()} == {*names, "report.md", "report.html"}
    assert all(b"<svg" in picture and b"<text" not in picture for picture in embedded)
    assert "**Test score against throughput.** Left out: " in (written / "report.md").read_text()


def test_the_same_records_give_the_same_bytes(written, tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.size: 20\naxes.facecolor: red\nsvg.fonttype: none\n")
    report(
        written.parents[1] / "runs.jsonl", f"--out={tmp_path}/again",
        MATPLOTLIBRC=str(tmp_path), PYTHONHASHSEED="1", TZ="Asia/Tokyo",
    )  # fmt: skip
    for path in written.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_second_report_takes_the_place_of_the_first(tmp_path):
    for rate in (111.0, 222.0):
        (tmp_path / "runs.jsonl").write_text(json.dumps(trained(rate)) + "\n")
        report(tmp_path / "runs.jsonl", f"--out={tmp_path}/out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| 222 |" in text
    assert "| 111 |" not in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.md", "report.html"}


def test_without_flags_the_tables_are_printed(tmp_path):
    (tmp_path / "runs.jsonl").write_text(json.dumps(record(rate=1234.0)) + "\n")
    printed = report(tmp_path / "runs.jsonl")
    assert printed.startswith("### Training on real images, 2 cores of Abacus 9\n\n| network |")
    assert [row["images/s"] for (row,) in tables(printed).values()] == ["1,234"]
    assert report() == report(*sorted(RECORDS.parent.glob("*.jsonl")))


def test_the_tables_go_between_the_marks_of_a_document(tmp_path):
    document = tmp_path / "page.md"
    document.write_text(f"before\n\n{MARKS[0]}\nold\n{MARKS[1]}\n\nafter\n")
    assert report(RECORDS, f"--into={document}") == ""
    assert document.read_text() == f"before\n\n{MARKS[0]}\n{report(RECORDS)}{MARKS[1]}\n\nafter\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{folder}/empty.jsonl"], "there are no records in {folder}/empty.jsonl"),
        (["{folder}/none.jsonl"], "none.jsonl can't be read"),
        (["--into={folder}/empty.jsonl"], "--into={folder}/empty.jsonl must be a document with the marks"),
        (
            ["{folder}/runs.jsonl", "--out={folder}/empty.jsonl"],
            "--out={folder}/empty.jsonl can't be written: File exists",
        ),
        (
            ["{folder}/runs.jsonl", "--out={folder}/empty.jsonl/below"],
            "--out={folder}/empty.jsonl/below can't be written: Not a directory",
        ),
        (
            ["{folder}/runs.jsonl", "--out={folder}/taken"],
            "--out={folder}/taken can't be written: report.html is a folder",
        ),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(tmp_path, arguments, told):
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "runs.jsonl").write_text(json.dumps(failed()) + "\n")
    (tmp_path / "taken" / "report.html").mkdir(parents=True)
    done = python("-m", "benchmarks.report", *(argument.format(folder=tmp_path) for argument in arguments))
    assert done.returncode == 1
    assert (
        done.stderr.startswith(f"error: {told.format(folder=tmp_path)}") or told.format(folder=tmp_path) in done.stderr
    )
    assert done.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["report.html"]


FULL = """
import errno, sys
from pathlib import Path
from benchmarks import report
from benchmarks.console import UsageError

write_text = Path.write_text
def fail(self, text, **options):
    if "last" in self.name:
        raise OSError(errno.ENOSPC, "No space left on device")
    return write_text(self, text, **options)
Path.write_text = fail
try:
    report.write(Path(sys.argv[1]), {"first": "new", "last": "new"})
except UsageError as error:
    print(error)
"""


def test_a_report_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "first").write_text("old")
    done = python("-c", FULL, tmp_path)
    assert done.stdout == f"--out={tmp_path} can't be written: No space left on device\n"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("first", "old")]


WITHOUT = """
import runpy, sys
sys.modules["matplotlib"] = None
runpy.run_module("benchmarks.report", run_name="__main__")
"""


def test_only_plots_need_matplotlib(tmp_path):
    done = python("-c", WITHOUT, RECORDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == report(RECORDS)
    done = python("-c", WITHOUT, RECORDS, f"--out={tmp_path}/new")
    assert done.returncode == 1
    assert done.stderr == "error: the plots need the package matplotlib: pip install -e '.[report]'\n"
    assert not (tmp_path / "new").exists()


def test_text_is_escaped_in_both_forms():
    table = page.Table(("a<i>", "b"), [("x|*y*", "p|*q*<i>")], frozenset("b"))
    assert table.markdown() == "| a\\<i> | b |\n| --- | ---: |\n| `x\\|*y*` | p\\|\\*q\\*\\<i> |"
    outline = Outline(table.html())
    assert [text for text in outline.texts if text.strip()] == ["a<i>", "b", "x|*y*", "p|*q*<i>"]
    title = '"><b>'
    (image,) = Outline(page.Picture("f.svg", "<svg/>", title, "<u>").html()).all("img")
    assert image["alt"] == title
    assert "<b>" not in page.html(
        "<b>", [page.Heading(1, "<b>"), page.Paragraph("<b>", "<b>"), page.Commands("<b>", ["<b>"])]
    )


def test_medians_are_of_runs_that_have_the_field(rows):
    (row,) = rows(record(peak_share=None), record(2000.0, peak_share=0.5), record(3000.0, peak_share=0.25))
    assert row.figure("peak_share") == statistics.median([0.5, 0.25])
    assert row.figure("nothing") is None
