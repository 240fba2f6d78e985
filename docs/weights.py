"""Makes the table of docs/weights.md: `python -m docs.weights` from the checkout."""

import re
from pathlib import Path

from architectures.registry import FAMILIES

PAGE = Path(__file__).with_suffix(".md")


def main() -> None:
    rows = ["| family | of keras.applications | of torchvision and timm |", "| --- | --- | --- |"]
    for family in FAMILIES:
        theirs = [f"`{name}`" for name, row in family.variants.items() if row.keras is not None]
        if theirs or family.torch_names is not None:
            rows.append(f"| {family.name} | {', '.join(theirs)} | {'yes' if family.torch_names else ''} |")
    table = "\n".join(rows)
    text = PAGE.read_text(encoding="utf-8")
    text = re.sub(r"(<!-- table -->\n).*?(<!-- end of table -->)", rf"\g<1>\n{table}\n\n\g<2>", text, flags=re.S)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
