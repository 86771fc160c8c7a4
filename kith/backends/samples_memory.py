"""Judged searches in one process: where there is no Redis, and for tests. Nothing survives the process."""

import threading
from collections.abc import Callable, Collection

from kith.calibration_samples import KEPT, SearchSample


class MemorySamples:
    """Implements kith.calibration_samples.SampleStore. kept: samples of one gallery."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._galleries: dict[str, dict[str, SearchSample]] = {}

    def put(self, sample: SearchSample) -> None:
        with self._lock:
            held = self._galleries.setdefault(sample.gallery, {})
            held[sample.decision_id] = sample
            for old in _oldest_first(held)[: max(0, len(held) - self._kept)]:
                del held[old.decision_id]

    def drop(self, gallery: str, decision_id: str) -> bool:
        return self._remove(lambda sample: sample.decision_id == decision_id, gallery) > 0

    def samples(self, gallery: str) -> list[SearchSample]:
        with self._lock:
            return _oldest_first(self._galleries.get(gallery, {}))

    def count(self, gallery: str, after_ms: int = -1) -> int:
        with self._lock:
            return sum(sample.at_ms > after_ms for sample in self._galleries.get(gallery, {}).values())

    def trim(self, gallery: str, before_ms: int) -> int:
        return self._remove(lambda sample: sample.at_ms < before_ms, gallery)

    def forget_images(self, keys: Collection[str]) -> int:
        erased = frozenset(keys)
        return self._remove(lambda sample: sample.image in erased)

    def forget_subject(self, subject_id: str) -> int:
        return self._remove(lambda sample: sample.subject_id == subject_id) if subject_id else 0

    def forget_gallery(self, gallery: str) -> int:
        return self._remove(lambda _: True, gallery)

    def _remove(self, meant: Callable[[SearchSample], bool], gallery: str | None = None) -> int:
        with self._lock:
            galleries = self._galleries.values() if gallery is None else [self._galleries.get(gallery, {})]
            gone = [(held, each) for held in galleries for each, sample in held.items() if meant(sample)]
            for held, each in gone:
                del held[each]
            return len(gone)


def _oldest_first(held: dict[str, SearchSample]) -> list[SearchSample]:
    return sorted(held.values(), key=lambda sample: (sample.at_ms, sample.decision_id))
