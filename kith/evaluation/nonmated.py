"""Scores of people with others than themselves, from faces with identities: searches in galleries they are not in."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith.evaluation.bootstrap import Sample

Vectors = NDArray[np.float32]
Rows = NDArray[np.intp]
Scores = NDArray[np.float64]

#: Probes compared at once; bounds memory at this many times the subjects.
_AT_ONCE = 1024


class NonMated:
    """Faces of people: (n, d) unit rows and the (n,) identity of each.

    templates: most with which a subject is enrolled; those who have that many are enrolled before others, so that a
    gallery drawn here has as many a subject as a real one. None: all of everybody's, and nobody first. Raises
    ValueError for fewer than two identities.
    """

    def __init__(
        self, vectors: Vectors, labels: NDArray[Any], templates: int | None, random: np.random.Generator
    ) -> None:
        codes = np.unique(labels, return_inverse=True)[1]
        if codes.max(initial=-1) < 1:
            raise ValueError("a cutoff is found between different people; these are pictures of fewer than two")
        order = random.permutation(len(codes))
        order = order[np.argsort(codes[order], kind="stable")]
        self._vectors = vectors[order]
        #: (n,) the identity of each picture, 0, 1, …, ascending.
        self.codes = codes[order]
        #: Pictures of each identity.
        self.pictures = np.bincount(codes)
        place = np.arange(len(codes)) - np.repeat(np.cumsum(self.pictures) - self.pictures, self.pictures)
        self._templates = np.flatnonzero(place < (templates or len(codes)))
        #: Templates of each identity, were it enrolled.
        self.templates_of = np.bincount(self.codes[self._templates])
        self._rank = self.templates_of if templates else np.zeros(len(self.pictures), np.intp)

    @property
    def people(self) -> int:
        """How many identities."""
        return len(self.pictures)

    def enrolled_first(self, subjects: int) -> Rows:
        """Whom a gallery of `subjects` is drawn from, ascending: all with the most templates, at least `subjects`."""
        order = self._by_rank(np.arange(self.people))
        enough = max(subjects, int((self._rank == self._rank.max()).sum()))
        return np.sort(order[:enough])

    def most_subjects(self, searches: int) -> int:
        """The most subjects of a gallery, half of all people at most, that surely leave so many pictures of others."""
        # The worst draw: of those who are enrolled first, the ones with the most pictures.
        order = self._by_rank(np.argsort(-self.pictures, kind="stable"))
        left = len(self.codes) - np.cumsum(self.pictures[order])
        return min(int((left >= searches).sum()), self.people // 2)

    def searched(self, subjects: int, random: np.random.Generator) -> Sample:
        """Draw a gallery; the best score in it of every picture of somebody outside. Sample.people are codes."""
        enrolled = np.sort(self._by_rank(random.permutation(self.people))[:subjects])
        outside = np.flatnonzero(~np.isin(self.codes, enrolled))
        starts = range(0, len(outside), _AT_ONCE)
        best = [self._scores(outside[start : start + _AT_ONCE], enrolled).max(axis=1) for start in starts]
        return Sample(np.concatenate(best) if best else np.empty(0), self.codes[outside])

    def nearest_others(self) -> tuple[Sample, Rows]:
        """The best score of every picture with anybody else, everybody enrolled, the one searched for left out; and the
        identity it is with, (n,)."""
        found = [(scores.max(axis=1), scores.argmax(axis=1)) for _, scores in self.comparisons(np.arange(self.people))]
        best, nearest = (np.concatenate(column) for column in zip(*found, strict=True))
        return Sample(best, self.codes), nearest

    def comparisons(self, people: Rows) -> Iterator[tuple[Rows, Scores]]:
        """Some pictures at a time: their identities (rows,) and their scores with each of `people` (ascending) as a
        subject, (rows, people), −inf with their own."""
        for start in range(0, len(self.codes), _AT_ONCE):
            rows = np.arange(start, min(start + _AT_ONCE, len(self.codes)))
            scores = self._scores(rows, people)
            scores[self.codes[rows][:, None] == people] = -np.inf
            yield self.codes[rows], scores

    def highest(self, people: Rows, wanted: int) -> Sample:
        """The `wanted` highest of all `comparisons` (fewer where there are fewer), highest first; Sample.people are the
        two identities of each."""
        scores, pairs = np.empty(0), np.empty((0, 2), np.intp)
        floor = -2.0
        for codes, block in self.comparisons(people):
            row, column = np.nonzero(block > floor)
            scores = np.concatenate([scores, block[row, column]])
            pairs = np.concatenate([pairs, np.stack([codes[row], people[column]], axis=1)])
            if len(scores) > wanted:
                kept = np.argpartition(-scores, wanted - 1)[:wanted]
                scores, pairs = scores[kept], pairs[kept]
                floor = float(scores.min())
        return Sample(scores, pairs).sorted()

    def _by_rank(self, people: Rows) -> Rows:
        """Those with more templates first, equal ones in the order given."""
        return people[np.argsort(-self._rank[people], kind="stable")]

    def _scores(self, rows: Rows, people: Rows) -> Scores:
        """Cosine of each of `rows` with the best template of each of `people` (ascending)."""
        templates = self._templates[np.isin(self.codes[self._templates], people)]
        starts = np.searchsorted(self.codes[templates], people)
        cosines = self._vectors[rows] @ self._vectors[templates].T
        best: Scores = np.maximum.reduceat(cosines, starts, axis=1).astype(np.float64)
        return best
