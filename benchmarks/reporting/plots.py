"""Plots of a section's rows, as SVG: the same rows give the same bytes.

A colour and a marker stand for how steps were run (`Row.how`), the same in all plots of a report; panels and labels
name the networks.
"""

import functools
import io
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import stats
from benchmarks.reporting.summary import Row, Section, group, network, rounded
from benchmarks.terminal.errors import UsageError

# Safe for colour blindness: Okabe and Ito, "Color Universal Design", 2008, without its yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "<", "X", ">", "p", "h")
GREY, FAINT = "#555555", "#bbbbbb"
WIDTH = 9.0  # inches, of every plot
LINE_HEIGHT = 0.16  # inches, of a label
BARS = 44  # in a plot of step times; more would not fit a printed page
DOTS = 60  # in a row of step times; more would overlap
LABELS = 30  # in a roofline; of more rows only the fastest of each line has one
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.markersize": 5,
    "svg.fonttype": "path",  # as text, letters would be in the reader's font, and not fit
    "svg.hashsalt": "kblocks",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
STEP_TIMES = (
    "The bar is from the 5th to the 95th percentile of the step times, the tick is the median, and on the left a thin "
    "line extends to the fastest and the slowest block. On the right the same, divided by the median: a dot is the "
    f"mean step time of a block of steps that were timed as one (at most {DOTS}, evenly spaced by rank), and an arrow "
    "at the edge stands for blocks outside the plot. Labels give network, data and batch size."
)
ROOFLINE = (
    "The roof is the highest measured on this device: FLOP/s of a large matrix product in each precision, and memory "
    "bandwidth over a large array. Step times alone do not determine how many bytes a step moved, so each row is a "
    "line over its possible arithmetic intensities: from the slope, which is the limit of memory bandwidth, to the "
    "marker, where the products of a step move the fewest bytes possible. A dashed line with a hollow marker has no "
    "such bound in its record. A marker left of the slope means that a cache held what the products read and wrote. "
    f"Labels give network and batch size; of more than {LABELS} rows, for the fastest of each line."
)

Looks = Mapping[str, tuple[str, str]]
"""Colour and marker for each `Row.how`."""


@dataclass(frozen=True)
class Plot:
    """A plot, or why there is none.

    Attributes:
        name: name of its file, without the suffix.
        title: title.
        text: how to read it; without a picture, why there is none.
        svg: the picture, or `None`.
    """

    name: str
    title: str
    text: str
    svg: str | None = None


class Point(NamedTuple):
    """A row in a plot against throughput, its y value, and its label if it has one."""

    row: Row
    y: float
    text: str | None


def looks(rows: Sequence[Row]) -> Looks:
    """A look for each `Row.how`, in their order."""
    # Seven colours and eleven markers have no common divisor: 77 pairs before one repeats.
    pairs = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False)
    return dict(zip(dict.fromkeys(row.how for row in rows), pairs, strict=False))


def plots(section: Section, looks: Looks) -> Iterator[Plot]:
    """All plots of a section."""
    rows = [row for row in section.rows if row.is_ok]
    yield batch_sizes(section.rows, looks)
    yield scores(rows, looks)
    yield sizes(rows, looks)
    yield from step_times(rows, looks)
    yield roofline(rows, looks)


