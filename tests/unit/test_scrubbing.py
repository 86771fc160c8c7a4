"""The name and ids of somebody forgotten are taken out of decisions about others, and nobody else's are."""

from dataclasses import replace

from kith.holdings import Marks, Pending, Tracer
from kith.jobs import Decision, Face, Kind, Lane, Outcome
from kith.keys import Key
from kith.scrubbing import is_of, scrubbed

KEY = Key(bytes(range(32)))
TRACER = Tracer(KEY, "salt")
PENDING = Pending("ada1", ("ada1",), ("ada1",), "e", "salt", (), TRACER.traces((), ["Ada"]).texts, ())
MARKS = Marks(PENDING, TRACER)

GRACE = Face(Outcome.MATCH, "Grace", "gra1", 0.8, nearest="Grace", nearest_id="gra1")


def decided(face: Face) -> Decision:
    place = ("d", "j", 0, Kind.IDENTIFY, "door", Lane.BULK, "ab/1", face.outcome, 1, 2)
    return Decision(*place, face=face)


def test_the_second_is_taken_out_by_the_id_also_under_a_name_that_is_no_longer_known() -> None:
    for name in ("Ada", "Augusta"):
        told = decided(replace(GRACE, runner_up=name, runner_up_id="ada1", runner_up_score=0.4))
        assert not is_of(told, MARKS)
        assert scrubbed(told, MARKS).face == replace(GRACE, runner_up_score=0.4)


def test_of_a_decision_without_the_id_the_name_is_enough() -> None:
    told = decided(replace(GRACE, runner_up="Ada", runner_up_score=0.4))
    assert scrubbed(told, MARKS).face == replace(GRACE, runner_up_score=0.4)


def test_somebody_else_who_has_the_name_by_now_stays() -> None:
    told = decided(replace(GRACE, runner_up="Ada", runner_up_id="ada2", runner_up_score=0.4))
    assert scrubbed(told, MARKS) == told
