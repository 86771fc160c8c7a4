"""Forgetting a gallery whole, everywhere Kith keeps anything of it, with a signed receipt. There is no way back, but a
way on after an interruption: a note (kith.gone.Going) says how far it has come, and the same call goes on.

While there is that note no other gallery can be made under the name: what stands under it is this one's. The order is
that of forgetting a person (kith.forgetting). What waits to be decided ends first, and then the gallery, in one moment,
so that nobody is matched in it any more; then every worker's copy; jobs that somebody has in hand; what the watcher
knows; and then what is recorded, each record after the pictures that it tells of.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from kith import custody
from kith.audit import Action, AuditLog, Deed
from kith.calibration_samples import SampleStore
from kith.cameras import CameraRegistry
from kith.confirming import await_copies
from kith.deleting import Deleting
from kith.erasure import DIGEST, Erasure
from kith.errors import KithError, Misconfigured, StateFull, UnknownGallery, UnknownKey
from kith.forgetting import BEYOND, WAIT_S
from kith.gallery import GalleryStore
from kith.gallery_jobs import GalleryJobs
from kith.gone import Going, GoneGalleries
from kith.held import ForgottenBySomebody, Held
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

#: Kind → how many are gone by now.
Told = Callable[[dict[str, int]], None]

_COUNTED = (
    *(Kind.ENROLMENT_IMAGES, Kind.PROBE_IMAGES, Kind.RESULTS, Kind.EVENTS, Kind.OPEN_JOBS, Kind.DEAD_LETTERS),
    Kind.CALIBRATION_SAMPLES,
)


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
        with Held(self._gone, gallery) as held:
            key = self._keys.create(SIGNING).newest
            going = self._gone.going(gallery) or self._begin(gallery, held)
            jobs = GalleryJobs(self._erasure, self._ledger, self._gone, gallery, going.epoch)
            jobs.end()
            silent = self._pause_cameras(gallery)
            going = self._drop(gallery, going, held, silent)
            replicas, unheard = await_copies(self._ledger, gallery, going.epoch, going.sequence, wait_s, ended=True)
            deadline_s = time.monotonic() + wait_s
            while (busy := jobs.end()) and time.monotonic() < deadline_s:
                time.sleep(_LOOK_EVERY_S)
            if not self._watched.leave_gallery(gallery, wait_s):
                silent.append("the watcher")
            with Deleting(self._erasure, self._store) as deleting:
                for _ in range(_SWEEPS):
                    before = going.done
                    going = self._sweep(gallery, going, held, jobs, deleting)
                    if going.done == before:
                        break
                silent += [f"a job that asks about picture {each}" for each in sorted(deleting.left)]
            # Of people in it, forgotten by somebody who was broken off: nobody goes on with that any more.
            self._erasure.forget_pending(going.epoch)
            receipt = self._receipt(gallery, going, replicas, [*unheard, *busy, *silent])
            signed = sign(receipt, signing_key(key))
            save(signed)
            held.check()
            self._gone.finish(gallery, going.epoch)
            return signed

    def _begin(self, gallery: str, held: Held) -> Going:
        # Not its info: one that was damaged can be forgotten too.
        epoch = self._gone.standing(gallery)
        if epoch is None:
            raise UnknownGallery(f"there is no gallery {gallery}")
        # Recorded first: what cannot be recorded is not done.
        self._audit.record(Deed(self._by, Action.FORGOT, gallery, detail={"stage": "begun", "epoch": epoch}))
        return self._come(gallery, Going(epoch, 0), held)

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

    def _drop(self, gallery: str, going: Going, held: Held, silent: list[str]) -> Going:
        if self._gone.standing(gallery) != going.epoch:
            # Dropped by an earlier attempt, which may not have come to note it.
            was = self._gone.dropped(going.epoch)
            return replace(going, sequence=was.sequence if was else going.sequence)
        going = self._destroy_keys(gallery, going, held, silent)
        gone = self._galleries.drop(gallery, going.epoch)
        return self._come(gallery, replace(going, sequence=gone.sequence), held)

    def _destroy_keys(self, gallery: str, going: Going, held: Held, silent: list[str]) -> Going:
        try:
            self._keys.check_changeable(gallery)
        except UnknownKey:
            return going
        except Misconfigured as elsewhere:
            silent.append(f"whoever keeps the keys of gallery {gallery}: {elsewhere}")
            return going
        with suppress(KithError):
            # One that cannot be read is destroyed all the same.
            going = replace(going, keys=self._keys.ring(gallery).key_ids)
        # Which they are is noted before.
        going = self._come(gallery, going, held)
        with suppress(UnknownKey):
            custody.destroy(self._keys, self._audit, gallery, self._by)
        return going

    def _sweep(self, gallery: str, going: Going, held: Held, jobs: GalleryJobs, deleting: Deleting) -> Going:
        """Erase everything recorded, and end the jobs that were handed in meanwhile."""

        def count(kind: Kind, more: int) -> None:
            nonlocal going
            if more:
                done = going.done | {kind.value: going.done.get(kind.value, 0) + more}
                going = self._come(gallery, replace(going, done=done), held)

        def delete(pictures: set[str], kind: Kind = Kind.PROBE_IMAGES) -> None:
            held.check()
            gone = deleting.delete(pictures)
            # It may have taken long, and what tells of them is erased next.
            held.check()
            count(kind, gone)

        held.check()
        jobs.end(force=True)
        count(Kind.OPEN_JOBS, jobs.counted())
        for enrolled, pictures in self._gone.pictures(going.epoch):
            delete(pictures, Kind.ENROLMENT_IMAGES if enrolled else Kind.PROBE_IMAGES)
        delete(self._watched.kept(gallery))
        self._watched.wipe(gallery)
        count(Kind.CALIBRATION_SAMPLES, self._samples.forget_gallery(gallery))
        results = self._erasure.results("0-0", gallery)
        decisions = ((entry_id, text) for entry_id, text in results if text is not None)
        while some := list(islice(decisions, _AT_ONCE)):
            delete({key_of(digest) for _, text in some for digest in DIGEST.findall(text)})
            count(Kind.RESULTS, sum(self._erasure.amend_result(entry_id, text, "") for entry_id, text in some))
        letters = jobs.letters()
        while several := list(islice(letters, _AT_ONCE)):
            delete(set[str]().union(*(pictures for _, _, pictures in several)))
            count(Kind.DEAD_LETTERS, sum(self._erasure.amend_letter(dead_id, text, "") for dead_id, text, _ in several))
        for shown, erase in self._watched.all_events(gallery, _AT_ONCE):
            delete(shown)
            count(Kind.EVENTS, erase())
        return going

    def _come(self, gallery: str, going: Going, held: Held) -> Going:
        held.check()
        if not self._gone.note(gallery, going, held.holder):
            raise ForgottenBySomebody(f"gallery {gallery} is being forgotten by somebody else by now")
        self._told(going.done)
        return going

    def _receipt(self, gallery: str, going: Going, replicas: list[ReplicaAt], silent: list[str]) -> Receipt:
        was = self._gone.dropped(going.epoch)
        erased = [
            Erased(Kind.VECTORS, was.templates if was else 0),
            Erased(Kind.JOURNAL_PAYLOADS, was.payloads if was else 0),
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
