"""Where a face will be: a Kalman filter of constant velocity for one box.

Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960; for boxes as Bewley et al., "Simple Online
and Realtime Tracking", 2016. The four coordinates (middle across and down, logarithms of width and height) are
independent of one another, so that the filter is four filters of two numbers each, and needs no matrices. All standard
deviations are shares of the face's size: people farther away move fewer pixels.
"""

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Floats = NDArray[np.float64]

#: Where the detector sees the middle and the size of a face that stands still.
_SEEN = np.array([0.08, 0.08, 0.10, 0.10])
#: Velocity of a face that was seen once, sizes a second (of the size: its logarithm).
_FIRST_VELOCITY = np.array([3.0, 1.5, 0.3, 0.3])
#: Acceleration, sizes a second².
_ACCELERATION = np.array([4.0, 2.5, 0.4, 0.4])


class Motion:
    """State of one face's box, x, y, width, height in pixels."""

    def __init__(self, box: Box) -> None:
        self._at = _coordinates(box)
        self._velocity = np.zeros(4)
        unit = self._unit()
        self._at_at = (unit * _SEEN) ** 2
        self._at_velocity = np.zeros(4)
        self._velocity_velocity = (unit * _FIRST_VELOCITY) ** 2

    @property
    def box(self) -> Box:
        """Where it is thought to be now."""
        x, y = self._at[:2]
        width, height = np.exp(self._at[2:])
        return float(x - width / 2), float(y - height / 2), float(width), float(height)

    def predict(self, seconds: float) -> None:
        """Let time pass."""
        noise = (self._unit() * _ACCELERATION) ** 2
        self._at = self._at + self._velocity * seconds
        self._at_at = (
            self._at_at
            + 2 * seconds * self._at_velocity
            + seconds**2 * self._velocity_velocity
            + noise * seconds**4 / 4
        )
        self._at_velocity = self._at_velocity + seconds * self._velocity_velocity + noise * seconds**3 / 2
        self._velocity_velocity = self._velocity_velocity + noise * seconds**2

    def surprise(self, box: Box) -> float:
        """How unlikely it is to be seen at `box`: the squared Mahalanobis distance, 4 degrees of freedom."""
        off = _coordinates(box) - self._at
        return float((off**2 / (self._at_at + (self._unit() * _SEEN) ** 2)).sum())

    def update(self, box: Box) -> None:
        """It was seen at `box` now."""
        off = _coordinates(box) - self._at
        total = self._at_at + (self._unit() * _SEEN) ** 2
        gain_at, gain_velocity = self._at_at / total, self._at_velocity / total
        self._at = self._at + gain_at * off
        self._velocity = self._velocity + gain_velocity * off
        self._velocity_velocity = self._velocity_velocity - gain_velocity * self._at_velocity
        self._at_velocity = (1 - gain_at) * self._at_velocity
        self._at_at = (1 - gain_at) * self._at_at

    def _unit(self) -> Floats:
        """What a share of the size is in each coordinate; of logarithms, itself."""
        size = float(np.exp(self._at[2:].mean()))
        return np.array([size, size, 1.0, 1.0])


def _coordinates(box: Box) -> Floats:
    x, y, width, height = box
    return np.array([x + width / 2, y + height / 2, np.log(max(width, 1.0)), np.log(max(height, 1.0))])
