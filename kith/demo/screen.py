"""How the demo looks: moving on a terminal, plain lines on a pipe."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from kith.demo.tally import Verdict
from kith.jobs import Decision

#: Last decisions that stay in sight.
_ROWS = 12
#: Seconds between plain lines about progress.
_LINE_EVERY_S = 1.0

_STYLES = {"✓": "green", "✗": "red", "·": "dim"}


class Counter(Protocol):
    """Progress of one act. A decision without a verdict is counted, not listed."""

    def decided(self, decision: Decision, verdict: Verdict | None) -> None:
        """One more."""
        ...


class Screen:
    """Writes to standard output. `plain`: no moving parts (the default where there is no terminal)."""

    def __init__(self, console: Console | None = None, plain: bool | None = None) -> None:
        self._console = console or Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
        self._plain = not self._console.is_terminal if plain is None else plain
        if self._plain:
            # Nobody's window: lines need not be folded at the 80 columns that are assumed without one.
            self._console.width = 160

    def say(self, text: str, style: str = "") -> None:
        """One line."""
        self._console.print(Text(text, style))

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """While something is waited for."""
        if self._plain:
            self.say(text)
            yield
            return
        with self._console.status(text):
            yield

    @contextmanager
    def counting(self, text: str, total: int) -> Iterator[Counter]:
        """While `total` decisions come in."""
        if self._plain:
            yield _Lines(self, text, total)
            return
        moving = _Moving(text, total)
        with Live(moving.view(), console=self._console, refresh_per_second=12, get_renderable=moving.view):
            yield moving


class _Moving:
    """A ticker of the last decisions above a bar."""

    def __init__(self, text: str, total: int) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), expand=False
        )
        self._task = self._bar.add_task(text, total=total)
        self._last: deque[tuple[Decision, Verdict]] = deque(maxlen=_ROWS)

    def decided(self, decision: Decision, verdict: Verdict | None) -> None:
        if verdict is not None:
            self._last.append((decision, verdict))
        self._bar.advance(self._task)

    def view(self) -> Group:
        if not self._last:
            return Group(self._bar)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column, ratio in (("", None), ("image", 3), ("decision", 3), ("score", None), ("cutoff", None), ("", None)):
            table.add_column(column, ratio=ratio, no_wrap=True, overflow="ellipsis")
        # A copy: decisions arrive while the screen is drawn from another thread.
        for decision, verdict in list(self._last):
            style = _STYLES[verdict.mark]
            table.add_row(
                *(Text(cell, style if n in (0, 5) else "") for n, cell in enumerate(_cells(decision, verdict)))
            )
        return Group(table, self._bar)


class _Lines:
    """Every decision that went wrong, and a line of progress each second."""

    def __init__(self, screen: Screen, text: str, total: int) -> None:
        self._screen = screen
        self._text = text
        self._total = total
        self._count = 0
        self._next_s = time.monotonic() + _LINE_EVERY_S

    def decided(self, decision: Decision, verdict: Verdict | None) -> None:
        self._count += 1
        # The first few as they are, so that one sees what a decision is; then those that went wrong.
        if verdict is not None and (self._count <= _ROWS or verdict.mark == "✗"):
            mark, image, who, score, cutoff, word = _cells(decision, verdict)
            self._screen.say(f"  {mark} {image}: {who}, score {score}, cutoff {cutoff} ({word})")
        if time.monotonic() >= self._next_s or self._count == self._total:
            self._next_s = time.monotonic() + _LINE_EVERY_S
            self._screen.say(f"  {self._text}: {self._count} of {self._total}")


def _cells(decision: Decision, verdict: Verdict) -> tuple[str, str, str, str, str, str]:
    face = decision.face
    score = "–" if face is None or face.score is None else f"{face.score:.2f}"
    cutoff = "–" if decision.cutoff is None else f"{decision.cutoff:.2f}"
    if decision.subject is not None:
        who = decision.subject
    elif verdict in (Verdict.REJECTED_STRANGER, Verdict.MISSED):
        who = "nobody we know"
    else:
        who = decision.reason or decision.outcome.value
    return verdict.mark, decision.label or decision.image, who, score, cutoff, verdict.value
