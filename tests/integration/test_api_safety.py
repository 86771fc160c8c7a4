"""What keeps the door upright: bounded bodies, faults that tell nothing, closed CORS, queues that are full."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from kith.api_keys import Scope
from kith.backends.gallery_redis import RedisGalleryStore
from tests.http_door import House, crop, front

#: Of the framework, for requests.
_THREADS = 40

SECTIONS: dict[str, dict[str, object]] = {
    "api": {"body_bytes": 100_000, "body_s": 0.5, "origins": ["https://desk.example.org"], "key_cache_s": 60},
    "jobs": {"max_open": 5},
}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with front(tmp_path_factory.mktemp("api"), **SECTIONS) as house:
        yield house


@pytest.fixture(scope="module")
def admin(door: House) -> Iterator[httpx.Client]:
    with door.caller() as caller:
        caller.get("/v1/galleries")
        yield caller


def raw(door: House, admin: httpx.Client, head: str, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """What is answered to bytes as they are."""
    host, _, port = door.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10) as sock:
        key = admin.headers["authorization"]
        sock.sendall(f"{head}\r\nHost: x\r\nAuthorization: {key}\r\n".encode() + b"Content-Type: image/png\r\n")
        for part in parts:
            sock.sendall(part)
            time.sleep(pause_s)
        answer = b""
        while chunk := sock.recv(65_536):
            answer += chunk
            if b'"request_id"' in answer:
                break
        return answer


class TestBodies:
    def test_one_that_says_it_is_too_long_is_not_read(self, door: House, admin: httpx.Client) -> None:
        answer = raw(door, admin, "POST /v1/jobs HTTP/1.1", b"Content-Length: 100001\r\n\r\n")

        assert answer.startswith(b"HTTP/1.1 413")
        assert b"api.body_bytes" in answer

    def test_one_that_does_not_say_so_is_cut_off(self, door: House, admin: httpx.Client) -> None:
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        answer = raw(door, admin, "POST /v1/jobs HTTP/1.1", b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 4)

        assert answer.startswith(b"HTTP/1.1 413")

    def test_one_that_dribbles_is_given_up(self, door: House, admin: httpx.Client) -> None:
        begun_s = time.monotonic()
        answer = raw(door, admin, "POST /v1/jobs HTTP/1.1", b"Content-Length: 9\r\n\r\n", b"a", b"b", pause_s=0.1)

        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - begun_s < 9

    def test_a_stream_outlives_the_time_that_a_body_has(self, door: House, admin: httpx.Client) -> None:
        with admin.stream("GET", "/v1/events/stream", timeout=httpx.Timeout(5, read=1.2)) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 2000"
            with pytest.raises(httpx.ReadTimeout):
                # Nothing is told, and nobody ends it.
                for _ in lines:
                    pass


class TestFaults:
    def test_nothing_of_a_bug_leaves_the_process(
        self, door: House, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*_: Any) -> None:
            raise ValueError("/secret/path")

        monkeypatch.setattr("producers.api.v1.galleries.plain", broken)
        with caplog.at_level(logging.ERROR, "kith.api"):
            answer = admin.get("/v1/galleries")

        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert answer.json()["request_id"] in caplog.text
        assert "/secret/path" in caplog.text

    def test_with_redis_away_it_says_so_and_when_to_come_back(
        self, door: House, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from kith.errors import StateUnavailable  # noqa: PLC0415

        def away(*_: Any) -> None:
            raise StateUnavailable("ledger: connection refused")

        monkeypatch.setattr(door.client.ledger, "open_count", away)
        answer = httpx.get(f"{door.url}/readyz")

        assert answer.status_code == 503
        assert answer.json()["code"] == "state_unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        assert httpx.get(f"{door.url}/healthz").status_code == 200

    def test_with_all_threads_of_requests_waiting_for_redis_it_is_ready_as_long_as_redis_answers_it(
        self, door: House, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting, let_go = threading.Semaphore(0), threading.Event()
        listing = RedisGalleryStore.galleries

        def slow(store: RedisGalleryStore) -> Any:
            waiting.release()
            assert let_go.wait(60)
            return listing(store)

        monkeypatch.setattr(RedisGalleryStore, "galleries", slow)
        headers = {"authorization": admin.headers["authorization"]}
        with ThreadPoolExecutor(_THREADS) as callers:
            url = f"{door.url}/v1/galleries"
            asked = [callers.submit(httpx.get, url, headers=headers, timeout=60) for _ in range(_THREADS)]
            try:
                for _ in range(_THREADS):
                    assert waiting.acquire(timeout=30)
                assert httpx.get(f"{door.url}/readyz", timeout=10).status_code == 200
            finally:
                let_go.set()
            assert {each.result().status_code for each in asked} == {200}


class TestCors:
    def preflight(self, door: House, origin: str) -> httpx.Response:
        headers = {"origin": origin, "access-control-request-method": "POST"}
        return httpx.options(f"{door.url}/v1/jobs", headers=headers)

    def test_pages_elsewhere_may_call_only_where_they_are_named(self, door: House) -> None:
        named, other = (self.preflight(door, f"https://{who}.example.org") for who in ("desk", "evil"))

        assert named.headers["access-control-allow-origin"] == "https://desk.example.org"
        assert "access-control-allow-origin" not in other.headers

    def test_without_a_setting_it_is_closed(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        with front(tmp_path_factory.mktemp("closed")) as closed:
            answer = self.preflight(closed, "https://desk.example.org")
            assert answer.status_code == 405
            assert "access-control-allow-origin" not in answer.headers


class TestHeaders:
    def test_every_answer_names_its_request_and_is_kept_by_no_cache(self, admin: httpx.Client) -> None:
        for answer in (admin.get("/v1/galleries"), admin.get("/v1/nothing")):
            assert len(answer.headers["x-request-id"]) == 32
            assert answer.headers["traceparent"].split("-")[1] == answer.headers["x-request-id"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers

    @pytest.mark.parametrize(("sent", "kept"), [("order-4711/2", True), ("two words", False), ("x" * 129, False)])
    def test_a_callers_own_id_is_kept_where_it_is_one(self, admin: httpx.Client, sent: str, kept: bool) -> None:
        answer = admin.get("/v1/galleries", headers={"x-request-id": sent})

        assert (answer.headers["x-request-id"] == sent) is kept

    @pytest.mark.parametrize(
        "sent", ["", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-" + "1" * 32 + "-" + "0" * 16 + "-01", "ff-x-y-z"]
    )
    def test_what_is_no_trace_is_not_continued(self, admin: httpx.Client, sent: str) -> None:
        trace = admin.get("/v1/galleries", headers={"traceparent": sent}).headers["traceparent"].split("-")

        assert len(trace[1]) == 32
        assert trace[1] not in ("0" * 32, "1" * 32)


def test_past_the_limit_of_open_jobs_callers_are_told_to_wait(door: House) -> None:
    with door.caller(Scope.SUBMIT) as caller:
        answers = [
            caller.post(
                "/v1/jobs", params={"gallery": "staff"}, content=crop(number), headers={"content-type": "image/png"}
            )
            for number in range(7)
        ]

    assert [each.status_code for each in answers] == [202] * 5 + [429] * 2
    problem = answers[-1].json()
    assert problem["code"] == "overloaded"
    assert "jobs.max_open" in problem["detail"]
    assert "Idempotency-Key" in problem["remedy"]
    assert int(answers[-1].headers["retry-after"]) >= 1
