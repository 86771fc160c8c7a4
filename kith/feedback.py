"""Telling Kith whether it was right: judged decisions become samples that the gallery's cutoff is derived from.

    [decision] = kith.feedback.find("5f0e…:0")               kith: a Client
    kith.feedback.confirm(decision)                          it was whom it named, or rightly nobody
    kith.feedback.refute(decision)                           not this person
    kith.feedback.refute(decision, actually="Ada Lovelace")  but that one
    kith.feedback.stranger(decision)                         nobody who is enrolled

Only identifications are searches; a claim that was verified, or an enrolment, has nothing to teach here. Judging a
decision again replaces what was said of it. `sampled` says that it was picked whatever its answer: a review of every
hundredth decision, a folder of strangers. Only such searches tell how often strangers come near; see kith.searches.
"""

from dataclasses import dataclass

from kith.calibration_samples import SampleStore, SearchSample, Truth, group_of
from kith.errors import NoFeedback, UnknownDecision
from kith.gallery import GalleryInfo, GalleryStore
from kith.jobs import Decision, Face, Kind, Lane, Outcome, now_ms
from kith.ledger import Ledger
from kith.results import FROM_START, Results

#: Decisions read at a time when the ledger no longer knows the job.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class _Known:
    """Somebody enrolled, by id and name."""

    subject_id: str
    name: str


class Feedback:
    """What people say of decisions. Safe to call from many threads. Raises StateUnavailable, StateFull."""

    def __init__(self, galleries: GalleryStore, ledger: Ledger, results: Results, samples: SampleStore) -> None:
        self._galleries = galleries
        self._ledger = ledger
        self._results = results
        self._samples = samples

    def find(self, named: str) -> list[Decision]:
        """The decision with this id, or all decisions of the job with this id, in the order of its images.

        Asks the ledger first; where it has forgotten the job, reads all results that are kept. Raises UnknownDecision.
        """
        job_id, _, index = named.rpartition(":")
        for job, wanted in ((named, None), (job_id, named)):
            entries = self._ledger.state(job).entries if job else ()
            decisions = [entry.decision for entry in self._results.fetch(entries)]
            if found := [each for each in decisions if wanted in (None, each.decision_id)]:
                return sorted(found, key=lambda decision: decision.index)
        if found := self._scan(named):
            return found
        what = "decision or job" if index.isdigit() else "job"
        raise UnknownDecision(f"no {what} {named} is among the results that are kept")

    def confirm(self, decision: Decision, *, group: str | None = None, sampled: bool = False) -> SearchSample:
        """It was right: whom it named it was, or it named nobody and it was nobody enrolled.

        group: frames of one track, or searches for one stranger, are not independent; name them alike. Default: the
        frames of one live job, else each picture alone. Raises NoFeedback where there is nothing to judge.
        """
        face = _searched(decision)
        if face.outcome is Outcome.UNKNOWN:
            return self._keep(decision, face, Truth.NONMATED, None, group, sampled)
        return self._keep(decision, face, Truth.MATED, _nearest(face), group, sampled)

    def refute(
        self, decision: Decision, *, actually: str | None = None, group: str | None = None, sampled: bool = False
    ) -> SearchSample:
        """It was wrong: not this person, or (where it named nobody) somebody it should have named.

        actually: who it was, if somebody enrolled. Without, the search counts as a stranger's. Raises NoFeedback,
        UnknownSubject.
        """
        face = _searched(decision)
        if actually is None:
            if face.outcome is Outcome.UNKNOWN:
                raise NoFeedback(
                    f"decision {decision.decision_id} named nobody; if that was wrong, say who it was (actually)"
                )
            return self._keep(decision, face, Truth.NONMATED, None, group, sampled)
        known = self._galleries.show(decision.gallery, actually)
        if known.subject_id != face.nearest_id:
            return self._keep(decision, face, Truth.MISTAKEN, _Known(known.subject_id, known.name), group, sampled)
        if face.outcome is Outcome.MATCH:
            raise NoFeedback(f"decision {decision.decision_id} named {known.name}; it was right, then")
        return self._keep(decision, face, Truth.MATED, _nearest(face), group, sampled)

    def stranger(self, decision: Decision, *, group: str | None = None, sampled: bool = False) -> SearchSample:
        """It was nobody who is enrolled, whatever was decided. Raises NoFeedback."""
        return self._keep(decision, _searched(decision), Truth.NONMATED, None, group, sampled)

    def withdraw(self, decision: Decision) -> bool:
        """Take back what was said of a decision; whether anything was."""
        return self._samples.drop(decision.gallery, decision.decision_id)

    def _keep(
        self, decision: Decision, face: Face, truth: Truth, who: _Known | None, group: str | None, sampled: bool
    ) -> SearchSample:
        sample = sample_of(
            decision,
            face,
            truth,
            self._galleries.info(decision.gallery),
            subject_id=who.subject_id if who else "",
            group=group,
            sampled=sampled,
            at_ms=now_ms(),
        )
        self._samples.put(sample)
        return sample

    def _scan(self, named: str) -> list[Decision]:
        found: list[Decision] = []
        last = FROM_START
        while page := self._results.after(last, limit=_PAGE):
            found += [each.decision for each in page if named in (each.decision.decision_id, each.decision.job_id)]
            last = page[-1].entry_id
        return sorted(found, key=lambda decision: decision.index)


def sample_of(
    decision: Decision,
    face: Face,
    truth: Truth,
    info: GalleryInfo,
    *,
    subject_id: str,
    group: str | None,
    sampled: bool,
    at_ms: int,
) -> SearchSample:
    """The sample that a judgement makes of a decision. info: the gallery as it is now.

    How large the gallery was then is not in the decision, its sequence number is: each change since has added one
    subject at most, so there were at least as many fewer. To take a gallery for smaller than it was is safe; a search
    that seems to have been made among very few is not used.
    """
    assert face.score is not None
    changed = max(0, info.sequence - (decision.gallery_version or 0))
    return SearchSample(
        decision_id=decision.decision_id,
        gallery=decision.gallery,
        truth=truth,
        score=face.score,
        runner_up=face.runner_up_score,
        cutoff=decision.cutoff,
        # One person is one group, however often he comes; of a stranger the tracks are known at best.
        group=group_of(subject_id) if subject_id else group or _track(decision),
        subjects=max(1, info.subjects - changed),
        templates=info.templates,
        model_id=decision.model_id or info.model_id,
        subject_id=subject_id,
        image=decision.image,
        sampled=sampled,
        at_ms=at_ms,
    )


def _track(decision: Decision) -> str:
    # The images of a live job are frames of one camera within moments; those of other jobs are pictures apart, but the
    # same picture asked about twice is one.
    return f"job {decision.job_id}" if decision.lane is Lane.LIVE else f"image {decision.image}"


def _searched(decision: Decision) -> Face:
    face = decision.face
    if decision.kind is not Kind.IDENTIFY:
        raise NoFeedback(
            f"decision {decision.decision_id} answers a job of kind {decision.kind}, which searched nobody"
        )
    if face is None or face.score is None or decision.outcome not in (Outcome.MATCH, Outcome.UNKNOWN):
        raise NoFeedback(f"decision {decision.decision_id} is {decision.outcome}: no face was searched for")
    return face


def _nearest(face: Face) -> _Known:
    return _Known(face.nearest_id or "", face.nearest or "")
