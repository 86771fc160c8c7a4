"""What CompreFace's clients are told of a decision, and of a refusal."""

import json
from dataclasses import replace
from math import sqrt, tanh
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from kith import errors
from kith.jobs import Decision, Face, Kind, Lane, Outcome
from producers.api.compreface.answers import Asked, detected, recognised, verified
from producers.api.compreface.collection import image_id
from producers.api.compreface.refusals import response
from producers.api.compreface.similarity import similarity
from producers.api.problems import Problem, of_error
from tests import compreface_published as published
from tests.compreface_published import differences

SIZE = (640, 480)
CUTOFF = 0.4


def a_face(score: float | None, outcome: Outcome, width: float = 50.0, **more: Any) -> Face:
    named = "Ada" if outcome is Outcome.MATCH else None
    nearest = None if score is None else "Ada"
    return Face(
        outcome, subject=named, score=score, nearest=nearest, box=(10.4, 20.6, width, width),
        landmarks=((1.4, 2.6),) * 5, detector_score=0.9, **more,
    )  # fmt: skip


def a_decision(*faces: Face, kind: Kind = Kind.IDENTIFY) -> Decision:
    first, *others = faces
    return Decision(
        "j:0", "j", 0, kind, "main", Lane.INTERACTIVE, "key", first.outcome, 1, 2,
        face=first, others=tuple(others), cutoff=CUTOFF, model_id="abc", timings_ms={"detect": 7.0, "embed": 3.0},
    )  # fmt: skip


def test_similarity_is_the_curve_of_compreface_moved_to_the_cutoff() -> None:
    for cutoff in (0.1, 0.36, 0.7):
        for score in (-1.0, -0.2, 0.0, 0.2, 0.36, 0.5, 0.9, 1.0):
            at, distance = sqrt(2 - 2 * cutoff), sqrt(2 - 2 * score)
            curve = (tanh((at - distance) * 5.291995557) + 1) / 2
            assert similarity(score, cutoff, match=score >= cutoff) == pytest.approx(curve, abs=1.1e-5)


def test_a_match_is_half_or_more_and_nothing_else_is() -> None:
    assert similarity(CUTOFF, CUTOFF, match=True) == 0.5
    assert similarity(CUTOFF - 1e-9, CUTOFF, match=False) < 0.5
    # Above the cutoff, and yet no match: another one is as near.
    assert similarity(0.9, CUTOFF, match=False) < 0.5
    # A dot product of two unit vectors may come out above 1.
    assert similarity(1.0000001, CUTOFF, match=True) <= 1.0


def test_scores_above_the_cutoff_without_the_lead_are_below_a_half() -> None:
    unsure = a_face(0.8, Outcome.UNKNOWN, runner_up="Grace", runner_up_score=0.79)

    told = recognised(a_decision(unsure), Asked(prediction_count=5), SIZE)

    assert differences(told, published.RECOGNIZED) == []
    assert [each["subject"] for each in told["result"][0]["subjects"]] == ["Ada", "Grace"]
    assert all(each["similarity"] < 0.5 for each in told["result"][0]["subjects"])


def test_the_biggest_faces_come_first_and_those_too_poor_to_compare_are_left_out() -> None:
    faces = [a_face(0.1, Outcome.UNKNOWN, 40), a_face(0.9, Outcome.MATCH, 60), a_face(None, Outcome.LOW_QUALITY, 80)]

    told = recognised(a_decision(*faces), Asked(), SIZE)

    assert [each["box"]["x_max"] - each["box"]["x_min"] for each in told["result"]] == [60, 40]
    assert recognised(a_decision(*faces), Asked(limit=1), SIZE)["result"] == told["result"][:1]
    assert len(detected(a_decision(*faces), Asked(), SIZE)["result"]) == 3


def test_boxes_are_whole_pixels_and_an_aligned_crop_is_all_face() -> None:
    [face] = recognised(a_decision(a_face(0.9, Outcome.MATCH)), Asked(), SIZE)["result"]
    assert face["box"] == {"probability": 0.9, "x_min": 10, "y_min": 21, "x_max": 60, "y_max": 71}
    crop = replace(a_face(0.9, Outcome.MATCH), box=None, landmarks=None, detector_score=None)
    [face] = recognised(a_decision(crop), Asked(face_plugins="landmarks"), (112, 112))["result"]
    assert face["box"] == {"probability": 1.0, "x_min": 0, "y_min": 0, "x_max": 112, "y_max": 112}
    assert "landmarks" not in face


def test_plugins_and_times_are_there_for_those_who_ask() -> None:
    decision = a_decision(a_face(0.9, Outcome.MATCH))
    asked = Asked(face_plugins="age, landmarks", status=True)
    for told, shape in (
        (recognised(decision, asked, SIZE), published.RECOGNIZED),
        (verified(decision, asked, SIZE), published.VERIFIED),
        (detected(decision, asked, SIZE), published.DETECTED),
    ):
        assert differences(told, shape) == []
        assert told["result"][0]["landmarks"] == [[1, 3]] * 5
        assert told["result"][0]["execution_time"] == {"detector": 7.0, "calculator": 3.0}
    assert recognised(decision, Asked(), SIZE).keys() == {"result"}


def test_the_comparison_with_what_is_published_finds_what_differs() -> None:
    good = recognised(a_decision(a_face(0.9, Outcome.MATCH)), Asked(), SIZE)
    assert differences({**good, "more": 1}, published.RECOGNIZED) == ["answer.more is not published"]
    good["result"][0]["box"]["x_max"] = 1.5
    del good["result"][0]["subjects"]
    assert len(differences(good, published.RECOGNIZED)) == 2


def test_a_template_has_one_uuid() -> None:
    assert image_id("a" * 24) == image_id("a" * 24)
    assert image_id("a" * 24) != image_id("b" * 24)
    assert image_id("from elsewhere").version == 5


def refused(problem: Problem, *, with_key: bool = True) -> tuple[int, dict[str, Any], Headers]:
    headers = [(b"x-api-key", b"k")] if with_key else []
    made = response(problem, Request({"type": "http", "headers": headers}))
    return made.status_code, json.loads(bytes(made.body)), made.headers


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.NoFace(), 400, 28),
        (errors.LowQuality(), 400, 28),
        (errors.SeveralFaces(), 400, 31),
        (errors.NotAnImage(), 400, 21),
        (errors.UnknownSubject(), 404, 42),
        (errors.UnknownTemplate(), 404, 44),
        (errors.UnknownGallery(), 404, 10),
        (errors.InvalidName(), 400, 26),
        (errors.StateUnavailable(), 503, 41),
        (errors.ImageTooLarge(), 413, 0),
    ],
)
def test_errors_have_the_numbers_of_compreface(error: errors.KithError, status: int, code: int) -> None:
    told = refused(of_error(error))

    assert told[0] == status
    assert told[1]["code"] == code
    assert differences(told[1], published.ERROR) == []


def test_a_refusal_says_when_to_come_back_and_what_to_do() -> None:
    status, body, headers = refused(of_error(errors.Overloaded()))
    assert (status, body["code"], headers["retry-after"]) == (429, 0, "2")
    assert "Retry-After" in body["message"]
    missing = Problem(401, "unauthorised", "no API key was sent")
    assert refused(missing, with_key=False)[1]["code"] == 20
    assert refused(missing)[1]["code"] == 10
