"""Accepting what a caller hands in: judged, stored, entered, sent. Every API that is spoken here ends in it."""

from anyio import to_thread

from kith.audit import Action, Deed
from kith.client import Client
from kith.errors import Overloaded, StateFull, UnknownGallery
from kith.intake import Receipt, no_room
from kith.jobs import EmbedJob, ImageRef, Kind
from kith.ledger import Accepted, IdempotencyKeyReused
from producers.api.callers import Caller
from producers.api.commits import Commits
from producers.api.existing import Existing
from producers.api.idempotency import asked_of, own_key
from producers.api.problems import of_error
from producers.api.submissions import Submission, judge


class Accepting:
    """Of one process. client: of its installation."""

    def __init__(self, client: Client) -> None:
        self._existing = Existing(client)
        self._commits = Commits(client.intake.offer)
        self._max_open = client.settings.jobs.max_open

    async def accept(
        self, caller: Caller, submissions: list[Submission], idempotency_key: str | None = None
    ) -> list[Receipt]:
        """A receipt for each, once the ledger has them. Whether the caller may is asked before.

        Raises Problem, Overloaded, and what the parts raise.
        """
        jobs = await to_thread.run_sync(self._prepared, caller, submissions, idempotency_key)
        receipts = await self._commits.commit(jobs)
        found = [receipt.accepted for receipt in receipts]
        if Accepted.OTHER in found:
            within = submissions[found.index(Accepted.OTHER)].within
            place = f"{within.rstrip('.')}: " if within else ""
            raise of_error(
                IdempotencyKeyReused(f"{place}the key {idempotency_key} was sent before, with another body"),
                "Idempotency-Key",
            )
        if Accepted.NO_ROOM in found:
            raise StateFull(no_room(receipts))
        if Accepted.FULL in found:
            raise Overloaded(
                f"{self._max_open} jobs are open (jobs.max_open); {len(found) - found.count(Accepted.FULL)} of these "
                f"{len(found)} were accepted, submit the same again when some are decided"
            )
        return receipts

    def _prepared(self, caller: Caller, submissions: list[Submission], idempotency_key: str | None) -> list[EmbedJob]:
        client = caller.client
        for each in submissions:
            if each.wishes.kind is not Kind.ENROL:
                # Enrolling makes a gallery; asking one that is not there would be a dead letter.
                try:
                    self._existing.check(caller.gallery(each.wishes.gallery))
                except UnknownGallery as unknown:
                    raise of_error(unknown, f"{each.within}gallery") from None
        for each in submissions:
            judge(each, client.settings.limits)
        jobs = [
            _job(caller, each, own_key(caller, idempotency_key, index if each.within else None))
            for index, each in enumerate(submissions)
        ]
        for job in jobs:
            if job.kind is Kind.ENROL:
                # Before it is sent: who wanted it stands there, whatever comes of it.
                detail: dict[str, str | int] = {"job": job.job_id, "images": len(job.images)}
                client.audit.record(Deed(caller.key.actor, Action.SUBMITTED, job.gallery, detail=detail))
        return jobs


def _job(caller: Caller, submission: Submission, idempotency_key: str | None) -> EmbedJob:
    wishes, client = submission.wishes, caller.client
    images = [
        ImageRef(each.key, subject=each.subject, label=each.label)
        if each.key is not None
        else client.intake.put(each.data or b"", subject=each.subject, label=each.label)
        for each in submission.images
    ]
    return client.intake.job(
        wishes.kind,
        images,
        gallery=wishes.gallery,
        lane=wishes.lane,
        content=wishes.content,
        min_sequence=wishes.min_sequence,
        expires_ms=wishes.expires_ms,
        idempotency_key=idempotency_key,
        traceparent=caller.trace.traceparent,
        asked=asked_of(submission, images, idempotency_key),
    )
