"""What is drawn of records: the points, the labels, the scales, and that no text covers another."""

import contextlib
import json
from itertools import combinations

import numpy as np
import pytest

from benchmarks import records
from benchmarks.measure import stats
from benchmarks.reporting import plots, summary
from tests.support.marks import slow
from tests.support.process import ROOT
from tests.support.records import failed, large_set, record, trained

RECORDS = ROOT / "benchmarks" / "results" / "two_cores.jsonl"


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
        (section,) = summary.sections(*records.gather([str(path)]))
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
    uneven = {i: [2**i / 20 / i * share for share in (0.9, 1.1, 0.9, 1.1)] for i in (5, 6, 7)}
    found = [record(100.0 * i, batch_size=2**i, block_seconds=uneven[i]) for i in (5, 7, 6)]
    found += [record(50.0, batch_size=32, backend="torch")]
    _, figures = drawn(*found, failed(batch_size=256), record(arch="lenet"), trained(7.0))
    first, second = figures["batch_sizes"].axes
    assert first.get_title() == "resnet20, cifar10"
    assert second.get_title() == "lenet, cifar10"
    assert (first.get_xscale(), first.xaxis.get_transform().base) == ("log", 2)
    colour, marker = plots.COLOURS[0], plots.MARKERS[0]
    assert lines(first, color=colour, marker=marker) == [[(32, 500), (64, 600), (128, 700)]]
    assert lines(first, color=plots.COLOURS[1], marker=plots.MARKERS[1]) == [[(32, 50)]]
    bars = first.containers[0].lines[2][0].get_segments()
    assert [np.round(bar[:, 1], 6).tolist() for bar in bars] == [
        np.round(stats.rate_interval([5] * 4, seconds, 2**i), 6).tolist() for i, seconds in uneven.items()
    ]
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


@pytest.mark.parametrize(("first", "second"), [slow(300.0, 310.0), (3.0, 3.0), slow(0.21, 0.22), (99.0, 3e6)])
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
    _, figures = drawn(
        *found, record(5.0, backend="torch"), record(7.0, arch="lenet", trainable_params=5000), trained(99.0)
    )
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


def test_blocks_outside_the_plot_are_arrows_at_the_edge(drawn):
    seconds = [0.11, *[0.12] * 32, 9.0]
    _, figures = drawn(record(block_steps=[10] * 34, block_seconds=seconds))
    left, right = figures["step_times_1"].axes
    assert lines(left, marker="|") == [[(pytest.approx(12), 0)]]
    assert lines(right, marker=">") == [[(right.get_xlim()[1], 0)]]
    assert lines(right, marker="<") == [[(right.get_xlim()[0], 0)]]
    assert 0.95 < right.get_xlim()[0] < right.get_xlim()[1] < 1.05


@pytest.mark.slow
def test_many_step_times_go_on_pages_without_losing_a_row(large):
    made, figures = large
    pages = [figure for name, figure in figures.items() if name.startswith("step_times")]
    medians = [len(lines(figure.axes[0], marker="|")) for figure in pages]
    assert sum(medians) == sum(each["script"] == "throughput" and each["status"] == "ok" for each in large_set())
    assert max(medians) <= plots.BARS
    assert len(medians) > 1
    assert f"Step times, 2 of {len(pages)}" in {plot.title for plot in made}


def test_roofs_are_per_precision_and_bounds_are_markers(drawn):
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


def test_a_large_roofline_names_the_fastest_of_each_line(drawn, large):
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
        left_out = {plot.name for plot in made if plot.text.startswith("Omitted: ")}
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


@pytest.mark.slow
def test_no_text_covers_another_in_a_large_set(large):
    _, figures = large
    assert len(figures) > 6
    no_text_covers_another(figures)


@pytest.mark.slow
def test_long_names_leave_room_for_the_axes(large):
    _, figures = large
    for figure in figures.values():
        for axes in figure.axes:
            box = axes.get_window_extent()
            assert box.width > 0.23 * figure.bbox.width
            beside = [text.get_window_extent() for text in axes.texts if text.get_window_extent().x0 > box.x1]
            assert all(box.y0 - 9 < (each.y0 + each.y1) / 2 < box.y1 + 9 for each in beside)


def test_no_text_covers_another_in_the_committed_records(drawn):
    for section in summary.sections(*records.gather([str(RECORDS)])):
        _, figures = drawn(*(run for row in section.rows for run in row.runs))
        no_text_covers_another(figures)