def batch_sizes(rows: Sequence[Row], looks: Looks) -> Plot:
    """Throughput against batch size: a panel for each network, a line for each `Row.how`."""
    name, title = "batch_sizes", "Throughput against batch size"
    rows = [row for row in rows if row.is_timed]
    if not any(row.is_ok for row in rows):
        return Plot(name, title, "Omitted: no steps were timed.")
    panels = group(rows, network)
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)

    def paint(figure: Any) -> None:
        for i, (which, mine) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(lines, columns, i)
            axes.set_title(_folded(", ".join(which), 84 // columns))
            _paint_batch_sizes(axes, mine, looks)
        figure.supxlabel("batch size, images a step", fontsize=9)
        figure.supylabel("throughput, images/s", fontsize=9)
        _legend(figure, rows, looks)

    text = "Bars are 95 % confidence intervals. Each panel has its own scale, from zero."
    if not all(row.is_ok for row in rows):
        text += " A cross below zero is a batch size without a measurement."
    return Plot(name, title, text, _svg(0.6 + 2.4 * lines + _legend_height(rows), paint))


def _paint_batch_sizes(axes: Any, rows: Sequence[Row], looks: Looks) -> None:
    good, failed = ([row for row in rows if row.is_ok is ok] for ok in (True, False))
    for how, line in group(good, lambda row: row.how).items():
        colour, marker = looks[how]
        x, y = [row.settings["batch_size"] for row in line], [row.rate for row in line]
        axes.errorbar(x, y, _errors(line), color=colour, marker=marker, capsize=2, linewidth=1.2)
    _powers_of_two(axes, [row.settings["batch_size"] for row in rows])
    top = 1.08 * max([row.interval[1] or row.rate for row in good], default=1)
    axes.set_ylim(0, top)
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= top])
    axes.yaxis.set_major_formatter(_plain)
    depth = 0
    for crosses in group(failed, lambda row: row.settings["batch_size"]).values():
        depth = max(depth, len(crosses))
        for i, row in enumerate(crosses):
            place = -0.09 * top * (i + 0.6)
            axes.plot(row.settings["batch_size"], place, "x", color=looks[row.how][0], markeredgewidth=1.5)
    if failed:
        axes.axhline(0, color=GREY, linewidth=0.8)
        words = " or ".join(dict.fromkeys(row.settings["status"].replace("_", " ") for row in failed))
        axes.annotate(
            words, (0.02, -0.045 * top * (depth + 0.2)), xycoords=("axes fraction", "data"), va="center", fontsize=7
        )
    axes.set_ylim(-0.09 * top * (depth + 0.2) * bool(failed), top)


def scores(rows: Sequence[Row], looks: Looks) -> Plot:
    """Test score against throughput: a panel for each data set and metric."""
    name, title = "scores", "Test score against throughput"
    panels: dict[tuple[str, str], list[Point]] = {}
    for row in rows:
        metric, score = row.score
        if score is not None:
            text = f"{row.settings['network']}, {row.settings['batch_size']:,}"
            point = Point(row, 100 * score, text)
            panels.setdefault((row.settings["dataset"], f"test {metric}, %"), []).append(point)
    # A single point adds nothing to the table.
    panels = {key: points for key, points in panels.items() if len(points) > 1}
    if not panels:
        return Plot(name, title, "Omitted: no two rows have a score on the same data.")
    return Plot(name, title, "Labels give network and batch size.", _against_rate(panels, looks))


def sizes(rows: Sequence[Row], looks: Looks) -> Plot:
    """Parameters against throughput, each network at its fastest batch size."""
    name, title = "parameters", "Parameters against throughput"
    timed = group([row for row in rows if row.is_timed], lambda row: (network(row), row.how))
    best = group([max(same, key=lambda row: row.rate) for same in timed.values()], network)
    if len(best) < 2:
        return Plot(name, title, "Omitted: fewer than two networks were timed.")
    points = []
    for which, same in best.items():
        fastest = max(same, key=lambda row: row.rate)
        points += [
            Point(row, row.known("trainable_params"), ", ".join(which) if row is fastest else None) for row in same
        ]
    text = "Each network at its fastest batch size. Bars are 95 % confidence intervals."
    return Plot(name, title, text, _against_rate({("", "parameters"): points}, looks))


def _against_rate(panels: Mapping[tuple[str, str], Sequence[Point]], looks: Looks) -> str:
    """Points against their rates; panels by title and label of the y axis."""
    heights = [max(2.6, LINE_HEIGHT * sum(point.text is not None for point in points)) for points in panels.values()]
    rows = [point.row for points in panels.values() for point in points]

    def paint(figure: Any) -> None:
        every = figure.subplots(len(panels), squeeze=False, height_ratios=heights).flat
        for axes, ((title, what), points), height in zip(every, panels.items(), heights, strict=True):
            for row, y, _ in points:
                colour, marker = looks[row.how]
                axes.errorbar(row.rate, y, xerr=_errors([row]), color=colour, marker=marker, capsize=2)
            axes.set(title=title, xlabel="throughput, images/s", ylabel=what)
            _decades(axes.xaxis, [rate for row, *_ in points for rate in (row.rate, *row.interval) if rate])
            if what == "parameters":
                _decades(axes.yaxis, [y for _, y, _ in points])
            named = [point for point in points if point.text is not None]
            _labels(axes, height, [(row.rate, y) for row, y, _ in named], [text or "" for *_, text in named])
        _legend(figure, rows, looks)

    return _svg(sum(heights) + 0.7 * len(panels) + _legend_height(rows), paint)


