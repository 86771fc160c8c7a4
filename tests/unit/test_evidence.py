"""Crops become one score: the cosine of their mean weighted by quality, and no blurred one names anybody alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.jobs import Outcome, Seen
from kith.settings import Watch
from kith.watching.evidence import MAX_KEPT, NOTHING, Evidence, Vector, added, together
from kith.watching.news import Sighted
from tests.simulated_cameras import CUTOFF, unit

RULE = Watch()


def crop(number: int, quality: float, scores: dict[str, float], model: str = "m") -> Sighted:
    """Decided as a worker does it: the two best subjects, a match from the cutoff on."""
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    nearest, runner_up = (*ranked, ("", None), ("", None))[:2]
    score = nearest[1]
    return Sighted(
        f"d{number}",
        Seen("front", "front.r.1", 1000 * number, (0, 0, 50, 50), (640, 480), number),
        Outcome.MATCH if score is not None and score >= CUTOFF else Outcome.UNKNOWN,
        f"k{number}",
        quality=quality,
        nearest=nearest[0] or None,
        nearest_id=f"id-{nearest[0]}" if nearest[0] else None,
        score=score,
        runner_up=runner_up[0] or None,
        runner_up_score=runner_up[1],
        cutoff=CUTOFF,
        model_id=model,
    )


def gathered(crops: list[tuple[Sighted, Vector]]) -> tuple[Evidence, Vector | None]:
    evidence, total = NOTHING, None
    for news, vector in crops:
        evidence, total = added(evidence, total, news, vector, RULE)
    return evidence, total


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_the_pooled_score_is_the_cosine_of_the_weighted_mean_with_the_template(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    ada, bob = (unit(random.standard_normal(16).astype(np.float32)) for _ in range(2))
    crops, mean = [], np.zeros(16)
    for number in range(1, count + 1):
        vector = unit(random.standard_normal(16).astype(np.float32) + ada)
        quality = float(random.random())
        crops.append((crop(number, quality, {"Ada": float(ada @ vector), "Bob": float(bob @ vector)}), vector))
        mean += max(quality, 0.01) * vector.astype(np.float64)
    evidence, _ = gathered(crops)
    mean /= np.linalg.norm(mean)
    assert evidence.score_of("Ada", "id-Ada") == pytest.approx(float(mean @ ada), abs=1e-4)
    assert evidence.score_of("Bob", None) == pytest.approx(float(mean @ bob), abs=1e-4)
    assert evidence.crops == count


def test_crops_that_are_each_nearest_to_another_template_score_no_more_than_a_cosine_can() -> None:
    front, side = (unit(np.eye(4, dtype=np.float32)[axis]) for axis in (0, 1))
    evidence, _ = gathered([(crop(1, 0.5, {"Ada": 0.97}), front), (crop(2, 0.5, {"Ada": 0.95}), side)])
    assert evidence.score_of("Ada", "id-Ada") == 1.0


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8))
def test_evidence_put_together_is_the_evidence_of_all_crops(seed: int, one: int, other: int) -> None:
    random = np.random.default_rng(seed)
    crops = []
    for number in range(1, one + other + 1):
        vector = unit(random.standard_normal(8).astype(np.float32))
        scores = {name: float(random.uniform(-1, 1)) for name in ("Ada", "Bob", "Cy")}
        crops.append((crop(number, float(random.random()), scores), vector))
    whole, total = gathered(crops)
    both, sum_of_both = together(*gathered(crops[:one]), *gathered(crops[one:]))
    assert total is not None
    assert sum_of_both == pytest.approx(total, abs=1e-5)
    assert (both.crops, both.good, both.kept) == (whole.crops, whole.good, whole.kept)
    assert both.weight == pytest.approx(whole.weight)
    for name in ("Ada", "Bob", "Cy"):
        assert both.score_of(name, None) == pytest.approx(whole.score_of(name, None), abs=1e-4)


FACE = unit(np.ones(8, np.float32))


def of_one_face(*crops: tuple[float, dict[str, float]]) -> Evidence:
    return gathered([(crop(number, *each), FACE) for number, each in enumerate(crops, 1)])[0]


@pytest.mark.parametrize("quality", [0.0, 0.1, 0.19])
@pytest.mark.parametrize("score", [CUTOFF, 0.7, 0.99])
def test_one_blurred_crop_names_nobody_however_sure_it_looks(quality: float, score: float) -> None:
    assert of_one_face((quality, {"Ada": score, "Bob": 0.1})).named(RULE) is None


def test_two_blurred_crops_name_nobody_either() -> None:
    assert of_one_face((0.1, {"Ada": 0.8, "Bob": 0.1}), (0.1, {"Ada": 0.8, "Bob": 0.1})).named(RULE) is None


def test_two_crops_that_match_name_somebody_when_one_is_of_quality() -> None:
    verdict = of_one_face((0.1, {"Ada": 0.5, "Bob": 0.1}), (0.5, {"Ada": 0.52, "Bob": 0.1})).named(RULE)
    assert verdict is not None
    assert (verdict.subject, verdict.subject_id, verdict.how) == ("Ada", "id-Ada", "crops")
    assert verdict.score == pytest.approx((0.1 * 0.5 + 0.5 * 0.52) / 0.6, abs=1e-4)


@pytest.mark.parametrize(("score", "names"), [(CUTOFF + 0.14, False), (CUTOFF + 0.16, True)])
def test_one_good_crop_far_above_the_cutoff_is_enough(score: float, names: bool) -> None:
    verdict = of_one_face((0.5, {"Ada": score, "Bob": 0.1})).named(RULE)
    assert (verdict is not None and verdict.how == "clear") is names


def apart(*crops: tuple[float, dict[str, float]], alike: float = 0.4) -> Evidence:
    """Of one person who looks otherwise in each: the cosine of any two."""
    rows = np.linalg.cholesky(np.full((len(crops),) * 2, alike) + (1 - alike) * np.eye(len(crops))).astype(np.float32)
    return gathered([(crop(n, *each), rows[n - 1]) for n, each in enumerate(crops, 1)])[0]


def test_crops_that_are_nearest_to_one_and_clear_of_the_cutoff_together_name_them_though_none_does_alone() -> None:
    near, far = {"Ada": CUTOFF - 0.01, "Bob": 0.1}, {"Ada": CUTOFF - 0.05, "Bob": 0.1}
    verdict = apart((0.5, near), (0.5, near)).named(RULE)
    assert verdict is not None
    assert (verdict.subject, verdict.how) == ("Ada", "crops")
    assert verdict.score == pytest.approx((CUTOFF - 0.01) / (0.7**0.5), abs=1e-4)
    assert verdict.score > CUTOFF + RULE.slack
    assert apart((0.5, far), (0.5, far)).named(RULE) is None, "above the cutoff by less than the slack"
    assert apart((0.5, near)).named(RULE) is None
    assert apart((0.5, near), (0.1, near)).named(RULE) is None, "one of them is blurred"


def test_they_are_all_but_one_in_four_and_no_other_subject_has_a_match_or_a_higher_score() -> None:
    near = {"Ada": CUTOFF - 0.01, "Bob": CUTOFF - 0.02}
    assert apart((0.5, near), (0.5, near), alike=0.2).named(RULE) is not None
    strayed = {"Bob": CUTOFF + 0.02, "Ada": CUTOFF - 0.01}
    assert apart((0.5, near), (0.5, near), (0.3, strayed), alike=0.2).named(RULE) is None
    other = {"Cleo": CUTOFF - 0.1, "Ada": CUTOFF - 0.11}
    assert apart(*[(0.5, near)] * 3, (0.5, other), alike=0.2).named(RULE) is not None
    assert apart(*[(0.5, near)] * 2, (0.5, other), alike=0.2).named(RULE) is None


def test_blurred_crops_are_none_of_those_that_name_somebody_together() -> None:
    near, other = {"Ada": CUTOFF - 0.01, "Bob": 0.1}, {"Bob": 0.3, "Ada": 0.29}
    assert apart((0.5, near), (0.5, near), *[(0.05, other)] * 2, alike=0.2).named(RULE) is not None, (
        "blurred ones stray"
    )
    named = apart((0.5, other), (0.5, near), (0.19, near), alike=0.2)
    assert named.score_of("Ada", None) > CUTOFF + RULE.slack
    assert named.named(RULE) is None, "one of the two is blurred, and the other good one is nearest to Bob"


def test_two_people_with_as_many_votes_are_neither() -> None:
    torn = [(0.5, {"Ada": 0.7, "Bob": 0.6}), (0.5, {"Ada": 0.6, "Bob": 0.7})]
    assert of_one_face(*torn, *torn).named(RULE) is None
    more_votes = of_one_face((0.9, {"Ada": 0.8, "Bob": 0.5}), *[(0.3, {"Bob": 0.5, "Ada": 0.49})] * 2)
    assert more_votes.named(RULE) is None
    third = of_one_face(*torn, *torn, (0.5, {"Bob": 0.6, "Ada": 0.5})).named(RULE)
    assert third is not None
    assert third.subject == "Bob"


def test_who_is_renamed_in_between_is_one_person_by_the_newer_name() -> None:
    first, then = (crop(number, 0.5, {"Ada": 0.55, "Bob": 0.1}) for number in (1, 2))
    then = replace(then, nearest="Ada King")
    verdict = gathered([(first, FACE), (then, FACE)])[0].named(RULE)
    assert verdict is not None
    assert (verdict.subject, verdict.subject_id, verdict.how) == ("Ada King", "id-Ada", "crops")
    both, _ = together(*gathered([(first, FACE)]), *gathered([(then, FACE)]))
    assert both.named(RULE) == verdict


def test_a_name_that_was_given_on_is_two_people() -> None:
    first, then = (crop(number, 0.5, {"Ada": 0.55, "Bob": 0.1}) for number in (1, 2))
    assert gathered([(first, FACE), (replace(then, nearest_id="id-other"), FACE)])[0].named(RULE) is None


def test_matches_are_not_enough_when_all_crops_together_fall_short() -> None:
    poor = [(0.6, {"Bob": 0.3, "Ada": 0.2})] * 4
    assert of_one_face((0.3, {"Ada": 0.5, "Bob": 0.1}), (0.3, {"Ada": 0.5, "Bob": 0.1}), *poor).named(RULE) is None


def test_nobody_known_takes_two_crops_of_quality_and_a_score_well_below_the_cutoff() -> None:
    far, near = {"Ada": 0.2, "Bob": 0.1}, {"Ada": CUTOFF - 0.02, "Bob": 0.1}
    assert not of_one_face((0.5, far)).nobody_known(RULE)
    assert not of_one_face((0.5, far), (0.1, far)).nobody_known(RULE)
    assert of_one_face((0.5, far), (0.5, far)).nobody_known(RULE)
    assert not of_one_face((0.5, near), (0.5, near)).nobody_known(RULE)
    assert of_one_face((0.5, {}), (0.5, {})).nobody_known(RULE)


def test_a_crop_of_another_model_begins_anew() -> None:
    evidence, total = gathered([(crop(1, 0.5, {"Ada": 0.9, "Bob": 0.1}), FACE)])
    evidence, total = added(evidence, total, crop(2, 0.5, {"Bob": 0.5, "Ada": 0.1}, model="other"), FACE, RULE)
    assert (evidence.model_id, evidence.crops) == ("other", 1)
    assert evidence.score_of("Ada", "id-Ada") == pytest.approx(0.1, abs=1e-4)
    assert total == pytest.approx(0.5 * FACE)


def test_the_best_crops_are_kept_to_be_shown_in_order_of_time() -> None:
    shown = of_one_face(*((0.02 * number, {"Ada": 0.5, "Bob": 0.1}) for number in range(1, 31))).kept
    assert len(shown) == MAX_KEPT
    assert [each.decision_id for each in shown] == [f"d{number}" for number in range(19, 31)]
