"""The clients over HTTP against a real server: every verb, replies lost on the way, a server killed in mid-stream."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from kith.api_keys import Scope, issue
from kith.errors import ApiRefused, ApiUnavailable, MissingImage, NameTaken, TooLate, UnknownGallery, UnknownSubject
from kith.jobs import Content, Kind, Lane, Outcome
from kith.receipts import SignedReceipt
from kith.remote.async_client import AsyncClient
from kith.remote.client import Client
from kith.remote.patience import Patience
from kith.watching.events import Event, EventKind
from tests.http_door import House, crop, house, tell

ALIGNED = {"content": Content.ALIGNED}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("remote")) as house_:
        yield house_


def a_key(door: House, *scopes: Scope, **more: Any) -> str:
    key, token = issue("remote", scopes or (Scope.ADMIN,), **more)
    door.client.api_keys.add(key)
    return token


@pytest.fixture(scope="module")
def key(door: House) -> str:
    return a_key(door)


@pytest.fixture(scope="module")
def kith(door: House, key: str) -> Iterator[Client]:
    with Client(door.url, key) as client:
        for person, name in ((1, "Ada Lovelace"), (2, "Grace Hopper")):
            decisions = client.enrol(name, [crop(person, 0), crop(person, 1)], gallery="staff", **ALIGNED)
            assert [each.outcome for each in decisions] == [Outcome.ENROLLED] * 2
        yield client


def test_pictures_are_identified_and_claims_verified(kith: Client, door: House, tmp_path: Path) -> None:
    file = tmp_path / "somebody.png"
    file.write_bytes(crop(1, 7))
    stored = kith.put(crop(2, 7))
    assert kith.image(stored.key) == crop(2, 7)

    decisions = kith.identify([file, stored, crop(3, 7)], gallery="staff", **ALIGNED)

    assert [each.subject for each in decisions] == ["Ada Lovelace", "Grace Hopper", None]
    assert str(decisions[0].label).endswith("somebody.png")
    second = decisions[0].face
    assert second is not None
    grace = door.client.galleries.show("staff", "Grace Hopper").subject_id
    assert (second.runner_up, second.runner_up_id) == ("Grace Hopper", grace)
    [right] = kith.verify("Ada Lovelace", [crop(1, 8)], gallery="staff", **ALIGNED)
    [wrong] = kith.verify("Ada Lovelace", [crop(2, 8)], gallery="staff", **ALIGNED)
    assert (right.outcome, wrong.outcome) == (Outcome.MATCH, Outcome.UNKNOWN)
    # The same record as one reads at home.
    [at_home] = door.client.feedback.find(right.decision_id)
    assert kith.decision(right.decision_id) == right == at_home


def test_more_pictures_than_a_job_holds_are_several_jobs(kith: Client) -> None:
    decisions = kith.identify([crop(1 + shot % 2, shot) for shot in range(70)], gallery="staff", **ALIGNED)

    assert len(decisions) == 70
    assert len({each.job_id for each in decisions}) == 2
    assert [each.subject for each in decisions[:2]] == ["Ada Lovelace", "Grace Hopper"]


def test_a_job_is_followed_waited_for_and_known_by_its_key(kith: Client) -> None:
    first = kith.submit(Kind.IDENTIFY, [crop(1)], gallery="staff", idempotency_key="order-1", **ALIGNED)
    again = kith.submit(Kind.IDENTIFY, [crop(1)], gallery="staff", idempotency_key="order-1", **ALIGNED)

    assert first.job_id == again.job_id
    [decision] = kith.wait(first.job_id, 30)
    assert decision.job_id == first.job_id
    assert kith.job(first.job_id).state == "done"
    with pytest.raises(TooLate):
        kith.cancel(first.job_id)


def test_what_is_wrong_is_the_error_it_would_be_at_home(kith: Client, door: House) -> None:
    with pytest.raises(UnknownGallery):
        kith.identify([crop(1)], gallery="nobody", **ALIGNED)
    with pytest.raises(UnknownSubject):
        kith.gallery("staff").subject("nobody")
    with pytest.raises(MissingImage):
        kith.image("ab/" + "ab" * 32)
    with Client(door.url, a_key(door, Scope.READ)) as reader, pytest.raises(ApiRefused, match="scope_missing"):
        reader.identify([crop(1)], gallery="staff", **ALIGNED)
    with Client(door.url, "kith_wrong") as stranger, pytest.raises(ApiRefused, match="unauthorised"):
        stranger.galleries()
    late = kith.submit(Kind.VERIFY, [crop(1)], gallery="staff", subject="x", lane=Lane.BULK, expires_ms=1, **ALIGNED)
    [expired] = kith.wait(late.job_id, 30)
    assert expired.outcome is Outcome.EXPIRED


def test_people_are_managed(kith: Client) -> None:
    people = kith.gallery("people")
    for person, name in ((4, "A"), (5, "B")):
        kith.enrol(name, [crop(person, shot) for shot in range(2)], gallery="people", **ALIGNED)
    assert people.introduce("C/D", external_id="E1", metadata={"site": "London"}) is not None
    assert people.introduce("C/D") is None
    assert [each.name for each in people.subjects()] == ["A", "B", "C/D"]
    people.describe("C/D", metadata={"site": "Paris"})
    assert (people.subject("C/D").external_id, people.subject("C/D").metadata) == ("E1", {"site": "Paris"})
    with pytest.raises(NameTaken):
        people.rename("A", "B")
    assert people.rename("A", "Ä") is not None
    templates = [each.template_id for each in people.subject("Ä").templates]
    people.move("Ä", templates[:1], to="B")
    sequence = people.remove("Ä", templates[1])
    assert people.subject("Ä").templates == ()
    assert sequence is not None
    people.undo(sequence)
    assert len(people.subject("Ä").templates) == 1
    people.merge("Ä", into="B")
    assert len(people.subject("B").templates) == 4
    assert next(people.history()).sequence == people.info().sequence
    receipt = people.forget("B")
    assert isinstance(receipt, SignedReceipt)
    assert [each.name for each in people.subjects()] == ["C/D"]
    assert people.strangers() == []
    assert {each.name for each in kith.galleries()} >= {"staff", "people"}
    assert people.forget_gallery().receipt.gallery == "people"
    assert "people" not in {each.name for each in kith.galleries()}
    assert kith.status().workers
    assert kith.ask("GET", "/v1/cameras") == {"cameras": []}


def test_decisions_are_judged(kith: Client) -> None:
    [decision] = kith.identify([crop(1, 5)], gallery="staff", **ALIGNED)

    assert kith.judge(decision.decision_id, "right").decision_id == decision.decision_id
    assert kith.withdraw(decision.decision_id) is True
    assert kith.withdraw(decision.decision_id) is False


def test_pages_are_read_to_their_end(kith: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from kith.remote import verbs  # noqa: PLC0415

    for shot in range(5):
        kith.identify([crop(2, shot)], gallery="staff", **ALIGNED)
    whole = [entry.decision.decision_id for entry in kith.decisions(gallery="staff")]
    real = verbs.parameters
    monkeypatch.setattr(verbs, "parameters", lambda **given: real(**given | ({"limit": 2} if "limit" in given else {})))

    assert [entry.decision.decision_id for entry in kith.decisions(gallery="staff")] == whole
    assert [entry.decision.decision_id for entry in kith.decisions(gallery="staff", subject="Ada Lovelace")] == [
        entry.decision.decision_id
        for entry in kith.decisions(gallery="staff")
        if entry.decision.subject == "Ada Lovelace"
    ]
    assert [each.name for each in kith.gallery("staff").subjects()] == ["Ada Lovelace", "Grace Hopper"]


def test_events_of_cameras_are_read_and_followed(kith: Client, door: House) -> None:
    def event(number: int) -> Event:
        return Event(f"e{number}", EventKind.NEW, "staff", number, visit=f"v{number}", camera="front")

    place = tell(door.doors.settings, event(1))
    assert [each.event.event_id for each in kith.events(gallery="staff")] == ["e1"]
    following = kith.follow_events(last="0-0", camera="front")
    assert next(following).entry_id == place
    tell(door.doors.settings, event(2))
    assert next(following).event.event_id == "e2"
    following.close()


def test_a_stream_tells_where_it_begins_before_its_first_event(door: House, key: str, kith: Client) -> None:
    kith.identify([crop(1)], gallery="staff", **ALIGNED)
    headers = {"authorization": f"Bearer {key}"}
    with httpx.stream("GET", f"{door.url}/v1/decisions/stream", headers=headers, timeout=30) as stream:
        lines = stream.iter_lines()
        beginning = [next(lines) for _ in range(2)]

    assert beginning[1] == f"id: {door.client.results.position()}"


def test_calls_past_the_rate_of_a_key_get_through_by_waiting(door: House, kith: Client) -> None:
    key = a_key(door, rate_per_s=2.0)
    with Client(door.url, key) as slow:
        begun_s = time.monotonic()
        for _ in range(8):
            slow.galleries()
        assert time.monotonic() - begun_s > 1
    hasty = Client(door.url, key, patience=Patience(attempts=1))
    with hasty, pytest.raises(ApiUnavailable, match="rate_exceeded"):
        [hasty.galleries() for _ in range(200)]


class Lossy:
    """A connection to the server that swallows the first answers: the server has done what it was asked."""

    def __init__(self, target: tuple[str, int], losses: int) -> None:
        self.target, self.losses, self.lost = target, losses, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            with caller, socket.create_connection(self.target) as server:
                caller.settimeout(0.2)
                try:
                    while piece := caller.recv(1 << 16):
                        server.sendall(piece)
                except TimeoutError:
                    pass
                answer = server.recv(1 << 20)
                if self.lost < self.losses:
                    self.lost += 1
                else:
                    caller.sendall(answer)


def test_a_submission_whose_answer_was_lost_is_one_job(door: House, key: str, kith: Client) -> None:
    url = httpx.URL(door.url)
    lossy = Lossy((url.host, url.port or 0), losses=2)
    before = door.client.results.count()
    with Client(lossy.url, key, timeout_s=5) as unlucky:
        job = unlucky.submit(Kind.IDENTIFY, [crop(1, 3)], gallery="staff", **ALIGNED)
    lossy.close()

    assert lossy.lost == 2
    assert job.accepted in ("open", "done")
    kith.wait(job.job_id, 30)
    assert door.client.results.count() == before + 1


@contextmanager
def served_alone(door: House, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The same installation served by a process of its own."""
    home = door.doors.settings.home
    command = [sys.executable, "-m", "producers.api", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: _answers(port))
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2).is_success
    except httpx.HTTPError:
        return False


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def a_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def identified(kith: Client, shots: range) -> list[str]:
    return [each.decision_id for shot in shots for each in kith.identify([crop(1, shot)], gallery="staff", **ALIGNED)]


