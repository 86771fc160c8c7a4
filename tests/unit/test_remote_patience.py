"""How the client over HTTP bears what a network does: no sockets, httpx answers from a function, no clock runs."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from kith import errors
from kith.errors import ApiRefused, ApiUnavailable, KithError, Overloaded, StateUnavailable, UnknownSubject
from kith.jobs import Kind
from kith.remote import client as remote
from kith.remote import connection
from kith.remote.client import Client
from kith.remote.patience import Attempts, Patience
from kith.remote.refusals import refusal, retry_after_s
from kith.remote.server_events import EventParser, ServerEvent

KEY = "kith_" + "0" * 12 + "_" + "a" * 43


class Network:
    """Answers requests one by one, with an answer or a fault; the last one stays. paused: how long one waited."""

    def __init__(self, *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]) -> None:
        self.answers, self.seen, self.paused = list(answers), list[httpx.Request](), list[float]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.seen.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Client, Network]]]:
    made: list[Client] = []

    def make(*answers: Any, **more: Any) -> tuple[Client, Network]:
        network = Network(*answers)
        monkeypatch.setattr(connection.time, "sleep", network.paused.append)
        made.append(Client("http://kith.test/", KEY, transport=httpx.MockTransport(network), **more))
        return made[-1], network

    yield make
    for each in made:
        each.close()


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"code": code, "detail": "it is so", "remedy": "do that", "request_id": "r1", "status": status}
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def good() -> httpx.Response:
    return httpx.Response(200, json={"job_id": "0" * 32, "state": "sent", "accepted": "new"})


LOST = httpx.RemoteProtocolError("Server disconnected without sending a response.")


def test_a_submission_whose_answer_is_lost_is_sent_again_under_the_same_key(talk: Any) -> None:
    kith, network = talk(LOST, httpx.ReadTimeout("late"), problem(503, "state_unavailable"), good())

    job = kith.submit(Kind.IDENTIFY, [b"picture"])

    assert job.state == "sent"
    keys = [request.headers["idempotency-key"] for request in network.seen]
    assert len(keys) == 4
    assert len(set(keys)) == 1
    assert len({request.content for request in network.seen}) == 1


def test_two_submissions_are_two_jobs_unless_the_caller_says_they_are_one(talk: Any) -> None:
    kith, network = talk(good())
    for idempotency_key in (None, None, "order-1", "order-1"):
        kith.submit(Kind.IDENTIFY, [b"picture"], idempotency_key=idempotency_key)

    first, second, *own = [request.headers["idempotency-key"] for request in network.seen]
    assert first != second
    assert own == ["order-1", "order-1"]


def test_one_waits_as_long_as_the_other_side_asks(talk: Any) -> None:
    kith, network = talk(
        problem(429, "overloaded", retry_after="3"), problem(429, "rate_exceeded", retry_after="1"), good()
    )

    kith.submit(Kind.IDENTIFY, [b"picture"])

    assert network.paused[0] >= 3
    assert network.paused[1] >= 1


def test_what_could_be_done_twice_is_not_sent_again_when_nobody_knows_whether_it_was_done(talk: Any) -> None:
    kith, network = talk(LOST)
    with pytest.raises(ApiUnavailable, match="whether it was done is unknown"):
        kith.gallery("staff").merge("A", into="B")
    assert len(network.seen) == 1

    kith, network = talk(problem(503, "state_unavailable"))
    with pytest.raises(StateUnavailable):
        kith.gallery("staff").forget("A")
    assert len(network.seen) == 1


def test_what_was_certainly_not_done_is_sent_again_whatever_it_is(talk: Any) -> None:
    done = httpx.Response(200, json={"sequence": 7})
    kith, network = talk(httpx.ConnectError("refused"), problem(429, "rate_exceeded", retry_after="1"), done)

    assert kith.gallery("staff").merge("A", into="B") == 7
    assert len(network.seen) == 3


def test_a_refusal_is_told_at_once_and_as_the_error_it_is(talk: Any) -> None:
    for answer, kind in (
        (problem(404, "unknown_subject"), UnknownSubject),
        (problem(403, "scope_missing"), ApiRefused),
        (problem(401, "unauthorised"), ApiRefused),
        (httpx.Response(404, text="<html>nginx</html>"), ApiRefused),
        (httpx.Response(302, headers={"location": "https://elsewhere.test"}), ApiRefused),
    ):
        kith, network = talk(answer)
        with pytest.raises(kind):
            kith.gallery("staff").subject("Ada")
        assert len(network.seen) == 1


def test_patience_ends_with_the_last_fault(talk: Any) -> None:
    kith, network = talk(problem(429, "overloaded"), patience=Patience(attempts=3))
    with pytest.raises(Overloaded, match=r"it is so; do that \(request r1\)"):
        kith.submit(Kind.IDENTIFY, [b"picture"])
    assert len(network.seen) == 3
    kith, _ = talk(httpx.ConnectError("refused"), patience=Patience(attempts=2))
    with pytest.raises(ApiUnavailable, match="refused"):
        kith.status()


def test_what_is_no_kith_is_told_so(talk: Any) -> None:
    for answer in (
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[1]),
        httpx.Response(200, json={"a": 1}),
    ):
        kith, _ = talk(answer)
        with pytest.raises(ApiRefused):
            kith.status()
    with pytest.raises(ApiRefused, match="no address"):
        Client("kith.test:8600", KEY)


def test_pauses_grow_are_drawn_and_never_shorter_than_asked() -> None:
    now_s, longest = [0.0], list[float]()

    def drawn(low: float, high: float) -> float:
        assert low == 0
        longest.append(high)
        return high / 2

    attempts = Attempts(Patience(attempts=8, total_s=100, first_pause_s=1, longest_pause_s=5), lambda: now_s[0], drawn)
    pauses = [attempts.pause_s(Overloaded(), asked) for asked in (None, 4.0, None, None, None)]
    assert longest == [1, 2, 4, 5, 5]
    assert pauses == [0.5, 4.0, 2.0, 2.5, 2.5]
    # Asked to come back after the end of its patience it gives up now.
    now_s[0] = 98
    with pytest.raises(Overloaded):
        attempts.pause_s(Overloaded(), 3.0)


def test_every_error_comes_back_as_itself() -> None:
    def leaves(kind: type[KithError]) -> list[type[KithError]]:
        below = kind.__subclasses__()
        return [leaf for each in below for leaf in leaves(each)] if below else [kind]

    # Those that stand with what raises them do not travel.
    for kind in (each for each in leaves(KithError) if each.__module__ == errors.__name__):
        body = {"code": kind().code, "detail": "so", "request_id": "r", "limit": 5}
        assert type(refusal(422, json.dumps(body).encode())) is kind
    assert "limit: 5" in str(refusal(422, json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("said", "means"),
    [("7", 7.0), ("0", 0.0), ("", None), ("soon", None), ("-1", None), ("99999", 3600.0), ("²", None)],
)
def test_retry_after_is_believed_within_reason(said: str, means: float | None) -> None:
    assert retry_after_s({"retry-after": said}) == means


STREAM = (
    b'\xef\xbb\xbfretry: 2000\nid: 5-0\n\n: \n\nid: 6-0\nevent: decision\ndata: {"a":\ndata: 1}\n\n'
    b"data:bare\r\nnonsense\r\ndata: more\r\n\r\nid\nevent: x\n\nid: 7-0\rdata: last\r\r"
)
FOUND = [
    ServerEvent("decision", '{"a":\n1}', "6-0"),
    ServerEvent("message", "bare\nmore", "6-0"),
    ServerEvent("message", "last", "7-0"),
]


def test_events_are_the_same_however_a_stream_is_cut() -> None:
    # What stands behind the last line feed shows only with the next piece.
    whole = STREAM + b": \n"
    for size in (1, 2, 3, 7, len(whole)):
        parser = EventParser()
        found = [each for at in range(0, len(whole), size) for each in parser.feed(whole[at : at + size])]
        assert found == FOUND, size
        assert (parser.last_id, parser.retry_s) == ("7-0", 2.0)


def test_a_stream_without_end_of_line_is_given_up() -> None:
    parser = EventParser()
    with pytest.raises(ApiUnavailable, match="no stream"):
        [parser.feed(b"x" * (1 << 20)) for _ in range(5)]


def stream(*events: tuple[str, str]) -> httpx.Response:
    body = "retry: 10\nid: 1-0\n\n" + "".join(f"id: {place}\nevent: event\ndata: {data}\n\n" for place, data in events)
    return httpx.Response(200, text=body, headers={"content-type": "text/event-stream"})


def test_a_stream_is_taken_up_where_it_broke_off(talk: Any) -> None:
    kith, network = talk(
        stream(), stream(("2-0", "a"), ("3-0", "b")), LOST, problem(503, "x", retry_after="2"), stream()
    )

    following = kith.follow("/v1/events/stream", "event", None)
    assert [next(following), next(following)] == [("2-0", "a"), ("3-0", "b")]
    network.answers[-1:] = [stream(("4-0", "c"))]
    assert next(following) == ("4-0", "c")

    # From the start of the stream itself, before any event had come.
    assert [request.headers.get("last-event-id") for request in network.seen] == [None, "1-0", "3-0", "3-0", "3-0"]
    assert network.paused[-1] >= 2


def test_a_reader_without_the_right_key_is_told_and_does_not_come_back(talk: Any) -> None:
    kith, network = talk(problem(401, "unauthorised"))
    with pytest.raises(ApiRefused):
        next(kith.follow_events())
    assert len(network.seen) == 1


def test_a_reader_gives_up_when_its_patience_ends(talk: Any) -> None:
    kith, network = talk(LOST, following=Patience(attempts=4))
    with pytest.raises(ApiUnavailable):
        next(kith.follow_decisions())
    assert len(network.seen) == 4


def test_pictures_travel_in_the_job_until_they_are_many_bytes(talk: Any, tmp_path: Any) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json={"key": "ab/" + "ab" * 32}) if request.method == "PUT" else good()

    kith, network = talk(answer)
    small, large = tmp_path / "small.jpg", tmp_path / "large.jpg"
    small.write_bytes(b"x")
    large.write_bytes(b"x" * (remote.verbs.INLINE_BYTES + 1))
    kith.submit(Kind.IDENTIFY, [small])
    kith.submit(Kind.IDENTIFY, [small, large])

    assert [request.method for request in network.seen] == ["POST", "PUT", "PUT", "POST"]
    inline, stored = (json.loads(network.seen[i].content)["images"] for i in (0, 3))
    assert inline[0]["data"] == "eA=="
    assert inline[0]["label"].endswith("small.jpg")
    assert [each["key"] for each in stored] == ["ab/" + "ab" * 32] * 2
    assert [each["label"] for each in stored][1].endswith("large.jpg")
