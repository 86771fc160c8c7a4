"""From published decisions to judged searches: ledger, results, gallery and samples of a real server."""

from uuid import uuid4

import numpy as np
import pytest
import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.ledger_redis import RedisLedger
from kith.backends.results_redis import RedisResults
from kith.backends.samples_redis import RedisSamples
from kith.calibration_samples import Truth
from kith.errors import UnknownDecision
from kith.feedback import Feedback
from kith.gallery import Enrolment, template_id
from kith.jobs import EmbedJob, Face, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.settings import Settings


@pytest.fixture
def parts(redis_client: redis.Redis, prefix: str) -> tuple[Feedback, RedisSamples, str]:
    """Ann is enrolled; two decisions named her, of one job."""
    settings = Settings(redis={"prefix": prefix})
    ledger, results = RedisLedger(redis_client, settings), RedisResults(redis_client, settings)
    galleries, samples = RedisGalleryStore(redis_client, prefix), RedisSamples(redis_client, prefix)
    galleries.create("door", model_id="m", dimension=4)
    vector = np.array([1, 0, 0, 0], np.float32)
    galleries.enrol("door", [Enrolment("Ann", template_id("door", "Ann", "i"), vector, "i", 1.0, "m")])
    ann = galleries.show("door", "Ann").subject_id
    job = EmbedJob("j1", Kind.IDENTIFY, "door", Lane.BULK, (ImageRef("k0"), ImageRef("k1")), now_ms())
    face = Face(Outcome.MATCH, subject="Ann", subject_id=ann, score=0.75, nearest="Ann", nearest_id=ann)
    ledger.accept_many([job])
    ledger.start(job.job_id, "w1", uuid4().hex)
    decisions = [
        decide(job, index, Outcome.MATCH, face=face, cutoff=0.5, gallery_version=1, model_id="m") for index in (0, 1)
    ]
    ledger.save(job.job_id, decisions)
    ledger.publish(job.job_id)
    return Feedback(galleries, ledger, results, samples), samples, ann


@pytest.mark.parametrize("ledger_remembers", [True, False])
def test_a_published_decision_is_found_by_its_id_and_judged(
    parts: tuple[Feedback, RedisSamples, str], redis_client: redis.Redis, prefix: str, ledger_remembers: bool
) -> None:
    feedback, samples, ann = parts
    if not ledger_remembers:
        redis_client.delete(f"{prefix}:done:j1")
    [second] = feedback.find("j1:1")
    assert [each.decision_id for each in feedback.find("j1")] == ["j1:0", "j1:1"]
    feedback.refute(second)
    feedback.confirm(second)
    [kept] = samples.samples("door")
    assert (kept.decision_id, kept.truth, kept.subject_id, kept.image) == ("j1:1", Truth.MATED, ann, "k1")
    assert (kept.score, kept.runner_up, kept.cutoff, kept.subjects, kept.templates) == (0.75, None, 0.5, 1, 1)
    with pytest.raises(UnknownDecision):
        feedback.find("j1:2")


def test_with_the_subject_goes_what_was_said_of_searches_for_it(
    parts: tuple[Feedback, RedisSamples, str], redis_client: redis.Redis, prefix: str
) -> None:
    feedback, samples, ann = parts
    first, second = feedback.find("j1")
    feedback.confirm(first)
    feedback.refute(second)
    assert samples.forget_subject(ann) == 1
    # The other one was no search for Ann, and says nothing of her; it goes with its picture.
    assert [each.subject_id for each in samples.samples("door")] == [""]
    assert ann.encode() not in b"".join(redis_client.hvals(f"{prefix}:samples:door"))
    assert samples.forget_images(["k1"]) == 1
