"""Intervals against resamples made by hand, and what is refused."""

import numpy as np
import pytest

from kith.evaluation.bootstrap import (
    Estimate,
    Figure,
    Refused,
    Sample,
    at_rates,
    cutoffs,
    draw,
    percent,
    share,
    too_small,
)
from kith.evaluation.curves import Curve, at_rates_with_curve


def estimate(figure: Figure) -> Estimate:
    assert isinstance(figure, Estimate), figure
    return figure


def trials(seed: int, people: int = 40, each: int = 5) -> tuple[Sample, Sample]:
    """Genuine trials of people 0.., impostor ones of as many others."""
    random = np.random.default_rng(seed)
    codes = np.arange(people).repeat(each)
    genuine = np.round(random.normal(0.6, 0.1, people).repeat(each) + random.normal(0, 0.1, len(codes)), 2)
    impostor = np.round(random.normal(0.3, 0.1, people).repeat(each) + random.normal(0, 0.05, len(codes)), 2)
    return Sample(genuine, codes), Sample(impostor, codes + people)


def test_each_stratum_is_drawn_on_its_own_and_as_often_as_it_has_people() -> None:
    drawn = draw(np.random.default_rng(0), 7, 12, resamples=50)
    assert drawn.shape == (50, 19)
    assert set(drawn[:, :7].sum(axis=1)) == {7.0}
    assert set(drawn[:, 7:].sum(axis=1)) == {12.0}
    assert draw(np.random.default_rng(0), 0, 3, resamples=4).shape == (4, 3)


def test_a_resample_is_the_pictures_of_whoever_was_drawn_as_often_as_they_were() -> None:
    genuine, impostor = trials(1)
    drawn = draw(np.random.default_rng(2), 40, 40, resamples=1000)
    [found] = at_rates([(genuine, impostor)], drawn, [0.1], "searches")

    def by_hand(taken: list[int]) -> tuple[float, float]:
        strangers = sorted(
            (s for s, who in zip(impostor.scores, impostor.people, strict=True) for _ in range(taken[who])),
            reverse=True,
        )
        cutoff = next(s for s in sorted(set(strangers)) if sum(x > s for x in strangers) <= 0.1 * len(strangers) + 1e-9)
        known = [s for s, who in zip(genuine.scores, genuine.people, strict=True) for _ in range(taken[who])]
        return sum(s > cutoff for s in known) / len(known), cutoff

    by_loop = [by_hand([int(count) for count in row]) for row in drawn[::10]]
    few = at_rates([(genuine, impostor)], drawn[::10], [0.1], "searches")[0]
    for column, figure in enumerate((estimate(few.share), estimate(few.cutoff))):
        low, high = np.percentile([result[column] for result in by_loop], [2.5, 97.5])
        assert (figure.low, figure.high) == pytest.approx((low, high))
    value, cutoff = by_hand([1] * 80)
    assert estimate(found.share).value == pytest.approx(value)
    assert estimate(found.cutoff).value == cutoff


def test_a_comparison_of_two_people_counts_as_the_product_of_their_draws() -> None:
    sample = Sample(np.array([0.9, 0.5, 0.1]), np.array([[0, 1], [1, 2], [0, 2]]))
    assert sample.weights(np.array([2, 3, 0], np.float32)).tolist() == [6, 0, 0]


def test_pictures_of_few_people_are_less_certain_than_as_many_of_many() -> None:
    random = np.random.default_rng(3)
    flags = random.random(20) < 0.5
    few = Sample(flags.repeat(50).astype(float), np.arange(20).repeat(50))
    many = Sample((random.random(1000) < 0.5).astype(float), np.arange(1000))
    widths = []
    for sample, people in ((few, 20), (many, 1000)):
        found = estimate(share([sample], draw(np.random.default_rng(0), people)))
        widths.append(found.high - found.low)
    # √50 by theory: 50 pictures of one person say as much as one.
    assert 5 < widths[0] / widths[1] < 10


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        rates = np.clip(random.normal(0.7, 0.2, 60), 0, 1)
        flags = random.random((60, 4)) < rates[:, None]
        found = estimate(share([Sample(flags.ravel().astype(float), np.arange(60).repeat(4))], draw(random, 60)))
        held += found.low <= 0.693 <= found.high  # the mean of the clipped normal
    assert 88 <= held <= 100


