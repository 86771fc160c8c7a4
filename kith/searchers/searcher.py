"""Searchers that keep compressed forms of the galleries they searched: int8 on a CPU, float16 on a GPU."""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic

import torch

from kith.errors import Misconfigured
from kith.gallery_settings import Scoring
from kith.journal import Vectors
from kith.searchers.half import HalfStretch, check_half_products, half_passes
from kith.searchers.int8 import Stretch, check_products, int8_passes
from kith.searchers.packed import FormT, PackedGallery, Piece
from kith.searchers.workspace import wipe_workspaces
from kith.similarity.hits import Found, Hit
from kith.similarity.means import Means
from kith.similarity.passes import Pass
from kith.similarity.plain import PlainSearcher, Searcher, checked, found, leave_out
from kith.similarity.rows import Rows
from kith.view import GalleryView

#: How long the thread pauses after a failure; seconds.
_PAUSE_S = 30.0

_log = logging.getLogger(__name__)

#: How often the packing thread looks for something to pack while there is something; seconds.
_LOOK_EVERY_S = 0.25


@dataclass(slots=True)
class _Gallery(Generic[FormT]):
    """What is kept for one gallery and way of scoring. `lock`: for the means; sequence: theirs."""

    packed: PackedGallery[FormT]
    means: Means | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    sequence: int = -1


class PackingSearcher(Generic[FormT]):
    """A Searcher. A thread packs what is new; it starts with the first search and ends with `close`.

    empty: makes a form of so many blocks and dimensions. stretch_bytes: of float32 that one form stands for.
    """

    def __init__(self, empty: Callable[[int, int], FormT], stretch_bytes: int) -> None:
        self._empty, self._stretch_bytes = empty, stretch_bytes
        self._galleries: dict[tuple[str, str, Scoring], _Gallery[FormT]] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def search(
        self,
        view: GalleryView,
        probes: Vectors,
        k: int = 2,
        *,
        without: Collection[int] = (),
        without_subjects: Collection[int] = (),
    ) -> list[list[Hit]]:
        return self.find(view, probes, k, without=without, without_subjects=without_subjects).hits

    def find(
        self,
        view: GalleryView,
        probes: Vectors,
        k: int = 2,
        *,
        without: Collection[int] = (),
        without_subjects: Collection[int] = (),
    ) -> Found:
        """`search` with the proof."""
        probes = checked(view, probes, k)
        gallery, rows = self._gallery(view)
        arrangement = gallery.packed.arrange(rows, view.sequence)
        if arrangement.rest:
            self._wake()
        rows, left_out, searched = leave_out(view, rows, without, without_subjects)
        if rows.slots is not None and without:
            # Means of this search alone: blocks that differ are searched in float32, and nothing of them is kept.
            arrangement = gallery.packed.arrange(rows, -1)
        passes: list[Pass] = [*self.passes(arrangement.pieces, probes), *arrangement.plain(rows)]
        return found(view, rows, passes, probes, k, left_out, searched)

    def passes(self, pieces: Sequence[Piece[FormT]], probes: Vectors) -> list[Pass]:
        """The passes over packed pieces."""
        raise NotImplementedError

    def wipe(self) -> None:
        """Zero what searches have left of vectors in memory they use again; something was taken out of a form."""

    def pack(self, view: GalleryView) -> None:
        """Pack all of `view` now, in the caller's thread."""
        gallery, rows = self._gallery(view)
        gallery.packed.arrange(rows, view.sequence)
        gallery.packed.pack(everything=True)

    def nbytes(self, of: Callable[[FormT], int]) -> int:
        """Bytes of all forms kept."""
        self._drop_dead()
        with self._lock:
            galleries = list(self._galleries.values())
        return sum(each.packed.nbytes(of) for each in galleries)

    def close(self) -> None:
        """End the packing thread; searching goes on working."""
        self._closed.set()
        self._news.set()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _gallery(self, view: GalleryView) -> tuple[_Gallery[FormT], Rows]:
        scoring = view.settings.scoring
        key = (view.name, view.epoch, scoring)
        with self._lock:
            gallery = self._galleries.get(key)
            if gallery is None:
                means = None if scoring is Scoring.BEST else Means(weighted=scoring is Scoring.QUALITY)
                gallery = self._galleries[key] = _Gallery(
                    PackedGallery(view.dimension, self._empty, self._stretch_bytes), means
                )
        if gallery.means is None:
            return gallery, Rows.templates(view)
        with gallery.lock:
            return gallery, gallery.means.of(view)

    def _wake(self) -> None:
        if self._news.is_set() or self._closed.is_set():
            return
        self._news.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._pack_always, name="kith-packer", daemon=True)
                self._thread.start()

    def _pack_always(self) -> None:
        while not self._closed.is_set():
            self._news.wait(_LOOK_EVERY_S)
            self._news.clear()
            self._drop_dead()
            with self._lock:
                galleries = list(self._galleries.values())
            erased = [gallery.packed.erased() for gallery in galleries]
            if any(erased):
                self.wipe()
            for gallery in galleries:
                try:
                    gallery.packed.pack(everything=False)
                except Exception:  # noqa: BLE001 (logged with its traceback)
                    # A GPU may be full. What is not packed is searched in float32, more slowly and as exactly.
                    _log.exception("packing a gallery failed; it is tried again in a while")
                    self._closed.wait(_PAUSE_S)
            self._closed.wait(_LOOK_EVERY_S)

    def _drop_dead(self) -> None:
        with self._lock:
            for key in [key for key, each in self._galleries.items() if not each.packed.alive()]:
                del self._galleries[key]


class Int8Searcher(PackingSearcher[Stretch]):
    """Searches on the CPU: an int8 pass, and float32 for what its bound cannot exclude. A quarter of the templates'
    memory on top. Raises Misconfigured where the CPU's int8 products are not exact."""

    def __init__(self) -> None:
        check_products()
        # The int8 form and the scores of a batch stay in the cache between the product and the look at its result.
        super().__init__(Stretch.empty, 16 << 20)

    def passes(self, pieces: Sequence[Piece[Stretch]], probes: Vectors) -> list[Pass]:
        return [*int8_passes(pieces, probes)] if pieces else []

    def wipe(self) -> None:
        wipe_workspaces()


class HalfSearcher(PackingSearcher[HalfStretch]):
    """Searches on `device`, a GPU, which holds the templates in half precision. Raises Misconfigured where the device
    adds less exactly than the bounds allow."""

    def __init__(self, device: str, *, stretch_bytes: int = 512 << 20) -> None:
        self._device = torch.device(device)
        check_half_products(self._device)
        super().__init__(lambda blocks, dimension: HalfStretch.empty(blocks, dimension, self._device), stretch_bytes)

    def passes(self, pieces: Sequence[Piece[HalfStretch]], probes: Vectors) -> list[Pass]:
        return [*half_passes(pieces, probes, self._device)] if pieces else []


def open_searcher(device: str) -> Searcher:
    """The fastest searcher of this machine. device: `cpu`, `cuda`, or `auto` for a GPU where there is one."""
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        try:
            return HalfSearcher("cuda")
        except (Misconfigured, RuntimeError) as cannot:
            _log.warning("galleries are not searched on the GPU: %s", cannot)
    try:
        return Int8Searcher()
    except Misconfigured as cannot:
        _log.warning("galleries are searched with numpy: %s", cannot)
        return PlainSearcher()
