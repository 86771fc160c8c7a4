"""Collecting the decisions of many jobs."""

from collections.abc import Sequence

import pytest

from kith.answers import Answers
from kith.errors import StateUnavailable
from kith.jobs import Decision, Kind, Lane, Outcome
from kith.ledger import JobState
from kith.results import Entry


class Ledger:
    def __init__(self, **states: JobState) -> None:
        self.states = states
        self.away = False

    def state(self, job_id: str) -> JobState:
        if self.away:
            raise StateUnavailable
        return self.states[job_id]


class Results:
    """Entry `job:index` is the decision about that image."""

    def fetch(self, entry_ids: Sequence[str]) -> list[Entry]:
        return [Entry(entry_id, decision(*entry_id.split(":"))) for entry_id in entry_ids if "aged" not in entry_id]


def decision(job_id: str, index: str) -> Decision:
    return Decision(
        decision_id=f"{job_id}:{index}",
        job_id=job_id,
        index=int(index),
        kind=Kind.IDENTIFY,
        gallery="g",
        lane=Lane.BULK,
        image="key",
        outcome=Outcome.UNKNOWN,
        created_ms=1,
        decided_ms=2,
    )


def answers(ledger: Ledger) -> Answers:
    return Answers(ledger, Results(), ledger.states)  # type: ignore[arg-type]


def ids(decisions: Sequence[Decision]) -> list[str]:
    return [decision.decision_id for decision in decisions]


def test_decisions_come_job_by_job_and_an_open_job_hides_none_behind_it() -> None:
    ledger = Ledger(
        a=JobState("done", entries=("a:1", "a:0")), b=JobState("deferred"), c=JobState("done", entries=("c:0",))
    )
    collected = answers(ledger)
    assert ids(collected.look()) == ["a:0", "a:1", "c:0"]
    assert collected.look() == []
    assert collected.waiting == 1
    ledger.states["b"] = JobState("done", entries=("b:0",))
    assert ids(collected.look()) == ["b:0"]
    assert collected.waiting == 0


def test_however_many_jobs_are_put_off_those_behind_them_are_found_in_turn() -> None:
    ledger = Ledger(**{f"j{n}": JobState("deferred") for n in range(300)})
    collected = answers(ledger)
    for n in (299, 150):
        ledger.states[f"j{n}"] = JobState("done", entries=(f"j{n}:0",))
    found = [decision for _ in range(12) for decision in collected.look()]
    assert sorted(ids(found)) == ["j150:0", "j299:0"]
    assert collected.waiting == 298


def test_the_oldest_jobs_are_asked_about_at_every_look() -> None:
    ledger = Ledger(**{f"j{n}": JobState("sent") for n in range(5000)})
    collected = answers(ledger)
    for n in range(20):
        ledger.states[f"j{n}"] = JobState("done", entries=(f"j{n}:0",))
        assert ids(collected.look()) == [f"j{n}:0"]


def test_dead_and_forgotten_jobs_are_told_apart_and_hold_nobody_up() -> None:
    ledger = Ledger(
        dead=JobState("dead", reason="unknown_gallery: no"),
        old=JobState("unknown"),
        aged=JobState("done", entries=("aged:0",)),
        good=JobState("done", entries=("good:0",)),
    )
    collected = answers(ledger)
    assert ids(collected.look()) == ["good:0"]
    assert collected.dead == {"dead": "unknown_gallery: no"}
    assert collected.forgotten == ["old", "aged"]


def test_an_interruption_skips_no_job_and_loses_no_decision() -> None:
    ledger = Ledger(a=JobState("done", entries=("a:0",)), b=JobState("done", entries=("b:0",)))
    collected = answers(ledger)
    state, asked = ledger.state, iter([False, True])

    def away_at_the_second(job_id: str) -> JobState:
        ledger.away = next(asked, False)
        return state(job_id)

    ledger.state = away_at_the_second  # type: ignore[method-assign]
    with pytest.raises(StateUnavailable):
        collected.look()
    assert ids(collected.look()) == ["a:0", "b:0"]


def test_one_look_takes_a_bounded_number_of_jobs() -> None:
    ledger = Ledger(**{f"j{n}": JobState("done", entries=(f"j{n}:0",)) for n in range(5)})
    collected = answers(ledger)
    assert ids(collected.look(at_most=3)) == ["j0:0", "j1:0", "j2:0"]
    collected.expect(["j0"])
    assert ids(collected.look()) == ["j3:0", "j4:0", "j0:0"]
