"""Moves a gallery to another model: sends its enrolment pictures through the bulk lane until no vector is missing.

What has been done stands in the gallery's migration (kith.migration), so whoever is killed here, or in a worker, loses
nothing: the same call again goes on with what is missing. Enrolments that come meanwhile are missing ones like others.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kith.errors import CannotMigrate, JobDead, NoAnswerYet, Overloaded
from kith.gallery import GalleryStore
from kith.gallery_cutoff import derive
from kith.gallery_settings import GallerySettings
from kith.intake import Intake
from kith.jobs import MAX_IMAGES_PER_JOB, ImageRef, Kind, Lane, now_ms
from kith.ledger import Ledger, WorkerBeat
from kith.left_behind import NO_PICTURE, LeftBehind, left_behind, told
from kith.migration import Migration, MigrationStore, Missing
from kith.view import Replica

#: Jobs under way at once: enough for several workers, few to be done twice after this process was killed.
_OPEN = 32
_LOOK_EVERY_S = 0.1


@dataclass(slots=True)
class _Flight:
    """Jobs under way, and the templates of each; templates of jobs that died; why the last job was not accepted."""

    jobs: dict[str, set[str]] = field(default_factory=dict)
    dead: dict[str, str] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    full: str = ""

    def left(self, found: Sequence[Missing]) -> list[Missing]:
        flying = set().union(*self.jobs.values())
        return [each for each in found if each.template_id not in flying | self.given_up]


class Migrator:
    """One gallery's move. patience_s: how long to wait without any progress."""

    def __init__(
        self,
        galleries: GalleryStore,
        migrations: MigrationStore,
        intake: Intake,
        ledger: Ledger,
        gallery: str,
        *,
        patience_s: float = 120.0,
    ) -> None:
        self._galleries = galleries
        self._migrations = migrations
        self._intake = intake
        self._ledger = ledger
        self._gallery = gallery
        self._patience_s = patience_s

    def embed(self, model_id: str, tell: Callable[[Migration], None] = lambda _: None) -> Migration:
        """Until no template is missing; tell: of the state as it goes.

        Raises NoAnswerYet when nothing comes for `patience_s` seconds, JobDead for jobs in the dead letters (after the
        others are done); the same call again goes on.
        """
        flight = _Flight()
        known, heard_s = None, time.monotonic()
        while True:
            state = self._state(model_id)
            tell(state)
            done = (state.embedded, state.unable, state.templates)
            if done != known:
                known, heard_s = done, time.monotonic()
            ended = self._collect(flight)
            sent = self._send(model_id, flight) if state.missing else 0
            if not flight.jobs and not sent:
                # Counted before it was looked for: what came in between is found in another round.
                if flight.dead:
                    job_id, why = next(iter(flight.dead.items()))
                    raise JobDead(f"{len(flight.dead)} jobs are dead letters, the first {job_id}: {why}")
                if not self._state(model_id).missing:
                    return self._state(model_id)
            if time.monotonic() - heard_s > self._patience_s:
                raise NoAnswerYet(self._why_not(model_id, state) + flight.full)
            if not ended:
                time.sleep(_LOOK_EVERY_S)

    def settings_for(self, default: float, *, said: float | None = None, seed: int = 0) -> GallerySettings:
        """The gallery's settings with a cutoff for the other model: derived from its own templates where the gallery
        aims at a rate, else none. default: the other model's own cutoff; said: the installation's, which is of another
        model, so that the default then has to be said as well. Raises CannotMigrate."""
        settings = self._galleries.info(self._gallery).settings
        if settings.fpir is None:
            return replace(settings, cutoff=None if said is None else default, record=None)
        view = Replica(self._migrations.other(self._gallery)).view
        random = np.random.default_rng(seed)
        # Judged searches are of the model they were made with, so there are none yet.
        found = derive(view, [], settings.fpir, random, default=default, at_ms=now_ms())
        return replace(settings, cutoff=found.cutoff, record=found.record)

    def left_behind(self) -> list[LeftBehind]:
        """Who has templates that cannot move, as far as is known: those that never had a picture at once, others once
        they have been tried."""
        unable = self._migrations.unable(self._gallery)
        after = -1
        while page := self._migrations.missing(self._gallery, after=after):
            after = page[-1].slot
            unable |= {each.template_id: NO_PICTURE for each in page if not each.image}
        return left_behind(self._galleries.catalogue(self._gallery), unable) if unable else []

    def switch(self, model_id: str, after: GallerySettings, *, leave_behind: bool = False) -> int:
        """Answer by the other model from now on, with its cutoff and record of `after`.

        leave_behind: remove the templates that cannot move; going back does not bring them back. Raises CannotMigrate,
        without it also while there are any, naming whose they are.
        """
        if not leave_behind and self._migrations.unable(self._gallery) and (lost := self.left_behind()):
            raise CannotMigrate(told(self._gallery, lost))
        before = self._galleries.info(self._gallery).settings
        settings = replace(before, cutoff=after.cutoff, record=after.record)
        return self._migrations.switch(self._gallery, model_id, before=before, after=settings, drop_unable=leave_behind)

    def roll_back(self, tell: Callable[[Migration], None] = lambda _: None, *, leave_behind: bool = False) -> int:
        """Answer by the former model again, with the cutoff it had; what was enrolled since gets its vector of that
        model first. Raises as `embed` and `switch`."""
        state = self._migrations.state(self._gallery)
        if state is None or state.settings is None:
            raise _never_switched(self._gallery)
        self.embed(state.model_id, tell)
        return self.switch(state.model_id, state.settings, leave_behind=leave_behind)

    def workers(self, model_id: str) -> tuple[list[WorkerBeat], list[WorkerBeat]]:
        """The living embed workers that hold the model, and those that do not."""
        embed = [beat for beat in self._ledger.workers() if beat.role == "embed"]
        holding = [beat for beat in embed if model_id in (beat.model_id, *beat.also)]
        return holding, [beat for beat in embed if beat not in holding]

    def _state(self, model_id: str) -> Migration:
        state = self._migrations.state(self._gallery)
        if state is None or state.model_id != model_id:
            raise _ended(self._gallery)
        return state

    def _send(self, model_id: str, flight: _Flight) -> int:
        sent = 0
        for some in self._pages(flight):
            without = [each.template_id for each in some if not each.image]
            if without:
                self._migrations.put(self._gallery, model_id, {}, dict.fromkeys(without, NO_PICTURE))
            for start in range(0, len(some), MAX_IMAGES_PER_JOB):
                if len(flight.jobs) >= _OPEN:
                    return sent
                part = [each for each in some[start : start + MAX_IMAGES_PER_JOB] if each.image]
                if part:
                    images = [ImageRef(each.image, template=each.template_id) for each in part]
                    job = self._intake.job(
                        Kind.REEMBED, images, gallery=self._gallery, lane=Lane.BULK, model_id=model_id
                    )
                    # Noted first: submitted or not, it is then waited for, or found to be unknown.
                    flight.jobs[job.job_id] = {each.template_id for each in part}
                    try:
                        self._intake.submit(job)
                    except Overloaded as full:
                        # Others' jobs are many; this one alone was handed in, so it was not accepted.
                        del flight.jobs[job.job_id]
                        flight.full = f". {full}"
                        return sent
                    flight.full = ""
                sent += 1
        return sent

    def _pages(self, flight: _Flight) -> Iterator[list[Missing]]:
        after = -1
        while len(flight.jobs) < _OPEN and (page := self._migrations.missing(self._gallery, after=after)):
            after = page[-1].slot
            if left := flight.left(page):
                yield left

    def _collect(self, flight: _Flight) -> int:
        ended = 0
        for job_id in list(flight.jobs):
            state = self._ledger.state(job_id)
            if state.state not in ("done", "dead", "unknown"):
                continue
            templates = flight.jobs.pop(job_id)
            ended += 1
            if state.state == "dead":
                flight.dead[job_id] = state.reason or "no reason on record"
                flight.given_up |= templates
        return ended

    def _why_not(self, model_id: str, state: Migration) -> str:
        holding, lacking = self.workers(model_id)
        message = (
            f"no vector of gallery {self._gallery} came for {self._patience_s:g} s, {state.missing:,} of "
            f"{state.templates:,} are missing; the same command goes on"
        )
        if not holding:
            message += (
                f'. No embed worker holds model {model_id}: start them with model.also = ["{state.pack}"]'
                f" ({len(lacking)} run without)"
            )
        return message


def _never_switched(gallery: str) -> CannotMigrate:
    return CannotMigrate(f"gallery {gallery} was not switched to another model that it could go back from")


def _ended(gallery: str) -> CannotMigrate:
    return CannotMigrate(f"the migration of gallery {gallery} was ended, or switched, by somebody else")
