"""Starting again what died, at once the first time, with growing pauses while it keeps dying."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kith.errors import KithError

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.2, 15.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Death:
    """how: the rest of the sentence that begins with the part's name. for_good: starting it again changes nothing.
    first: it has not lived yet, and is wanted now."""

    how: str
    for_good: bool = False
    first: bool = False


class Part(Protocol):
    """Something that is to run all the time."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def death(self) -> Death | None:
        """How it ended; None while it lives, and when it is down because somebody wants it so."""
        ...

    def was_sound(self) -> bool:
        """Whether it did its work before it ended: then this is a first death, not one of a series."""
        ...

    def start_again(self) -> None:
        """Raises KithError or OSError when that fails."""
        ...


@dataclass
class _Watched:
    part: Part
    pause_s: float = 0.0
    #: None while it lives.
    restart_at_s: float | None = None


class Supervisor:
    """Watches `parts`, in their order, in a thread of its own. notify: told of each death and each failed start."""

    def __init__(self, parts: Sequence[Part], notify: Callable[[str], None]) -> None:
        self._watched = [_Watched(part) for part in parts]
        self._notify = notify
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; when it returns, nothing is being started."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_S):
            for watched in self._watched:
                self._look(watched)

    def _look(self, watched: _Watched) -> None:
        death = watched.part.death()
        if death is None:
            watched.restart_at_s = None
        elif watched.restart_at_s is None:
            self._plan(watched, death)
        elif time.monotonic() >= watched.restart_at_s:
            try:
                watched.part.start_again()
            except (KithError, OSError) as failure:
                self._put_off(watched, f"{watched.part.name} could not be started again: {failure}; trying again")
            else:
                watched.restart_at_s = None

    def _plan(self, watched: _Watched, death: Death) -> None:
        if death.for_good:
            watched.restart_at_s = float("inf")
            self._notify(f"{watched.part.name} {death.how}")
            return
        if watched.part.was_sound():
            watched.pause_s = 0.0
        self._put_off(watched, f"{watched.part.name} {death.how}, starting it{'' if death.first else ' again'}")

    def _put_off(self, watched: _Watched, why: str) -> None:
        watched.pause_s = min(max(_FIRST_PAUSE_S, 2 * watched.pause_s), _LAST_PAUSE_S)
        watched.restart_at_s = time.monotonic() + watched.pause_s
        self._notify(f"{why} in {watched.pause_s:.1f} s")