def step_times(rows: Sequence[Row], looks: Looks) -> Iterator[Plot]:
    """Step times: a bar for each row, on one or more pages."""
    name, title = "step_times", "Step times"
    timed = [row for row in rows if row.blocks[0]]
    if not timed:
        yield Plot(name, title, "Omitted: no blocks of steps were timed.")
        return
    pages: list[list[list[Row]]] = [[]]
    for mine in group(timed, lambda row: (network(row), row.settings["batch_size"])).values():
        if pages[-1] and sum(len(each) + 1 for each in [*pages[-1], mine]) > BARS:
            pages.append([])
        pages[-1].append(mine)
    for number, page in enumerate(pages, 1):
        shown = [row for mine in page for row in mine]
        height = 0.9 + 0.15 * (len(shown) + len(page)) + _legend_height(shown)
        svg = _svg(height, functools.partial(_paint_step_times, page, looks))
        yield Plot(f"{name}_{number}", title + f", {number} of {len(pages)}" * (len(pages) > 1), STEP_TIMES, svg)


def _paint_step_times(page: Sequence[Sequence[Row]], looks: Looks, figure: Any) -> None:
    both = left, right = figure.subplots(1, 2, sharey=True)
    rows = [row for mine in page for row in mine]
    times = {row: np.sort(1000 * np.divide(row.blocks[1], row.blocks[0])) for row in rows}
    marks = {row: list(stats.percentiles(*row.blocks).values())[:3] for row in rows}
    # One disturbed block must not compress all others.
    first = min(low / middle for low, middle, _ in marks.values())
    last = max(high / middle for _, middle, high in marks.values())
    edges = first - 0.2 * (last - first) - 0.01, last + 0.2 * (last - first) + 0.01

    labels, place = {}, 0
    for mine in page:
        label = f"{', '.join(network(mine[0]))}, {mine[0].settings['batch_size']:,}"
        labels[place + (len(mine) - 1) / 2] = _folded(label, 40)
        for row in mine:
            colour, each, (low, middle, high) = looks[row.how][0], times[row], marks[row]
            left.plot(each[[0, -1]], [place, place], color=colour, linewidth=1)
            for axes, unit in zip(both, (1, middle), strict=True):
                bar = {"linewidth": 6, "alpha": 0.3, "solid_capstyle": "butt"}
                axes.plot([low / unit, high / unit], [place, place], color=colour, **bar)
                axes.plot(middle / unit, place, "|", color="black", markersize=9)
            dots = each[np.linspace(0, len(each) - 1, min(len(each), DOTS)).round().astype(int)] / middle
            right.plot(dots, np.full(len(dots), place), ".", color=colour, markersize=4, markeredgewidth=0)
            for edge, marker, is_beyond in zip(edges, "<>", (dots[0] < edges[0], dots[-1] > edges[1]), strict=True):
                if is_beyond:
                    right.plot(edge, place, marker, color=colour, markersize=4, clip_on=False)
            text = f"{rounded(middle)} ({rounded(low)}–{rounded(high)})"
            right.annotate(text, (1.03, place), xycoords=("axes fraction", "data"), va="center", fontsize=7)
            place += 1
        for axes in both:
            axes.axhline(place, color=FAINT, linewidth=0.6)
        place += 1
    for axes in both:
        axes.grid(visible=False, axis="y")
    _decades(left.xaxis, [each[end] for each in times.values() for end in (0, -1)])
    left.set(xlabel="a step, ms", ylim=(place - 1, -1))
    left.set_yticks(list(labels), list(labels.values()))
    right.set(xlabel="a step over the median step", xlim=edges)
    right.set_title("ms: median (5th–95th percentile)", loc="right", fontsize=7)
    _legend(figure, rows, looks)


