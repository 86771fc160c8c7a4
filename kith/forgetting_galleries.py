"""Forgetting a gallery whole, everywhere Kith keeps anything of it, with a signed receipt. There is no way back, but a
way on after an interruption: a note (kith.gone.Going) says how far it has come, and the same call goes on.

The order is that of forgetting a person (kith.forgetting): the gallery first, in one moment, so that nobody is matched
in it any more; then every worker's copy; what jobs under way may still say; what the watcher knows; and then what is
recorded, each record after the pictures that it alone tells of. Another gallery may have the name before all is done:
what was handed in or told since is its, and stays.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from kith import custody
from kith.audit import Action, AuditLog, Deed
from kith.calibration_samples import SampleStore
from kith.cameras import CameraRegistry
from kith.confirming import await_copies
from kith.crossing_out import CrossingOut
from kith.erasure import DIGEST, Erasure, asked_about
from kith.errors import Misconfigured, UnknownGallery, UnknownKey
from kith.forgetting import BEYOND, WAIT_S
from kith.gallery import GalleryStore
from kith.gone import Going, GoneGalleries
from kith.imagestore import ImageStore, key_of
from kith.jobs import now_ms
from kith.keys import SIGNING, KeyStore
from kith.ledger import Ledger
from kith.receipts import Erased, Kind, Receipt, ReplicaAt, SignedReceipt, sign, signing_key
from kith.results import Results
from kith.watching.erasing import WatchedErasure

_LOOK_EVERY_S = 0.1
#: Records erased after one look at what their pictures are needed for.
_AT_ONCE = 500
#: Pictures deleted at a time: a store takes some milliseconds for each.
_DELETES_AT_ONCE = 16

#: Kind → how many are gone by now.
Told = Callable[[dict[str, int]], None]


class GalleryForgetting:
    """Raises what the parts do: StateUnavailable, StoreUnavailable and the like; then the same call again goes on.

    by: who does it, for the audit log. told: how many things of each kind are gone, each time that some are.
    """

    def __init__(
        self,
        *,
        galleries: GalleryStore,
        gone: GoneGalleries,
        erasure: Erasure,
        ledger: Ledger,
        results: Results,
        store: ImageStore,
        samples: SampleStore,
        cameras: CameraRegistry,
        watched: WatchedErasure,
        audit: AuditLog,
        keys: KeyStore,
        by: str,
        told: Told = lambda _: None,
    ) -> None:
        self._galleries, self._gone, self._erasure, self._ledger = galleries, gone, erasure, ledger
        self._results, self._store, self._samples, self._cameras = results, store, samples, cameras
        self._watched, self._audit, self._keys, self._by, self._told = watched, audit, keys, by, told

    def forget(
        self, gallery: str, *, wait_s: float = WAIT_S, save: Callable[[SignedReceipt], None] = lambda _: None
    ) -> SignedReceipt:
        """Forget `gallery`. save: given the receipt before the note of what is under way goes.

        Raises UnknownGallery, where none is being forgotten either.
        """
        key = self._keys.create(SIGNING).newest
        going = self._gone.going(gallery) or self._begin(gallery)
        going = self._drop(gallery, going)
        replicas, silent = await_copies(self._ledger, gallery, going.epoch, going.sequence, wait_s, ended=True)
        with ThreadPoolExecutor(_DELETES_AT_ONCE, "kith-delete") as threads:
            if not going.until_ms:
                going = self._leave(gallery, going, wait_s, threads)
            going, left = self._erase(gallery, going, threads)
        silent += [*going.silent, *(f"a job that asks about picture {each}" for each in sorted(left))]
        signed = sign(self._receipt(gallery, going, replicas, silent), signing_key(key))
        save(signed)
        self._gone.note(gallery, None)
        return signed

    def _begin(self, gallery: str) -> Going:
        info = self._galleries.info(gallery)
        # Recorded first: what cannot be recorded is not done.
        detail: dict[str, str | int] = {"stage": "begun", "epoch": info.epoch, "subjects": info.subjects}
        self._audit.record(Deed(self._by, Action.FORGOT, gallery, detail=detail))
        going = Going(info.epoch, info.sequence)
        self._gone.note(gallery, going)
        return going

    def _epoch(self, gallery: str) -> str | None:
        """Of the gallery that has the name now."""
        with suppress(UnknownGallery):
            return self._galleries.info(gallery).epoch
        return None

    def _drop(self, gallery: str, going: Going) -> Going:
        if self._epoch(gallery) != going.epoch:
            # Dropped by an earlier attempt.
            return going
        for camera in self._cameras.all():
            if camera.gallery == gallery and not camera.paused:
                self._cameras.pause(camera.name, f"gallery {gallery} was forgotten")
        # Before the gallery: a new one of its name may have keys of its own a moment later.
        going = self._destroy_keys(gallery, going)
        gone = self._galleries.drop(gallery, going.epoch)
        counts = {Kind.VECTORS.value: gone.templates, Kind.JOURNAL_PAYLOADS.value: gone.payloads}
        return self._come(gallery, replace(going, sequence=gone.sequence, done=going.done | counts))

    def _destroy_keys(self, gallery: str, going: Going) -> Going:
        try:
            keys = custody.destroy(self._keys, self._audit, gallery, self._by)
        except UnknownKey:
            return going
        except Misconfigured as elsewhere:
            return replace(going, silent=(*going.silent, f"whoever keeps the keys of {gallery}: {elsewhere}"))
        return self._come(gallery, replace(going, keys=keys, done=going.done | {Kind.KEYS.value: len(keys)}))

    def _leave(self, gallery: str, going: Going, wait_s: float, threads: ThreadPoolExecutor) -> Going:
        """What may still be decided and told by the gallery comes to its end."""
        deadline_s = time.monotonic() + wait_s
        crossing, silent = CrossingOut(self._erasure, gallery), list(going.silent)
        while (busy := crossing.in_hand(now_ms())) and time.monotonic() < deadline_s:
            time.sleep(_LOOK_EVERY_S)
        silent += busy
        if self._epoch(gallery) is None:
            samples = self._samples.forget_gallery(gallery)
            if not self._watched.leave_gallery(gallery, wait_s):
                silent.append("the watcher")
            going, _ = self._delete(gallery, going, Kind.PROBE_IMAGES, self._watched.kept(gallery), threads)
            self._watched.wipe(gallery)
            going = self._count(gallery, going, Kind.CALIBRATION_SAMPLES, samples)
        else:
            # These stand under its name alone.
            silent.append(f"judged searches and what cameras told: another gallery was called {gallery} by then")
        ends = self._results.position(), self._watched.newest_event()
        return self._come(gallery, replace(going, until_ms=now_ms(), result=ends[0], event=ends[1], silent=(*silent,)))

    def _erase(self, gallery: str, going: Going, threads: ThreadPoolExecutor) -> tuple[Going, set[str]]:
        """Everything recorded; the pictures that stay for open jobs of others."""
        crossing, left = CrossingOut(self._erasure, gallery), set[str]()

        def delete(kind: Kind, pictures: set[str]) -> None:
            nonlocal going
            going, waiting = self._delete(gallery, going, kind, pictures, threads)
            left.update(waiting)

        delete(Kind.PROBE_IMAGES, crossing.jobs(going.until_ms))
        going = self._count(gallery, going, Kind.OPEN_JOBS, crossing.crossed_out)
        # Noted by now, or by an earlier attempt that did not come to delete them.
        noted = self._erasure.spared()
        going, waiting = self._delete(gallery, going, Kind.PROBE_IMAGES, noted, threads)
        self._erasure.spare_no_more(noted - waiting)
        for pictures in self._gone.pictures(going.epoch):
            delete(Kind.ENROLMENT_IMAGES, pictures)
        decisions = self._decisions(gallery, going.result)
        while some := list(islice(decisions, _AT_ONCE)):
            digests = (digest for _, text in some for digest in DIGEST.findall(text))
            delete(Kind.PROBE_IMAGES, {key_of(digest) for digest in digests})
            erased = sum(self._erasure.amend_result(entry_id, text, "") for entry_id, text in some)
            going = self._count(gallery, going, Kind.RESULTS, erased)
        for pictures in crossing.letters(going.until_ms):
            delete(Kind.PROBE_IMAGES, pictures)
        going = self._count(gallery, going, Kind.DEAD_LETTERS, crossing.letters_gone)
        events = self._watched.erase_all(gallery, going.event, lambda pictures: delete(Kind.PROBE_IMAGES, pictures))
        return self._count(gallery, going, Kind.EVENTS, events), left

    def _decisions(self, gallery: str, until: str) -> Iterator[tuple[str, str]]:
        return ((entry_id, text) for entry_id, text in self._erasure.results("0-0", gallery, until) if text is not None)

    def _delete(
        self, gallery: str, going: Going, kind: Kind, pictures: set[str], threads: ThreadPoolExecutor
    ) -> tuple[Going, set[str]]:
        """Delete those that nothing else needs; those that stay for open jobs, until retention finds them free."""
        asked = asked_about(self._erasure)
        free = pictures - self._erasure.in_use(pictures)
        waiting = free & asked
        self._erasure.spare(waiting)
        gone = sum(threads.map(self._store.delete, sorted(free - waiting)))
        return self._count(gallery, going, kind, gone), waiting

    def _count(self, gallery: str, going: Going, kind: Kind, more: int) -> Going:
        if not more:
            return going
        return self._come(gallery, replace(going, done=going.done | {kind.value: going.done.get(kind.value, 0) + more}))

    def _come(self, gallery: str, going: Going) -> Going:
        self._gone.note(gallery, going)
        self._told(going.done)
        return going

    def _receipt(self, gallery: str, going: Going, replicas: list[ReplicaAt], silent: list[str]) -> Receipt:
        listed = (
            *(Kind.VECTORS, Kind.JOURNAL_PAYLOADS, Kind.ENROLMENT_IMAGES, Kind.PROBE_IMAGES, Kind.RESULTS, Kind.EVENTS),
            *(Kind.OPEN_JOBS, Kind.DEAD_LETTERS, Kind.CALIBRATION_SAMPLES),
        )
        erased = [Erased(kind, going.done.get(kind.value, 0)) for kind in listed]
        erased += [Erased.of(Kind.KEYS, going.keys), Erased(Kind.CACHED_CROPS, 0)]
        detail: dict[str, str | int] = {"stage": "done", "epoch": going.epoch, "silent": len(silent)}
        detail |= {each.kind.value: each.count for each in erased if each.count}
        self._audit.record(Deed(self._by, Action.FORGOT, gallery, None, going.sequence, detail))
        return Receipt(
            *(gallery, going.epoch, going.sequence, now_ms(), self._by, tuple(erased)),
            replicas=tuple(replicas),
            silent=tuple(silent),
            audit=str(self._audit.head()),
            beyond=BEYOND,
        )
