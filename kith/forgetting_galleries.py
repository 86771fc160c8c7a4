"""Forgetting a gallery whole, everywhere Kith keeps anything of it, with a signed receipt. There is no way back, but a
way on after an interruption: a note (kith.gone.Going) says how far it has come, and the same call goes on.

While there is that note no other gallery can be made under the name: what stands under it is this one's. The order is
that of forgetting a person (kith.forgetting). What waits to be decided ends first, and then the gallery, in one moment,
so that nobody is matched in it any more; then every worker's copy; jobs that somebody has in hand; what the watcher
knows; and then what is recorded, each record after the pictures that it tells of.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice

from kith import custody
from kith.audit import Action, AuditLog, Deed
from kith.calibration_samples import SampleStore
from kith.cameras import CameraRegistry
from kith.confirming import await_copies
from kith.deleting import Deleting
from kith.erasure import DIGEST, Erasure
from kith.errors import KithError, Misconfigured, Retryable, StateFull, UnknownGallery, UnknownKey
from kith.forgetting import BEYOND, WAIT_S
from kith.gallery import GalleryStore
from kith.gallery_jobs import GalleryJobs
from kith.gone import Going, GoneGalleries
from kith.imagestore import ImageStore, key_of
from kith.jobs import now_ms
from kith.keys import SIGNING, KeyStore
from kith.ledger import Ledger
from kith.receipts import Erased, Kind, Receipt, ReplicaAt, SignedReceipt, sign, signing_key
from kith.watching.erasing import WatchedErasure

_LOOK_EVERY_S = 0.1
#: Records erased after one look at what their pictures are needed for.
_AT_ONCE = 500
#: Times that everything recorded is gone through, while each finds something: who had not confirmed may publish still.
_SWEEPS = 3
#: How long whoever forgets a gallery keeps others from doing so, after he was heard of last.
_LEASE_S = 15.0

#: Kind → how many are gone by now.
Told = Callable[[dict[str, int]], None]

_COUNTED = (
    *(Kind.ENROLMENT_IMAGES, Kind.PROBE_IMAGES, Kind.RESULTS, Kind.EVENTS, Kind.OPEN_JOBS, Kind.DEAD_LETTERS),
    Kind.CALIBRATION_SAMPLES,
)


class ForgottenBySomebody(Retryable):
    """Somebody else is forgetting the gallery just now."""


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
        self._store, self._samples, self._cameras, self._watched = store, samples, cameras, watched
        self._audit, self._keys, self._by, self._told = audit, keys, by, told

    def forget(
        self, gallery: str, *, wait_s: float = WAIT_S, save: Callable[[SignedReceipt], None] = lambda _: None
    ) -> SignedReceipt:
        """Forget `gallery`. save: given the receipt before the note of what is under way goes.

        Raises UnknownGallery, where none is being forgotten either, and ForgottenBySomebody.
        """
        with self._held(gallery):
            key = self._keys.create(SIGNING).newest
            going = self._gone.going(gallery) or self._begin(gallery)
            jobs = GalleryJobs(self._erasure, self._ledger, self._gone, gallery, going.epoch)
            jobs.end()
            silent = self._pause_cameras(gallery)
            going = self._drop(gallery, going, silent)
            replicas, unheard = await_copies(self._ledger, gallery, going.epoch, going.sequence, wait_s, ended=True)
            deadline_s = time.monotonic() + wait_s
            while (busy := jobs.end()) and time.monotonic() < deadline_s:
                time.sleep(_LOOK_EVERY_S)
            jobs.end(force=True)
            going = self._count(gallery, going, Kind.OPEN_JOBS, jobs.ended)
            if not self._watched.leave_gallery(gallery, wait_s):
                silent.append("the watcher")
            with Deleting(self._erasure, self._store) as deleting:
                for _ in range(_SWEEPS):
                    before = going.done
                    going = self._sweep(gallery, going, jobs, deleting)
                    if going.done == before:
                        break
                silent += [f"a job that asks about picture {each}" for each in sorted(deleting.left)]
            receipt = self._receipt(gallery, going, replicas, [*unheard, *busy, *silent])
            signed = sign(receipt, signing_key(key))
            save(signed)
            self._gone.finish(gallery, going.epoch)
            return signed

    @contextmanager
    def _held(self, gallery: str) -> Iterator[None]:
        """Nobody else forgets it meanwhile: each would count what the other has erased, and sign a receipt of it."""
        holder, done = uuid.uuid4().hex, threading.Event()
        if not self._gone.hold(gallery, holder, _LEASE_S):
            raise ForgottenBySomebody(
                f"gallery {gallery} is being forgotten by somebody else just now; should that have been broken off, "
                f"the same call goes on {_LEASE_S:.0f} seconds later"
            )

        def go_on_holding() -> None:
            while not done.wait(_LEASE_S / 3):
                # While Redis is away nobody else can begin either.
                with suppress(KithError):
                    self._gone.hold(gallery, holder, _LEASE_S)

        thread = threading.Thread(target=go_on_holding, name="kith-forgetting", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            with suppress(KithError):
                self._gone.release(gallery, holder)

    def _begin(self, gallery: str) -> Going:
        # Not its info: one that was damaged can be forgotten too.
        epoch = self._gone.standing(gallery)
        if epoch is None:
            raise UnknownGallery(f"there is no gallery {gallery}")
        # Recorded first: what cannot be recorded is not done.
        self._audit.record(Deed(self._by, Action.FORGOT, gallery, detail={"stage": "begun", "epoch": epoch}))
        return self._come(gallery, Going(epoch, 0))

    def _pause_cameras(self, gallery: str) -> list[str]:
        """What could not be."""
        cameras = [each for each in self._cameras.all() if each.gallery == gallery and not each.paused]
        try:
            for camera in cameras:
                self._cameras.pause(camera.name, f"gallery {gallery} was forgotten")
        except StateFull:
            # To forget is what makes room.
            return [f"cameras that could not be paused, for Redis is full: {', '.join(each.name for each in cameras)}"]
        return []

    def _drop(self, gallery: str, going: Going, silent: list[str]) -> Going:
        if self._gone.standing(gallery) is None:
            # By an earlier attempt, which may not have come to note it.
            held = self._gone.dropped(going.epoch)
            return replace(going, sequence=held.sequence if held else going.sequence)
        going = self._destroy_keys(gallery, going, silent)
        gone = self._galleries.drop(gallery, going.epoch)
        return self._come(gallery, replace(going, sequence=gone.sequence))

    def _destroy_keys(self, gallery: str, going: Going, silent: list[str]) -> Going:
        try:
            self._keys.check_changeable(gallery)
        except UnknownKey:
            return going
        except Misconfigured as elsewhere:
            silent.append(f"whoever keeps the keys of gallery {gallery}: {elsewhere}")
            return going
        with suppress(KithError):
            # Which they are is noted before. One that cannot be read is destroyed all the same.
            going = self._come(gallery, replace(going, keys=self._keys.ring(gallery).key_ids))
        with suppress(UnknownKey):
            custody.destroy(self._keys, self._audit, gallery, self._by)
        return going

    def _sweep(self, gallery: str, going: Going, jobs: GalleryJobs, deleting: Deleting) -> Going:
        """Erase everything recorded."""
        for enrolled, pictures in self._gone.pictures(going.epoch):
            kind = Kind.ENROLMENT_IMAGES if enrolled else Kind.PROBE_IMAGES
            going = self._count(gallery, going, kind, deleting.delete(pictures))
        going = self._count(gallery, going, Kind.PROBE_IMAGES, deleting.delete(self._watched.kept(gallery)))
        self._watched.wipe(gallery)
        going = self._count(gallery, going, Kind.CALIBRATION_SAMPLES, self._samples.forget_gallery(gallery))
        results = self._erasure.results("0-0", gallery)
        decisions = ((entry_id, text) for entry_id, text in results if text is not None)
        while some := list(islice(decisions, _AT_ONCE)):
            pictures = {key_of(digest) for _, text in some for digest in DIGEST.findall(text)}
            going = self._count(gallery, going, Kind.PROBE_IMAGES, deleting.delete(pictures))
            erased = sum(self._erasure.amend_result(entry_id, text, "") for entry_id, text in some)
            going = self._count(gallery, going, Kind.RESULTS, erased)
        letters = jobs.letters()
        while several := list(islice(letters, _AT_ONCE)):
            pictures = set[str]().union(*(each for _, _, each in several))
            going = self._count(gallery, going, Kind.PROBE_IMAGES, deleting.delete(pictures))
            erased = sum(self._erasure.amend_letter(dead_id, text, "") for dead_id, text, _ in several)
            going = self._count(gallery, going, Kind.DEAD_LETTERS, erased)
        for shown, erase in self._watched.all_events(gallery, _AT_ONCE):
            going = self._count(gallery, going, Kind.PROBE_IMAGES, deleting.delete(shown))
            going = self._count(gallery, going, Kind.EVENTS, erase())
        return going

    def _count(self, gallery: str, going: Going, kind: Kind, more: int) -> Going:
        if not more:
            return going
        return self._come(gallery, replace(going, done=going.done | {kind.value: going.done.get(kind.value, 0) + more}))

    def _come(self, gallery: str, going: Going) -> Going:
        self._gone.note(gallery, going)
        self._told(going.done)
        return going

    def _receipt(self, gallery: str, going: Going, replicas: list[ReplicaAt], silent: list[str]) -> Receipt:
        held = self._gone.dropped(going.epoch)
        erased = [
            Erased(Kind.VECTORS, held.templates if held else 0),
            Erased(Kind.JOURNAL_PAYLOADS, held.payloads if held else 0),
            *(Erased(kind, going.done.get(kind.value, 0)) for kind in _COUNTED),
            Erased.of(Kind.KEYS, going.keys),
            Erased(Kind.CACHED_CROPS, 0),
        ]
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
