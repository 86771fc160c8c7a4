"""A report as one HTML page that needs nothing but itself: pictures as data URIs, styles inside, no script.

Everything that comes from outside (names of people and files) is escaped here and nowhere else.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1c2430; --soft: #5b6675; --line: #d5dae1; --card: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #161b22; --ink: #dfe5ec; --soft: #98a4b3; --line: #333c48; --card: #1e252e; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.25rem 1rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .4rem 0; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; }
p { margin: .4rem 0; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .3rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); font-size: .9rem; }
th, td:first-child, td b, .interval { white-space: nowrap; }
.refused { color: var(--soft); font-style: italic; }
@media (max-width: 40rem) {
  thead { display: none; }
  tr { display: block; padding: .35rem 0; border-bottom: 1px solid var(--line); }
  td { display: block; padding: 0; border: 0; }
  td:empty { display: none; }
  td:first-child { color: var(--soft); }
  td[data-head]::before { content: attr(data-head) " "; color: var(--soft); font-size: .85rem; }
}
.plots, .faces { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; }
figure img { width: 100%; height: auto; display: block; border-radius: 6px; }
.plots figure { flex: 1 1 24rem; max-width: min(100%, 31rem); }
.faces figure { flex: 1 1 11rem; max-width: 15rem; padding: .5rem; background: var(--card); border-radius: 6px;
  font-size: .85rem; line-height: 1.35; overflow-wrap: anywhere; }
details { margin: .4rem 0; }
summary { cursor: pointer; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole page. title: text; parts: HTML made by the functions below."""
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing is fetched and nothing runs, whatever a name in the data tries to be.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading of text."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, soft: bool = False) -> str:
    """A paragraph of text."""
    return f'<p class="soft">{escape(text)}</p>' if soft else f"<p>{escape(text)}</p>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are HTML (see `cell`); heads are text. On a narrow screen each row becomes a paragraph whose
    lines begin with their heads."""
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "".join(_row(heads, row) for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def cell(text: str, strong: str = "", refused: bool = False) -> str:
    """Text for a cell: a figure in bold, and the interval that belongs to it."""
    # A number and its unit stay on one line.
    text, strong = (escape(part).replace(" %", "\u00a0%") for part in (text, strong))
    if refused:
        return f'<span class="refused">{text}</span>'
    return f'<b>{strong}</b> <span class="interval">{text}</span>' if strong else text


def plot(light: bytes, dark: bytes, caption: str) -> str:
    """A PNG for light pages and one for dark ones, with the text that says what it shows."""
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{_uri(dark, "png")}">'
        f'<img src="{_uri(light, "png")}" alt="{escape(caption)}"></picture>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def face(jpeg: bytes, lines: Iterable[str], alternative: str) -> str:
    """A JPEG with lines of text below it."""
    text = "<br>".join(escape(line) for line in lines)
    return f'<figure><img src="{_uri(jpeg, "jpeg")}" alt="{escape(alternative)}">{text}</figure>'


def group(parts: Iterable[str], kind: str) -> str:
    """`plots` or `faces` side by side, as many as fit."""
    return f'<div class="{escape(kind)}">' + "".join(parts) + "</div>"


def folded(title: str, parts: Iterable[str]) -> str:
    """Shown when the reader asks for it."""
    return f"<details><summary>{escape(title)}</summary>" + "".join(parts) + "</details>"


def _row(heads: Sequence[str], row: Sequence[str]) -> str:
    said = (f' data-head="{escape(head)}"' if head else "" for head in heads)
    return "<tr>" + "".join(f"<td{head}>{each}</td>" for head, each in zip(said, row, strict=True)) + "</tr>"


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