def test_no_failure_among_few_people_is_no_certainty() -> None:
    found = estimate(share([Sample(np.ones(60), np.arange(20).repeat(3))], draw(np.random.default_rng(0), 20)))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025 ** (1 / 20))
    none = estimate(share([Sample(np.zeros(60), np.arange(20).repeat(3))], draw(np.random.default_rng(0), 20)))
    assert (none.low, none.high) == (0, pytest.approx(1 - 0.025 ** (1 / 20)))


@pytest.mark.parametrize(("rate", "trials", "shown"), [(0.01, 299, False), (0.01, 300, True), (1e-4, 30_000, True)])
def test_a_rate_takes_three_over_it_trials(rate: float, trials: int, shown: bool) -> None:
    assert (too_small(rate, trials, "searches") is None) == shown


def test_a_refusal_says_what_there_is_and_what_it_takes() -> None:
    assert too_small(0.001, 537, "non-mated searches") == Refused(
        "537 non-mated searches cannot show a rate of 0.1 %; it takes 3,000"
    )


def test_rates_the_sample_cannot_show_are_refused_beside_those_it_can() -> None:
    found = at_rates([trials(4)], draw(np.random.default_rng(0), 40, 40), [0.1, 0.01], "searches")
    assert [isinstance(at.share, Refused) for at in found] == [False, True]
    assert found[1].cutoff == found[1].share


def test_nine_people_are_refused_however_many_pictures_they_have() -> None:
    sample = Sample(np.ones(900), np.arange(9).repeat(100))
    assert isinstance(share([sample], draw(np.random.default_rng(0), 9)), Refused)
    [found] = at_rates([(sample, sample)], draw(np.random.default_rng(0), 9), [0.1], "searches")
    assert found.share == Refused("9 people known are too few to say how much people differ; it takes 10")


def test_a_cutoff_of_the_highest_scores_alone_is_that_of_all() -> None:
    _, impostor = trials(5)
    whole = impostor.sorted()
    weights = draw(np.random.default_rng(1), 40, 40)[0][whole.people]
    part = Sample(whole.scores[:80], whole.people[:80])
    assert cutoffs(part, weights[:80], [0.05, 0.1], float(weights.sum())).tolist() == (
        cutoffs(whole, weights, [0.05, 0.1]).tolist()
    )


def test_the_same_seed_gives_the_same_interval() -> None:
    once, again = (at_rates([trials(6)], draw(np.random.default_rng(9), 40, 40), [0.1], "searches") for _ in range(2))
    assert once == again


def test_a_curve_ends_where_the_sample_does_and_never_falls() -> None:
    drawn = draw(np.random.default_rng(0), 40, 40, resamples=100)
    at, found = at_rates_with_curve([trials(7)], drawn, [0.1], "searches")
    assert at == at_rates([trials(7)], drawn, [0.1], "searches")
    assert isinstance(found, Curve)
    assert found.rates[0] == pytest.approx(3 / 200)
    values = [point.value for point in found.accepted]
    assert values == sorted(values)
    assert all(point.low <= point.value <= point.high for point in found.accepted)


def test_four_trials_make_no_curve() -> None:
    few = Sample(np.arange(4.0), np.arange(4))
    _, found = at_rates_with_curve([(few, few)], draw(np.random.default_rng(0), 4), [], "searches")
    assert isinstance(found, Refused)


def test_rates_are_written_as_people_write_them() -> None:
    assert [percent(rate) for rate in (0.01, 1e-4, 0.0958, 5e-7)] == ["1 %", "0.01 %", "9.58 %", "1 in 2,000,000"]
