"""Agreement of two detectors against a matching done by hand, and by a loop over all ways of matching."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kith.evaluation.detection import agreement, landmark_error, matches, overlap

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Drawn:
    box: Box
    landmarks: NDArray[np.float32]


def face(x: float, y: float, side: float = 40, shift: float = 0) -> Drawn:
    """A square face whose eyes are 20 pixels apart, all landmarks moved to the right by `shift`."""
    marks = np.array([[10, 12], [30, 12], [20, 22], [12, 32], [28, 32]], np.float32)
    return Drawn((x, y, side, side), marks + np.array([x + shift, y], np.float32))


def naive_overlap(one: Box, other: Box) -> float:
    """Intersection over union by counting pixels of boxes with whole coordinates."""
    cells = [
        {(x, y) for x in range(int(b[0]), int(b[0] + b[2])) for y in range(int(b[1]), int(b[1] + b[3]))}
        for b in (one, other)
    ]
    return len(cells[0] & cells[1]) / len(cells[0] | cells[1])


boxes = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 12), st.integers(1, 12))


@given(st.lists(boxes, min_size=1, max_size=4), st.lists(boxes, min_size=1, max_size=4))
def test_overlap_is_what_counting_pixels_gives(mine: list[Box], theirs: list[Box]) -> None:
    found = overlap(np.array(mine), np.array(theirs))
    assert found == pytest.approx(np.array([[naive_overlap(one, other) for other in theirs] for one in mine]))


def test_the_best_overlap_is_matched_first_and_each_box_once() -> None:
    mine = np.array([[0, 0, 10, 10], [1, 0, 10, 10]])
    assert matches(mine, np.array([[1, 0, 10, 10]])) == [(1, 0)]
    assert matches(mine, mine[::-1]) == [(0, 1), (1, 0)]


def test_boxes_that_barely_touch_are_two_faces() -> None:
    # Shifted by a third of their side, two squares share exactly half of what they cover together.
    at = np.array([[0, 0, 30, 30]])
    assert matches(at, np.array([[10, 0, 30, 30]])) == [(0, 0)]
    assert matches(at, np.array([[10.1, 0, 30, 30]])) == []


def test_no_boxes_match_nothing() -> None:
    assert matches(np.empty((0, 4)), np.array([[0, 0, 5, 5]])) == []
    assert matches(np.array([[0, 0, 5, 5]]), np.empty((0, 4))) == []


def test_landmarks_are_judged_in_distances_between_the_eyes() -> None:
    assert landmark_error(face(0, 0, shift=3).landmarks, face(0, 0).landmarks) == pytest.approx(3 / 20)


def test_found_missed_and_extra_faces_are_counted_over_all_pictures() -> None:
    found = agreement(
        [
            ([face(0, 0, shift=1), face(100, 0)], [face(0, 0), face(200, 0)]),
            ([], [face(5, 5)]),
            ([face(0, 0, shift=3)], [face(0, 0)]),
            ([], []),
        ]
    )
    assert (found.images, found.faces, found.found, found.extra) == (4, 4, 2, 1)
    assert found.recall == 0.5
    assert found.extra_rate == 0.25
    assert found.landmark_error == pytest.approx(2 / 20)
    assert found.worst_landmark_error == pytest.approx(np.quantile([1 / 20, 3 / 20], 0.99))


def test_where_the_reference_has_no_face_every_one_is_extra() -> None:
    found = agreement([([face(0, 0), face(50, 50)], [])])
    assert (found.recall, found.extra_rate) == (1.0, 2.0)
    assert np.isnan(found.landmark_error)
