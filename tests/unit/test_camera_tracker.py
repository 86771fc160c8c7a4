"""Following faces from frame to frame: who is paired with whom, where somebody will be, when tracks begin and end."""

import itertools
import math

import numpy as np
import pytest

from kith.detector import Detection
from producers.camera.assignment import assign
from producers.camera.motion import Box, Motion
from producers.camera.tracker import Step, Tracker, overlap

WIDTH = 640
STEP_S = 0.2


def face(x: float, y: float = 200.0, side: float = 80.0, score: float = 0.95) -> Detection:
    """A face whose middle is at x, y."""
    return Detection((x - side / 2, y - side / 2, side, side), np.zeros((5, 2), np.float32), score)


def follow(frames: list[list[Detection]], tracker: Tracker | None = None) -> list[Step]:
    tracker = tracker or Tracker()
    return [tracker.step(found, number * STEP_S, WIDTH) for number, found in enumerate(frames)]


def numbers(step: Step) -> dict[float, int]:
    """Middle of each face → number of its track."""
    return {detection.box[0] + detection.box[2] / 2: track.number for track, detection in step.seen}


def stretches(frames: list[list[Detection]], step_s: float = STEP_S) -> list[set[int]]:
    """Of the tracks that are seen in each frame."""
    tracker, found = Tracker(lost_s=3.0), []
    for number, faces in enumerate(frames):
        # Read at once: a track is the same object in every step.
        found.append({track.stretch for track, _ in tracker.step(faces, number * step_s, WIDTH).seen})
    return found


class TestAssignment:
    @pytest.mark.parametrize("shape", [(1, 1), (2, 3), (4, 4), (5, 3), (3, 6), (0, 3), (3, 0)])
    def test_pairs_are_those_of_a_search_through_all(self, shape: tuple[int, int]) -> None:
        random = np.random.default_rng(sum(shape))
        for _ in range(40):
            cost = random.uniform(0, 10, shape)
            cost[random.random(shape) < 0.3] = np.inf
            pairs = assign(cost)
            assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
            assert pairs == sorted(pairs)
            assert (len(pairs), pytest.approx(sum(cost[pair] for pair in pairs))) == self.best(cost)

    def best(self, cost: np.ndarray) -> tuple[int, float]:
        """As many pairs as possible, then the least sum."""
        found = (0, 0.0)
        rows, columns = cost.shape
        for size in range(1, min(rows, columns) + 1):
            sums = [
                sum(cost[pair] for pair in zip(some, others, strict=True))
                for some in itertools.combinations(range(rows), size)
                for others in itertools.permutations(range(columns), size)
            ]
            if math.isfinite(least := min(sums)):
                found = (size, least)
        return found


class TestMotion:
    def test_after_a_few_steps_it_knows_where_a_walker_will_be(self) -> None:
        motion = Motion(face(100).box)
        for step in range(1, 6):
            motion.predict(STEP_S)
            motion.update(face(100 + 30 * step).box)
        motion.predict(3 * STEP_S)
        x, _, width, height = motion.box
        assert x + width / 2 == pytest.approx(340, abs=8)
        assert (width, height) == pytest.approx((80, 80), rel=0.05)

    def test_it_is_the_textbook_filter_in_each_coordinate(self) -> None:
        """Recomputed for one coordinate with matrices."""
        motion = Motion(face(100).box)
        state, spread = np.array([100.0, 0.0]), np.diag([(80 * 0.08) ** 2, (80 * 3.0) ** 2])
        for step, seen in enumerate((115.0, 126.0, 160.0)):
            seconds = 0.2 + 0.1 * step
            move = np.array([[1, seconds], [0, 1]])
            noise = (80 * 4.0) ** 2 * np.array([[seconds**4 / 4, seconds**3 / 2], [seconds**3 / 2, seconds**2]])
            state, spread = move @ state, move @ spread @ move.T + noise
            gain = spread[:, 0] / (spread[0, 0] + (80 * 0.08) ** 2)
            motion.predict(seconds)
            off = seen - state[0]
            assert motion.surprise(face(seen).box) == pytest.approx(off**2 / (spread[0, 0] + (80 * 0.08) ** 2))
            state, spread = state + gain * off, spread - np.outer(gain, spread[0])
            motion.update(face(seen).box)
            x, _, width, _ = motion.box
            assert x + width / 2 == pytest.approx(state[0])

    def test_the_farther_off_the_more_surprising_and_size_counts(self) -> None:
        motion = Motion(face(100).box)
        motion.predict(STEP_S)
        near, far, larger = (motion.surprise(each.box) for each in (face(110), face(200), face(110, side=160)))
        assert near < 1 < far
        assert larger > 18.5, "nobody doubles his size within a fifth of a second"


