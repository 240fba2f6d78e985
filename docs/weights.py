"""Makes the table of docs/weights.md: `python -m docs.weights` from the checkout."""

from pathlib import Path

from architectures.registry import FAMILIES
from docs.page import fill

PAGE = Path(__file__).with_suffix(".md")


def main() -> None:
    rows = ["| family | of keras.applications | of torchvision and timm |", "| --- | --- | --- |"]
    for family in FAMILIES:
        theirs = [f"`{name}`" for name, row in family.variants.items() if row.keras is not None]
        if theirs or family.torch_names is not None:
            rows.append(f"| {family.name} | {', '.join(theirs)} | {'yes' if family.torch_names else ''} |")
    fill(PAGE, {"table": "\n".join(rows)})


if __name__ == "__main__":
    main()
