"""How strangers and how people who are known score in a gallery, and what a cutoff makes of that.

Strangers: searches that were judged to be of nobody enrolled, and templates searched among the other subjects. Known:
searches that were judged right, and templates searched among the others of their own subject. Answers that were judged
because of what they said ("not this person") are left out: they were chosen above the cutoff.
"""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kith.calibration_samples import SearchSample, Truth
from kith.client import Client
from kith.gallery_cutoff import of_site
from kith.left_out import left_out
from kith.own_matches import own_matches
from kith.subjects import GalleryInfo
from kith.view import Replica

Floats = NDArray[np.float64]

#: A larger gallery is not read into this process for a drawing: half a gigabyte at 512 numbers each.
_MOST_TEMPLATES = 250_000
#: Templates that are searched for, and comparisons made, at most: about a second.
_WANTED, _COMPARISONS = 3_000, 200_000_000
#: Galleries remembered.
_KEPT = 16


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """(n,) scores, and how much each counts: searches of one person count as one. judged: how many of them people
    judged."""

    scores: Floats
    weights: Floats
    judged: int

    @property
    def count(self) -> int:
        """How many scores there are."""
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of `searches`. None where there is nothing to go by; below: nothing exceeded, and it is less than the
    share (3 / n, 95 %)."""

    share: float | None
    searches: int
    below: bool = False


@dataclass(frozen=True, slots=True)
class Distributions:
    """whole: whether the gallery's own templates were looked at."""

    strangers: Weighted
    known: Weighted
    whole: bool

    def fpir(self, cutoff: float) -> Rate:
        """Share of strangers' searches that a name would be given to, at the gallery's present size."""
        return _rate(self.strangers, self.strangers.scores >= cutoff)

    def fnir(self, cutoff: float) -> Rate:
        """Share of searches of people who are known that would be answered with nobody."""
        return _rate(self.known, self.known.scores < cutoff)


class Remembered:
    """Distributions, made anew when a gallery or what was judged of it has changed. Safe to call from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[tuple[object, ...], Distributions]] = {}

    def of(self, client: Client, info: GalleryInfo) -> Distributions:
        """Raises what reading the gallery does. That the gallery was read stands in the audit log."""
        stamp = (info.epoch, info.sequence, client.samples.count(info.name))
        found = self._kept.get(info.name)
        if found is not None and found[0] == stamp:
            return found[1]
        # One at a time: each takes as much memory as the gallery.
        with self._lock:
            found = self._kept.get(info.name)
            if found is not None and found[0] == stamp:
                return found[1]
            made = distributions(client, info)
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[info.name] = stamp, made
        return made


def distributions(client: Client, info: GalleryInfo) -> Distributions:
    """Of a gallery as it is now."""
    samples = [each for each in client.samples.samples(info.name) if each.model_id == info.model_id]
    site = of_site(samples, info.subjects, info.templates)
    plain = ~site.chosen
    strangers = [(site.scores[plain], site.weights[plain])]
    known = [_judged(samples)]
    judged = len(strangers[0][0]), len(known[0][0])
    whole = 0 < info.templates <= _MOST_TEMPLATES
    if whole:
        random = np.random.default_rng(0)
        view = Replica(client.snapshot(info.name)).view
        others = left_out(view, _WANTED, random, _COMPARISONS)
        strangers.append((others.scores, np.ones(len(others.scores))))
        own = own_matches(view, _WANTED, random)
        known.append((own.scores, np.ones(len(own.scores))))
    return Distributions(_together(strangers, judged[0]), _together(known, judged[1]), whole)


def _judged(samples: list[SearchSample]) -> tuple[Floats, Floats]:
    mated = [each for each in samples if each.truth is Truth.MATED]
    if not mated:
        return np.empty(0), np.empty(0)
    _, codes, sizes = np.unique([each.group for each in mated], return_inverse=True, return_counts=True)
    return np.array([each.score for each in mated], np.float64), 1 / sizes[codes]


def _together(parts: list[tuple[Floats, Floats]], judged: int) -> Weighted:
    scores, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Weighted(scores.astype(np.float64), weights.astype(np.float64), judged)


def _rate(of: Weighted, wrong: NDArray[np.bool_]) -> Rate:
    if not of.count:
        return Rate(None, 0)
    if not wrong.any():
        return Rate(min(1.0, 3 / float(of.weights.sum())), of.count, below=True)
    return Rate(float(of.weights[wrong].sum() / of.weights.sum()), of.count)
