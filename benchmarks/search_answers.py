"""Answers compared with brute force in float64."""

from collections.abc import Callable

from benchmarks.report import Figure, at_least
from benchmarks.search_data import People, truth
from benchmarks.session import Session
from kith.similarity import Searcher

#: Probes, by size of the gallery: 100,000 in galleries of 512 dimensions and of 128.
_CHECKED = {10_000: 30_000, 100_000: 17_500, 1_000_000: 2_500}

_AT_ONCE = 500


def answers(session: Session, who: People, searcher: Searcher, tell: Callable[[str], None]) -> list[Figure]:
    """The nearest subject, and the five nearest, of thousands of probes."""
    size, dimension = who.templates.shape
    left = session.scaled(_CHECKED.get(size, 1000), 200)
    total, first, sets, rescored, certified, fallbacks = left, 0, 0, 0, 0, 0
    while left:
        probes = who.probes(min(left, _AT_ONCE))
        if left % (10 * _AT_ONCE) == 0 or left == total:
            tell(f"{size:,} × {dimension}: {left:,} probes left to compare with brute force")
        found = searcher.find(who.view, probes, 5)
        numbers, scores = truth(who.templates, probes, 5)
        for hits, expected, score in zip(found.hits, numbers.tolist(), scores.tolist(), strict=True):
            mine = [int(hit.subject_id, 16) for hit in hits]
            first += mine[0] == expected[0]
            others = [hit for hit, number in zip(hits, mine, strict=True) if number not in expected]
            sets += all(abs(hit.score - score[-1]) <= 1e-6 for hit in others)
        proof = found.certificate
        certified += int((proof.excluded + proof.rescored == proof.searched).sum())
        rescored += int(proof.rescored.sum())
        fallbacks += int((proof.fallback > 0).sum())
        left -= len(probes)
    label = f"{size:,} × {dimension}"
    return [
        at_least(f"{label}: nearest subject is brute force's", first, total, "probes", total),
        at_least(f"{label}: five nearest are brute force's, up to ties at 1e-6", sets, total, "probes", total),
        at_least(f"{label}: answers with a complete proof", certified, total, "probes", total),
        Figure(f"{label}: templates scored again in float64", rescored / total, "a probe"),
        Figure(f"{label}: probes that needed float32 passes", fallbacks, "probes", total),
    ]
