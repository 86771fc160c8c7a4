"""Idempotency keys over HTTP: the same key and body are one job; another body under the key is refused, at any time."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from kith.jobs import EmbedJob, decide
from kith.jobs import Outcome as Decided
from kith.ledger import DeadLetter
from kith.wire import from_json, to_json
from tests.http_door import House, crop, front


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with front(tmp_path_factory.mktemp("api"), jobs={"remember_done_s": 60}) as house:
        yield house


@pytest.fixture(scope="module")
def caller(door: House) -> Iterator[httpx.Client]:
    with door.caller() as caller:
        yield caller


_next = iter(range(1000))


@pytest.fixture
def key() -> str:
    """One of each test's own."""
    return f"order-{next(_next)}"


def body(person: int = 1, **more: Any) -> dict[str, Any]:
    image = {"data": base64.b64encode(crop(person)).decode(), "label": "front"}
    return {"gallery": "staff", "images": [image]} | more


def post(caller: httpx.Client, key: str, sent: Any, path: str = "/v1/jobs") -> httpx.Response:
    return caller.post(path, json=sent, headers={"idempotency-key": key})


def is_refused(answer: httpx.Response, key: str) -> bool:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "idempotency_key_reused"), answer.text
    assert problem["field"] == "Idempotency-Key"
    assert "new key" in problem["remedy"]
    return key in problem["detail"]


@pytest.mark.parametrize(
    "other",
    [
        body(2),
        body(kind="verify", subject="Ada"),
        body(lane="bulk"),
        body(content="aligned"),
        body(min_sequence=7),
        body(expires_ms=2**50),
        {**body(), "images": body()["images"] * 2},
        {**body(), "images": [{"data": body()["images"][0]["data"], "label": "back"}]},
    ],
    ids=["picture", "kind", "lane", "content", "min_sequence", "expires_ms", "images", "label"],
)
def test_another_body_under_the_same_key_is_refused(caller: httpx.Client, key: str, other: Any) -> None:
    first = post(caller, key, body()).json()

    assert is_refused(post(caller, key, other), key)
    again = post(caller, key, body()).json()
    assert (again["job_id"], again["accepted"]) == (first["job_id"], "open")


def test_another_name_is_another_body(caller: httpx.Client, key: str) -> None:
    post(caller, key, body(kind="verify", subject="Ada")).raise_for_status()

    assert is_refused(post(caller, key, body(kind="verify", subject="Grace")), key)


def test_the_same_picture_is_the_same_in_every_form(door: House, caller: httpx.Client, key: str) -> None:
    headers = {"idempotency-key": key}
    stored = {"gallery": "staff", "images": [{"key": door.client.put(crop(1)).key, "label": "front"}]}
    answers = [
        post(caller, key, body()),
        post(caller, key, stored),
        caller.post("/v1/jobs", data={"gallery": "staff"}, files={"images": ("front", crop(1))}, headers=headers),
        caller.post(
            "/v1/jobs",
            params={"gallery": "staff", "label": "front"},
            content=crop(1),
            headers=headers | {"content-type": "image/png"},
        ),
    ]

    assert {each.json().get("job_id", each.text) for each in answers} == {answers[0].json()["job_id"]}


def test_callers_who_count_from_one_do_not_meet(door: House, caller: httpx.Client, key: str) -> None:
    post(caller, key, body()).raise_for_status()
    with door.caller() as other:
        assert post(other, key, body(2)).json()["accepted"] == "new"


def test_of_many_at_once_one_body_wins_and_the_others_are_told(caller: httpx.Client, key: str) -> None:
    sent = [body(1 + number % 3) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: post(caller, key, each), sent))

    taken = [number for number, answer in enumerate(answers) if answer.status_code == 202]
    assert len({answers[number].json()["job_id"] for number in taken}) == 1
    assert [answers[number].json()["accepted"] for number in taken].count("new") == 1
    assert len({number % 3 for number in taken}) == 1
    assert len(taken) == 8
    assert all(is_refused(answer, key) for number, answer in enumerate(answers) if number not in taken)


def test_one_that_is_refused_spoils_no_other_that_is_written_with_it(caller: httpx.Client, key: str) -> None:
    post(caller, key, body()).raise_for_status()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: post(caller, key if n % 4 == 0 else f"{key}-{n}", body(2)), range(24)))

    assert [each.status_code for each in answers] == [422 if n % 4 == 0 else 202 for n in range(24)]


def test_of_many_jobs_the_one_that_differs_is_named(caller: httpx.Client, key: str) -> None:
    sent = {"jobs": [body(1), body(2), body(3)]}
    first = post(caller, key, sent, "/v1/bulk").json()["jobs"]
    again = post(caller, key, sent, "/v1/bulk").json()["jobs"]
    assert [each["job_id"] for each in again] == [each["job_id"] for each in first]

    answer = post(caller, key, {"jobs": [body(1), body(4), body(3)]}, "/v1/bulk")

    assert is_refused(answer, key)
    assert answer.json()["detail"].startswith("jobs.1:")


@pytest.mark.parametrize("end", ["done", "finished", "cancelled", "dead", "revived"])
def test_it_is_told_apart_after_the_end_of_the_job_as_well(
    door: House, caller: httpx.Client, key: str, end: str
) -> None:
    job_id, ledger = post(caller, key, body()).json()["job_id"], door.client.ledger
    payload = ledger.payload(job_id)
    assert payload is not None
    job = from_json(EmbedJob, payload)
    if end == "done":
        ledger.save(job_id, [decide(job, 0, Decided.NO_FACE)])
        ledger.publish(job_id)
    elif end == "finished":
        ledger.finish(job_id)
    elif end == "cancelled":
        assert ledger.cancel(job_id)
    else:
        ledger.bury(DeadLetter(job_id, "job_dead", "why", to_json(job), job.lane, 0))
        if end == "revived":
            assert ledger.revive(job_id)

    assert is_refused(post(caller, key, body(2)), key)
    known = {"dead": "dead", "revived": "open"}.get(end, "done")
    assert post(caller, key, body()).json()["accepted"] == known


def test_a_dead_letter_that_was_dropped_leaves_its_key_free(door: House, caller: httpx.Client, key: str) -> None:
    sent, ledger = post(caller, key, body()).json(), door.client.ledger
    payload = ledger.payload(sent["job_id"])
    assert payload is not None
    ledger.bury(DeadLetter(sent["job_id"], "job_dead", "why", payload, from_json(EmbedJob, payload).lane, 0))
    assert ledger.drop(sent["job_id"])

    assert post(caller, key, body(2)).json()["accepted"] == "new"


def test_what_is_kept_of_a_job_that_ended_has_nothing_of_what_was_asked(
    door: House, caller: httpx.Client, key: str
) -> None:
    from kith.backends.connect import redis_client  # noqa: PLC0415 (beside the door)

    sent = post(caller, key, body(kind="verify", subject="Ada Lovelace")).json()
    door.client.ledger.cancel(sent["job_id"])
    with redis_client(door.client.settings) as state:
        prefix = door.client.settings.redis.prefix
        kept = state.get(f"{prefix}:asked:{sent['job_id']}")
        lives_s = state.ttl(f"{prefix}:asked:{sent['job_id']}")

    assert isinstance(kept, bytes)
    assert len(kept) == 32
    assert 0 < int(lives_s) <= 60  # type: ignore[arg-type]
