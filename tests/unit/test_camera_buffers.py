"""What stands between threads: the newest frame wins, and a source is opened again for ever."""

import random
import threading
from collections.abc import Iterator

import pytest

from kith.errors import CameraAway
from producers.camera.counts import Counts
from producers.camera.frame import Frame
from producers.camera.newest import Newest
from producers.camera.reopening import Backoff, Reopening


class TestNewest:
    def test_what_does_not_fit_is_the_oldest_and_is_told(self) -> None:
        lost: list[int] = []
        buffer: Newest[int] = Newest(2, lost.append)
        for number in range(5):
            buffer.put(number)
        assert lost == [0, 1, 2]
        assert [buffer.get(0), buffer.get(0), buffer.get(0)] == [3, 4, None]

    def test_it_never_grows_and_nothing_is_lost_unseen_while_one_puts_and_another_takes(self) -> None:
        lost: list[int] = []
        buffer: Newest[int] = Newest(3, lost.append)
        taken: list[int] = []

        def take() -> None:
            while not buffer.done:
                item = buffer.get(5)
                if item is not None:
                    taken.append(item)

        taker = threading.Thread(target=take)
        taker.start()
        for number in range(2000):
            buffer.put(number)
            assert len(buffer) <= 3
        buffer.close(keep=True)
        taker.join(5)
        assert taken == sorted(taken)
        assert sorted(taken + lost) == list(range(2000))

    def test_of_a_recording_nothing_is_lost_the_reader_waits(self) -> None:
        lost: list[int] = []
        buffer: Newest[int] = Newest(2, lost.append, patient=True)

        def put() -> None:
            for number in range(50):
                buffer.put(number)
            buffer.close(keep=True)

        putter = threading.Thread(target=put)
        putter.start()
        taken = []
        while not buffer.done:
            item = buffer.get(5)
            if item is not None:
                taken.append(item)
        putter.join(5)
        assert taken == list(range(50))
        assert lost == []

    def test_closing_wakes_everybody_and_takes_nothing_in(self) -> None:
        buffer: Newest[int] = Newest(1, lambda _: None, patient=True)
        buffer.put(1)
        waiting = threading.Thread(target=buffer.put, args=(2,))
        waiting.start()
        buffer.close()
        waiting.join(5)
        assert not waiting.is_alive()
        buffer.put(3)
        assert buffer.get(0) is None
        assert buffer.done


class TestBackoff:
    def test_pauses_double_up_to_the_longest_and_are_random_by_half(self) -> None:
        backoff = Backoff(0.5, 30, random.Random(0))
        pauses = [backoff.next_s() for _ in range(2000)]
        for failures, pause in enumerate(pauses):
            step = min(30, 0.5 * 2.0 ** min(failures, 60))
            assert step / 2 <= pause <= step
        assert len(set(pauses)) == 2000
        backoff.reset()
        assert backoff.next_s() <= 0.5


class Scripted:
    """A source that yields what it is told and then ends, or raises."""

    def __init__(self, frames: int, end: Exception | None) -> None:
        self._frames, self._end = frames, end

    def frames(self) -> Iterator[Frame]:
        yield from [Frame(None, n, float(n)) for n in range(self._frames)]  # type: ignore[arg-type]
        if self._end is not None:
            raise self._end


class TestReopening:
    def run(self, script: list[Scripted]) -> tuple[bool, list[str | None], int]:
        told: list[str | None] = []
        used: list[Frame] = []
        opens = iter(script)
        reopening = Reopening("front", lambda: next(opens), Backoff(0.0, 0.0), told.append)
        ended = reopening.run(used.append, threading.Event())
        return ended, told, len(used)

    def test_whatever_ends_it_it_is_opened_again_and_each_change_is_told(self) -> None:
        away = CameraAway("refused")
        script = [Scripted(0, away), Scripted(0, away), Scripted(3, CameraAway("the stream ended")), Scripted(2, None)]
        assert self.run(script) == (True, ["refused", "refused", None, "the stream ended", None], 5)

    def test_a_librarys_own_exception_is_no_end_and_its_words_are_not_repeated(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        ended, told, _ = self.run([Scripted(1, ValueError("rtsp://u:hunter2@cam")), Scripted(1, None)])
        assert ended
        assert told == [None, "internal: ValueError", None]
        assert "hunter2" not in caplog.text

    def test_one_reason_is_logged_once_however_long_it_lasts(self, caplog: pytest.LogCaptureFixture) -> None:
        away = CameraAway("refused")
        with caplog.at_level("WARNING"):
            self.run([Scripted(0, away)] * 50 + [Scripted(0, CameraAway("stalled")), Scripted(1, None)])
            assert len(caplog.records) == 2
            self.run([Scripted(0, away)] * 3 + [Scripted(1, away)] + [Scripted(0, away), Scripted(1, None)])
        assert len(caplog.records) == 4, "once more after it had worked"

    def test_it_ends_when_it_is_told_to(self) -> None:
        stop = threading.Event()
        told: list[str | None] = []

        def tell(why: str | None) -> None:
            told.append(why)
            stop.set()

        reopening = Reopening("front", lambda: Scripted(0, CameraAway("refused")), Backoff(60, 60), tell)
        assert not reopening.run(lambda _: None, stop)
        assert told == ["refused"]


def test_counts_are_taken_once_and_can_be_given_back() -> None:
    counts = Counts()
    counts.add("frames", 3)
    counts.drop("late")
    with counts.timed("gate"):
        sum(range(100_000))
    taken = counts.take()
    assert taken.pop("us_gate") > 0
    assert taken == {"frames": 3, "dropped_late": 1}
    assert counts.take() == {}
    counts.give_back(taken)
    counts.drop("late")
    assert counts.take() == {"frames": 3, "dropped_late": 2}