def test_a_server_killed_in_mid_stream_loses_no_decision_and_tells_none_twice(
    door: House, key: str, kith: Client
) -> None:
    port, told = a_port(), list[str]()

    def hear() -> None:
        for entry in following:
            told.append(entry.decision.decision_id)
            if len(told) == 6:
                return

    with Client(f"http://127.0.0.1:{port}", key) as remote:
        with served_alone(door, port) as server:
            following = remote.follow_decisions(last=door.client.results.position(), gallery="staff")
            listener = threading.Thread(target=hear)
            listener.start()
            expected = identified(kith, range(3))
            wait_until(lambda: len(told) == 3)
            server.kill()
            server.wait()
            # Nobody is there to tell of these.
            expected += identified(kith, range(3, 5))
        with served_alone(door, port):
            expected += identified(kith, range(5, 6))
            listener.join(60)
            assert not listener.is_alive()
    assert told == expected


def test_the_asynchronous_client_does_the_same(door: House, key: str, kith: Client) -> None:
    async def all_of_it() -> None:
        async with AsyncClient(door.url, key) as remote:
            following = remote.follow_decisions(last="0-0", gallery="twice")
            [enrolled] = await remote.enrol("Ada", [crop(1)], gallery="twice", **ALIGNED)
            [match], [unknown] = await asyncio.gather(
                remote.identify([crop(1, 1)], gallery="twice", **ALIGNED),
                remote.identify([crop(2, 1)], gallery="twice", **ALIGNED),
            )
            assert (enrolled.outcome, match.subject, unknown.subject) == (Outcome.ENROLLED, "Ada", None)
            [verified] = await remote.verify("Ada", [await remote.put(crop(1, 2))], gallery="twice", **ALIGNED)
            assert verified.outcome is Outcome.MATCH
            expected = {each.decision_id for each in (enrolled, match, unknown, verified)}
            assert {entry.decision.decision_id async for entry in remote.decisions(gallery="twice")} == expected
            assert {(await anext(following)).decision.decision_id for _ in range(4)} == expected
            await following.aclose()  # type: ignore[attr-defined]
            people = remote.gallery("twice")
            await people.rename("Ada", "Ada Lovelace")
            assert [each.name async for each in people.subjects()] == ["Ada Lovelace"]
            assert [entry.sequence async for entry in people.history()][-1] == 1
            assert isinstance(await people.forget("Ada Lovelace"), SignedReceipt)
            with pytest.raises(UnknownSubject):
                await people.subject("Ada Lovelace")
            assert isinstance(await people.forget_gallery(), SignedReceipt)
            with pytest.raises(UnknownGallery):
                await people.info()

    asyncio.run(all_of_it())
