"""A document of headings, paragraphs, tables, pictures and commands, as Markdown and as a self-contained HTML page."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

# The page is self-contained: nothing may be loaded.
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #d0d0d0; --soft: #f4f4f4; --quiet: #5a5a5a; }}
@media (prefers-color-scheme: dark) {{ :root {{ --line: #484848; --soft: #262626; --quiet: #b4b4b4; }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem; }}
h2 {{ border-bottom: 1px solid var(--line); margin-top: 3rem; }}
p, figcaption {{ max-width: 50rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; margin: 1rem 0; }}
th, td {{ border-bottom: 1px solid var(--line); padding: 0.25rem 0.6rem; text-align: left; vertical-align: top; }}
thead th {{ background: var(--soft); vertical-align: bottom; }}
tbody th {{ font-weight: normal; }}
.right {{ text-align: right; }}
td.right {{ white-space: nowrap; }}
td:not(.right):nth-child(n + 3) {{ min-width: 13rem; }}
figure {{ margin: 2rem 0; break-inside: avoid; }}
img {{ width: 100%; max-width: 62rem; background: white; border-radius: 4px; }}
figcaption, .quiet {{ color: var(--quiet); font-size: 0.9rem; }}
pre {{ background: var(--soft); overflow-x: auto; padding: 0.75rem; font-size: 0.8rem; }}
@media print {{
  body {{ max-width: none; margin: 0; font-size: 11px; }}
  h2, h3 {{ break-after: avoid; }}
  tr {{ break-inside: avoid; }}
  table {{ font-size: 8px; }}
  th, td {{ padding: 0.1rem 0.25rem !important; white-space: normal !important; min-width: 0 !important; }}
  .wide {{ overflow: visible; }}
}}
</style>
</head>
<body>
"""


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the page's title."""

    level: int
    text: str

    def markdown(self) -> str:
        return f"{'#' * self.level} {_plain(self.text)}"

    def html(self) -> str:
        return f"<h{self.level}>{escape(self.text)}</h{self.level}>"


@dataclass(frozen=True)
class Paragraph:
    """A paragraph, with an optional bold lead."""

    text: str
    lead: str = ""

    def markdown(self) -> str:
        return (f"**{_plain(self.lead)}.** " if self.lead else "") + _plain(self.text)

    def html(self) -> str:
        return f"<p>{_lead(self.lead)}{escape(self.text)}</p>"


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows; the columns in `right` are right-aligned."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[str] = frozenset()

    def markdown(self) -> str:
        rule = ["---:" if heading in self.right else "---" for heading in self.headings]
        rows = [[_code(first), *map(_plain, others)] for first, *others in self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (map(_plain, self.headings), rule, *rows))

    def html(self) -> str:
        sides = [' class="right"' if heading in self.right else "" for heading in self.headings]
        heads = "".join(
            f'<th scope="col"{side}>{escape(text)}</th>' for text, side in zip(self.headings, sides, strict=True)
        )
        lines = [f'<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>']
        for first, *others in self.rows:
            cells = "".join(f"<td{side}>{escape(text)}</td>" for text, side in zip(others, sides[1:], strict=True))
            lines.append(f'<tr><th scope="row"><code>{escape(first)}</code></th>{cells}</tr>')
        return "\n".join([*lines, "</tbody>\n</table></div>"])


@dataclass(frozen=True)
class Picture:
    """A picture with its caption: in Markdown a separate file, in HTML embedded in the page."""

    file: str
    svg: str
    title: str
    text: str

    def markdown(self) -> str:
        return f"![{_plain(self.title)}]({self.file})\n\n{Paragraph(self.text, self.title).markdown()}"

    def html(self) -> str:
        data = base64.b64encode(self.svg.encode()).decode()
        return (
            f'<figure><img alt="{escape(self.title)}" src="data:image/svg+xml;base64,{data}">\n'
            f"<figcaption>{_lead(self.title)}{escape(self.text)}</figcaption></figure>"
        )


@dataclass(frozen=True)
class Commands:
    """Commands, collapsed."""

    title: str
    lines: Sequence[str]

    def markdown(self) -> str:
        text = escape("\n".join(self.lines), quote=False)
        return f"<details><summary>{escape(self.title)}</summary>\n\n<pre>\n{text}\n</pre>\n\n</details>"

    def html(self) -> str:
        return self.markdown()


Block = Heading | Paragraph | Table | Picture | Commands


def markdown(blocks: Iterable[Block]) -> str:
    """The document as Markdown."""
    return "\n\n".join(block.markdown() for block in blocks)


def html(title: str, blocks: Iterable[Block]) -> str:
    """The document as a self-contained HTML page."""
    return HEAD.format(title=escape(title)) + "\n".join(block.html() for block in blocks) + "\n</body>\n</html>\n"


def _plain(text: str) -> str:
    """Text with the special characters of Markdown escaped."""
    return re.sub(r"([\\`*<|\[])", r"\\\1", text)


def _code(text: str) -> str:
    """Text as code in a Markdown table, where a bar must be escaped even in code."""
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _lead(text: str) -> str:
    return f"<strong>{escape(text)}.</strong> " if text else ""