class TestTracks:
    def test_one_who_walks_through_is_one_track(self) -> None:
        steps = follow([[face(x)] for x in range(60, 580, 25)])
        assert {track.number for step in steps for track, _ in step.seen} == {1}
        assert [len(step.begun) for step in steps] == [1] + [0] * (len(steps) - 1)

    @pytest.mark.parametrize("hidden", [0, 1, 2, 3])
    def test_two_who_cross_keep_their_numbers_though_one_is_hidden_on_the_way(self, hidden: int) -> None:
        """The one behind is not seen while they meet."""
        frames = []
        for number in range(18):
            left, right = 60 + 30 * number, 580 - 30 * number
            meet = abs(left - right) <= 30 * hidden
            frames.append([face(left, 200), *([] if meet else [face(right, 210, side=70)])])
        steps = follow(frames)
        first, last = numbers(steps[0]), numbers(steps[-1])
        assert first[60] == last[570]
        assert first[580] == last[70]
        assert sum(len(step.begun) for step in steps) == 2

    def test_one_who_stands_still_is_kept_while_others_pass(self) -> None:
        steps = follow([[face(320, 200, 60), face(50 + 40 * n, 330, 100)] for n in range(14)])
        assert {numbers(step)[320] for step in steps} == {numbers(steps[0])[320]}

    def test_a_face_that_is_missed_for_a_moment_is_met_where_it_leads(self) -> None:
        steps = follow([[face(x)] if x not in range(260, 320) else [] for x in range(100, 560, 20)])
        assert {number for step in steps for number in numbers(step).values()} == {1}
        assert [len(step.hidden) for step in steps].count(1) == 3

    def test_a_track_is_one_stretch_while_there_is_nobody_else_it_might_be(self) -> None:
        apart = [[face(60 + 25 * n, 100), face(580 - 20 * n, 400, 50)] for n in range(15)]
        assert stretches(apart) == [{1}] * 15

    def test_who_meets_somebody_or_is_unseen_for_a_moment_begins_a_new_stretch(self) -> None:
        meet = [[face(60 + 30 * n), face(580 - 30 * n, 210, 70)] for n in range(18)]
        assert stretches(meet)[3] == {1}
        assert min(stretches(meet)[-1]) > 1
        missed = [[face(x)] if x != 260 else [] for x in range(100, 500, 20)]
        assert stretches(missed) == [{1}] * 8 + [set()] + [{2}] * 11

    def test_frames_that_are_far_apart_are_no_stretch(self) -> None:
        assert stretches([[face(300)]] * 4, step_s=1.0) == [{1}, {2}, {3}, {4}]

    def test_a_track_ends_when_nobody_was_seen_for_long_and_a_new_one_has_a_new_number(self) -> None:
        tracker = Tracker(lost_s=1.0)
        steps = follow([[face(300)]] * 3 + [[]] * 8 + [[face(300)]], tracker)
        ended = [(number, track.seen_s) for number, step in enumerate(steps) for track in step.ended]
        assert ended == [(8, pytest.approx(0.4))]
        assert numbers(steps[-1]) == {300: 2}

    @pytest.mark.parametrize(("leaves", "comes"), [((560, 590, 620), 615), ((80, 50, 20), 25)])
    def test_who_went_out_at_the_edge_is_not_who_comes_in_there_next(
        self, leaves: tuple[float, ...], comes: float
    ) -> None:
        steps = follow([*([face(x)] for x in leaves), [], [face(comes)]])
        assert list(numbers(steps[-1]).values()) == [2]
        assert [track.number for track in steps[3].ended] == [1]

    @pytest.mark.parametrize("mirrored", [False, True])
    def test_who_comes_in_where_another_goes_out_is_another(self, mirrored: bool) -> None:
        """What is seen of either is cut off by the edge, so that both boxes hardly move."""
        whole = [(x, 200.0, 80.0, 80.0) for x in (100.0, 60.0, 20.0)]
        leaves, comes = ([(0.0, 203.0, width, 80.0) for width in widths] for widths in ((66, 50), (62, 74)))
        boxes = [*whole, *leaves, *comes, (20.0, 205.0, 80.0, 80.0), (50.0, 205.0, 80.0, 80.0)]
        if mirrored:
            boxes = [(WIDTH - x - width, y, width, height) for x, y, width, height in boxes]
        steps = follow([[Detection(box, np.zeros((5, 2), np.float32), 0.95)] for box in boxes])
        followed = [next(iter(numbers(step).values())) for step in steps]
        assert followed[:4] == [1] * 4
        assert 1 not in followed[5:]
        assert len(set(followed[5:])) == 1

    def test_at_one_look_a_second_nobody_is_lost_between_two(self) -> None:
        tracker = Tracker(lost_s=0.8)
        for second, seen in enumerate([True, True, False, True, False, False, True]):
            step = tracker.step([face(300)] if seen else [], float(second), WIDTH)
            assert step.ended == []
        assert numbers(step) == {300: 1}

    def test_a_doubtful_face_becomes_a_track_when_it_is_seen_twice_running(self) -> None:
        doubtful = face(300, score=0.65)
        steps = follow([[doubtful], [], [doubtful], [doubtful], [face(100)]])
        assert [len(step.begun) for step in steps] == [0, 0, 0, 1, 1]
        assert [len(step.ended) for step in steps] == [0] * 5, "what never began does not end"
        assert numbers(steps[3]) == {300: 1}

    def test_a_jump_across_the_frame_is_another_person(self) -> None:
        steps = follow([[face(100)]] * 4 + [[face(500)]])
        assert numbers(steps[-1]) == {500: 2}

    def test_the_end_of_the_pictures_ends_all_that_began(self) -> None:
        tracker = Tracker()
        follow([[face(100), face(300), face(500, score=0.65)]], tracker)
        assert sorted(track.number for track in tracker.end_all()) == [1, 2]
        assert tracker.end_all() == []
        assert not tracker.busy

    def test_after_a_pause_of_the_frames_numbers_go_on(self) -> None:
        tracker = Tracker()
        follow([[face(100)]], tracker)
        tracker.end_all()
        assert numbers(tracker.step([face(100)], 99.0, WIDTH)) == {100: 2}


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [((0, 0, 2, 2), (1, 1, 2, 2), 1 / 7), ((0, 0, 2, 2), (2, 0, 2, 2), 0), ((0, 0, 2, 2), (0, 0, 2, 2), 1)],
)
def test_overlap_is_intersection_over_union(one: Box, other: Box, share: float) -> None:
    assert overlap(one, other) == pytest.approx(share)
