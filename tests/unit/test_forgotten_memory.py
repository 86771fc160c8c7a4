"""What somebody forgotten has left is wiped soon, and again when the last search that held him lets go."""

import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from kith.forgotten_memory import ForgottenMemory
from kith.journal import Change, Op, Snapshot
from kith.similarity.rows import whole
from kith.view import GalleryView, Replica
from tests.unit.test_similarity import enrolled, units


class Kept:
    """A searcher that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.full = False

    def renew(self, view: GalleryView) -> None:
        if self.full:
            raise MemoryError("no room for a copy")
        self.told.append(view.sequence)

    def wipe(self) -> None:
        self.told.append("wipe")


@pytest.fixture
def wiped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to the memory, in order. The second wiping is due at once."""
    done: list[str] = []

    @contextmanager
    def overwriting() -> Iterator[None]:
        done.append("from here on")
        yield
        done.append("up to here")

    monkeypatch.setattr("kith.forgotten_memory._SETTLE_S", 0.0)
    monkeypatch.setattr("kith.forgotten_memory.wipe_leftovers", lambda: done.append("wiped"))
    monkeypatch.setattr("kith.forgotten_memory.overwriting_freed", overwriting)
    return done


#: Both wipings of one forget.
TWICE = ["wiped", "from here on", "up to here", "wiped"]


def replica_of_two_blocks() -> Replica:
    replica = Replica(Snapshot("door", "m", 4, "e"))
    vectors = units(2, 4)
    # Slots of two blocks, of which one stays as it is.
    replica.apply([enrolled(1, 1, (0,), vectors[:1]), enrolled(2, 2, (1500,), vectors[1:])])
    return replica


def forget_first(replica: Replica, memory: ForgottenMemory) -> None:
    array = weakref.ref(whole(replica.view.blocks[0]))
    replica.apply([Change(3, Op.FORGET, number=1, slots=(0,), gone=1)])
    memory.left("door", 3, [array])


def test_leftovers_are_wiped_twice_and_what_is_kept_is_brought_up_to_the_newest_view(wiped: list[str]) -> None:
    replica, kept = replica_of_two_blocks(), Kept()
    memory = ForgottenMemory(kept)
    memory.wipe(lambda _: replica.view)
    assert wiped == []
    forget_first(replica, memory)
    memory.wipe(lambda _: replica.view)
    # In between, what is freed is overwritten.
    assert (wiped, kept.told) == (TWICE[:2], [3, "wipe"])
    for _ in range(3):
        memory.wipe(lambda _: replica.view)
    assert (wiped, kept.told) == (TWICE, [3, "wipe", 3, "wipe"])


def test_the_second_time_is_not_before_threads_have_looked_up(
    wiped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kith.forgotten_memory._SETTLE_S", 60.0)
    replica, memory = replica_of_two_blocks(), ForgottenMemory()
    forget_first(replica, memory)
    for _ in range(3):
        memory.wipe(lambda _: replica.view)
    assert (wiped, memory.unwiped()) == (TWICE[:2], {"door": 3})
    memory.close()
    assert wiped == TWICE[:3]


def test_until_it_is_wiped_it_says_which_change_it_was(wiped: list[str]) -> None:
    replica, memory = replica_of_two_blocks(), ForgottenMemory()
    searched = replica.view
    memory.left("hall", 7)
    forget_first(replica, memory)
    memory.left("door", 9)
    assert memory.unwiped() == {"hall": 7, "door": 3}
    for _ in range(3):
        memory.wipe(lambda _: None)
    # Of the first something is still in use.
    assert (wiped, memory.unwiped()) == (TWICE, {"door": 3})
    del searched
    memory.wipe(lambda _: None)
    assert memory.unwiped() == {"door": 3}
    memory.wipe(lambda _: None)
    assert (wiped, memory.unwiped()) == (TWICE + TWICE, {})


def test_what_an_older_view_shares_with_the_newest_is_not_waited_for(wiped: list[str]) -> None:
    replica, memory = replica_of_two_blocks(), ForgottenMemory()
    searched = replica.view
    forget_first(replica, memory)
    assert np.shares_memory(searched.blocks[1], replica.view.blocks[1])
    block = searched.blocks[1]
    del searched
    for _ in range(2):
        memory.wipe(lambda _: replica.view)
    assert (wiped, memory.unwiped()) == (TWICE, {})
    assert block.any()


def test_a_gallery_that_is_no_longer_followed_leaves_something_too(wiped: list[str]) -> None:
    kept = Kept()
    memory = ForgottenMemory(kept)
    memory.left("door", 3)
    for _ in range(2):
        memory.wipe(lambda _: None)
    assert (wiped, kept.told) == (TWICE, ["wipe", "wipe"])


def test_what_cannot_be_taken_out_is_said_and_tried_again(wiped: list[str], caplog: pytest.LogCaptureFixture) -> None:
    replica, kept = replica_of_two_blocks(), Kept()
    memory = ForgottenMemory(kept)
    forget_first(replica, memory)
    kept.full = True
    with caplog.at_level(logging.ERROR):
        memory.wipe(lambda _: replica.view)
    assert "could not be taken out of the memory yet" in caplog.text
    assert "no room for a copy" in caplog.text
    assert memory.unwiped() == {"door": 3}
    kept.full = False
    for _ in range(2):
        memory.wipe(lambda _: replica.view)
    assert (wiped, kept.told, memory.unwiped()) == (TWICE, [3, "wipe", 3, "wipe"], {})
