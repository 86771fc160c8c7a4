"""Which crops of a track are worth an embedding: the first that is fit at once, then better ones, a few in all.

The first one answers quickly. The next ones come apart in time, for neighbouring frames show the same picture again and
confirm nothing. After that only one that is clearly better than the best so far, or one now and then from a track that
goes on.
"""

from collections import Counter
from dataclasses import dataclass, field

from kith.jobs import Quality
from kith.watching.news import Unfit

#: A crop is clearly better when its quality is so many times the best one's.
_BETTER = 1.25
#: … and is worth a look, for confirmation, down to this share of it.
_ALIKE = 0.7

#: So much too early is on time: frames come a little early or late, and times of theirs are rounded. Else the next crop
#: were that of a whole frame later, and past `watch.hold_ms`.
_EARLY_S = 0.05

#: Brightness, 0..1, below which a face that is not fit is called dark, whatever else is wrong with it.
_DARK = 0.5


@dataclass(frozen=True, slots=True)
class PickingRule:
    """most: crops of a track. first: how many are sent `gap_s` apart; later ones, not clearly better, `later_s` apart.
    min_quality, min_face_px: what is fit at all."""

    most: int = 8
    first: int = 3
    gap_s: float = 0.6
    later_s: float = 5.0
    min_quality: float = 0.2
    min_face_px: int = 32


@dataclass(slots=True)
class Picking:
    """The crops of one track. sent: how many."""

    sent: int = 0
    _best: float = 0.0
    _last_s: float = float("-inf")
    _unfit: Counter[Unfit] = field(default_factory=Counter)

    def wants(self, quality: Quality, side_px: float, at_s: float, rule: PickingRule) -> bool:
        """Whether the crop of this quality, from a face whose shorter side is `side_px`, is sent."""
        unfit = unfit_for(quality, side_px, rule)
        if unfit is not None:
            self._unfit[unfit] += 1
            return False
        if self.sent == 0:
            return True
        if self.sent >= rule.most:
            return False
        since_s = self._since_s(at_s)
        if quality.value >= _BETTER * self._best:
            return since_s >= rule.gap_s / 2
        wait_s = rule.gap_s if self.sent < rule.first else rule.later_s
        return since_s >= wait_s and quality.value >= _ALIKE * self._best

    def waits(self, at_s: float, rule: PickingRule) -> bool:
        """Whether no crop is wanted at `at_s`, however good it is: then none need be cut out and judged."""
        return self.sent >= rule.most or (self.sent > 0 and self._since_s(at_s) < rule.gap_s / 2)

    def _since_s(self, at_s: float) -> float:
        return at_s - self._last_s + _EARLY_S

    def withheld(self, at_s: float) -> None:
        """A crop that was wanted is not sent, because the workers have too much to do. The next is asked for later."""
        self._last_s = at_s

    def picked(self, quality: Quality, at_s: float) -> int:
        """A crop was sent; its number, from 1."""
        self.sent += 1
        self._best, self._last_s = max(self._best, quality.value), at_s
        return self.sent

    @property
    def unfit(self) -> Unfit | None:
        """Why none was fit, the commonest reason; None when one was, or there was none to judge."""
        return None if self.sent or not self._unfit else self._unfit.most_common(1)[0][0]


def unfit_for(quality: Quality, side_px: float, rule: PickingRule) -> Unfit | None:
    """What is wrong with a crop, by its worst part; None when it is fit."""
    if side_px < rule.min_face_px:
        return Unfit.TOO_SMALL
    if quality.value >= rule.min_quality:
        return None
    if quality.brightness < _DARK:
        # A dark face has little contrast and would count as blurred; what would help is light.
        return Unfit.DARK
    parts = {
        Unfit.TOO_SMALL: quality.size,
        Unfit.BLURRED: quality.sharpness,
        Unfit.TURNED_AWAY: quality.pose,
    }
    return min(parts, key=lambda reason: parts[reason])
