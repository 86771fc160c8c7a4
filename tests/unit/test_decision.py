"""The open-set rule, as properties: better evidence never turns a match away, a stricter rule never adds one."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kith.decision import Rule, decide_identify, decide_verify
from kith.errors import Misconfigured
from kith.jobs import Outcome
from kith.similarity import Hit

scores = st.floats(-1, 1)
unit = st.floats(0, 1)
margins = st.floats(0, 2)
rules = st.builds(Rule, cutoff=scores, margin=margins, min_quality=unit)


def hits(*values: float) -> list[Hit]:
    ordered = sorted(values, reverse=True)
    return [Hit(f"id{rank}", f"name {rank}", score, rank) for rank, score in enumerate(ordered)]


@given(scores, scores, unit, rules)
def test_it_says_what_its_definition_says(one: float, two: float, quality: float, rule: Rule) -> None:
    found = hits(one, two)
    verdict = decide_identify(found, quality, rule)
    if quality < rule.min_quality:
        assert verdict.outcome is Outcome.LOW_QUALITY
    elif found[0].score >= rule.cutoff and found[0].score - found[1].score >= rule.margin:
        assert verdict.outcome is Outcome.MATCH
    else:
        assert verdict.outcome is Outcome.UNKNOWN
    assert (verdict.nearest, verdict.runner_up) == tuple(found)


@given(scores, scores, scores, unit, rules)
def test_a_better_best_score_never_loses_a_match(
    one: float, two: float, more: float, quality: float, rule: Rule
) -> None:
    best, second = max(one, two), min(one, two)
    assume(more >= best)
    if decide_identify(hits(best, second), quality, rule).outcome is Outcome.MATCH:
        assert decide_identify(hits(more, second), quality, rule).outcome is Outcome.MATCH


@given(scores, scores, scores, unit, rules)
def test_a_worse_runner_up_never_loses_a_match(one: float, two: float, less: float, quality: float, rule: Rule) -> None:
    best, second = max(one, two), min(one, two)
    assume(less <= second)
    if decide_identify(hits(best, second), quality, rule).outcome is Outcome.MATCH:
        assert decide_identify(hits(best, less), quality, rule).outcome is Outcome.MATCH


@given(scores, scores, unit, rules, rules)
def test_a_stricter_rule_never_adds_a_match(one: float, two: float, quality: float, a: Rule, b: Rule) -> None:
    strict = Rule(max(a.cutoff, b.cutoff), max(a.margin, b.margin), max(a.min_quality, b.min_quality))
    if decide_identify(hits(one, two), quality, strict).outcome is Outcome.MATCH:
        assert decide_identify(hits(one, two), quality, a).outcome is Outcome.MATCH


@given(scores, unit, rules)
def test_a_gallery_of_one_is_decided_by_the_cutoff_alone(score: float, quality: float, rule: Rule) -> None:
    verdict = decide_identify(hits(score), 1.0, rule)
    assert (verdict.outcome is Outcome.MATCH) == (score >= rule.cutoff)
    assert verdict.runner_up is None


def test_an_empty_gallery_knows_nobody() -> None:
    verdict = decide_identify([], 1.0, Rule(cutoff=-1))
    assert (verdict.outcome, verdict.nearest, verdict.runner_up) == (Outcome.UNKNOWN, None, None)


def test_a_score_right_on_the_cutoff_and_a_lead_right_on_the_margin_match() -> None:
    assert decide_identify(hits(0.5, 0.25), 0.5, Rule(0.5, 0.25, 0.5)).outcome is Outcome.MATCH


def test_not_a_number_never_names_anybody() -> None:
    rule = Rule(cutoff=-1.0)
    assert decide_identify([Hit("a", "a", math.nan, 0)], 1.0, rule).outcome is Outcome.UNKNOWN
    assert decide_identify([Hit("a", "a", 1.0, 0), Hit("b", "b", math.nan, 1)], 1.0, rule).outcome is Outcome.UNKNOWN
    assert decide_identify(hits(1.0), math.nan, rule).outcome is Outcome.LOW_QUALITY
    assert decide_verify(math.nan, rule) is Outcome.UNKNOWN


@given(scores, rules, unit)
def test_verification_looks_at_the_claimed_person_only(score: float, rule: Rule, quality: float) -> None:
    outcome = decide_verify(score, rule, quality)
    if quality < rule.min_quality:
        assert outcome is Outcome.LOW_QUALITY
    else:
        assert (outcome is Outcome.MATCH) == (score >= rule.cutoff)


@pytest.mark.parametrize(
    "knobs",
    [{"cutoff": 1.5}, {"cutoff": math.nan}, {"cutoff": 0, "margin": -0.1}, {"cutoff": 0, "min_quality": math.inf}],
)
def test_a_rule_that_cannot_work_is_refused_by_the_name_of_its_knob(knobs: dict[str, float]) -> None:
    with pytest.raises(Misconfigured, match=list(knobs)[-1]):
        Rule(**knobs)
