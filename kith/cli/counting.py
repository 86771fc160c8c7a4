"""So many of so many: a bar on a terminal, a line every few seconds elsewhere; always on standard error."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from kith.cli.terminal import say

#: Seconds between plain lines.
_LINE_EVERY_S = 5.0


@contextmanager
def counting(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yields what is to be called with (what, done, of all). quiet: plain lines also on a terminal."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if quiet or not console.is_terminal:
        next_s = time.monotonic() + _LINE_EVERY_S

        def line(what: str, done: int, of: int) -> None:
            nonlocal next_s
            if time.monotonic() >= next_s:
                next_s = time.monotonic() + _LINE_EVERY_S
                say(f"  {what}: {done} of {of}")

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def move(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=of)
            progress.update(tasks[what], completed=done, total=of)

        yield move
