"""The tables of a page, between `<!-- name -->` and `<!-- end of name -->`."""

import re
from collections.abc import Mapping
from pathlib import Path


def fill(page: Path, tables: Mapping[str, str]) -> None:
    """Replaces tables of a page, by name."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", rf"\g<1>\n{table}\n\n\g<2>", text, flags=re.S)
    page.write_text(text, encoding="utf-8")
