"""What the door tells somebody who has no key: every address it has is tried, those of the pages too."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from tests.http_door import House, front

#: Answered to everybody. The sign-in takes a key: its form without one is refused like all the rest.
OPEN = {
    *("GET /healthz", "GET /readyz", "GET /openapi.json", "HEAD /openapi.json"),
    *("GET /sign-in", "GET /static/{version}/{name}"),
}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with front(tmp_path_factory.mktemp("api")) as house:
        yield house


def addresses(router: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and pattern of all that a router answers; WebSockets are opened by GET."""
    for route in router.routes:
        inner: APIRouter | None = getattr(route, "original_router", None)
        if inner is not None:
            yield from addresses(inner, prefix + router.prefix)
        else:
            for method in sorted(getattr(route, "methods", None) or {"GET"}):
                yield method, prefix + route.path


def asked(door: House, method: str, pattern: str, static: str) -> httpx.Response:
    path = static if pattern.startswith("/static/") else re.sub(r"\{[^}]*\}", "1", pattern)
    headers = {"origin": door.url}
    if pattern.endswith("/ws"):
        handshake = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        headers |= handshake | {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    return httpx.request(method, door.url + path, headers=headers, timeout=30)


def test_every_address_but_a_named_few_refuses_somebody_without_a_key(door: House) -> None:
    [static, *_] = re.findall(r"/static/[\w.-]+/[\w.-]+", httpx.get(f"{door.url}/sign-in").text)
    told = set()
    for method, pattern in addresses(door.app.router):
        answer = asked(door, method, pattern, static)
        sent_away = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
        if not (answer.status_code == 401 or sent_away):
            assert answer.status_code == 200, (method, pattern, answer.text)
            told.add(f"{method} {pattern}")

    assert told == OPEN


def test_the_addresses_that_are_tried_are_all_there_are(door: House) -> None:
    """Else the one above tests less than it says."""
    tried = {re.sub(r":\w+\}", "}", pattern) for _, pattern in addresses(door.app.router)}

    assert set(httpx.get(f"{door.url}/openapi.json").json()["paths"]) <= tried
    assert {"/", "/system", "/v1/events/ws", "/api/v1/recognition/subjects"} <= tried
