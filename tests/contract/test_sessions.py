"""Sessions of the pages: one contract for the store in Redis and the one in memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import redis

from kith.api_keys import ApiKey, Scope, issue, parts_of, revoke, rotate
from kith.backends.api_keys_memory import MemoryApiKeys
from kith.backends.sessions_memory import MemorySessions
from kith.backends.sessions_redis import RedisSessions
from kith.jobs import now_ms
from kith.sessions import Session, Sessions, digest_of

SESSION = Session("0123456789ab", 1_000, 2_000)


@pytest.fixture(params=["memory", "redis"])
def kept(request: pytest.FixtureRequest, prefix: str) -> Iterator[tuple[Sessions, Callable[[str], None]]]:
    """The store, and what lets the time of a token's session run out."""
    if request.param == "memory":
        now_s = [0.0]

        def run_out(_: str) -> None:
            now_s[0] += 60.0

        yield MemorySessions(lambda: now_s[0]), run_out
    else:
        client: redis.Redis = request.getfixturevalue("redis_client")

        def expire(token: str) -> None:
            assert 0 < client.ttl(f"{prefix}:session:{digest_of(token)}") <= 60  # type: ignore[operator]
            client.pexpire(f"{prefix}:session:{digest_of(token)}", 0)

        yield RedisSessions(client, prefix), expire


def test_a_session_is_found_by_its_own_token_alone(kept: tuple[Sessions, Callable[[str], None]]) -> None:
    sessions, _ = kept
    token, other = (
        sessions.begin(SESSION, 60),
        sessions.begin(replace(SESSION, begun_ms=3), 60),
    )

    assert sessions.get(token) == SESSION
    assert sessions.get(other) != SESSION
    assert sessions.get(token[:-1]) is None
    assert sessions.get("") is None
    assert sessions.get("\ud800") is None


def test_a_session_ends_with_its_time(kept: tuple[Sessions, Callable[[str], None]]) -> None:
    sessions, run_out = kept
    token = sessions.begin(SESSION, 60)

    run_out(token)

    assert sessions.get(token) is None


def test_who_signs_out_is_out_and_may_say_so_twice(kept: tuple[Sessions, Callable[[str], None]]) -> None:
    sessions, _ = kept
    token, other = sessions.begin(SESSION, 60), sessions.begin(SESSION, 60)

    sessions.end(token)
    sessions.end(token)

    assert sessions.get(token) is None
    assert sessions.get(other) == SESSION


def test_nothing_that_redis_holds_opens_a_session(redis_client: redis.Redis, prefix: str) -> None:
    token = RedisSessions(redis_client, prefix).begin(SESSION, 60)

    [place] = redis_client.scan_iter(f"{prefix}:*")
    assert token.encode() not in place + redis_client.get(place)  # type: ignore[operator]


def begun(keys: MemoryApiKeys, **how: int) -> tuple[ApiKey, Session]:
    key, token = issue("desk", (Scope.READ,), **how)
    keys.add(key)
    parts = parts_of(token)
    assert parts is not None
    shown = key.opened_by(parts[1], now_ms())
    assert shown is not None
    return key, Session(key.key_id, shown.created_ms, now_ms())


def test_a_session_ends_when_its_key_is_revoked_or_expires() -> None:
    keys = MemoryApiKeys()
    key, session = begun(keys, expires_ms=now_ms() + 5_000)

    assert session.goes_on(key, now_ms())
    assert not session.goes_on(key, now_ms() + 6_000)
    assert not session.goes_on(revoke(keys, key.key_id), now_ms())


def test_a_session_ends_with_the_secret_that_was_shown_not_with_the_key() -> None:
    keys = MemoryApiKeys()
    key, session = begun(keys)
    # Secrets are told apart by when they were made, as a rotation is at least a millisecond later.
    session, key = replace(session, secret_ms=1), replace(key, secrets=(replace(key.secrets[0], created_ms=1),))
    keys.add(key)

    rotated, _ = rotate(keys, key.key_id, grace_s=10.0)

    assert session.goes_on(rotated, now_ms())
    assert not session.goes_on(rotated, now_ms() + 11_000)
    assert rotated.lives(now_ms() + 11_000)
