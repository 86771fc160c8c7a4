"""What another cutoff or margin would change, judged face by face."""

from dataclasses import replace

import pytest

from kith.decision import Rule
from kith.jobs import Decision, Face, Kind, Lane, Outcome, Quality
from kith.preview import would_change

FINE = Quality(0.8, 0.8, 0.8, 0.8, 0.8)


def face(score: float | None, nearest: str = "Ann", runner_up: float | None = None, **parts: object) -> Face:
    made = Face(
        Outcome.UNKNOWN,
        score=score,
        nearest=nearest,
        nearest_id=nearest,
        runner_up_score=runner_up,
        runner_up="Cid" if runner_up is not None else None,
        quality=FINE,
    )
    return replace(made, **parts)


def decision(number: int, *faces: Face, kind: Kind = Kind.IDENTIFY) -> Decision:
    return Decision(
        *(f"job:{number}", "job", number, kind, "door", Lane.BULK, f"ab/{number}", Outcome.UNKNOWN, 1, 2),
        face=faces[0] if faces else None,
        others=faces[1:],
    )


def test_a_lower_cutoff_names_and_a_higher_one_does_not_name_any_more() -> None:
    decisions = [
        decision(0, face(0.39)),
        decision(1, face(0.4)),
        decision(2, face(0.45, "Bob")),
        decision(3, face(0.6)),
    ]
    lower = would_change(decisions, Rule(0.5), Rule(0.4))
    assert (lower.looked_at, lower.unnamed) == (4, ())
    assert [(each.decision.index, each.nearest, each.before, each.after) for each in lower.named] == [
        (1, "Ann", Outcome.UNKNOWN, Outcome.MATCH),
        (2, "Bob", Outcome.UNKNOWN, Outcome.MATCH),
    ]
    higher = would_change(decisions, Rule(0.4), Rule(0.5))
    assert [each.decision.index for each in higher.unnamed] == [1, 2]
    assert higher.named == ()
    assert would_change(decisions, Rule(0.5), Rule(0.5)).named == ()


def test_a_margin_takes_from_those_whose_lead_is_small() -> None:
    decisions = [decision(0, face(0.6, runner_up=0.58)), decision(1, face(0.6, runner_up=0.3)), decision(2, face(0.6))]
    found = would_change(decisions, Rule(0.5), Rule(0.5, margin=0.1))
    assert [each.decision.index for each in found.unnamed] == [0]


def test_a_claim_knows_no_margin() -> None:
    claim = decision(0, face(0.6, runner_up=None), kind=Kind.VERIFY)
    assert would_change([claim], Rule(0.5), Rule(0.5, margin=0.5)).unnamed == ()
    assert len(would_change([claim], Rule(0.5), Rule(0.7)).unnamed) == 1


def test_the_rule_of_today_is_compared_and_not_what_was_decided_once() -> None:
    once = decision(0, face(0.6, outcome=Outcome.MATCH, subject="Ann"))
    assert would_change([once], Rule(0.7), Rule(0.65)).looked_at == 1
    assert would_change([once], Rule(0.7), Rule(0.65)).unnamed == ()


def test_every_face_of_an_image_counts_and_those_not_judged_do_not() -> None:
    decisions = [
        decision(0, face(0.6), face(0.45, "Bob"), face(None, outcome=Outcome.LOW_QUALITY)),
        decision(1),
        decision(2, face(0.45, outcome=Outcome.ENROLLED), kind=Kind.ENROL),
        decision(3, face(None)),
        decision(4, face(0.45, quality=None)),
    ]
    found = would_change(decisions, Rule(0.5), Rule(0.4))
    assert found.looked_at == 3
    assert [(each.decision.index, each.face, each.nearest) for each in found.named] == [(0, 1, "Bob"), (4, 0, "Ann")]


@pytest.mark.parametrize("min_quality", [0.0, 0.9])
def test_a_face_too_poor_for_the_rule_is_named_by_neither(min_quality: float) -> None:
    rules = (Rule(0.5, min_quality=min_quality), Rule(0.4, min_quality=min_quality))
    assert len(would_change([decision(0, face(0.45))], *rules).named) == (min_quality == 0)


def test_whoever_changes_most_comes_first() -> None:
    decisions = [decision(at, face(0.45, name)) for at, name in enumerate(["Zoe", "Bob", "Ann", "Bob"])]
    found = would_change(decisions, Rule(0.4), Rule(0.5))
    assert list(found.by_subject().items()) == [("Bob", (0, 2)), ("Ann", (0, 1)), ("Zoe", (0, 1))]
