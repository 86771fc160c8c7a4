"""How training looks: a bar and the last epochs on a terminal, plain lines on a pipe.

Everything goes to standard error: standard output is for the answer.
"""

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kith.cli.terminal import printable

#: Seconds between plain lines about progress.
_LINE_EVERY_S = 20.0


class LearningScreen:
    """Told what a run does (kith.training.progress.Progress). quiet: says only notes and epochs, as plain lines."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self.quiet = quiet
        self._moving = self._console.is_terminal and not quiet
        self._task: Any = None
        self._name = ""
        self._next_s = time.monotonic() + _LINE_EVERY_S

    def __enter__(self) -> "LearningScreen":
        if self._moving:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[facts]}"), console=self._console, transient=True)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def reading(self, done: int, of: int) -> None:
        self._advance("reading pictures", done, of, "")

    def step(self, name: str, step: int, of: int, facts: Mapping[str, float], rate: float) -> None:
        self._advance(name, step, of, f"{_told(facts)}  {rate:.0f} images/s")

    def epoch(self, record: Any) -> None:
        held = "" if record.validation is None else f" | held out: {_told(record.validation)}"
        best = " (best)" if record.best else ""
        self._say(
            f"{record.objective}, epoch {record.epoch + 1}: {_told(record.facts)}{held}{best}, "
            f"{record.rate:.0f} images/s, {record.seconds:.0f} s"
        )

    def _advance(self, name: str, done: int, of: int, facts: str) -> None:
        if self._bar is not None:
            if name != self._name:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(name, total=of, facts=facts)
            self._bar.update(self._task, completed=done, total=of, facts=facts)
        elif time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _LINE_EVERY_S
            self._say(f"  {name}: {done} of {of}  {facts}".rstrip())
        self._name = name

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._console.print(printable(text))
        else:
            sys.stderr.write(printable(text) + "\n")
            sys.stderr.flush()


def _told(facts: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', '-')} {value:.4g}" for name, value in facts.items())
