"""Webhooks over HTTP on a real stack: added, told, changed, tried, paused, replayed and removed, by both clients."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from kith.api_keys import Scope, issue
from kith.errors import ApiRefused, UnknownSubject
from kith.jobs import now_ms
from kith.outward.errors import InvalidWebhook, UnknownWebhook
from kith.outward.signatures import verified
from kith.remote.async_client import AsyncClient
from kith.remote.client import Client
from kith.watching.events import Event, EventKind
from tests.http_door import House, crop, house, tell
from tests.servers.receivers import Got, Reply, served

#: Busy machines are no subject of these tests.
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    webhooks = {"private": True, "retry_s": 0.05, "retry_max_s": 0.2, "max_webhooks": 8}
    with house(tmp_path_factory.mktemp("api"), webhooks=webhooks, jobs={"live_expiry_s": 600.0}) as house_:
        yield house_


@pytest.fixture(scope="module")
def admin(door: House) -> Iterator[httpx.Client]:
    with door.caller() as caller:
        form = {"kind": "enrol", "gallery": "staff", "subject": "Ada Lovelace", "content": "aligned"}
        good(caller.post("/v1/jobs?wait=30", data=form, files={"images": ("a.png", crop(1))}))
        yield caller


@pytest.fixture
def kith(door: House) -> Iterator[Client]:
    key, token = issue("remote", (Scope.ADMIN,))
    door.client.api_keys.add(key)
    with Client(door.url, token) as client:
        yield client


def good(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def until(done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


_next = iter(range(1000))


def happens(door: House, camera: str = "front", kind: EventKind = EventKind.NEW) -> str:
    """An event that is told; its place."""
    event = Event(f"e{next(_next)}", kind, "staff", now_ms(), camera=camera, subject="Ada Lovelace")
    return tell(door.client.settings, event)


def entries(got: list[Got]) -> list[str]:
    return [each.json["entry"] for each in got if each.json["type"] != "test"]


def done_to(door: House, webhook_id: str) -> list[str]:
    """What the audit log has of it, by whom."""
    deeds = [entry.deed for entry in door.client.audit.latest(200)]
    of_it = [deed for deed in deeds if deed.detail.get("webhook") == webhook_id]
    assert all(deed.actor.startswith("key:") for deed in of_it)
    return [str(deed.detail["what"]) for deed in of_it]


def test_a_receiver_is_told_what_it_asked_for_and_signed_with_the_secret_told_once(
    door: House, admin: httpx.Client
) -> None:
    with served() as receiver:
        body = {"name": "desk", "url": f"{receiver.url}/in/hunter2", "kinds": ["event.new"], "cameras": ["front"]}
        added = admin.post("/v1/webhooks", json=body)
        webhook = good(added, 201)
        assert added.headers["location"] == f"/v1/webhooks/{webhook['webhook_id']}"
        place = added.headers["location"]
        happens(door, "back")
        happens(door, kind=EventKind.END)
        wanted = happens(door)
        until(lambda: len(entries(receiver.got)) >= 1)
        until(lambda: good(admin.get(place))["progress"]["delivered"] == 1)
        [got] = receiver.got
        assert entries(receiver.got) == [wanted]
        headers = got.headers["Kith-Timestamp"], got.headers["Kith-Signature"]
        assert verified(webhook["secret"], *headers, got.body, time.time())

        told = admin.get("/v1/webhooks").text + admin.get(place).text
        assert webhook["secret"] not in told
        assert "hunter2" not in told
        assert "sealed" not in told
        good(admin.delete(place), 204)
    assert code(admin.get(place)) == (404, "unknown_webhook")
    assert done_to(door, webhook["webhook_id"]) == ["added", "removed"]


def test_of_two_changes_at_once_neither_undoes_the_other(admin: httpx.Client) -> None:
    webhook = good(admin.post("/v1/webhooks", json={"name": "desk", "url": "http://127.0.0.1:9/"}), 201)
    place = f"/v1/webhooks/{webhook['webhook_id']}"
    with ThreadPoolExecutor(2) as two:
        for turn in range(20):
            wishes = {"galleries": [f"g{turn}"]}, {"cameras": [f"c{turn}"]}
            for answer in two.map(lambda wish: admin.patch(place, json=wish), wishes):
                good(answer)
            wanted = good(admin.get(place))["wanted"]
            assert (wanted["galleries"], wanted["cameras"]) == ([f"g{turn}"], [f"c{turn}"])
    good(admin.delete(place), 204)


def test_what_is_not_named_in_a_change_stays(door: House, admin: httpx.Client) -> None:
    with served() as first, served() as second:
        body = {"name": "desk", "url": first.url, "galleries": ["staff"], "subjects": ["Ada Lovelace"]}
        webhook = good(admin.post("/v1/webhooks", json=body | {"secret": "x" * 24}), 201)
        assert "secret" not in webhook, "who sent it knows it"
        place = f"/v1/webhooks/{webhook['webhook_id']}"

        renamed = good(admin.patch(place, json={"name": "door", "kinds": ["event.end", "decision"]}))
        assert renamed["name"] == "door"
        assert renamed["wanted"] == webhook["wanted"] | {"kinds": ["event.end", "decision"]}
        moved = good(admin.patch(place, json={"url": second.url, "galleries": [], "subjects": []}))
        assert (moved["wanted"]["galleries"], moved["wanted"]["subjects"]) == ([], [])
        assert moved["shown"] != webhook["shown"]

        trial = good(admin.post(f"{place}/test"))
        assert trial == {"taken": True, "status": 200}
        [got] = second.got
        headers = got.headers["Kith-Timestamp"], got.headers["Kith-Signature"]
        assert verified("x" * 24, *headers, got.body, time.time()), "the secret stays the same"
        assert (got.headers["Kith-Attempt"], got.json["late"]) == ("1", False), "a trial has all that deliveries have"
        assert first.got == []
        good(admin.delete(place), 204)
    assert done_to(door, webhook["webhook_id"]) == ["added", "changed", "changed", "tested", "removed"]


def test_what_it_begins_to_want_it_is_told_from_then_on(door: House, admin: httpx.Client) -> None:
    with served() as receiver:
        body = {"name": "desk", "url": receiver.url, "kinds": ["decision.match"]}
        place = f"/v1/webhooks/{good(admin.post('/v1/webhooks', json=body), 201)['webhook_id']}"
        happens(door)
        good(admin.patch(place, json={"kinds": ["event.new", "decision.match"]}))
        wanted = happens(door)
        until(lambda: len(entries(receiver.got)) >= 1)
        assert entries(receiver.got) == [wanted]
        good(admin.delete(place), 204)


def test_what_is_paused_is_told_when_it_is_resumed(door: House, kith: Client) -> None:
    with served() as receiver:
        webhook = kith.webhooks.add("desk", receiver.url)
        paused = kith.webhooks.pause(webhook.webhook_id, "cleaning")
        assert paused.paused_why == "cleaning"
        place = happens(door)
        assert kith.webhooks.get(webhook.webhook_id).paused_ms > 0
        assert kith.webhooks.resume(webhook.webhook_id).paused_why is None
        until(lambda: entries(receiver.got) == [place])
        kith.webhooks.remove(webhook.webhook_id)
    assert done_to(door, webhook.webhook_id) == ["added", "paused", "resumed", "removed"]


def test_what_could_not_be_delivered_is_listed_and_told_again(door: House, kith: Client) -> None:
    answers = [422]
    with served(lambda _: Reply(answers[-1])) as receiver:
        webhook = kith.webhooks.add("desk", receiver.url, kinds=["event.new"])
        assert webhook.secret is not None
        assert webhook.secret not in repr(webhook)
        places = [happens(door), happens(door)]
        until(lambda: len(kith.webhooks.dead_letters(webhook.webhook_id)) == 2)
        letters = kith.webhooks.dead_letters(webhook.webhook_id)
        assert [each.entry_id for each in letters] == places
        assert "422" in letters[0].why
        assert "Ada" not in str(letters)

        trial = kith.webhooks.test(webhook.webhook_id)
        assert (trial.taken, trial.status) == (False, 422)
        assert trial.why

        answers.append(200)
        assert kith.webhooks.redo(webhook.webhook_id) == 2
        until(lambda: not kith.webhooks.dead_letters(webhook.webhook_id))
        until(lambda: (found := kith.webhooks.get(webhook.webhook_id).progress) is not None and found.delivered == 2)

        receiver.got.clear()
        kith.webhooks.replay(webhook.webhook_id, places[0])
        until(lambda: entries(receiver.got) == places[1:])
        kith.webhooks.remove(webhook.webhook_id)
    told = ["added", "tested", "dead letters again", "replayed", "removed"]
    assert done_to(door, webhook.webhook_id) == told


def test_a_receiver_that_is_not_there_is_an_answer_too(kith: Client) -> None:
    with served() as receiver:
        url = receiver.url
    webhook = kith.webhooks.add("gone", url)
    trial = kith.webhooks.test(webhook.webhook_id)
    kith.webhooks.remove(webhook.webhook_id)

    assert (trial.taken, trial.status) == (False, None)
    assert trial.why


def test_what_is_wrong_is_the_error_it_would_be_at_home(kith: Client) -> None:
    with pytest.raises(UnknownWebhook):
        kith.webhooks.get("wh000000000000")
    with pytest.raises(InvalidWebhook, match="user name"):
        kith.webhooks.add("desk", "https://me:secret@desk.example.org/")
    with pytest.raises(UnknownSubject):
        kith.webhooks.add("desk", "https://desk.example.org/", galleries=["staff"], subjects=["Nobody"])
    with pytest.raises(ApiRefused, match="kinds"):
        kith.webhooks.add("desk", "https://desk.example.org/", kinds=["event.nothing"])


def test_a_private_address_is_refused_where_that_is_off(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.http_door import front  # noqa: PLC0415 (for this one)

    with front(tmp_path_factory.mktemp("closed")) as closed, closed.caller() as admin:
        for url in ("https://127.0.0.1/in", "https://10.0.0.1/in", "https://169.254.169.254/", "http://example.org/"):
            answer = admin.post("/v1/webhooks", json={"name": "desk", "url": url})
            assert code(answer) == (422, "invalid_webhook"), url
            assert "webhooks.private" in answer.json()["detail"]


def test_there_are_no_more_than_the_limit(admin: httpx.Client, kith: Client) -> None:
    added = []
    while (answer := admin.post("/v1/webhooks", json={"name": "x", "url": "https://x.example.org/"})).is_success:
        added.append(answer.json()["webhook_id"])
    for each in added:
        kith.webhooks.remove(each)

    assert code(answer) == (422, "invalid_webhook")
    assert "max_webhooks" in answer.json()["detail"]
    assert len(added) == 8


def test_webhooks_are_for_administrators_of_all_galleries(door: House, admin: httpx.Client) -> None:
    body = {"name": "desk", "url": "https://desk.example.org/"}
    for scope in (Scope.READ, Scope.ENROL, Scope.SUBMIT):
        with door.caller(scope) as caller:
            assert code(caller.get("/v1/webhooks")) == (403, "scope_missing")
            assert code(caller.post("/v1/webhooks", json=body)) == (403, "scope_missing")
    with door.caller(galleries=("staff",)) as caller:
        assert code(caller.get("/v1/webhooks")) == (403, "gallery_forbidden")
        assert code(caller.post("/v1/webhooks", json=body)) == (403, "gallery_forbidden")


@pytest.mark.parametrize("body", [{}, {"after": "0", "dead": True}, {"dead": False}, {"after": "x"}, {"after": None}])
def test_a_replay_says_what_of(admin: httpx.Client, body: Any) -> None:
    assert code(admin.post("/v1/webhooks/wh000000000000/replay", json=body)) == (422, "invalid_request")


def test_the_asynchronous_client_does_the_same(door: House) -> None:
    key, token = issue("remote", (Scope.ADMIN,))
    door.client.api_keys.add(key)

    async def all_of_it() -> None:
        with served() as receiver:
            async with AsyncClient(door.url, token) as remote:
                webhook = await remote.webhooks.add("desk", receiver.url, cameras=["front"])
                assert [each.webhook_id for each in await remote.webhooks.all()] == [webhook.webhook_id]
                changed = await remote.webhooks.change(webhook.webhook_id, name="door", cameras=[])
                assert (changed.name, changed.wanted.cameras) == ("door", ())
                assert (await remote.webhooks.test(webhook.webhook_id)).taken
                assert (await remote.webhooks.pause(webhook.webhook_id)).paused_why
                assert (await remote.webhooks.resume(webhook.webhook_id)).paused_why is None
                assert await remote.webhooks.dead_letters(webhook.webhook_id) == []
                assert await remote.webhooks.redo(webhook.webhook_id) == 0
                await remote.webhooks.replay(webhook.webhook_id, "0")
                assert (await remote.webhooks.get(webhook.webhook_id)).name == "door"
                await remote.webhooks.remove(webhook.webhook_id)
                assert await remote.webhooks.all() == []

    asyncio.run(all_of_it())
