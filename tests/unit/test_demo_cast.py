"""Who plays in the demo, and how its decisions are judged."""

import math
from pathlib import Path

import pytest

from kith.demo.cast import from_folder
from kith.demo.tally import Tally, Verdict, judge
from kith.errors import Misconfigured
from kith.jobs import Decision, Face, Kind, Lane, Outcome


def folder_of(root: Path, people: dict[str, int]) -> Path:
    for name, count in people.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.jpg").write_bytes(b"x")
    return root


def test_no_picture_is_both_enrolled_and_asked_about_and_no_stranger_is_enrolled(tmp_path: Path) -> None:
    cast = from_folder(folder_of(tmp_path, {f"p{n:02}": 4 for n in range(20)}))
    enrolled = {picture.path for picture in cast.enrol}
    known = {picture.subject for picture in cast.enrol}
    strangers = {picture.path.parent.name for picture in cast.probes if picture.subject is None}
    assert len(strangers) == 4
    assert not strangers & known
    assert not enrolled & {picture.path for picture in cast.probes}
    assert {picture.subject for picture in cast.probes if picture.subject} == known
    assert len(cast.enrol) == 16 * 2
    assert len(cast.probes) == 16 * 2 + 4 * 4
    assert cast.newcomer is not None
    assert cast.newcomer.name in strangers
    assert not {each.path for each in cast.newcomer.enrol} & {each.path for each in cast.newcomer.probes}


def test_the_same_people_play_the_same_part_at_every_run(tmp_path: Path) -> None:
    directory = folder_of(tmp_path, {f"p{n:02}": 3 for n in range(9)})
    assert from_folder(directory) == from_folder(directory)


def test_of_fewer_than_five_people_one_comes_in_later_and_none_is_a_stranger(tmp_path: Path) -> None:
    cast = from_folder(folder_of(tmp_path, {"ada": 2, "bob": 3, "eve": 1}))
    assert cast.newcomer is not None
    assert cast.newcomer.name == "bob"
    assert {picture.subject for picture in cast.enrol} == {"ada", "eve"}
    assert [picture.label for picture in cast.probes] == ["ada/1.jpg"]


def test_a_single_person_is_enough_to_be_recognised_but_nobody_comes_in_later(tmp_path: Path) -> None:
    cast = from_folder(folder_of(tmp_path, {"ada": 3}))
    assert cast.newcomer is None
    assert (len(cast.enrol), len(cast.probes)) == (1, 2)


@pytest.mark.parametrize("people", [{}, {"ada": 1}, {"ada": 1, "bob": 1}])
def test_a_folder_with_nothing_to_ask_about_is_refused_with_the_shape_it_should_have(
    people: dict[str, int], tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match=r"SUBJECT/IMAGE\.jpg"):
        from_folder(folder_of(tmp_path, people))


def decision(outcome: Outcome, subject: str | None = None, at_ms: int = 10) -> Decision:
    return Decision(
        decision_id="j:0",
        job_id="j",
        index=0,
        kind=Kind.IDENTIFY,
        gallery="g",
        lane=Lane.BULK,
        image="key",
        outcome=outcome,
        created_ms=1_000,
        decided_ms=1_000 + at_ms,
        face=Face(outcome, subject=subject),
        published_ms=1_000 + at_ms,
    )


@pytest.mark.parametrize(
    ("outcome", "subject", "truth", "verdict"),
    [
        (Outcome.MATCH, "ada", "ada", Verdict.HIT),
        (Outcome.MATCH, "bob", "ada", Verdict.WRONG_NAME),
        (Outcome.MATCH, "bob", None, Verdict.WRONG_NAME),
        (Outcome.UNKNOWN, "ada", "ada", Verdict.MISSED),
        (Outcome.UNKNOWN, "ada", None, Verdict.REJECTED_STRANGER),
        (Outcome.NO_FACE, None, "ada", Verdict.NO_FACE),
        (Outcome.LOW_QUALITY, None, None, Verdict.NO_FACE),
        (Outcome.REJECTED, None, "ada", Verdict.REFUSED),
        (Outcome.EXPIRED, None, "ada", Verdict.REFUSED),
    ],
)
def test_a_decision_is_judged_by_the_truth(
    outcome: Outcome, subject: str | None, truth: str | None, verdict: Verdict
) -> None:
    assert judge(decision(outcome, subject), truth) is verdict


def test_latencies_are_nearest_rank_and_the_rate_spans_first_to_last() -> None:
    tally = Tally()
    assert math.isnan(tally.latency_s(0.5))
    for at_ms in range(100, 10_001, 100):
        tally.add(decision(Outcome.MATCH, "ada", at_ms), "ada")
    assert tally.latency_s(0.5) == 5.0
    assert tally.latency_s(0.99) == 9.9
    assert tally.latency_s(1.0) == 10.0
    assert tally.images_per_s == pytest.approx(10.0)
    assert (tally.decided, tally.counts[Verdict.HIT]) == (100, 100)
