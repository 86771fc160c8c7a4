"""Fetching images by URL from a real server: redirections, limits, and names that change their meaning."""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from producers.api.fetching import Fetcher, Fetching, is_public
from producers.api.problems import Problem
from tests.http_door import House, crop, house


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name, _, rest = self.path[1:].partition("/")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, f"answer_{name}")(rest)

    def answer_crop(self, number: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(crop(int(number)))

    def answer_to(self, where: str) -> None:
        self.send_response(302)
        self.send_header("Location", where)
        self.end_headers()

    def answer_status(self, status: str) -> None:
        self.send_response(int(status))
        self.end_headers()

    def answer_endless(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x" * 65_536)

    def answer_slow(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A server on loopback, by a name that only the resolver of a test knows."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://photos.test:{server.server_port}"
    server.shutdown()
    server.server_close()


def resolve(host: str, _: int) -> list[str]:
    return ["127.0.0.1"] if host == "photos.test" else [host]


def permits(address: str) -> bool:
    """As in service, but for the server of these tests."""
    return address == "127.0.0.1" or is_public(address)


FETCHER = Fetcher(1_000_000, resolve, permits)


def refusal(url: str, patience_s: float = 30.0) -> Problem:
    with pytest.raises(Problem) as refused:
        FETCHER.fetch(url, "images.0.url", time.monotonic() + patience_s)
    return refused.value


def test_an_image_is_fetched_also_where_it_was_moved_to(site: str) -> None:
    for url in (f"{site}/crop/1", f"{site}/to//crop/1", f"{site}/to/{site}/crop/1"):
        assert FETCHER.fetch(url, "", time.monotonic() + 30) == crop(1)


@pytest.mark.parametrize(
    "where", ["http://10.0.0.1/a", "http://169.254.169.254/latest", "http://[::1]/", "file:///etc"]
)
def test_a_redirection_into_a_private_network_is_refused(site: str, where: str) -> None:
    assert refusal(f"{site}/to/{where}").code == "url_refused"


def test_a_circle_of_redirections_ends(site: str) -> None:
    assert "redirected more than 3" in refusal(f"{site}/to/{site}/to/{site}/to/{site}/to/{site}/crop/1").detail


def test_a_name_is_resolved_once_for_each_connection(site: str) -> None:
    """Rebinding: asked a second time the name would mean a private address. It is not asked."""
    asked: list[str] = []

    def turning(host: str, port: int) -> list[str]:
        asked.append(host)
        return resolve(host, port) if len(asked) == 1 else ["10.0.0.1"]

    assert Fetcher(1_000_000, turning, permits).fetch(f"{site}/crop/1", "", time.monotonic() + 30) == crop(1)
    assert asked == ["photos.test"]
    with pytest.raises(Problem, match="public network"):
        Fetcher(1_000_000, turning, permits).fetch(f"{site}/crop/1", "", time.monotonic() + 30)


def test_more_bytes_than_the_limit_are_not_read(site: str) -> None:
    problem = refusal(f"{site}/endless/")

    assert (problem.status, problem.code, problem.limit) == (413, "image_too_large", 1_000_000)


def test_a_server_that_dribbles_is_left_in_time(site: str) -> None:
    begun_s = time.monotonic()

    assert "in time" in refusal(f"{site}/slow/", patience_s=0.3).detail
    assert time.monotonic() - begun_s < 30


def test_what_is_not_there_is_told_with_the_servers_answer(site: str) -> None:
    assert "answered 404" in refusal(f"{site}/status/404").detail


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("api"), api={"fetch": True, "fetch_s": 5}) as house_:
        house_.app.state.fetching = Fetching(FETCHER, 5.0)
        yield house_


def test_a_job_may_name_images_by_url_where_that_is_on(door: House, site: str) -> None:
    with door.caller() as caller:

        def posted(url: str, **more: object) -> httpx.Response:
            body = {"gallery": "staff", "content": "aligned", "images": [{"url": url}], **more}
            return caller.post("/v1/jobs", json=body, headers={"prefer": "wait=30"})

        enrolled = posted(f"{site}/crop/1", kind="enrol", subject="Ada").json()["decisions"]
        assert [each["outcome"] for each in enrolled] == ["enrolled"]
        assert posted(f"{site}/to//crop/1").json()["decisions"][0]["face"]["subject"] == "Ada"
        refused = posted(f"{site}/to/http://10.0.0.1/")
        assert refused.status_code == 422
        assert refused.json()["field"] == "images.0.url"
        one = {"gallery": "staff", "images": [{"url": f"{site}/to/http://10.0.0.1/"}]}
        assert caller.post("/v1/bulk", json={"jobs": [one]}).json()["field"] == "jobs.0.images.0.url"
