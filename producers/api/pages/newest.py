"""The newest entries of a stream that can be read forwards only: backwards in windows that grow."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Entry(Protocol):
    """Anything with a place in a stream."""

    @property
    def entry_id(self) -> str:
        """`milliseconds-number`, ascending."""
        ...


Each = TypeVar("Each", bound=Entry)

#: Ends of the windows, seconds ago. The first is short: where thousands come in a minute, it is enough.
_BACK_S = (5, 60, 600, 3_600, 21_600, 86_400, 604_800)
_PAGE = 500
#: Entries of one window that are looked at; of a rare kind in a busy stream the page may show fewer than there are.
_MOST = 5_000


def newest(
    after: Callable[[str, int], Sequence[Each]], now_ms: int, wanted: Callable[[Each], bool], most: int
) -> list[Each]:
    """Up to `most` entries that are wanted, newest first. after: up to so many entries after a place. Raises what it
    does."""
    found: list[Each] = []
    until_ms = now_ms + 60_000
    for back_s in _BACK_S:
        since_ms = now_ms - 1000 * back_s
        found = [each for each in _between(after, since_ms, until_ms) if wanted(each)] + found
        if len(found) >= most:
            break
        until_ms = since_ms
    return found[::-1][:most]


def _between(after: Callable[[str, int], Sequence[Each]], since_ms: int, until_ms: int) -> list[Each]:
    found: list[Each] = []
    # The place before the first one of that millisecond.
    last = f"{since_ms - 1}-{10**15 - 1}"
    while len(found) < _MOST:
        page = after(last, _PAGE)
        for each in page:
            if int(each.entry_id.partition("-")[0]) >= until_ms:
                return found
            found.append(each)
        if len(page) < _PAGE:
            break
        last = page[-1].entry_id
    return found
