"""Cutoffs for a target rate against loops over strangers, galleries and comparisons; and the command around them."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from kith import cli
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.samples_memory import MemorySamples
from kith.calibration import calibrate, calibrate_gallery, fpir_by_rule, rate_by_rule, searched_by_itself
from kith.cli import calibrate as command
from kith.deriving import aiming_at
from kith.evaluation.bootstrap import Estimate, Figure, Refused
from kith.evaluation.nonmated import NonMated
from kith.gallery import Enrolment, template_id
from kith.gallery_cutoff import derive, rounded_up
from kith.gallery_settings import GallerySettings, Scoring
from kith.settings import load
from kith.view import Replica

Vectors = NDArray[np.float32]


def people(identities: int, pictures: int, seed: int = 0, dimension: int = 32) -> tuple[Vectors, NDArray[np.str_]]:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((identities, dimension)).repeat(pictures, axis=0)
    vectors += 0.5 * random.standard_normal(vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.array([f"p{i // pictures}" for i in range(len(vectors))])


def estimate(figure: Figure) -> Estimate:
    assert isinstance(figure, Estimate), figure
    return figure


def test_a_gallery_is_searched_with_its_own_templates_and_their_subject_left_out() -> None:
    vectors, labels = people(60, 2)
    found = calibrate_gallery(vectors, labels, 0.05, np.random.default_rng(0))
    nearest = [
        max(float(v @ w) for w, other in zip(vectors, labels, strict=True) if other != label)
        for v, label in zip(vectors, labels, strict=True)
    ]
    # Six of 121 may exceed it, one of them the next search.
    cutoff = sorted(nearest, reverse=True)[int(0.05 * (len(nearest) + 1) - 1)]
    assert (found.cutoff.subjects, found.cutoff.trials, found.cutoff.how) == (59, 120, "measured")
    assert estimate(found.cutoff.cutoff).value == pytest.approx(cutoff, abs=1e-6)
    assert sum(score > estimate(found.cutoff.cutoff).value + 1e-6 for score in nearest) <= 0.05 * 120
    assert estimate(found.cutoff.cutoff).low <= cutoff <= estimate(found.cutoff.cutoff).high
    assert [each.subjects for each in found.smaller] == [10, 30]
    assert found.templates_per_subject == 2


def test_the_interval_of_a_gallery_covers_the_cutoff_that_strangers_nobody_has_seen_ask_for() -> None:
    subjects, fpir, covered, widths = 30, 0.2, 0, []
    for seed in range(150):
        vectors, labels = people(subjects + 1000, 1, seed=seed, dimension=16)
        random = np.random.default_rng(seed)
        # A second picture of everybody enrolled.
        again = vectors[:subjects] + 0.1 * random.standard_normal((subjects, 16)).astype(np.float32)
        again /= np.linalg.norm(again, axis=1, keepdims=True)
        enrolled, strangers = np.concatenate([vectors[:subjects], again]), vectors[subjects:]
        faces = NonMated(enrolled, np.tile(labels[:subjects], 2), None, random)
        interval = estimate(searched_by_itself(faces, fpir, random).cutoff)
        truth = np.quantile((strangers @ enrolled.T).max(axis=1), 1 - fpir)
        covered += interval.low <= truth <= interval.high
        widths.append(interval.high - interval.low)
    # Of 150 intervals of 95 % all but seven or eight should; two fifths of the range of scores would be no interval.
    assert covered >= 135
    assert np.median(widths) < 0.25


def test_the_rule_counts_comparisons_of_two_people_and_nothing_else() -> None:
    vectors, labels = people(50, 2)
    found = calibrate_gallery(vectors, labels, 0.2, np.random.default_rng(0))
    names = sorted(set(labels))
    comparisons = sorted(
        (
            max(float(v @ w) for w, owner in zip(vectors, labels, strict=True) if owner == name)
            for v, label in zip(vectors, labels, strict=True)
            for name in names
            if name != label
        ),
        reverse=True,
    )
    assert found.rule.trials == len(comparisons) == 100 * 49
    allowed = (1 - (1 - 0.2) ** (1 / 49)) * len(comparisons)
    assert estimate(found.rule.cutoff).value == pytest.approx(comparisons[int(allowed)], abs=1e-6)
    # 490 subjects: 2.2 of 4,900 comparisons, fewer than the three it takes.
    assert isinstance(found.growth[0].cutoff, Refused)
    assert "comparisons of two people cannot show a rate" in found.growth[0].cutoff.reason


def test_galleries_are_drawn_and_everybody_else_is_searched_in_them() -> None:
    vectors, labels = people(80, 3)
    faces = NonMated(vectors, labels, 2, np.random.default_rng(0))
    found = faces.searched(20, np.random.default_rng(1))
    assert len(found.scores) == 60 * 3
    assert len(set(found.people.tolist())) == 60
    # Codes are the sorted names; whoever was not searched for is enrolled.
    names = np.unique(labels)
    enrolled = set(names) - set(names[found.people])
    assert len(enrolled) == 20
    highest = max(
        float(v @ w)
        for v, label in zip(vectors, labels, strict=True)
        if label not in enrolled
        for w, owner in zip(vectors, labels, strict=True)
        if owner in enrolled
    )
    assert found.scores.max() <= highest + 1e-6


def test_who_has_enough_pictures_is_enrolled_first() -> None:
    vectors, labels = people(40, 2)
    keep = np.array([label not in ("p0", "p1", "p2") or i % 2 == 0 for i, label in enumerate(labels)])
    faces = NonMated(vectors[keep], labels[keep], 2, np.random.default_rng(0))
    assert len(faces.enrolled_first(5)) == 37
    assert len(faces.enrolled_first(39)) == 39
    singles = {int(code) for code in np.flatnonzero(faces.pictures == 1)}
    for seed in range(5):
        assert singles <= set(faces.searched(37, np.random.default_rng(seed)).people.tolist())


def test_a_larger_gallery_needs_a_higher_cutoff_and_the_rule_agrees_where_people_are_independent() -> None:
    vectors, labels = people(400, 3, dimension=16)
    found = calibrate(vectors, labels, 0.05, np.random.default_rng(0), subjects=20)
    values = [estimate(each.cutoff).value for each in (*found.smaller, found.cutoff, *found.growth)]
    assert values == sorted(values)
    assert [each.how for each in found.growth] == ["measured", "rule"]
    measured, rule = estimate(found.cutoff.cutoff), estimate(found.rule.cutoff)
    assert rule.value == pytest.approx(measured.value, abs=0.02)
    assert measured.low < rule.value < measured.high


def test_where_a_few_look_alike_the_measurement_knows_and_the_rule_does_not() -> None:
    # Two families of ten among 200: one in ten strangers is near several subjects at once. Of all strangers that is
    # less than the 15 % allowed, of all comparisons more than the rule allows: it takes each for another stranger's.
    vectors, labels = people(200, 3)
    for family in (slice(0, 30), slice(30, 60)):
        vectors[family] = vectors[family.start] + 0.3 * vectors[family]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = calibrate(vectors, labels, 0.15, np.random.default_rng(0), subjects=80)
    assert estimate(found.cutoff.cutoff).value < estimate(found.rule.cutoff).value - 0.1


def test_without_a_size_the_largest_that_leaves_enough_strangers_is_taken() -> None:
    vectors, labels = people(100, 3)
    found = calibrate(vectors, labels, 0.0125, np.random.default_rng(0))
    # 240 of 300 pictures have to be of strangers.
    assert (found.cutoff.subjects, found.cutoff.trials) == (20, 240)
    assert isinstance(found.cutoff.cutoff, Estimate)


def test_too_few_searches_are_refused_with_the_number_it_takes() -> None:
    vectors, labels = people(100, 3)
    found = calibrate(vectors, labels, 0.001, np.random.default_rng(0), subjects=50)
    assert found.cutoff.cutoff == Refused("150 non-mated searches cannot show a rate of 0.1 %; it takes 3,000")
    beyond = calibrate(vectors, labels, 0.05, np.random.default_rng(0), subjects=100)
    assert beyond.cutoff.cutoff == Refused("0 non-mated searches cannot show a rate of 5 %; it takes 60")
    with pytest.raises(ValueError, match="fewer than two"):
        calibrate(vectors[:3], labels[:3], 0.05, np.random.default_rng(0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate(vectors, labels, 1.0, np.random.default_rng(0))


def test_the_same_seed_gives_the_same_cutoff() -> None:
    vectors, labels = people(60, 3)
    first, again, other = (
        calibrate(vectors, labels, 0.05, np.random.default_rng(seed), subjects=15) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.cutoff != other.cutoff


def test_the_rule_and_its_inverse() -> None:
    assert rate_by_rule(0.01, 200) == pytest.approx(1 - 0.99 ** (1 / 200))
    assert fpir_by_rule(0.01, 10) == pytest.approx(1 - 0.99**10)
    assert 1 - (1 - rate_by_rule(1e-6, 10**6)) ** 10**6 == pytest.approx(1e-6, rel=1e-3)


@pytest.fixture
def store() -> MemoryGalleryStore:
    vectors, labels = people(60, 2)
    made = MemoryGalleryStore()
    made.create("staff", model_id="m", dimension=32)
    made.enrol(
        "staff",
        [
            Enrolment(str(name), template_id("staff", str(name), f"i{row}"), vector, f"i{row}", 1.0, "m")
            for row, (vector, name) in enumerate(zip(vectors, labels, strict=True))
        ],
    )
    made.forget("staff", "p7")
    return made


@pytest.fixture
def client(store: MemoryGalleryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(galleries=store, snapshot=store.snapshot, samples=MemorySamples(), settings=load())
    monkeypatch.setattr(command, "client_for", lambda _: nullcontext(made))


def test_the_command_says_cutoff_interval_and_basis_and_changes_nothing(
    client: None, store: MemoryGalleryStore
) -> None:
    done = CliRunner().invoke(cli.app, ["calibrate", "--gallery", "staff", "--fpir", "0.05"])
    assert done.exit_code == 0, done.output
    for words in ("118 templates of 59 subjects", "model m", "FPIR 5 % at 58 subjects: cutoff 0.", "118 searches",
                  "2 templates a subject", "extrapolated", "40 % at 10×"):  # fmt: skip
        assert words in done.output, words
    assert store.info("staff").cutoff is None


def test_applied_the_gallery_has_the_cutoff(client: None, store: MemoryGalleryStore) -> None:
    arguments = ["calibrate", "--gallery", "staff", "--fpir", "0.05", "--apply", "--json"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    # For a gallery that may grow by half the cutoff is higher than for one of today's size.
    assert said["applied"] == store.info("staff").cutoff
    assert said["applied"] >= rounded_up(said["at_size"]["cutoff"]["value"])
    assert said["model_id"] == "m"
    # The rate is the gallery's target from now on, and upkeep knows what the cutoff rests on.
    settings = store.info("staff").settings
    assert settings.fpir == 0.05
    assert settings.record is not None
    assert (settings.record.how, settings.record.searches, settings.record.subjects) == ("measured", 118, 59)
    assert settings == aiming_at(
        store.info("staff"),
        derive(
            Replica(store.snapshot("staff")).view,
            [],
            0.05,
            np.random.default_rng(0),
            default=0,
            at_ms=settings.record.at_ms,
        ),
    )


def test_of_a_gallery_that_scores_by_means_it_is_said_what_the_table_is_not(
    client: None, store: MemoryGalleryStore
) -> None:
    store.configure("staff", GallerySettings(scoring=Scoring.MEAN))
    done = CliRunner().invoke(cli.app, ["calibrate", "--gallery", "staff", "--fpir", "0.05", "--json"])
    assert "scores by mean, this table by the best template; kith cutoff staff --fpir" in done.stderr
    assert json.loads(done.stdout)["fpir"] == 0.05


def test_what_cannot_be_measured_is_not_applied(client: None, store: MemoryGalleryStore) -> None:
    done = CliRunner().invoke(cli.app, ["calibrate", "--gallery", "staff", "--apply"])
    assert done.exit_code == 1
    assert "118 independent non-mated searches cannot show a rate of 0.1 %; it takes 3,000" in done.output
    assert store.info("staff").cutoff is None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--gallery", "staff", "--data", "."],
        ["--data", "."],
        [".", "--gallery", "staff"],
        [".", "--data", ".", "--apply"],
        ["--gallery", "staff", "--fpir", "2"],
    ],
)
def test_what_does_not_go_together_is_a_wrong_command_line(arguments: list[str], client: None) -> None:
    assert CliRunner().invoke(cli.app, ["calibrate", *arguments]).exit_code == 2
