"""What a benchmark found: figures with their peers and targets, as a table to read and as JSON to keep."""

import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.table import Table

#: Where the JSON goes.
OUT = Path(__file__).parent / "out"

#: Stands behind the name of each figure of a smoke run.
SMOKE = "(smoke)"

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {"≥": operator.ge, "≤": operator.le}

_MARKS = {True: "[green]yes[/green]", False: "[bold red]no[/bold red]", None: ""}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. peer: the same quantity measured on what it is compared with, in the same unit, where there
    is one. target: what was promised ("≥ 0.9"), and met: whether the value keeps it; both None for a mere fact."""

    figure: str
    value: float
    unit: str
    peer: float | None = None
    target: str | None = None
    met: bool | None = None


def at_least(figure: str, value: float, bound: float, unit: str = "", peer: float | None = None) -> Figure:
    """A figure that must reach `bound`."""
    return _judged(figure, value, "≥", bound, unit, peer)


def at_most(figure: str, value: float, bound: float, unit: str = "", peer: float | None = None) -> Figure:
    """A figure that must not exceed `bound`."""
    return _judged(figure, value, "≤", bound, unit, peer)


def not_comparable(figures: Sequence[Figure]) -> list[Figure]:
    """The figures of a smoke run: it proves that the benchmark runs, and judges nothing."""
    return [replace(each, figure=f"{each.figure} {SMOKE}", met=None) for each in figures]


def write(name: str, figures: Sequence[Figure], folder: Path = OUT) -> Path:
    """`folder`/NAME.json: a list of {"figure", "value", "unit", "peer", "target", "met"}."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_text(json.dumps([asdict(each) for each in figures], indent=2, ensure_ascii=False) + "\n")
    return file


def table(name: str, figures: Sequence[Figure]) -> Table:
    """The same for people."""
    shown = Table(title=name, title_justify="left", title_style="bold")
    shown.add_column("figure")
    for heading in ("value", "unit", "peer", "target", "met"):
        shown.add_column(heading, justify="right" if heading in ("value", "peer") else "left", no_wrap=True)
    for each in figures:
        peer = "" if each.peer is None else readable(each.peer)
        shown.add_row(each.figure, readable(each.value), each.unit, peer, each.target or "", _MARKS[each.met])
    return shown


def readable(value: float) -> str:
    """Three significant digits, four from a thousand on; never in powers of ten."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _judged(figure: str, value: float, sign: str, bound: float, unit: str, peer: float | None) -> Figure:
    return Figure(figure, value, unit, peer, f"{sign} {readable(bound)}", _COMPARISONS[sign](value, bound))
