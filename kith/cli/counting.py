"""How far a long command is: a bar on a terminal, a line every few seconds elsewhere, always on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kith.cli.terminal import say

#: Seconds between plain lines.
_LINE_EVERY_S = 5.0


@contextmanager
def counting(text: str, total: int, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """While `total` things are done: gives the function to call with how many are. quiet: no bar, lines only."""
    if sys.stderr.isatty() and not quiet:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(text, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    next_s = time.monotonic() + _LINE_EVERY_S

    def line(done: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + _LINE_EVERY_S
            say(f"kith: {text}: {done:,} of {total:,}")

    yield line
