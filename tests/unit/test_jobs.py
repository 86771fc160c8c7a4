"""Jobs and decisions survive the wire, and nothing malformed gets through."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.errors import MalformedMessage, UnknownWireVersion
from kith.jobs import (
    MAX_IMAGES_PER_JOB,
    Content,
    Decision,
    EmbedJob,
    Face,
    ImageRef,
    Kind,
    Lane,
    Outcome,
    Quality,
    Seen,
    decide,
    new_job_id,
)
from kith.wire import from_json, to_json

unit = st.floats(0, 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200).filter(lambda s: s.strip())
# Drawn from letters: by a pattern it takes ten times as long.
small = string.ascii_lowercase + string.digits
galleries = st.builds(str.__add__, st.sampled_from(small), st.text(small + "_-", max_size=63))
ids = st.text(string.ascii_letters + string.digits, min_size=1, max_size=64)
times = st.integers(0, 2**53)

qualities = st.builds(Quality, value=unit, size=unit, sharpness=unit, pose=unit, brightness=unit)
pixels = st.integers(1, 10_000)
sightings = st.builds(
    lambda camera, run, number, **parts: Seen(camera, f"{camera}.{run}.{number}", number=number, **parts),
    galleries,
    st.text(small, min_size=1, max_size=16),
    st.integers(1, 10**12 - 1),
    at_ms=times,
    box=st.tuples(finite, finite, finite, finite),
    frame_px=st.tuples(pixels, pixels),
    quality=st.none() | qualities,
)

SEEN = {"camera": "front", "track": "front.r.1", "at_ms": 1, "box": [0, 0, 9, 9], "frame_px": [640, 480]}


@st.composite
def jobs(draw: st.DrawFn) -> EmbedJob:
    kind = draw(st.sampled_from(Kind))
    named = kind in (Kind.ENROL, Kind.VERIFY)
    subjects = names.filter(lambda name: len(name.strip()) <= 100) if named else st.none()
    templates = ids if kind is Kind.REEMBED else st.none()
    images = st.builds(
        ImageRef,
        key=ids,
        subject=subjects,
        label=st.none() | st.text(max_size=50),
        template=templates,
        seen=st.none() | sightings,
    )
    return EmbedJob(
        job_id=draw(ids),
        kind=kind,
        gallery=draw(galleries),
        lane=draw(st.sampled_from(Lane)),
        images=tuple(draw(st.lists(images, min_size=1, max_size=4))),
        created_ms=draw(times),
        content=draw(st.sampled_from(Content)),
        model_id=draw(ids if kind is Kind.REEMBED else st.none() | ids),
        expires_ms=draw(times),
        min_sequence=draw(times),
        idempotency_key=draw(st.none() | st.text(max_size=20)),
        traceparent=draw(st.none() | ids),
    )


faces = st.builds(
    Face,
    outcome=st.sampled_from(Outcome),
    subject=st.none() | names,
    score=st.none() | finite,
    nearest=st.none() | names,
    runner_up=st.none() | names,
    runner_up_id=st.none() | names,
    runner_up_score=st.none() | finite,
    box=st.none() | st.tuples(finite, finite, finite, finite),
    landmarks=st.none() | st.lists(st.tuples(finite, finite), min_size=5, max_size=5).map(tuple),
    quality=st.none() | qualities,
)


@given(jobs())
def test_a_job_read_back_is_the_job_that_was_written(job: EmbedJob) -> None:
    assert from_json(EmbedJob, to_json(job)) == job


@given(jobs(), faces, st.lists(faces, max_size=3), st.dictionaries(ids, finite, max_size=4))
def test_a_decision_read_back_is_the_decision_that_was_written(
    job: EmbedJob, face: Face, others: list[Face], timings: dict[str, float]
) -> None:
    decision = decide(job, 0, face.outcome, face=face, others=tuple(others), timings_ms=timings, cutoff=0.4)
    assert from_json(Decision, to_json(decision)) == decision
    assert decision.seen == job.images[0].seen


@given(jobs(), st.integers(2, 10_000))
def test_a_job_of_a_newer_version_is_told_apart_from_a_broken_one(job: EmbedJob, version: int) -> None:
    newer = json.loads(to_json(job)) | {"wire": version, "kind": "something from the future"}
    with pytest.raises(UnknownWireVersion, match=f"version {version}"):
        from_json(EmbedJob, json.dumps(newer))


@given(jobs(), st.text(min_size=1, max_size=10).filter(lambda name: name not in EmbedJob.__slots__))
def test_an_optional_field_a_newer_peer_adds_is_ignored(job: EmbedJob, name: str) -> None:
    assert from_json(EmbedJob, json.dumps(json.loads(to_json(job)) | {name: 1})) == job


@given(st.text() | st.binary())
def test_no_bytes_make_the_reader_fail_in_any_other_way(text: str | bytes) -> None:
    try:
        from_json(EmbedJob, text)
    except (MalformedMessage, UnknownWireVersion):
        return
    pytest.fail("random bytes were read as a job")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("images", [], "1..64 images"),
        ("images", [{"key": "k"}] * (MAX_IMAGES_PER_JOB + 1), "1..64 images"),
        ("images", [{"key": ""}], "image key of 0 characters"),
        ("images", [{"key": 7}], "images.0.key"),
        ("gallery", "../etc", "gallery name"),
        ("kind", "enrol", "names its subject"),
        ("kind", "erase", "kind"),
        ("lane", "live", "needs expires_ms"),
        ("images", [{"key": "k", "seen": dict(SEEN, camera="Front door")}], "camera name"),
        ("images", [{"key": "k", "seen": dict(SEEN, track="back.r.1")}], "not called front.RUN.NUMBER"),
        ("images", [{"key": "k", "seen": dict(SEEN, track="front.r.1\n")}], "not called front.RUN.NUMBER"),
        ("images", [{"key": "k", "seen": dict(SEEN, number=0)}], "count from 1"),
        ("job_id", "", "job_id of 0 characters"),
        ("created_ms", "yesterday", "created_ms"),
        ("created_ms", None, "created_ms"),
    ],
)
def test_a_malformed_job_is_refused_with_the_field_and_its_limit(field: str, value: object, said: str) -> None:
    job = EmbedJob("id", Kind.IDENTIFY, "g", Lane.BULK, (ImageRef("k"),), 1)
    with pytest.raises(MalformedMessage, match=said):
        from_json(EmbedJob, json.dumps(json.loads(to_json(job)) | {field: value}))


def test_the_same_idempotency_key_names_the_same_job_in_one_gallery_only() -> None:
    assert new_job_id("a", "order 7") == new_job_id("a", "order 7")
    assert new_job_id("a", "order 7") != new_job_id("b", "order 7")
    assert new_job_id("a", None) != new_job_id("a", None)


def test_an_expired_decision_names_nobody() -> None:
    job = EmbedJob("id", Kind.IDENTIFY, "g", Lane.LIVE, (ImageRef("k"),), 1, expires_ms=10)
    match = decide(job, 0, Outcome.MATCH, face=Face(Outcome.MATCH, subject="Ada", nearest="Ada"), template_id="t")
    assert match.subject == "Ada"
    expired = match.expire()
    assert (expired.outcome, expired.subject, expired.face, expired.template_id) == (Outcome.EXPIRED, None, None, None)
    assert "Ada" not in to_json(expired)


def test_a_name_is_the_same_person_in_either_unicode_spelling() -> None:
    assert ImageRef("k", subject="Zoé").subject == ImageRef("k", subject="Zoé ").subject == "Zoé"


def test_a_job_that_embeds_anew_names_its_model_and_the_template_of_each_picture() -> None:
    one = (ImageRef("k", template="t"),)
    assert EmbedJob("id", Kind.REEMBED, "g", Lane.BULK, one, 1, model_id="m").images == one
    for images, model in ((one, None), ((*one, ImageRef("k")), "m")):
        with pytest.raises(ValueError, match="names its model"):
            EmbedJob("id", Kind.REEMBED, "g", Lane.BULK, images, 1, model_id=model)
