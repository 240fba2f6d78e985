"""Makes docs/zoo.md: `python -m docs.zoo` from the checkout."""

from pathlib import Path

import architectures
from architectures.__main__ import describe
from benchmarks import records

PAGE = Path(__file__).with_suffix(".md")
RECORDS = Path(__file__).parents[1] / "benchmarks" / "results"

INTRODUCTION = """# Architectures

All networks of `architectures`, family by family, as `python -m docs.zoo` writes them. Parameters are trainable ones,
multiply-adds those of one image of the size given, and the smallest input is the smallest square image that the network
takes without another stem. Published errors are test errors in percent that the source gives. "Measured here" is the
test accuracy of a training run whose record is in `benchmarks/results`; where it is empty, nothing was measured.
`python -m architectures --json` prints the same as data.
"""
HEAD = (
    "architecture", "input", "parameters", "multiply-adds", "layers", "smallest input", "published error, %",
    "measured here", "source",
)  # fmt: skip


def main() -> None:
    parts, known = [INTRODUCTION], measured()
    families: dict[str, list[str]] = {}
    for name in architectures.names():
        families.setdefault(architectures.family(name), []).append(name)
    for family, names in families.items():
        lines = [line(describe(name), known.get(name, "")) for name in names]
        parts.append("\n".join([f"## {family}\n", f"| {' | '.join(HEAD)} |", ruler(), *lines, ""]))
    PAGE.write_text("\n".join(parts), encoding="utf-8")


def ruler() -> str:
    return "| --- | --- |" + " ---: |" * 4 + " --- | --- | --- |"


def line(row: dict, accuracy: str) -> str:
    """A row of a family's table."""
    cells = (
        f"`{row['name']}`",
        ", ".join("×".join(map(str, shape)) for shape in row["input_shapes"]),
        *("" if row[key] is None else f"{row[key]:,}" for key in ("params", "macs", "layers")),
        "" if row["smallest"] is None else f"{row['smallest']}×{row['smallest']}",
        ", ".join(f"{data} {error:g}" for data, error in row["errors"].items()),
        accuracy,
        "; ".join(filter(None, (row["source"], row["departures"]))),
    )
    return f"| {' | '.join(cells)} |"


def measured() -> dict[str, str]:
    """For each architecture the best test accuracy among the records of training."""
    best: dict[str, tuple[float, str]] = {}
    for path in sorted(RECORDS.glob("*.jsonl")):
        ((*found,),) = records.gather([str(path)])
        for each in found:
            accuracy = each.get("test_accuracy")
            if each["script"] == "train" and each["status"] == "ok" and accuracy and not each["overrides"]:
                passes = f"{each['epochs']:g} epoch{'s' * (each['epochs'] > 1)}"
                text = f"{100 * accuracy:.2f} % on {each['dataset']} after {passes}"
                best[each["arch"]] = max(best.get(each["arch"], (0.0, "")), (accuracy, text))
    return {arch: text for arch, (_, text) in best.items()}


if __name__ == "__main__":
    main()
