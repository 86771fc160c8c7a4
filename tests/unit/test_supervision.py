"""What dies is started again, with pauses that grow only while it keeps dying."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from kith import supervision
from kith.errors import StateUnavailable
from kith.parts import ServerPart, WantedPart
from kith.supervision import Death, Supervisor


class Part:
    """Dead as long as `dies` says so; failures: starts that fail."""

    name = "part"

    def __init__(self, *, sound: bool = False, failures: int = 0, for_good: bool = False) -> None:
        self.alive = False
        self.starts = 0
        self.dies_at_once = False
        self._sound = sound
        self._failures = failures
        self._for_good = for_good

    def death(self) -> Death | None:
        return None if self.alive else Death("ended with status 9", self._for_good)

    def was_sound(self) -> bool:
        return self._sound

    def start_again(self) -> None:
        self.starts += 1
        if self.starts <= self._failures:
            raise StateUnavailable("it does not answer")
        self.alive = not self.dies_at_once


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervision, "_LOOK_EVERY_S", 0.002)


@contextmanager
def supervised(part: Part) -> Iterator[list[str]]:
    told: list[str] = []
    supervisor = Supervisor([part], told.append)
    supervisor.start()
    yield told
    supervisor.stop()


def until(ready: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def pauses(told: list[str]) -> list[str]:
    return [line.rpartition(" in ")[2] for line in told]


def test_a_part_that_keeps_dying_waits_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_FIRST_PAUSE_S", 0.1)
    part = Part()
    part.dies_at_once = True
    with supervised(part) as told:
        until(lambda: part.starts == 3)
    assert told[0] == "part ended with status 9, starting it again in 0.1 s"
    assert pauses(told)[:3] == ["0.1 s", "0.2 s", "0.4 s"]


def test_a_part_that_did_its_work_starts_at_the_first_pause_however_often_it_dies() -> None:
    part = Part(sound=True)
    part.dies_at_once = True
    with supervised(part) as told:
        until(lambda: part.starts == 5)
    assert set(pauses(told)) == {"0.0 s"}


def test_a_start_that_fails_is_tried_again() -> None:
    part = Part(failures=2)
    with supervised(part) as told:
        until(lambda: part.alive)
    assert part.starts == 3
    assert told[1].startswith("part could not be started again: it does not answer; trying again in ")


def test_what_can_never_work_is_told_once_and_left() -> None:
    part = Part(for_good=True)
    with supervised(part) as told:
        until(lambda: told)
        time.sleep(0.05)
    assert (part.starts, told) == (0, ["part ended with status 9"])


def test_what_comes_back_by_itself_meanwhile_is_not_started_a_second_time() -> None:
    part = Part()
    told: list[str] = []

    def tell(line: str) -> None:
        # It is said before the pause.
        part.alive = True
        told.append(line)

    supervisor = Supervisor([part], tell)
    supervisor.start()
    until(lambda: told)
    time.sleep(0.1)
    supervisor.stop()
    assert part.starts == 0


def test_a_server_that_was_stopped_on_purpose_is_not_dead() -> None:
    class Stopped:
        pid = None

        def start(self, *, adopt: bool = False) -> None: ...

        def stop(self) -> None: ...

    assert ServerPart(Stopped()).death() is None


class _Process:
    """A process that ends when it is told to."""

    code: int | None = None

    def poll(self) -> int | None:
        return self.code


class TestWantedPart:
    """The camera process: started when there are cameras, not before."""

    def part(self, monkeypatch: pytest.MonkeyPatch) -> "tuple[WantedPart, list[_Process], list[bool]]":
        monkeypatch.setattr("kith.parts._ASK_EVERY_S", 0.005)
        spawned: list[_Process] = []
        wanted = [False]

        def spawn() -> _Process:
            spawned.append(_Process())
            return spawned[-1]

        part = WantedPart("camera-1", "has cameras to serve", lambda: wanted[0], spawn, lambda: "no detector")  # type: ignore[arg-type,return-value]
        return part, spawned, wanted  # type: ignore[arg-type,return-value]

    def test_it_is_started_when_there_is_a_camera_and_runs_on_without_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        part, spawned, wanted = self.part(monkeypatch)
        with supervised(part) as told:  # type: ignore[arg-type]
            time.sleep(0.05)
            assert spawned == []
            wanted[0] = True
            until(lambda: spawned)
            wanted[0] = False
            time.sleep(0.05)
        assert len(spawned) == 1
        assert told == ["camera-1 has cameras to serve, starting it in 0.0 s"]

    def test_it_is_started_again_when_it_died_but_not_when_it_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        part, spawned, wanted = self.part(monkeypatch)
        wanted[0] = True
        with supervised(part) as told:  # type: ignore[arg-type]
            until(lambda: spawned)
            spawned[0].code = -9
            until(lambda: len(spawned) == 2)
            spawned[1].code = 78
            until(lambda: any("stays down: no detector" in line for line in told))
            time.sleep(0.05)
        assert len(spawned) == 2
        assert any("camera-1 ended with status -9, starting it again" in line for line in told)
