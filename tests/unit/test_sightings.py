"""What detection networks have in common: overlapping answers made into faces, pictures brought to a scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.sightings import Faces, distinct, padded, resized, strongest

boxes = st.lists(st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 30)] * 2), max_size=12)


@given(boxes, st.sampled_from([0.1, 0.3, 0.6]))
def test_suppression_keeps_what_a_double_loop_keeps(drawn: list[tuple[int, int, int, int]], limit: float) -> None:
    def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
        cells_a = {(x, y) for x in range(a[0], a[0] + a[2]) for y in range(a[1], a[1] + a[3])}
        cells_b = {(x, y) for x in range(b[0], b[0] + b[2]) for y in range(b[1], b[1] + b[3])}
        return len(cells_a & cells_b) / len(cells_a | cells_b)

    kept: list[int] = []
    for index, box in enumerate(drawn):
        if all(overlap(box, drawn[other]) <= limit for other in kept):
            kept.append(index)
    assert distinct(np.array(drawn, np.float32).reshape(-1, 4), limit) == kept


@given(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.9]), max_size=12))
def test_the_strongest_come_first_and_equals_in_their_order(scores: list[float]) -> None:
    expected = sorted((row for row, score in enumerate(scores) if score >= 0.3), key=lambda row: (-scores[row], row))
    assert strongest(np.array(scores, np.float32), np.float32(0.3)).tolist() == expected


@pytest.mark.parametrize(("height", "width", "scale"), [(90, 160, 0.5), (91, 33, 0.4), (20, 30, 1.5), (7, 9, 1.0)])
def test_a_point_seen_at_a_scale_is_found_again_in_the_picture(height: int, width: int, scale: float) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    seen, factor = resized(image, scale)
    assert seen.shape[:2] == (round(height * scale), round(width * scale))
    corner = np.array([[seen.shape[1], seen.shape[0]]], np.float32)
    faces = Faces(np.concatenate([corner, corner], axis=1), corner[:, None].repeat(5, axis=1), np.ones(1, np.float32))
    assert faces.scaled(factor).boxes[0] == pytest.approx([width, height, width, height])
    assert faces.scaled(factor).points[0, 4] == pytest.approx([width, height])


def test_a_canvas_side_is_the_next_multiple_of_32() -> None:
    assert [padded(side) for side in (1, 31, 32, 33, 640)] == [32, 32, 32, 64, 640]
