"""The tables of a report: the rows of a section, and the comparisons with a peer."""

from collections.abc import Callable, Sequence

from benchmarks import records
from benchmarks.measure import stats
from benchmarks.records import identity
from benchmarks.reporting import page
from benchmarks.reporting.summary import Record, Row, rounded


def table(rows: Sequence[Row]) -> page.Table:
    """The rows, without columns that would be empty."""
    columns = {heading: [cell(row) for row in rows] for heading, cell in COLUMNS.items()}
    filled = {heading: cells for heading, cells in columns.items() if any(cells)}
    return page.Table(list(filled), list(zip(*filled.values(), strict=True)), NUMBERS)


def versus(comparisons: Sequence[Record]) -> page.Table:
    """The comparisons of benchmarks.versus, in their order."""
    rows = []
    for record in comparisons:
        low, high, p_value = (record.get(field) for field in ("ratio_low", "ratio_high", "p_value"))
        rows.append(
            (
                network(record),
                record["dataset"],
                f"{record['batch_size']:,}",
                f"{record['mode']}, {records.describe(record)}",
                record["peer"],
                rounded(record["images_per_second"]),
                rounded(record["peer_images_per_second"]),
                f"{record['ratio']:.2f}" + ("" if low is None or high is None else f" ({low:.2f}–{high:.2f})"),
                "" if p_value is None else f"{p_value:.2g}",
                str(record["runs"]),
            )
        )
    return page.Table(VERSUS, rows, frozenset(VERSUS) - {"network", "data", "ours", "peer"})


def network(record: Record) -> str:
    """The architecture and its overrides."""
    same = identity.configuration(record)
    return " ".join(filter(None, (same["arch"], same["overrides"])))


def rate(row: Row) -> str:
    """Images per second, or the status if there are none."""
    return rounded(row.rate) if row.is_ok else row.settings["status"].replace("_", " ")


def interval(row: Row) -> str:
    """The confidence interval of the rate; of a few runs their range."""
    if not row.is_ok:
        return ""
    low, high = row.interval
    if low is not None and high is not None:
        return f"{rounded(low)}–{rounded(high)}"
    rates = [run["images_per_second"] for run in row.runs]
    return f"range {rounded(min(rates))}–{rounded(max(rates))}" if len(rates) > 1 else ""


def step(row: Row) -> str:
    """Step time: `median (5th–95th percentile)`, in milliseconds."""
    if not row.blocks[0]:
        return ""
    low, middle, high, _ = map(rounded, stats.percentiles(*row.blocks).values())
    return f"{middle} ({low}–{high})"


def memory(row: Row) -> str:
    """The highest peak memory of all runs."""
    for field in ("peak_memory_bytes", "peak_resident_bytes"):
        values = [run[field] for run in row.runs if run.get(field)]
        if values:
            return f"{max(values) / 2**20:,.0f} MiB"
    return ""


def score(row: Row) -> str:
    """The test score, with its name if it is not the accuracy."""
    name, value = row.score
    return "" if value is None else f"{100 * value:.2f} %" + f" {name}" * (name != "accuracy")


def trained(row: Row) -> str:
    """Epochs and time of training."""
    epochs = row.settings["epochs"]
    if epochs is None or not row.is_ok:
        return ""
    return f"{epochs:.3g} epoch{'s' * (epochs > 1)}, {row.known('train_seconds'):,.0f} s"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "network": lambda row: row.settings["network"],
    "data": lambda row: row.settings["dataset"],
    "batch": lambda row: f"{row.settings['batch_size']:,}",
    "how": lambda row: row.how,
    "images/s": rate,
    "interval": interval,
    "runs": lambda row: str(len(row.runs)) if len(row.runs) > 1 else "",
    "step, ms": step,
    "share of peak": lambda row: f"{100 * share:.3g} %" if (share := row.peak_share) else "",
    "peak memory": memory,
    "parameters": lambda row: f"{row.known('trainable_params'):,.0f}",
    "test score": score,
    "trained for": trained,
    "remark": lambda row: "not steady" if any(run.get("is_steady") is False for run in row.runs) else "",
}
VERSUS = ("network", "data", "batch", "ours", "peer", "ours, images/s", "peer, images/s", "ratio", "p", "runs of each")
NUMBERS = frozenset(COLUMNS) - {"network", "data", "how", "remark"}
