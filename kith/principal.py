"""Which face of an image is meant: the large one in the middle, not the neighbour who leans into the picture."""

from collections.abc import Sequence
from math import hypot

from kith.detector import Detection


def prominence(detection: Detection, height: int, width: int) -> float:
    """How much a face stands out in an image of `height` × `width` pixels: its area in pixels, times (1 − r²)², where r
    is its centre's distance from the image's centre in half diagonals. In the middle the area counts whole, in a corner
    not at all. Always ≥ 0, so that a ratio of two means something.
    """
    x, y, box_width, box_height = detection.box
    from_centre = hypot(x + box_width / 2 - width / 2, y + box_height / 2 - height / 2)
    r = from_centre / (hypot(height, width) / 2)
    return box_width * box_height * max(0.0, 1.0 - r * r) ** 2


def by_prominence(detections: Sequence[Detection], height: int, width: int) -> list[Detection]:
    """Most prominent first; of equals the larger, then the one further left."""

    def rank(detection: Detection) -> tuple[float, float, float]:
        x, _, box_width, box_height = detection.box
        return -prominence(detection, height, width), -box_width * box_height, x

    return sorted(detections, key=rank)