def roofline(rows: Sequence[Row], looks: Looks) -> Plot:
    """FLOP/s against arithmetic intensity, under the measured peaks."""
    name, title = "roofline", "Roofline"
    rows = [row for row in rows if row.figure("peak_flops_per_second") and row.figure("peak_bytes_per_second")]
    if not rows:
        return Plot(name, title, "Omitted: no peaks were measured.")
    named = rows
    if len(rows) > LABELS:
        lines = group(rows, lambda row: (network(row), row.how)).values()
        named = [max(line, key=lambda row: row.known("flops_per_second")) for line in lines]
    height = max(4.0, LINE_HEIGHT * len(named))
    paint = functools.partial(_paint_roofline, rows, named, height, looks)
    return Plot(name, title, ROOFLINE, _svg(height + 0.8 + _legend_height(rows), paint))


def _paint_roofline(rows: Sequence[Row], named: Sequence[Row], height: float, looks: Looks, figure: Any) -> None:
    axes = figure.subplots()
    precisions = group(rows, lambda row: row.settings["precision"])
    roofs = {name: max(row.peak or row.own_peak or 0.0 for row in same) for name, same in precisions.items()}
    prefix, unit = ("T", 1e12) if max(roofs.values()) > 1e13 else ("G", 1e9)
    slope = max(row.known("peak_bytes_per_second") for row in rows) / unit
    roofs = {precision: roof / unit for precision, roof in roofs.items()}
    reached = [row.known("flops_per_second") / unit for row in rows]
    moved = [row.figure("bytes_per_step") for row in rows]
    bounds = [size and row.known("flops_per_step") / size for row, size in zip(rows, moved, strict=True)]
    intensities = [*filter(None, bounds), *(rate / slope for rate in reached)]
    _decades(axes.xaxis, [min(intensities), 8 * max(roofs.values()) / slope, max(intensities)])
    _decades(axes.yaxis, [min(reached), 1.6 * max(roofs.values()), max(reached)])
    first, last = axes.get_xlim()

    for precision, roof in roofs.items():
        ridge = roof / slope
        axes.plot([first, ridge, last], [first * slope, roof, roof], color="black", linewidth=1.2)
        axes.plot(ridge, roof, "o", color="black", markerfacecolor="white")
        words = f"{precision}: {rounded(roof)} {prefix}FLOP/s, ridge at {rounded(ridge)} FLOP/byte"
        # On the side of the ridge where there is more room.
        side, step = ("right", -4) if ridge**2 > first * last else ("left", 4)
        axes.annotate(words, (ridge, roof), xytext=(step, 4), textcoords="offset points", ha=side, fontsize=8)
    along = {"rotation": math.degrees(math.atan(slope)), "rotation_mode": "anchor", "transform_rotates_text": True}
    axes.text(1.3 * first, 1.35 * first * slope, f"{rounded(slope)} {prefix}B/s", fontsize=8, **along)

    ends = {}
    for row, rate, bound in zip(rows, reached, bounds, strict=True):
        colour, marker = looks[row.how]
        ends[row] = end = bound or last, rate
        line = {"linestyle": "-" if bound else "--", "alpha": 0.5 if named is rows else 0.2}
        axes.plot([rate / slope, end[0]], [rate, rate], color=colour, linewidth=1, **line)
        axes.plot(*end, marker, color=colour, markerfacecolor=colour if bound else "white", clip_on=False)
    texts = [f"{row.settings['network']}, {row.settings['batch_size']:,}" for row in named]
    _labels(axes, height, [ends[row] for row in named], texts)
    axes.set(xlabel="arithmetic intensity, FLOP/byte", ylabel=f"arithmetic, {prefix}FLOP/s")
    _legend(figure, rows, looks)


