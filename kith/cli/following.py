"""Reading a stream from the command line: all that is kept, what comes from now on, or as one of a group."""

import os
import platform
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import typer

from kith.cli.terminal import say
from kith.errors import StateUnavailable
from kith.results import FROM_START

_PAGE = 500
#: How long one request waits for news; between two of them a signal gets through.
_BLOCK_S = 1.0


class Placed(Protocol):
    """A record and its place in the stream."""

    @property
    def entry_id(self) -> str:
        """`milliseconds-number`."""
        ...


Entry = TypeVar("Entry", bound=Placed)


class Stream(Protocol[Entry]):
    """What kith.results.Results and kith.watching.event_log.EventLog have in common."""

    def position(self) -> str:
        """Of the newest entry."""
        ...

    def after(self, entry_id: str, *, limit: int = 500, block_s: float = 0.0) -> list[Entry]:
        """Entries after one."""
        ...

    def join(self, group: str, start: str = FROM_START) -> None:
        """Create a group."""
        ...

    def take(
        self, group: str, consumer: str, *, limit: int = 100, block_s: float = 0.0, steal_after_s: float = 60.0
    ) -> list[Entry]:
        """Entries for a consumer."""
        ...

    def acknowledge(self, group: str, entry_ids: Sequence[str]) -> int:
        """Mark entries as handled."""
        ...


def check(start: str | None, group: str | None, consumer: str | None) -> None:
    """Raises BadParameter for what no stream can be read by."""
    if start not in (None, "start", "now") and not re.fullmatch(r"\d{1,19}(-\d{1,19})?", start or ""):
        raise typer.BadParameter(f"--from takes start, now or an entry's id (milliseconds-number), not {start!r}")
    if consumer is not None and group is None:
        raise typer.BadParameter("--consumer names a member of a --group")


def pages(
    stream: Stream[Entry], follow: bool, group: str | None, consumer: str | None, start: str | None
) -> Iterator[list[Entry]]:
    """Page after page, those of a group acknowledged once the next one is asked for."""
    if group is None:
        return _read(stream, start or ("now" if follow else "start"), follow)
    return _take(stream, group, consumer or _own_name(), start, follow)


def _own_name() -> str:
    """A consumer name nobody else has: in containers, users, hosts and process ids are often all alike."""
    return f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"


def _read(stream: Stream[Entry], start: str, follow: bool) -> Iterator[list[Entry]]:
    # "now" becomes an id at once: asking for "$" again and again would skip what came between two requests.
    last = {"start": FROM_START, "now": ""}.get(start, start) or stream.position()
    while True:
        try:
            page = stream.after(last, limit=_PAGE, block_s=_BLOCK_S if follow else 0)
        except StateUnavailable as away:
            _pause(away, follow)
            continue
        if page:
            yield page
            last = page[-1].entry_id
        elif not follow:
            return


def _take(stream: Stream[Entry], group: str, consumer: str, start: str | None, follow: bool) -> Iterator[list[Entry]]:
    joined = False
    while True:
        try:
            if not joined:
                position = {"start": FROM_START, "now": "$", None: FROM_START}.get(start, start)
                stream.join(group, position or FROM_START)
                joined = True
            page = stream.take(group, consumer, limit=_PAGE, block_s=_BLOCK_S if follow else 0)
        except StateUnavailable as away:
            _pause(away, follow)
            continue
        if page:
            yield page
            # Printed and flushed by now. Should this fail, they are printed again, which loses nothing.
            _acknowledge(stream, group, [entry.entry_id for entry in page])
        elif not follow:
            return


def _acknowledge(stream: Stream[Entry], group: str, entry_ids: Sequence[str]) -> None:
    try:
        stream.acknowledge(group, entry_ids)
    except StateUnavailable as away:
        say(f"kith: {away}; {len(entry_ids)} are not acknowledged and will come again")


def _pause(away: StateUnavailable, follow: bool) -> None:
    if not follow:
        raise away
    say(f"kith: {away}; trying again")
    time.sleep(_BLOCK_S)
