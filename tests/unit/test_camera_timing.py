"""When frames are looked at: thinning, pacing, and stamps that say a frame is of the past."""

import threading
from collections.abc import Callable

import numpy as np
import pytest

from kith.errors import CameraAway
from producers.camera.counts import Counts
from producers.camera.media_clock import MediaClock
from producers.camera.pacing import Pacing
from producers.camera.thinning import Thinning


class TestThinning:
    @pytest.mark.parametrize("sent", [5, 6, 10, 12.5, 15, 24, 25, 30, 60])
    def test_so_many_a_second_are_left_whatever_is_sent_and_however_it_trembles(self, sent: float) -> None:
        random, thinning = np.random.default_rng(0), Thinning(5, Counts())
        times = np.arange(0, 60, 1 / sent)
        taken = [at for at in times + random.uniform(-0.01, 0.01, len(times)) if thinning.due(at)]

        assert len(taken) == pytest.approx(300, abs=4)
        assert np.diff(taken).max() < 0.2 + 1 / sent + 0.03

    def test_a_camera_that_sends_less_loses_nothing(self) -> None:
        thinning = Thinning(5, Counts())
        assert all(thinning.due(second) for second in range(20))

    def test_after_silence_no_debt_is_paid_off_and_after_a_jump_back_nobody_waits(self) -> None:
        thinning = Thinning(5, Counts())
        assert [at for at in (0.0, 100.0, 100.05, 100.1, 100.2, 3.0, 3.1, 3.2) if thinning.due(at)] == [
            0,
            100,
            100.2,
            3,
            3.2,
        ]

    def test_under_pressure_an_even_share_is_left_the_rest_counted_and_all_come_back(self) -> None:
        counts = Counts()
        thinning = Thinning(10, counts)
        times = [n / 10 for n in range(300)]
        assert all(map(thinning.due, times[:100]))
        thinning.slow_down(0.25)
        taken = [number for number, at in enumerate(times[100:200]) if thinning.due(at)]
        assert set(np.diff(taken)) == {4}
        assert counts.take() == {"dropped_pressure": 75}
        thinning.slow_down(1.0)
        assert sum(map(thinning.due, times[200:])) == 100


class TestMediaClock:
    def lateness(
        self, stamp: Callable[[float], float | None], until_s: float = 60, patience_s: float = 5
    ) -> list[bool]:
        clock = MediaClock(tolerance_s=2, patience_s=patience_s)
        return [clock.late(stamp(at), at) for at in np.arange(1000, 1000 + until_s, 0.2)]

    def test_stamps_from_any_zero_that_tremble_or_are_absent_are_in_time(self) -> None:
        random = np.random.default_rng(0)
        assert not any(self.lateness(lambda at: at + 5e6 + random.uniform(-1, 0)))
        assert not any(self.lateness(lambda at: None if at < 1001 else at - 1000))

    def test_a_clock_that_goes_slow_by_seconds_a_day_is_in_time_all_day(self) -> None:
        clock = MediaClock(tolerance_s=2, patience_s=5)
        assert not any(clock.late(0.99995 * at, at) for at in np.arange(0, 86_400, 60.0))

    def test_what_was_held_up_is_late_until_the_stream_has_caught_up(self) -> None:
        # Frames of four seconds come together at 1014.
        clock, late = MediaClock(tolerance_s=1, patience_s=5), []
        for stamp in np.arange(1000, 1020, 0.2):
            arrived = max(stamp, 1014.0) if stamp >= 1010 else stamp
            if clock.late(stamp, arrived):
                late.append(stamp)
        assert late[0] == pytest.approx(1010)
        assert late[-1] == pytest.approx(1012.8)
        assert len(late) == 15

    def test_a_stream_that_stays_behind_or_jumps_back_is_opened_again(self) -> None:
        with pytest.raises(CameraAway, match="behind"):
            self.lateness(lambda at: at if at < 1010 else at - 4)
        with pytest.raises(CameraAway, match="clock is wrong"):
            self.lateness(lambda at: at if at < 1010 else 7.0 + (at - 1010))

    def test_a_jump_forward_alone_is_only_another_zero(self) -> None:
        assert not any(self.lateness(lambda at: at if at < 1010 else at + 1e6))


class TestPacing:
    def places(self, *stamps: float | None) -> list[float]:
        pacing = Pacing(fast=True, stop=threading.Event())
        return [round(pacing.place(stamp, 0.1), 6) for stamp in stamps]

    def test_times_are_those_of_the_stamps_from_the_first_one_on(self) -> None:
        assert self.places(7.0, 7.04, 7.5) == [0, 0.04, 0.5]

    def test_absent_stamps_jumps_and_steps_back_count_as_the_usual_step(self) -> None:
        assert self.places(None, None, 3.0, 900.0, 900.1, 5.0, 5.1) == [0, 0.1, 3.0, 3.1, 3.2, 3.3, 3.4]

    def test_as_fast_as_possible_waits_for_nobody_and_who_wants_to_end_is_not_kept(self) -> None:
        Pacing(fast=True, stop=threading.Event()).wait()
        stop = threading.Event()
        pacing = Pacing(fast=False, stop=stop)
        pacing.place(0.0, 1)
        pacing.place(9.0, 1)
        stop.set()
        pacing.wait()
