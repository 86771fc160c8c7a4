"""What people say of decisions becomes samples, and only where it can mean something."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from kith.backends.samples_memory import MemorySamples
from kith.calibration_samples import Truth
from kith.errors import NoFeedback, UnknownDecision, UnknownSubject
from kith.feedback import Feedback
from kith.jobs import Decision, Face, Kind, Lane, Outcome
from kith.ledger import JobState
from kith.results import FROM_START, Entry


def decision(index: int = 0, outcome: Outcome = Outcome.MATCH, job: str = "a:b", **parts: Any) -> Decision:
    face = Face(outcome, score=0.5, nearest="Ann", nearest_id="ann", runner_up="Bob", runner_up_score=0.25)
    made = Decision(
        *(f"{job}:{index}", job, index, Kind.IDENTIFY, "door", Lane.INTERACTIVE, f"ab/{index}", outcome, 1, 2),
        face=face,
        cutoff=0.4,
        gallery_version=60,
        model_id="m",
    )
    return replace(made, **parts)


class Galleries:
    """Ann and Bob are enrolled; 20 subjects, and 5 changes since the decisions were made."""

    def show(self, name: str, subject: str) -> SimpleNamespace:
        if subject not in ("Ann", "Bob"):
            raise UnknownSubject(f"nobody is called {subject!r} in gallery {name}")
        return SimpleNamespace(subject_id=subject.lower(), name=subject)

    def info(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, subjects=20, templates=44, sequence=65, model_id="now")


class Stored:
    """A ledger that remembers `known` jobs, and results that keep all decisions."""

    def __init__(self, decisions: Sequence[Decision], known: Sequence[str] = ()) -> None:
        self._entries = [Entry(f"{at}-0", each) for at, each in enumerate(decisions, 1)]
        self._known = known
        self.pages = 0

    def state(self, job_id: str) -> JobState:
        if job_id not in self._known:
            return JobState("unknown")
        return JobState("done", tuple(each.entry_id for each in self._entries if each.decision.job_id == job_id))

    def fetch(self, entry_ids: Sequence[str]) -> list[Entry]:
        return [each for each in self._entries if each.entry_id in entry_ids]

    def after(self, entry_id: str, *, limit: int) -> list[Entry]:
        self.pages += 1
        start = 0 if entry_id == FROM_START else int(entry_id.partition("-")[0])
        return self._entries[start : start + min(limit, 2)]


def feedback(*decisions: Decision, known: Sequence[str] = ()) -> Any:
    stored = Stored(decisions, known)
    made = Feedback(Galleries(), stored, stored, MemorySamples())  # type: ignore[arg-type]
    return SimpleNamespace(made=made, stored=stored, samples=made._samples)


@pytest.fixture
def said() -> Feedback:
    return feedback().made  # type: ignore[no-any-return]


class TestFinding:
    def test_a_decision_is_found_through_the_ledger_and_a_job_with_all_of_its(self) -> None:
        system = feedback(decision(1), decision(0), decision(0, job="c"), known=["a:b", "c"])
        assert [each.decision_id for each in system.made.find("a:b:1")] == ["a:b:1"]
        assert [each.decision_id for each in system.made.find("a:b")] == ["a:b:0", "a:b:1"]
        assert [each.decision_id for each in system.made.find("c")] == ["c:0"]
        assert system.stored.pages == 0

    def test_what_the_ledger_has_forgotten_is_found_among_the_results(self) -> None:
        system = feedback(decision(0, job="x"), decision(1), decision(0), decision(2, job="x"))
        assert [each.decision_id for each in system.made.find("x:2")] == ["x:2"]
        assert [each.decision_id for each in system.made.find("x")] == ["x:0", "x:2"]

    def test_what_is_not_kept_is_said_to_be_unknown(self) -> None:
        with pytest.raises(UnknownDecision, match="no decision or job a:b:7 is among the results"):
            feedback(decision(0), known=["a:b"]).made.find("a:b:7")
        with pytest.raises(UnknownDecision, match="no job nothing is"):
            feedback().made.find("nothing")


class TestJudging:
    def test_a_confirmed_match_is_a_mated_search_of_that_person(self, said: Feedback) -> None:
        sample = said.confirm(decision())
        assert (sample.truth, sample.subject_id, sample.score, sample.runner_up) == (Truth.MATED, "ann", 0.5, 0.25)
        assert (sample.group, sample.cutoff, sample.model_id, sample.image) == ("subject ann", 0.4, "m", "ab/0")
        # Five changes since have added five subjects at most.
        assert (sample.subjects, sample.templates, sample.sampled) == (15, 44, False)

    def test_nobody_rightly_named_and_a_stranger_are_non_mated(self, said: Feedback) -> None:
        for sample in (said.confirm(decision(0, Outcome.UNKNOWN)), said.stranger(decision())):
            assert (sample.truth, sample.subject_id, sample.group) == (Truth.NONMATED, "", "image ab/0")

    def test_not_this_person_is_non_mated_unless_it_is_said_who_it_was(self, said: Feedback) -> None:
        assert said.refute(decision()).truth is Truth.NONMATED
        mistaken = said.refute(decision(), actually="Bob")
        assert (mistaken.truth, mistaken.subject_id, mistaken.group) == (Truth.MISTAKEN, "bob", "subject bob")
        missed = said.refute(decision(0, Outcome.UNKNOWN), actually="Ann")
        assert (missed.truth, missed.subject_id) == (Truth.MATED, "ann")
        other = said.refute(decision(0, Outcome.UNKNOWN), actually="Bob")
        assert (other.truth, other.subject_id) == (Truth.MISTAKEN, "bob")

    def test_frames_of_a_live_job_are_one_group_and_the_caller_may_know_better(self, said: Feedback) -> None:
        assert said.stranger(decision(3, lane=Lane.LIVE)).group == "job a:b"
        assert said.stranger(decision(), group="camera 2, track 9").group == "camera 2, track 9"

    def test_a_gallery_that_has_changed_much_since_is_taken_for_small(self, said: Feedback) -> None:
        assert said.stranger(decision(gallery_version=3)).subjects == 1
        assert said.stranger(decision(gallery_version=70)).subjects == 20

    def test_who_judges_again_replaces_and_who_withdraws_removes(self) -> None:
        system = feedback()
        system.made.confirm(decision())
        system.made.refute(decision(), sampled=True)
        [kept] = system.samples.samples("door")
        assert (kept.truth, kept.sampled) == (Truth.NONMATED, True)
        assert system.made.withdraw(decision()) is True
        assert system.made.withdraw(decision()) is False
        assert system.samples.samples("door") == []

    def test_a_judgement_that_means_nothing_is_refused(self, said: Feedback) -> None:
        with pytest.raises(NoFeedback, match="named nobody; if that was wrong, say who it was"):
            said.refute(decision(0, Outcome.UNKNOWN))
        with pytest.raises(NoFeedback, match="named Ann; it was right, then"):
            said.refute(decision(), actually="Ann")
        with pytest.raises(UnknownSubject):
            said.refute(decision(), actually="Cid")
        with pytest.raises(NoFeedback, match="verify, which searched nobody"):
            said.confirm(decision(kind=Kind.VERIFY))
        with pytest.raises(NoFeedback, match="no_face: no face was searched for"):
            said.stranger(decision(0, Outcome.NO_FACE, face=None))
        with pytest.raises(NoFeedback):
            said.stranger(decision(face=Face(Outcome.UNKNOWN)))
