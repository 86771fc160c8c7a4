"""WebSockets that are refused: a plain answer, and no word in the log."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from kith.api_keys import Scope
from tests.http_door import House, front


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with front(tmp_path_factory.mktemp("sockets")) as opened:
        yield opened


def refused(door: House, query: str = "", **headers: str) -> Any:
    """The answer to a handshake."""
    address = door.url.replace("http", "ws", 1) + f"/v1/events/ws{query}"
    with pytest.raises(InvalidStatus) as raised, connect(address, additional_headers=headers):
        pass
    return raised.value.response


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer kith_0_x"}], ids=["no key", "nobody's key"])
def test_somebody_without_a_key_is_a_problem_of_theirs_and_no_error_of_the_server(
    door: House, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = refused(door, **headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert b'"code":"unauthorised"' in answer.body
    assert answer.headers["x-request-id"].encode() in answer.body
    assert caplog.records == []


def test_a_place_that_is_none_is_named_as_it_is_over_http(door: House, caplog: pytest.LogCaptureFixture) -> None:
    with door.caller(Scope.READ) as caller, caplog.at_level(logging.WARNING):
        answer = refused(door, "?after=yesterday", authorization=caller.headers["authorization"])
    assert answer.status_code == 422
    assert b'"field":"after"' in answer.body
    assert caplog.records == []
