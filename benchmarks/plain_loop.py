"""The peer of `pipeline`: one process, no queue, no ledger, no results stream; the work and nothing around it.

    python -m benchmarks.plain_loop STORE PACK THREADS     questions on stdin, answers on stdout, a line of JSON each

Written as one would to be fast: THREADS threads read, decode, detect and align, each taking the next picture when it
is free; the main thread does nothing but embed full batches and search. It stands still between questions.
"""

import json
import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from kith import alignment, images
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.images_directory import DirectoryImageStore
from kith.checkpoints import load_pack
from kith.detector import open_detector
from kith.embedder import Vectors, best_batch_size, embed, open_embedder
from kith.gallery import Enrolment, template_id
from kith.preparation import Pixels
from kith.replica import Replica
from kith.settings import Limits
from kith.similarity import search

_GALLERY = "plain"


class PlainLoop:
    """The whole recogniser as a loop."""

    def __init__(self, store: Path, pack: Path, threads: int) -> None:
        self._store = DirectoryImageStore(store)
        self._pack = load_pack(pack)
        self._embedder = open_embedder(self._pack)
        self._detector = open_detector(self._pack)
        self._template = self._pack.manifest.embedder.template
        self._threads = threads
        self._limits = Limits()
        self._batch = best_batch_size(self._embedder)

    def batch(self) -> int:
        """The batch size that is fastest here."""
        return self._batch

    def use_batch(self, size: int) -> int:
        """Use batches of `size`."""
        self._batch = size
        return size

    def enrol(self, people: Sequence[tuple[str, str]]) -> int:
        """Search a gallery of (subject, key of an aligned crop) from now on."""
        galleries = MemoryGalleryStore()
        galleries.create(_GALLERY, model_id=self._pack.model_id, dimension=self._pack.dimension)
        for subject, key in people:
            [vector] = embed(self._embedder, [images.decode(self._store.get(key), self._limits)])
            known_as = template_id(_GALLERY, subject, key)
            enrolment = Enrolment(subject, known_as, vector, key, quality=1.0, model_id=self._pack.model_id)
            galleries.enrol(_GALLERY, [enrolment])
        self._view = Replica(galleries.snapshot(_GALLERY)).view
        return self._view.templates

    def bare_inference_s(self, key: str, repeats: int) -> float:
        """Seconds of one model call on one aligned crop, at the median: no queue, no threads, nothing else to do."""
        crop = images.decode(self._store.get(key), self._limits)
        took = []
        for _ in range(repeats):
            started_s = time.perf_counter()
            embed(self._embedder, [crop])
            took.append(time.perf_counter() - started_s)
        return statistics.median(took)

    def run(self, keys: Sequence[str], aligned: bool) -> float:
        """Recognise all pictures; images per second."""
        prepare = self._decoded if aligned else self._faces
        started_s = time.perf_counter()
        found = self._recognise(keys, prepare)
        took_s = time.perf_counter() - started_s
        assert found >= len(keys) // 2, "the pictures hold no faces, there was nothing to measure"
        return len(keys) / took_s

    def _recognise(self, keys: Sequence[str], prepare: Callable[[str], Sequence[Pixels]]) -> int:
        ready: queue.SimpleQueue[Sequence[Pixels] | None] = queue.SimpleQueue()
        turn = count()

        def work() -> None:
            try:
                while (index := next(turn)) < len(keys):
                    ready.put(prepare(keys[index]))
            finally:
                ready.put(None)

        threads = [threading.Thread(target=work) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        working, waiting, answers = len(threads), list[Pixels](), list[Any]()
        while working or waiting:
            while working and len(waiting) < self._batch:
                crops = ready.get()
                if crops is None:
                    working -= 1
                else:
                    waiting.extend(crops)
            if waiting:
                batch, waiting = waiting[: self._batch], waiting[self._batch :]
                answers.extend(search(self._view, self._embedded(batch)))
        return len(answers)

    def _embedded(self, crops: Sequence[Pixels]) -> Vectors:
        return np.ascontiguousarray(embed(self._embedder, crops))

    def _decoded(self, key: str) -> Sequence[Pixels]:
        return [images.decode(self._store.get(key), self._limits)]

    def _faces(self, key: str) -> Sequence[Pixels]:
        assert self._detector is not None
        pixels = images.decode(self._store.get(key), self._limits)
        size = self._pack.input_size
        return [alignment.align(pixels, face.landmarks, size, self._template) for face in self._detector.detect(pixels)]


def main() -> None:
    """Answer [method, arguments...] until stdin ends."""
    store, pack, threads = sys.argv[1:]
    loop = PlainLoop(Path(store), Path(pack), int(threads))
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(loop, method)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
