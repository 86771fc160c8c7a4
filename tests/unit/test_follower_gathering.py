"""A follower of a gallery that changes all the time gathers changes: each read costs it and the server."""

import time
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise

import numpy as np
import pytest

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.gallery import Enrolment
from kith.journal import Change
from kith.replica import Follower

_GATHER_S = 0.01
_BLOCK_MS = 20


class Busy(MemoryGalleryStore):
    """There is always one more change: somebody is enrolled by each read, `changes` times."""

    def __init__(self, changes: int) -> None:
        super().__init__()
        self.create("door", model_id="m", dimension=2)
        self.left = changes
        #: When each read began, what the reader had, and how long it was ready to wait.
        self.reads: list[tuple[float, int, int]] = []

    def changes_many(
        self, after: Mapping[str, int], *, block_ms: int = 0, limit: int = 1000, likely: Collection[str] = ()
    ) -> dict[str, list[Change]]:
        self.reads.append((time.monotonic(), after["door"], 0 if likely else block_ms))
        if self.left:
            self.left -= 1
            vector = np.array([1, 0], np.float32)
            self.enrol("door", [Enrolment(f"Ann {self.left}", f"t{self.left}", vector, "key", 0.5, "m")])
        return super().changes_many(after, block_ms=block_ms, limit=limit, likely=likely)


def test_while_changes_keep_coming_the_log_is_read_at_a_slow_pace_and_what_came_is_applied_before_each_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kith.replica._GATHER_S", _GATHER_S)
    store = Busy(4)
    follower = Follower(store, block_ms=_BLOCK_MS)
    follower.view("door")
    # The fifth read finds no more, so the sixth may wait for news again.
    until(lambda: len(store.reads) >= 6)
    follower.stop()
    began, had, waited = zip(*store.reads[:6], strict=True)
    assert all(later - sooner >= _GATHER_S for sooner, later in pairwise(began[:5]))
    assert had == (0, 1, 2, 3, 4, 4)
    # Right after news there may be more already: that is asked for without a wait.
    assert waited == (_BLOCK_MS, 0, 0, 0, 0, _BLOCK_MS)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)
