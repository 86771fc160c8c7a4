"""Which crops are sent: the first fit one at once, better ones later, a bounded number; fewer under pressure."""

import numpy as np
import pytest

from kith.jobs import Quality
from kith.watching.news import Unfit
from producers.camera.picking import Picking, PickingRule
from producers.camera.pressure import LEVELS, Level, Pressure

RULE = PickingRule(most=8, first=3, gap_s=0.6, later_s=5.0, min_quality=0.2, min_face_px=32)


def quality(value: float, **parts: float) -> Quality:
    return Quality(value, **{"size": 0.9, "sharpness": 0.9, "pose": 0.9, "brightness": 0.9, **parts})


def sent_by(picking: Picking, values: list[float], rule: PickingRule, every_s: float) -> list[int]:
    taken = []
    for number, value in enumerate(values):
        if picking.wants(quality(value), 80, number * every_s, rule):
            assert not picking.waits(number * every_s, rule), "who waits wants nothing"
            assert picking.picked(quality(value), number * every_s) == len(taken) + 1
            taken.append(number)
    return taken


def sent(values: list[float], rule: PickingRule = RULE, every_s: float = 0.2) -> list[int]:
    """Which of the crops of these qualities are sent."""
    return sent_by(Picking(), values, rule, every_s)


class TestPicking:
    def test_the_first_fit_crop_goes_at_once(self) -> None:
        assert sent([0.1, 0.1, 0.25])[0] == 2

    def test_the_next_ones_are_other_pictures_and_few(self) -> None:
        assert sent([0.5] * 25) == [0, 3, 6]

    @pytest.mark.parametrize("begins", range(20))
    def test_the_next_one_is_no_frame_late_because_times_are_rounded_or_frames_come_unevenly(self, begins: int) -> None:
        picking, taken = Picking(), []
        for number in range(begins, begins + 7):
            # The frames of 0.2 s, now and then 20 ms early or late.
            at_s = number * 0.2 + (0.02 if number % 2 else -0.02)
            if picking.wants(quality(0.5), 80, at_s, RULE):
                picking.picked(quality(0.5), at_s)
                taken.append(number - begins)
        assert taken == [0, 3, 6]

    def test_a_clearly_better_one_goes_soon_and_a_worse_one_never(self) -> None:
        assert sent([0.3, 0.9, 0.9, 0.9]) == [0, 2]
        assert sent([0.9] + [0.5] * 50) == [0]

    def test_one_who_stays_is_looked_at_again_now_and_then_up_to_the_limit(self) -> None:
        taken = sent([0.5] * 2000)
        assert len(taken) == 8
        assert np.diff(taken[2:]).min() == 25

    def test_one_that_is_withheld_counts_in_time_and_not_in_number(self) -> None:
        picking = Picking()
        picking.picked(quality(0.5), 0.0)
        picking.withheld(1.0)
        assert picking.sent == 1
        assert not picking.wants(quality(0.5), 80, 1.2, RULE)
        assert picking.wants(quality(0.5), 80, 1.6, RULE)

    @pytest.mark.parametrize("seed", range(5))
    def test_however_good_they_become_there_are_no_more_than_the_limit(self, seed: int) -> None:
        values = np.sort(np.random.default_rng(seed).uniform(0, 1, 3000)) ** 3
        assert len(sent([float(value) for value in values])) == 8

    @pytest.mark.parametrize(
        ("parts", "side_px", "reason"),
        [
            ({}, 20, Unfit.TOO_SMALL),
            ({"size": 0.3}, 40, Unfit.TOO_SMALL),
            ({"sharpness": 0.1}, 80, Unfit.BLURRED),
            ({"pose": 0.1}, 80, Unfit.TURNED_AWAY),
            ({"brightness": 0.1}, 80, Unfit.DARK),
        ],
    )
    def test_what_is_not_fit_is_not_sent_and_the_commonest_reason_is_told(
        self, parts: dict[str, float], side_px: float, reason: Unfit
    ) -> None:
        picking = Picking()
        assert picking.unfit is None
        for _ in range(3):
            assert not picking.wants(quality(0.05, **parts), side_px, 0.0, RULE)
        assert not picking.wants(quality(0.05, brightness=0.01), 80, 0.0, RULE)
        assert picking.unfit is reason
        assert picking.wants(quality(0.5), 80, 1.0, RULE)
        picking.picked(quality(0.5), 1.0)
        assert picking.unfit is None, "somebody was recognisable after all"

    def test_it_is_known_beforehand_when_no_crop_need_be_judged(self) -> None:
        picking = Picking()
        assert not picking.waits(0.0, RULE)
        picking.picked(quality(0.5), 0.0)
        assert picking.waits(0.2, RULE)
        assert not picking.waits(0.4, RULE)
        for number in range(1, 8):
            picking.picked(quality(0.5), float(number))
        assert picking.waits(1e6, RULE)


class TestPressure:
    def levels(self, waiting: list[int | None], every_s: float = 0.5, high: int = 32) -> list[int]:
        pressure, found = Pressure(high), []
        for number, jobs in enumerate(waiting):
            pressure.look(jobs, number * every_s)
            found.append(pressure.level)
        return found

    def test_crops_go_first_and_frames_last(self) -> None:
        assert LEVELS[0] == Level(1, 1)
        crops, fps = [level.crops for level in LEVELS], [level.fps for level in LEVELS]
        assert crops == sorted(crops, reverse=True)
        assert fps == sorted(fps, reverse=True)
        assert all(level.crops == 0 for level in LEVELS if level.fps < 1)

    def test_it_gives_way_step_by_step_while_jobs_wait_and_stops_at_the_last(self) -> None:
        assert self.levels([100] * 14) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 5, 5]

    def test_it_recovers_by_itself_and_more_slowly(self) -> None:
        levels = self.levels([100] * 6 + [0] * 40)
        assert levels[5] == 3
        assert levels[-1] == 0
        assert levels == sorted(levels[:6]) + sorted(levels[6:], reverse=True)
        assert 3 * 4.0 / 0.5 <= levels.index(0, 6) - 6 <= 3 * 4.0 / 0.5 + 3

    def test_between_the_marks_nothing_changes(self) -> None:
        assert self.levels([100, 100] + [20] * 60) == [1] * 62

    def test_a_short_calm_does_not_count(self) -> None:
        assert self.levels([100] + [0, 0, 0, 20] * 15)[-1] == 1

    def test_a_broker_that_does_not_answer_is_pressure(self) -> None:
        assert self.levels([None] * 4) == [1, 1, 2, 2]

    @pytest.mark.parametrize(("level", "most"), [(0, 8), (1, 4), (2, 2), (3, 1), (5, 1)])
    def test_a_track_always_has_its_first_crop(self, level: int, most: int) -> None:
        assert LEVELS[level].most(8) == most
        assert LEVELS[level].most(1) == 1
