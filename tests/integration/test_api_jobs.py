"""Jobs over HTTP, on a real stack: submitted in every form, waited for, followed, cancelled."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from kith.api_keys import Scope, revoke
from kith.jobs import Kind
from tests.http_door import House, crop, house


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("api"), api={"key_cache_s": 0.05}) as house_:
        yield house_


@pytest.fixture(scope="module")
def admin(door: House) -> Iterator[httpx.Client]:
    with door.caller() as caller:
        for person, name in ((1, "Ada Lovelace"), (2, "Grace Hopper")):
            files = [("images", (f"{person}-{shot}.png", crop(person, shot))) for shot in range(2)]
            form = {"kind": "enrol", "gallery": "staff", "subject": name, "content": "aligned"}
            answer = caller.post("/v1/jobs", data=form, files=files, headers={"prefer": "wait=30"})
            assert answer.status_code == 200, answer.text
            assert [each["outcome"] for each in answer.json()["decisions"]] == ["enrolled"] * 2
        yield caller


PARAMETERS = {"gallery": "staff", "content": "aligned"}


def asked(caller: httpx.Client, person: int, **more: Any) -> httpx.Response:
    return caller.post(
        "/v1/jobs", params=PARAMETERS | more, content=crop(person, 9), headers={"content-type": "image/png"}
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_bytes_of_a_picture_are_answered_with_who_it_is(admin: httpx.Client) -> None:
    answer = asked(admin, 1, wait=30)

    assert answer.status_code == 200
    [decision] = answer.json()["decisions"]
    assert decision["outcome"] == "match"
    assert decision["face"]["subject"] == "Ada Lovelace"


def test_without_waiting_the_job_is_accepted_and_its_place_named(admin: httpx.Client) -> None:
    answer = asked(admin, 2)

    assert answer.status_code == 202
    job = answer.json()
    assert (job["state"], job["accepted"], job["images"], job["gallery"]) == ("sent", "new", 1, "staff")
    done = admin.get(answer.headers["location"], params={"wait": 30}).json()
    assert done["state"] == "done"
    assert done["decided"] == 1
    assert done["decisions"][0]["face"]["subject"] == "Grace Hopper"


def test_json_carries_pictures_and_the_keys_of_stored_ones(door: House, admin: httpx.Client) -> None:
    stored = door.client.put(crop(2, 5)).key
    images = [{"data": base64.b64encode(crop(1, 5)).decode(), "label": "a"}, {"key": stored, "label": "b"}]
    body = {"gallery": "staff", "content": "aligned", "images": images}

    decisions = admin.post("/v1/jobs", json=body, headers={"prefer": "wait=30"}).json()["decisions"]

    assert [(each["label"], each["face"]["subject"]) for each in decisions] == [
        ("a", "Ada Lovelace"),
        ("b", "Grace Hopper"),
    ]


def test_a_claim_is_verified(admin: httpx.Client) -> None:
    right = asked(admin, 1, kind="verify", subject="Ada Lovelace", wait=30).json()
    wrong = asked(admin, 1, kind="verify", subject="Grace Hopper", wait=30).json()

    assert [each["decisions"][0]["outcome"] for each in (right, wrong)] == ["match", "unknown"]


def test_many_jobs_are_handed_in_at_once(admin: httpx.Client) -> None:
    image = {"data": _base64(crop(1, 7))}
    jobs = [{"gallery": "staff", "content": "aligned", "images": [image] * count} for count in (1, 3)]

    answer = admin.post("/v1/bulk", json={"jobs": jobs})

    assert answer.status_code == 202
    for job, count in zip(answer.json()["jobs"], (1, 3), strict=True):
        done = admin.get(f"/v1/jobs/{job['job_id']}", params={"wait": 30}).json()
        assert [each["face"]["subject"] for each in done["decisions"]] == ["Ada Lovelace"] * count


def test_of_many_jobs_the_one_that_is_refused_is_named_and_none_is_accepted(door: House, admin: httpx.Client) -> None:
    fine, broken = ({"gallery": "staff", "images": [{"data": data}]} for data in (_base64(crop(1, 8)), "AAAA"))
    lost, garbled = fine | {"gallery": "nowhere"}, fine | {"images": [{"data": "!!"}]}
    before = door.client.ledger.open_count() + door.client.results.count()
    for wrong, status, code, field in (
        (broken, 422, "not_an_image", "images.0"),
        (garbled, 422, "invalid_request", "images.0.data"),
        (lost, 404, "unknown_gallery", "gallery"),
    ):
        # One alone is one of many too: so whoever reads the name need not count what was sent.
        for jobs, place in (([fine, wrong], "jobs.1."), ([wrong], "jobs.0.")):
            problem = admin.post("/v1/bulk", json={"jobs": jobs}).json()
            assert (problem["status"], problem["code"], problem["field"]) == (status, code, place + field)
    assert door.client.ledger.open_count() + door.client.results.count() == before


def test_a_job_that_had_ended_is_answered_with_what_was_decided_also_without_waiting(admin: httpx.Client) -> None:
    image = {"data": _base64(crop(1))}
    job = {"gallery": "staff", "content": "aligned", "images": [image, image]}
    key = {"idempotency-key": "order-ended"}
    first = admin.post("/v1/jobs", json=job, headers=key, params={"wait": 30}).json()
    again = admin.post("/v1/jobs", json=job, headers=key)
    assert again.status_code == 200
    assert again.json() == first | {"accepted": "done"}
    assert (again.json()["state"], again.json()["decided"], len(again.json()["decisions"])) == ("done", 2, 2)

    many, keys = {"jobs": [job, job]}, {"idempotency-key": "orders-ended"}
    for each in admin.post("/v1/bulk", json=many, headers=keys).json()["jobs"]:
        admin.get(f"/v1/jobs/{each['job_id']}", params={"wait": 30})
    assert [each["decided"] for each in admin.post("/v1/bulk", json=many, headers=keys).json()["jobs"]] == [2, 2]


def test_the_same_idempotency_key_is_the_same_job_of_one_caller_only(door: House, admin: httpx.Client) -> None:
    with door.caller(Scope.SUBMIT) as other:
        headers = {"content-type": "image/png", "idempotency-key": "order-1"}
        answers = [
            caller.post("/v1/jobs", params=PARAMETERS | {"wait": 30}, content=crop(1), headers=headers).json()
            for caller in (admin, admin, other)
        ]

    assert answers[0]["job_id"] == answers[1]["job_id"] != answers[2]["job_id"]
    assert [each["accepted"] for each in answers] == ["new", "done", "new"]


def test_a_job_is_followed_to_its_end(admin: httpx.Client) -> None:
    job = asked(admin, 1).json()
    with admin.stream("GET", f"/v1/jobs/{job['job_id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [part for part in "".join(stream.iter_text()).split("\n\n") if part.strip()]

    name, data = (line.partition(": ")[2] for line in events[-1].splitlines())
    assert name == "end"
    assert json.loads(data)["decisions"][0]["face"]["subject"] == "Ada Lovelace"


def test_the_trace_of_the_request_is_that_of_the_decision(admin: httpx.Client) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = admin.post(
        "/v1/jobs",
        params=PARAMETERS | {"wait": 30},
        content=crop(1),
        headers={"content-type": "image/png", "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )

    assert answer.headers["x-request-id"] == trace_id
    [decision] = answer.json()["decisions"]
    assert decision["traceparent"].split("-")[1] == trace_id
    assert decision["traceparent"].split("-")[2] != "00f067aa0ba902b7"


def test_a_cancelled_job_is_never_decided(door: House, admin: httpx.Client) -> None:
    # Accepted by the ledger, its message not sent: nobody begins to work on it.
    client = door.client
    job = client.intake.job(Kind.IDENTIFY, [client.put(crop(1))], gallery="staff")
    client.ledger.accept_many([job])

    answer = admin.delete(f"/v1/jobs/{job.job_id}")

    assert answer.status_code == 200, answer.text
    assert admin.get(f"/v1/jobs/{job.job_id}", params={"wait": 5}).json()["state"] == "cancelled"
    assert client.ledger.open_count() == 0
    assert client.audit.latest(1)[0].deed.action == "cancelled"
    assert client.audit.latest(1)[0].deed.actor.startswith("key:")


def test_a_job_that_has_ended_is_not_cancelled(admin: httpx.Client) -> None:
    job = asked(admin, 1, wait=30).json()
    answer = admin.delete(f"/v1/jobs/{job['job_id']}")

    assert answer.status_code == 409
    assert answer.json()["code"] == "too_late"


def test_enrolling_stands_in_the_audit_log_under_the_key(door: House, admin: httpx.Client) -> None:
    deeds = [entry.deed for entry in door.client.audit.latest(100)]

    submitted = [deed for deed in deeds if deed.action == "submitted"]
    assert {deed.gallery for deed in submitted} == {"staff"}
    assert all(deed.actor.startswith("key:") for deed in submitted)


class TestRefusals:
    def refused(self, answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = answer.json()
        assert problem["code"] == code
        assert problem["type"] == f"urn:kith:problem:{code}"
        assert problem["status"] == status
        assert problem["request_id"] == answer.headers["x-request-id"]
        return problem

    def test_no_key(self, door: House) -> None:
        answer = httpx.get(f"{door.url}/v1/jobs/{'0' * 32}")
        problem = self.refused(answer, 401, "unauthorised")
        assert "X-Api-Key" in problem["remedy"]
        assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize("token", ["x", "kith_0123456789ab_" + "a" * 43, "é"])
    def test_a_key_nobody_has(self, door: House, token: str) -> None:
        headers = {"x-api-key": token.encode()}
        self.refused(httpx.get(f"{door.url}/v1/jobs/{'0' * 32}", headers=headers), 401, "unauthorised")  # type: ignore[arg-type]

    def test_a_key_without_the_scope(self, door: House) -> None:
        with door.caller(Scope.READ) as reader:
            assert self.refused(asked(reader, 1), 403, "scope_missing")["limit"] == "submit"
        with door.caller(Scope.SUBMIT) as submitter:
            assert (
                self.refused(asked(submitter, 1, kind="enrol", subject="X"), 403, "scope_missing")["limit"] == "enrol"
            )

    def test_a_gallery_that_is_not_the_keys(self, door: House, admin: httpx.Client) -> None:
        job = asked(admin, 1, wait=30).json()["job_id"]
        with door.caller(Scope.SUBMIT, galleries=("guests",)) as guest:
            assert self.refused(asked(guest, 1), 403, "gallery_forbidden")["field"] == "gallery"
            self.refused(guest.get(f"/v1/jobs/{job}"), 404, "unknown_job")

    def test_a_revoked_key(self, door: House) -> None:
        with door.caller(Scope.SUBMIT) as caller:
            assert caller.get(f"/v1/jobs/{'0' * 32}").status_code == 404
            revoke(door.client.api_keys, caller.headers["authorization"].split("_")[1])
            for _ in range(100):
                if caller.get(f"/v1/jobs/{'0' * 32}").status_code == 401:
                    break
            self.refused(caller.get(f"/v1/jobs/{'0' * 32}"), 401, "unauthorised")

    def test_more_calls_than_the_keys_rate(self, door: House) -> None:
        with door.caller(Scope.SUBMIT, rate_per_s=1.0) as caller:
            answers = [caller.get(f"/v1/jobs/{'0' * 32}") for _ in range(10)]
        problem = self.refused(answers[-1], 429, "rate_exceeded")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert problem["limit"] == 1.0

    def test_an_unknown_gallery(self, admin: httpx.Client) -> None:
        self.refused(asked(admin, 1, gallery="nowhere"), 404, "unknown_gallery")

    def test_a_picture_of_too_many_pixels_by_its_header(self, admin: httpx.Client) -> None:
        header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (30_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
        import zlib  # noqa: PLC0415

        bomb = header + zlib.crc32(header[12:]).to_bytes(4, "big") + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"
        files = [("images", ("fine.png", crop(1))), ("images", ("bomb.png", bomb))]
        problem = self.refused(admin.post("/v1/jobs", data=PARAMETERS, files=files), 413, "image_too_large")
        assert problem["field"] == "images.1"
        assert "limits.image_pixels" in problem["detail"]

    def test_what_is_no_picture(self, admin: httpx.Client) -> None:
        answer = admin.post("/v1/jobs", params=PARAMETERS, content=b"%PDF-1.4", headers={"content-type": "image/png"})
        assert "a PDF" in self.refused(answer, 422, "not_an_image")["detail"]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "images"),
            ({"images": []}, "images"),
            ({"images": [{"key": "ab/" + "0" * 64}] * 65}, "images"),
            ({"images": [{"key": "../etc/passwd"}]}, "images.0.key"),
            ({"images": [{}]}, "images.0"),
            ({"images": [{"data": "!!"}]}, "images.0.data"),
            ({"images": [{"key": "ab/" + "0" * 64}], "galery": "x"}, "galery"),
            ({"images": [{"key": "ab/" + "0" * 64}], "lane": "fast"}, "lane"),
            ({"images": [{"key": "ab/" + "0" * 64}], "kind": "reembed"}, "kind"),
        ],
    )
    def test_a_field_that_is_wrong_is_named(self, admin: httpx.Client, body: Any, field: str) -> None:
        assert self.refused(admin.post("/v1/jobs", json=body), 422, "invalid_request")["field"] == field

    def test_an_enrolment_of_nobody(self, admin: httpx.Client) -> None:
        assert self.refused(asked(admin, 1, kind="enrol"), 422, "invalid_request")["field"] == "subject"

    def test_a_body_of_no_known_type(self, admin: httpx.Client) -> None:
        answer = admin.post("/v1/jobs", content=b"x", headers={"content-type": "text/plain"})
        assert self.refused(answer, 415, "unsupported_media_type")["field"] == "Content-Type"

    def test_a_url_where_fetching_is_off(self, admin: httpx.Client) -> None:
        body = {"gallery": "staff", "images": [{"url": "http://127.0.0.1/x.jpg"}]}
        assert "api.fetch" in self.refused(admin.post("/v1/jobs", json=body), 403, "fetching_off")["remedy"]

    def test_an_address_or_method_that_is_not_there(self, admin: httpx.Client) -> None:
        self.refused(admin.get("/v1/nothing"), 404, "not_found")
        self.refused(admin.put("/v1/jobs"), 405, "method_not_allowed")
