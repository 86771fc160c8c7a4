"""Searchers that keep compressed forms of the galleries they searched: int8 on a CPU, float16 on a GPU."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic

import torch

from kith.errors import Misconfigured
from kith.gallery_settings import Scoring
from kith.journal import Vectors
from kith.searchers.arrangement import Arrangement, FormT
from kith.searchers.half import HalfStretch
from kith.searchers.half_layout import Layouts
from kith.searchers.half_products import open_products
from kith.searchers.half_sweep import half_sweeps
from kith.searchers.int8 import encode
from kith.searchers.int8_one import nearest_to_one
from kith.searchers.int8_pass import Int8Pass, Packing, check_products, grouped
from kith.searchers.int8_race import empty_form
from kith.searchers.packed import PackedGallery
from kith.searchers.workspace import wipe_workspaces
from kith.similarity.hits import Hit
from kith.similarity.means import Means
from kith.similarity.passes import Pass
from kith.similarity.plain import PlainSearcher
from kith.similarity.rows import Indices, Rows
from kith.similarity.searcher import NOBODY, Plan, Searcher, Without, checked, leave_out, named
from kith.stack_memory import wipe_stack
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

    def alive(self) -> bool:
        """Whether anybody still holds what was last searched."""
        # Of means it is ourselves who hold the rows.
        return self.packed.alive() if self.means is None else self.means.alive()


class PackingSearcher(Searcher, Generic[FormT]):
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

    def passes(self, arrangement: Arrangement[FormT], probes: Vectors, k: int) -> Sequence[Pass]:
        """The passes over the packed pieces of `arrangement`."""
        raise NotImplementedError

    def renew(self, view: GalleryView) -> None:
        with self._lock:
            mine = [key for key in self._galleries if key[:2] == (view.name, view.epoch)]
            for key in mine:
                if key[2] is not view.settings.scoring:
                    # Nothing renews what is kept for another way of scoring until that is set again.
                    del self._galleries[key]
        if mine:
            gallery, rows = self._gallery(view)
            gallery.packed.arrange(rows, view.sequence, view)

    def wipe(self) -> None:
        # The packing thread does so too, but only where there was ever something to pack.
        self._drop_dead()

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

    def _plan(self, view: GalleryView, probes: Vectors, k: int, without: Without) -> Plan:
        gallery, rows = self._gallery(view)
        arrangement = gallery.packed.arrange(rows, view.sequence, view)
        if arrangement.rest:
            self._wake()
        left_out: dict[int, Indices] = {}
        if without is not NOBODY:
            rows, left_out = leave_out(view, rows, without)
            if rows.slots is not None and without.slots:
                # Means of this search alone: blocks that differ are searched in float32, and nothing of them is kept.
                arrangement = gallery.packed.arrange(rows, -1)
        return Plan(rows, [*self.passes(arrangement, probes, k), *arrangement.rest], left_out)

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
            self._pack_all()
            self._closed.wait(_LOOK_EVERY_S)

    def _pack_all(self) -> None:
        # Not in the loop above: its variables would keep a gallery in memory that nobody else has any more.
        dropped = self._drop_dead()
        with self._lock:
            galleries = list(self._galleries.values())
        erased = [gallery.packed.erased() for gallery in galleries]
        if dropped or any(erased):
            self.wipe()
        for gallery in galleries:
            try:
                gallery.packed.pack(everything=False)
            except Exception:  # noqa: BLE001 (logged with its traceback)
                # A GPU may be full. What is not packed is searched in float32, more slowly and as exactly.
                _log.exception("packing a gallery failed; it is tried again in a while")
                self._closed.wait(_PAUSE_S)
        wipe_stack()

    def _drop_dead(self) -> bool:
        with self._lock:
            dead = [key for key, each in self._galleries.items() if not each.alive()]
            for key in dead:
                del self._galleries[key]
        return bool(dead)


class Int8Searcher(PackingSearcher[Packing]):
    """Searches on the CPU: an int8 pass, and float32 for what its bound cannot exclude. A quarter of the templates'
    memory on top. empty: see PackingSearcher. Raises Misconfigured where the CPU's int8 products are not exact."""

    def __init__(self, empty: Callable[[int, int], Packing] = empty_form) -> None:
        check_products()
        # The int8 form and the scores of a batch stay in the cache between the product and the look at its result.
        super().__init__(empty, 16 << 20)

    def search(self, view: GalleryView, probes: Vectors, k: int = 2, without: Without = NOBODY) -> list[list[Hit]]:
        if len(probes) == 1 and without is NOBODY:
            probes = checked(view, probes, k)
            gallery, rows = self._gallery(view)
            arrangement = gallery.packed.arrange(rows, view.sequence, view)
            groups = grouped(arrangement, 1)
            if len(groups) == 1 and not arrangement.rest:
                found = nearest_to_one(groups[0], rows, probes, k)
                if found is not None:
                    return named(view, [found])
        return super().search(view, probes, k, without)

    def passes(self, arrangement: Arrangement[Packing], probes: Vectors, k: int) -> Sequence[Pass]:  # noqa: ARG002
        groups = grouped(arrangement, len(probes))
        coded = encode(probes, each=True, levels=groups[0].levels) if groups else None
        return [Int8Pass(group, coded) for group in groups if coded]

    def wipe(self) -> None:
        super().wipe()
        wipe_workspaces()


class HalfSearcher(PackingSearcher[HalfStretch]):
    """Searches on `device`, a GPU, which holds the templates in half precision. Raises Misconfigured where the device
    adds less exactly than the bounds allow."""

    def __init__(self, device: str, *, stretch_bytes: int = 4 << 30, layouts: Layouts | None = None) -> None:
        self._device = torch.device(device)
        self._products = open_products(self._device)
        self._layouts = Layouts() if layouts is None else layouts
        # Few large ones: each costs a search a start of the kernel.
        super().__init__(lambda blocks, dimension: HalfStretch.empty(blocks, dimension, self._device), stretch_bytes)

    def passes(self, arrangement: Arrangement[HalfStretch], probes: Vectors, k: int) -> Sequence[Pass]:
        pieces = arrangement.pieces
        return half_sweeps(pieces, self._layouts, probes, k, self._products) if pieces else []


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
