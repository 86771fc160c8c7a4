"""When the workers are saturated, cameras ask for less: first fewer crops of each track, then fewer frames a second.

A crop that waits past its deadline is work for nothing and answers nobody. Fewer crops of each person cost accuracy a
little and nobody is missed; fewer frames come later, because then people may be. It recovers by itself, more slowly
than it gave way, so that it does not swing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Level:
    """crops: share of a track's crops that are sent, at least one. fps: share of the frames that are looked at."""

    crops: float
    fps: float

    def most(self, crops: int) -> int:
        """Crops of a track, where `crops` are sent without pressure."""
        return max(1, round(crops * self.crops))


LEVELS = (Level(1.0, 1.0), Level(0.5, 1.0), Level(0.25, 1.0), Level(0.0, 1.0), Level(0.0, 0.5), Level(0.0, 0.25))


class Pressure:
    """Steps through LEVELS. high: live jobs waiting above which it steps on, every `up_s` while that lasts; below half
    of that it steps back every `down_s`."""

    def __init__(self, high: int, up_s: float = 1.0, down_s: float = 4.0) -> None:
        self._high, self._up_s, self._down_s = high, up_s, down_s
        self._level = 0
        self._stepped_s = float("-inf")
        self._calm_since_s: float | None = None

    @property
    def level(self) -> int:
        """0: none."""
        return self._level

    @property
    def asks(self) -> Level:
        """What it asks for now."""
        return LEVELS[self._level]

    def look(self, waiting: int | None, at_s: float) -> Level:
        """`waiting` live jobs at `at_s` (steady clock); None when the broker does not say, which is no good sign."""
        if waiting is None or waiting > self._high:
            self._calm_since_s = None
            if at_s - self._stepped_s >= self._up_s:
                self._level = min(self._level + 1, len(LEVELS) - 1)
                self._stepped_s = at_s
        elif waiting > self._high / 2:
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = at_s
        elif at_s - self._calm_since_s >= self._down_s and self._level:
            self._level -= 1
            self._calm_since_s = at_s
        return self.asks
