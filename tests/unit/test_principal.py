"""The face that is meant is the large one in the middle."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kith.detector import Detection
from kith.principal import by_prominence, prominence

SIZE = (720, 1280)


def face(x: float, y: float, side: float) -> Detection:
    """A square face whose centre is (x, y)."""
    return Detection((x - side / 2, y - side / 2, side, side), np.zeros((5, 2), np.float32), 0.9)


faces = st.builds(face, st.floats(0, 1280), st.floats(0, 720), st.floats(10, 700))


def test_in_the_middle_a_face_counts_with_its_whole_area_and_in_a_corner_with_none() -> None:
    assert prominence(face(640, 360, 100), *SIZE) == 100 * 100
    assert prominence(face(0, 0, 100), *SIZE) == 0
    # Halfway to the corner: (1 − ¼)².
    assert abs(prominence(face(320, 180, 100), *SIZE) - 100 * 100 * 0.5625) < 1e-6


def test_a_somewhat_larger_neighbour_at_the_edge_is_not_the_one_meant() -> None:
    meant, neighbour = face(640, 360, 100), face(1200, 360, 120)
    assert by_prominence([neighbour, meant], *SIZE) == [meant, neighbour]


def test_of_two_beside_each_other_the_larger_comes_first() -> None:
    small, large = face(540, 360, 100), face(740, 360, 110)
    assert by_prominence([small, large], *SIZE) == [large, small]


@given(st.lists(faces, max_size=6))
def test_every_face_is_kept_and_none_stands_before_a_more_prominent_one(found: list[Detection]) -> None:
    ordered = by_prominence(found, *SIZE)
    assert sorted(map(id, ordered)) == sorted(map(id, found))
    values = [prominence(each, *SIZE) for each in ordered]
    assert values == sorted(values, reverse=True)
    assert all(value >= 0 for value in values)