def _errors(rows: Sequence[Row]) -> np.ndarray:
    """Lengths of the intervals below and above the rates; 0 where there is no interval."""
    ends = [[row.rate if end is None else end for end in row.interval] for row in rows]
    lengths: np.ndarray = np.abs(np.transpose(ends) - [row.rate for row in rows])
    return lengths


def _labels(axes: Any, height: float, points: Sequence[tuple[float, float]], texts: Sequence[str]) -> None:
    """Texts in the right margin, each connected to its point; `height` is that of the axes in inches."""
    axes.set_ylim(*axes.get_ylim())  # it would move with what is drawn from here on
    inside = axes.transAxes.inverted().transform(axes.transData.transform(points))
    margin = {"color": FAINT, "linewidth": 0.6, "transform": axes.transAxes, "clip_on": False, "zorder": 1}
    for (x, y), place, text in zip(inside, spread(inside[:, 1], LINE_HEIGHT / height), texts, strict=True):
        axes.plot([x, 1, 1.03], [y, y, place], **margin)
        axes.annotate(text, (1.035, place), xycoords="axes fraction", va="center", fontsize=8)


def spread(wanted: Sequence[float], gap: float) -> np.ndarray:
    """The positions closest to `wanted` (least squares), `gap` apart, in the same order, in [0, 1] if they fit."""
    order = np.argsort(wanted, kind="stable")
    # After subtracting `gap` per predecessor, this is isotonic regression: runs that decrease are set to their mean.
    steps = gap * np.arange(len(order))
    runs: list[list[float]] = []
    for value in np.asarray(wanted)[order] - steps:
        runs.append([value])
        while len(runs) > 1 and np.mean(runs[-2]) > np.mean(runs[-1]):
            runs[-2:] = [runs[-2] + runs[-1]]
    places = np.empty(len(order))
    best = np.concatenate([np.full(len(run), np.mean(run)) for run in runs])
    places[order] = np.clip(best, 0, max(0, 1 - steps[-1])) + steps
    return places


def _folded(text: str, width: int) -> str:
    """Text wrapped after spaces and underscores."""
    lines = [""]
    for part in re.findall(r"[^_ ]+[_ ]*", text):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _powers_of_two(axes: Any, values: Sequence[int]) -> None:
    """A base-2 logarithmic scale with at most six labels."""
    low, high = math.floor(math.log2(min(values))), math.ceil(math.log2(max(values)))
    ticks = [2**power for power in range(low, high + 1, 1 + (high - low) // 6)]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [_plain(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(min(values) / 1.5, max(values) * 1.5)


def _decades(axis: Any, values: Sequence[float]) -> None:
    """A logarithmic scale around values, wide enough for two labels."""
    low, high = min(values) / 1.25, max(values) * 1.25
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    rounds = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    if sum(low <= tick <= high for tick in rounds) < 2:
        low, high = max(tick for tick in rounds if tick <= low), min(tick for tick in rounds if tick >= high)
    ticks = [tick for tick in rounds if low <= tick <= high]
    if len(ticks) > 6:
        ticks = [tick for tick in rounds[::3] if low <= tick <= high]
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    axis.set_ticks(ticks, [_plain(tick) for tick in ticks])
    axis.set_ticks([], minor=True)


def _plain(value: float, _: Any = None) -> str:
    """A tick label, without an exponent."""
    return f"{value:,.10g}"


def _legend(figure: Any, rows: Sequence[Row], looks: Looks) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=looks[how][0], marker=looks[how][1], linewidth=1.2, label=how)
        for how in dict.fromkeys(row.how for row in rows)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=_legend_columns(rows))


def _legend_columns(rows: Sequence[Row]) -> int:
    return 2 if max(len(row.how) for row in rows) < 60 else 1


def _legend_height(rows: Sequence[Row]) -> float:
    return 0.1 + 0.17 * math.ceil(len({row.how for row in rows}) / _legend_columns(rows))


def _svg(height: float, paint: Callable[[Any], None]) -> str:
    """The SVG of a figure of this height, in inches, drawn by `paint`."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError("the plots need the package matplotlib: pip install -e '.[report]'") from None
    with matplotlib.rc_context():
        # Independent of the reader's matplotlibrc.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        paint(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
