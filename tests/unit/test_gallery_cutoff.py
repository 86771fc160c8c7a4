"""The cutoff a gallery derives for itself, against loops over searches and against strangers nobody has seen before."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.calibration_samples import SearchSample, Truth
from kith.evaluation.bootstrap import Estimate, Refused
from kith.gallery_cutoff import Derived, derive, grows_to, in_force, is_stale, of_site, rate_now, rounded_up
from kith.gallery_settings import GallerySettings, Scoring
from kith.left_out import couples, left_out
from kith.searches import Searches, _Tail, cutoff_of
from kith.view import FREE

Vectors = NDArray[np.float32]
DIMENSION = 32


@dataclass
class View:
    """What is read of a GalleryView, in blocks of five rows of which some are free."""

    model_id: str
    dimension: int
    settings: GallerySettings
    subjects: int
    templates: int
    blocks: tuple[Vectors, ...]
    owners: tuple[NDArray[np.int32], ...]
    qualities: tuple[NDArray[np.float32], ...]

    def subject_at(self, number: int) -> tuple[str, str]:
        return f"id{number}", f"name {number}"


def faces(centres: Vectors, pictures: int, random: np.random.Generator) -> Vectors:
    vectors = centres.repeat(pictures, axis=0)
    vectors = vectors + 0.5 * random.standard_normal(vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def people(count: int, random: np.random.Generator) -> Vectors:
    return random.standard_normal((count, DIMENSION)).astype(np.float32)


def view_of(
    vectors: Vectors, numbers: NDArray[np.int32], scoring: Scoring = Scoring.BEST, rows: int = 5, free: bool = True
) -> View:
    blocks, owners, qualities = [], [], []
    for start in range(0, len(vectors), rows):
        block, mine = vectors[start : start + rows], numbers[start : start + rows]
        if free:
            block, mine = np.vstack([block, np.zeros((1, block.shape[1]), np.float32)]), np.append(mine, FREE)
        blocks.append(block)
        owners.append(mine.astype(np.int32))
        qualities.append(np.linspace(0.2, 0.9, len(mine)).astype(np.float32))
    return View(
        "m",
        vectors.shape[1],
        GallerySettings(scoring=scoring),
        len(set(numbers.tolist())),
        len(vectors),
        tuple(blocks),
        tuple(owners),
        tuple(qualities),
    )


def gallery(subjects: int, pictures: int = 2, seed: int = 0, scoring: Scoring = Scoring.BEST) -> View:
    random = np.random.default_rng(seed)
    vectors = faces(people(subjects, random), pictures, random)
    return view_of(vectors, np.arange(1, subjects + 1).repeat(pictures), scoring, rows=1000)


def sample(score: float, group: str = "", **parts: object) -> SearchSample:
    made = SearchSample(
        decision_id="job:0",
        gallery="door",
        truth=Truth.NONMATED,
        score=score,
        group=group or str(score),
        subjects=100,
        templates=200,
        model_id="m",
        subject_id="",
        image="ab/1",
        sampled=True,
        at_ms=1,
        cutoff=0.4,
    )
    return replace(made, **parts)


def strangers(count: int, group: str = "s", seed: int = 1, **parts: object) -> list[SearchSample]:
    scores = np.random.default_rng(seed).normal(0.2, 0.07, count).clip(-1, 1)
    return [sample(float(score), f"{group}{at}", **parts) for at, score in enumerate(scores)]


def derived(view: View, samples: list[SearchSample], fpir: float, seed: int = 0, **parts: object) -> Derived:
    return derive(view, samples, fpir, np.random.default_rng(seed), **{"default": 0.3, "at_ms": 7, **parts})


class TestLeavingOut:
    @pytest.mark.parametrize("scoring", list(Scoring))
    def test_each_template_is_scored_as_the_gallery_scores_with_its_subject_left_out(self, scoring: Scoring) -> None:
        random = np.random.default_rng(3)
        numbers = np.array([4, 1, 4, 2, 7, 1, 2, 9, 9, 9, 4, 3], np.int32)
        vectors = faces(people(12, random), 1, random)
        view = view_of(vectors, numbers, scoring)
        found = left_out(view, 100, random)
        weights = np.concatenate([each[:-1] for each in view.qualities])
        expected = []
        for probe, own in zip(vectors, numbers, strict=True):
            best = -2.0
            for other in sorted(set(numbers.tolist()) - {own}):
                mine = numbers == other
                if scoring is Scoring.BEST:
                    score = max(float(probe @ each) for each in vectors[mine])
                else:
                    parts = vectors[mine] * (weights[mine, None] if scoring is Scoring.QUALITY else 1)
                    mean = parts.sum(axis=0)
                    score = float(probe @ (mean / np.linalg.norm(mean)))
                best = max(best, score)
            expected.append(best)
        np.testing.assert_allclose(found.scores, expected, atol=1e-6)
        np.testing.assert_array_equal(found.owners, numbers)
        assert (found.nearest != numbers).all()
        assert set(found.nearest.tolist()) <= set(numbers.tolist())

    def test_where_all_would_take_too_long_some_are_drawn(self) -> None:
        view = gallery(50)
        every = left_out(view, 1000, np.random.default_rng(0))
        assert len(every.scores) == every.templates == 100
        few = left_out(view, 1000, np.random.default_rng(0), comparisons=100 * 20)
        assert (len(few.scores), few.templates) == (20, 100)
        assert set(few.scores.round(6)) <= set(every.scores.round(6))
        assert len(left_out(view, 30, np.random.default_rng(0)).scores) == 30

    def test_two_who_are_each_others_nearest_are_one_event(self) -> None:
        owners, nearest = np.array([1, 1, 2, 3, 4, 5]), np.array([3, 2, 1, 1, 5, 4])
        found = couples(np.array([0.2, 0.6, 0.6, 0.5, 0.3, 0.3]), owners, nearest)
        # Three looks like one, who looks more like two.
        assert found.tolist() == [1, 1, 1, 3, 4, 4]

    def test_nobody_and_one_alone_say_nothing_of_strangers(self) -> None:
        assert len(left_out(gallery(1), 10, np.random.default_rng(0)).scores) == 0
        empty = View("m", 4, GallerySettings(), 0, 0, (), (), ())
        assert len(left_out(empty, 10, np.random.default_rng(0)).scores) == 0


def naive(searches: Searches, fpir: float) -> float:
    """The cutoff, one search at a time; the next one counts as one that exceeds it."""
    rows = list(
        zip(
            searches.scores.tolist(),
            searches.weights.tolist(),
            searches.shares.tolist(),
            searches.chosen.tolist(),
            strict=True,
        )
    )
    allowed = fpir * (1 + sum(weight * share for _, weight, share, chosen in rows if not chosen)) - 1
    limit = searches.chosen_above
    known = sum(weight for score, weight, _, chosen in rows if score >= limit and not chosen)
    pool = sum(weight for score, weight, _, _ in rows if score >= limit)

    def first(weigh: Callable[[float, float, bool], float]) -> float:
        passed = 0.0
        for score, weight, _, chosen in sorted(rows, reverse=True):
            passed += weigh(score, weight, chosen)
            if passed > allowed + 1e-6:
                return score
        raise AssertionError

    without = first(lambda _, weight, chosen: 0.0 if chosen else weight)
    if not searches.chosen.any():
        return without
    tail = max(known, 1) / pool if pool else 0.0
    return max(
        without,
        first(lambda score, weight, chosen: weight * tail if score >= limit else 0.0 if chosen else weight),
    )


class TestCutoff:
    def test_where_all_is_plain_it_is_the_quantile(self) -> None:
        scores = np.random.default_rng(0).permutation(200) / 200
        ones = np.ones(200)
        plain = Searches(scores, np.arange(200), ones, ones, np.zeros(200, bool))
        found = cutoff_of(plain, 0.05, np.random.default_rng(0))
        assert isinstance(found, Estimate)
        # Ten of 201 may exceed it, one of them the next: 199, 198, …, 191 of 200; the tenth is 190.
        assert found.value == 190 / 200
        assert found.low < found.value < found.high

    def test_the_next_stranger_exceeds_it_as_often_as_the_rate_says_on_average(self) -> None:
        # Of a row of 61 in any order the last is among the highest three with a chance of 3 in 61, which is below 5 %;
        # of four it would be 6.6 %.
        random, named, rounds = np.random.default_rng(4), 0, 4000
        for _ in range(rounds):
            scores, ones = random.standard_normal(61), np.ones(60)
            found = _Tail.of(Searches(scores[:60], np.arange(60), ones, ones, np.zeros(60, bool)), np.arange(60), 0.05)
            named += scores[60] > found.cutoffs(np.ones((1, 60), np.float32), 1 - 0.05)[0]
        assert named / rounds == pytest.approx(3 / 61, abs=3 * (0.05 / rounds) ** 0.5)

    def test_sizes_groups_and_objections_are_weighed_as_a_loop_weighs_them(self) -> None:
        random = np.random.default_rng(5)
        groups = random.integers(0, 300, 900)
        weights = 1 / np.bincount(groups, minlength=300)[groups]
        scores = random.normal(0.2, 0.1, 900)
        chosen = (scores > 0.35) & (random.random(900) < 0.5)
        shares = random.choice([0.4, 0.7, 1.0], 900)
        for limit in (0.35, 0.42, 0.9):
            searches = Searches(scores, groups, weights, shares, chosen, limit)
            found = cutoff_of(searches, 0.03, random)
            assert isinstance(found, Estimate)
            assert found.value == naive(searches, 0.03), limit

    def test_searches_among_fewer_are_carried_to_a_larger_gallery(self) -> None:
        random = np.random.default_rng(2)
        comparisons = random.normal(0.0, 0.12, (40_000, 100))
        half, full = comparisons[:8000, :50].max(axis=1), comparisons.max(axis=1)
        ones = np.ones(len(half))
        groups = np.arange(len(half))
        among_half = Searches(half, groups, ones, 0.5 * ones, np.zeros(len(half), bool))
        found = cutoff_of(among_half, 0.02, random)
        assert isinstance(found, Estimate)
        assert found.value == pytest.approx(np.quantile(full, 0.98), abs=0.01)
        assert np.quantile(half, 0.98) < found.value - 0.015

    def test_too_few_searches_are_refused_with_how_many_it_takes(self) -> None:
        ones = np.ones(59)
        few = Searches(np.linspace(0, 0.5, 59), np.arange(59), ones, ones, np.zeros(59, bool))
        refused = cutoff_of(few, 0.05, np.random.default_rng(0))
        assert refused == Refused("59 independent non-mated searches cannot show a rate of 5 %; it takes 60")
        # Among half as many subjects each of them says half as much.
        elsewhere = cutoff_of(replace(few, shares=ones / 2), 0.05, np.random.default_rng(0))
        assert isinstance(elsewhere, Refused)
        assert elsewhere.reason.endswith("it takes 120")
        nothing = cutoff_of(of_site([], 20, 20), 0.001, np.random.default_rng(0))
        assert isinstance(nothing, Refused)
        assert nothing.reason.endswith("it takes 3,000")

    def test_frames_of_one_track_are_not_independent(self) -> None:
        # Twenty tracks of a hundred frames: 2,000 searches, and no more than 20 strangers.
        random = np.random.default_rng(0)
        frames = [
            sample(float(centre + random.normal(0, 0.01)), f"track{track}", subjects=20)
            for track, centre in enumerate(random.normal(0.2, 0.05, 20))
            for _ in range(100)
        ]
        refused = cutoff_of(of_site(frames, 20, 20), 0.05, random)
        assert isinstance(refused, Refused)
        assert refused.reason.startswith("20 independent non-mated searches")
        apart = [replace(each, group=str(at)) for at, each in enumerate(frames)]
        together, alone = (cutoff_of(of_site(each, 20, 20), 0.2, random) for each in (frames, apart))
        assert isinstance(together, Estimate)
        assert isinstance(alone, Estimate)
        # The same scores, and a far wider interval.
        assert together.high - together.low > 3 * (alone.high - alone.low)


class TestWhatASiteKnows:
    def test_each_truth_gives_its_non_mated_score(self) -> None:
        found = of_site(
            [
                sample(0.1),
                sample(0.8, truth=Truth.MATED, runner_up=0.2, subject_id="a", group="a", sampled=False),
                sample(0.9, truth=Truth.MATED, subject_id="b", group="b"),
                sample(0.6, truth=Truth.MISTAKEN, runner_up=0.5, subject_id="c", group="c"),
                sample(0.5, "o", sampled=False, cutoff=0.44),
                sample(0.3, subjects=0),
                sample(0.15, subjects=400, templates=150),
            ],
            subjects=200,
            templates=300,
        )
        assert found.scores.tolist() == [0.1, 0.2, 0.6, 0.5, 0.15]
        assert found.chosen.tolist() == [False, False, False, True, False]
        # Half as many subjects, or half as many templates.
        assert found.shares.tolist() == [0.5, 0.5, 0.5, 0.5, 0.5]
        assert found.chosen_above == 0.44

    def test_objections_alone_do_not_move_the_rate_but_the_tail(self) -> None:
        view = gallery(100)
        reviewed = strangers(3000)
        plain = derived(view, reviewed, 0.01)
        # Those above 0.4 are objected to, again and again: the share of strangers above 0.4 is not larger for that.
        above = [each for each in reviewed if each.score >= 0.4]
        assert len(above) >= 6
        objections = [replace(each, group=f"o{at}", sampled=False) for at, each in enumerate(20 * above)]
        said = derived(view, reviewed + objections, 0.01)
        assert said.cutoff == pytest.approx(plain.cutoff, abs=2e-4)
        assert f"{len(objections):,} objections" in said.record.why
        # A tail that reaches further than the sample knew does move a cutoff that lies in it.
        rate = len(above) / 2 / 3000
        far = [sample(0.7, f"f{at}", sampled=False) for at in range(200)]
        assert derived(view, reviewed, rate).cutoff < 0.6
        assert derived(view, [*reviewed, *far], rate).cutoff >= 0.6

    def test_objections_never_lower_a_cutoff_not_even_many_just_above_it(self) -> None:
        reviewed = strangers(3000)
        just_above = [sample(0.36, f"o{at}", sampled=False, cutoff=0.35) for at in range(500)]
        plain, said = (derived(gallery(100), each, 0.005).cutoff for each in (reviewed, reviewed + just_above))
        assert said == plain > 0.36

    @pytest.mark.parametrize("other", [{"model_id": "old"}, {"subjects": 33}, {"subjects": 301}])
    def test_samples_of_another_model_or_of_a_very_different_size_are_left_out(self, other: dict[str, object]) -> None:
        found = derived(gallery(100), strangers(3000, **other), 0.03)
        assert found.record.why.startswith("from 200 templates, each searched among the other subjects")

    def test_enough_of_the_sites_own_are_preferred_to_templates(self) -> None:
        found = derived(gallery(100), strangers(3000), 0.01)
        # Two thirds of the rate, for the gallery may grow by half: 20 of 2,001, the next one counted.
        expected = sorted((each.score for each in strangers(3000)), reverse=True)[19]
        assert found.cutoff == rounded_up(expected)
        record = found.record
        assert (record.how, record.searches, record.subjects, record.templates, record.at_ms) == (
            *("measured", 3000, 100, 200, 7),
        )
        assert record.why == "from 3,000 judged searches of 3,000 people or tracks"
        assert record.low is not None
        assert record.high is not None
        assert record.low <= expected <= record.high

    def test_searches_made_at_another_size_are_marked_as_extrapolated(self) -> None:
        found = derived(gallery(100), strangers(3000, subjects=50), 0.01)
        assert found.record.how == "rule"
        assert found.record.why.endswith("made among 50 subjects and by rule carried to 100")

    def test_too_few_of_them_are_taken_together_with_the_templates(self) -> None:
        found = derived(gallery(100), strangers(60), 0.018)
        assert (found.record.how, found.record.searches) == ("measured", 260)
        assert "200 templates" in found.record.why
        assert "60 judged searches" in found.record.why


def families(count: int, alike: bool, random: np.random.Generator) -> Callable[[int], Vectors]:
    """Makes people of a population; with `alike`, of `count` families whose members resemble each other."""
    centres = people(count, random)

    def some(number: int) -> Vectors:
        alone = people(number, random)
        return (0.8 * centres[random.integers(0, count, number)] + 0.6 * alone).astype(np.float32) if alike else alone

    return some


@pytest.mark.parametrize("by", ["templates", "site"])
@pytest.mark.parametrize("alike", [False, True])
def test_the_rate_holds_for_strangers_nobody_has_seen_at_every_size_until_it_is_derived_anew(
    by: str, alike: bool
) -> None:
    # Many galleries, as one alone may be lucky: the rate is one of all that strangers would meet.
    subjects, fpir, rounds = 120, 0.05, 40
    sizes = [subjects, round(1.2 * subjects), round(1.49 * subjects)]
    random = np.random.default_rng(8)
    realised, for_today = np.empty((rounds, len(sizes))), np.empty(rounds)
    for row in range(rounds):
        born = families(60, alike, random)
        templates = faces(born(sizes[-1]), 2, random)
        small = view_of(templates[: 2 * subjects], np.arange(1, subjects + 1).repeat(2), rows=1000)

        def best(probes: Vectors, among: int, templates: Vectors = templates) -> NDArray[np.float64]:
            return (probes @ templates[: 2 * among].T).max(axis=1).astype(np.float64)

        samples = []
        if by == "site":
            seen = best(faces(born(300), 1, random), subjects)
            samples = [
                sample(float(score), f"p{at}", subjects=subjects, templates=2 * subjects)
                for at, score in enumerate(seen)
            ]
        found = derived(small, samples, fpir)
        assert found.record.how == "measured"
        assert not is_stale(found.record, sizes[-1], 2 * sizes[-1], "m", Scoring.BEST)
        strangers = faces(born(1000), 1, random)
        for column, size in enumerate(sizes):
            realised[row, column] = (best(strangers, size) >= found.cutoff).mean()
        # What a cutoff for the size of today comes to when the gallery has grown.
        for_today[row] = (
            best(strangers, sizes[-1]) >= np.quantile(best(faces(born(1000), 1, random), subjects), 0.95)
        ).mean()
    means, slack = realised.mean(axis=0), 1.96 * realised.std(axis=0, ddof=1) / rounds**0.5
    assert (means - slack <= fpir).all(), (means, slack)
    assert (means <= 1.15 * fpir).all(), means
    # No more is given away for it than what it costs to be right.
    assert means[-1] >= 0.6 * fpir
    assert for_today.mean() - 1.96 * for_today.std(ddof=1) / rounds**0.5 > fpir


class TestDerived:
    def test_without_samples_it_comes_from_its_templates_and_is_for_a_gallery_that_has_grown_by_half(self) -> None:
        found = derived(gallery(200, seed=4), [], 0.02)
        scores = sorted(left_out(gallery(200, seed=4), 400, np.random.default_rng(0)).scores, reverse=True)
        # 400 searches among 199 subjects, for up to 300.
        allowed = 0.02 * (400 * 199 / 300 + 1) - 1
        assert found.cutoff == rounded_up(scores[int(allowed)])
        assert (found.record.how, found.record.searches) == ("measured", 400)
        assert found.record.low is not None
        assert found.record.high is not None
        assert found.record.low <= scores[int(allowed)] <= found.record.high

    def test_too_little_data_is_refused_and_the_default_stated(self) -> None:
        found = derived(gallery(30), [], 0.001, default=0.9)
        assert found.cutoff == 0.9
        assert (found.record.how, found.record.low, found.record.high) == ("default", None, None)
        # Each of them is worth 29 / 45: made among 29 subjects, for up to 45.
        assert found.record.why == (
            "60 independent non-mated searches cannot show a rate of 0.1 %; it takes 4,656 "
            "(from 60 templates, each searched among the other subjects); until then 0.9000 applies"
        )

    def test_a_default_is_never_below_what_the_data_does_show(self) -> None:
        view = gallery(30)
        found = derived(view, [], 0.001, default=0.1)
        scores = sorted(left_out(view, 60, np.random.default_rng(0)).scores, reverse=True)
        assert found.cutoff == rounded_up(scores[2])
        assert found.record.why.endswith("until then the cutoff for the strictest rate shown, 7.76 %")
        # One person under two names must not shut everybody out.
        assert found.cutoff < 0.9

    def test_a_gallery_of_nobody_has_the_default(self) -> None:
        empty = View("m", 4, GallerySettings(), 0, 0, (), (), ())
        found = derived(empty, [], 0.01)
        assert (found.cutoff, found.record.searches) == (0.3, 0)
        assert "it takes 300" in found.record.why

    def test_what_was_drawn_from_many_is_said(self) -> None:
        found = derived(gallery(300), [], 0.02, comparisons=600 * 400)
        assert found.record.why == "from 400 templates (drawn from 600), each searched among the other subjects"

    def test_the_same_seed_derives_the_same(self) -> None:
        view = gallery(300)
        found = [derived(view, [], 0.02, seed, comparisons=600 * 400) for seed in (1, 1, 2)]
        first, again, other = ((each.cutoff, each.record) for each in found)
        assert first == again
        assert first != other

    def test_a_rate_is_a_rate(self) -> None:
        for rate in (0, 1e-300, 1e-7, 1, float("nan")):
            with pytest.raises(ValueError, match="between 1e-06 and 1"):
                derived(gallery(20), [], rate)


def test_a_record_is_stale_when_the_gallery_has_changed_by_more_than_half() -> None:
    record = derived(gallery(100), strangers(3000), 0.01).record
    same = record.model_id, Scoring.BEST
    assert not is_stale(record, 100, 200, *same)
    assert not is_stale(record, 150, 300, *same)
    assert is_stale(record, 151, 200, *same)
    assert is_stale(record, 100, 301, *same)
    assert is_stale(record, 60, 200, *same)
    assert is_stale(record, 100, 200, "another", Scoring.BEST)
    assert is_stale(record, 100, 200, record.model_id, Scoring.MEAN)
    assert not is_stale(replace(record, scoring=None), 100, 200, *same), "one of before it was noted"
    # As far as it is sought for the rate holds; beyond, it grows at most as the gallery does.
    assert (grows_to(100), rate_now(record, 20, 20), rate_now(record, 150, 300)) == (150, 0.01, 0.01)
    assert rate_now(record, 300, 300) == rate_now(record, 100, 600) == pytest.approx(0.02)
    assert rate_now(record, 10**6, 200) == 1


def test_a_cutoff_is_rounded_to_where_the_stranger_it_comes_from_is_not_named() -> None:
    assert rounded_up(0.44912) == 0.4492
    assert rounded_up(0.5) == 0.5001
    assert rounded_up(0.99999) == rounded_up(1.0) == 1.0


def test_the_cutoff_in_force_is_kept_while_there_is_too_little_data_unless_it_is_of_another_model() -> None:
    record = derived(gallery(100), strangers(3000), 0.01).record
    assert in_force(GallerySettings(), "m", 0.3) == 0.3
    assert in_force(GallerySettings(cutoff=0.6), "m", 0.3) == 0.6
    assert in_force(GallerySettings(cutoff=0.2), "m", 0.3) == 0.3
    assert in_force(GallerySettings(cutoff=0.6, record=record), "m", 0.3) == 0.6
    assert in_force(GallerySettings(cutoff=0.6, record=record), "another", 0.3) == 0.3
