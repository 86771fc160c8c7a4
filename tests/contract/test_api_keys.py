"""API keys: one contract for the store in Redis and the one in memory."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kith.api_keys import ApiKey, ApiKeys, Scope, issue, parts_of, revoke, rotate
from kith.backends.api_keys_memory import MemoryApiKeys
from kith.backends.api_keys_redis import RedisApiKeys
from kith.errors import InvalidApiKey, InvalidName, UnknownApiKey
from kith.jobs import now_ms


@pytest.fixture(params=["memory", "redis"])
def keys(request: pytest.FixtureRequest, prefix: str) -> Iterator[ApiKeys]:
    if request.param == "memory":
        yield MemoryApiKeys()
    else:
        yield RedisApiKeys(request.getfixturevalue("redis_client"), prefix)


def secret_of(token: str) -> str:
    parts = parts_of(token)
    assert parts is not None
    return parts[1]


def made(keys: ApiKeys, **how: Any) -> tuple[ApiKey, str]:
    key, token = issue("door", (Scope.SUBMIT,), **how)
    keys.add(key)
    return key, secret_of(token)


def test_a_key_is_opened_by_its_own_secret_alone(keys: ApiKeys) -> None:
    (key, secret), (_, another) = made(keys), made(keys)
    kept = keys.get(key.key_id)

    assert kept == key
    assert kept.opens(secret, now_ms())
    assert not kept.opens(another, now_ms())
    assert not kept.opens("", now_ms())


def test_nothing_that_is_kept_tells_the_secret(keys: ApiKeys) -> None:
    key, secret = made(keys)

    assert secret not in repr(keys.get(key.key_id))
    assert key.secrets[0].hash.startswith("$argon2id$")


def test_after_a_rotation_both_secrets_open_until_the_grace_is_over(keys: ApiKeys) -> None:
    key, former = made(keys)
    rotated, token = rotate(keys, key.key_id, grace_s=60.0)

    kept = keys.get(key.key_id)
    assert kept == rotated
    assert all(kept.opens(secret, now_ms()) for secret in (former, secret_of(token)))
    assert not kept.opens(former, now_ms() + 61_000)
    assert kept.opens(secret_of(token), now_ms() + 61_000)


def test_a_rotation_without_grace_ends_the_former_secret_at_once(keys: ApiKeys) -> None:
    key, former = made(keys)
    rotated, _ = rotate(keys, key.key_id, grace_s=0.0)

    assert not keys.get(key.key_id).opens(former, now_ms())
    assert len(rotated.secrets) == 1


def test_a_rotation_does_not_prolong_what_an_earlier_one_let_end(keys: ApiKeys) -> None:
    key, first = made(keys)
    rotate(keys, key.key_id, grace_s=10.0)
    rotate(keys, key.key_id, grace_s=1000.0)

    assert not keys.get(key.key_id).opens(first, now_ms() + 11_000)


def test_a_revoked_key_opens_nothing_stays_in_the_list_and_is_not_rotated(keys: ApiKeys) -> None:
    key, secret = made(keys)
    revoke(keys, key.key_id)

    [kept] = keys.all()
    assert kept.revoked_ms is not None
    assert not kept.opens(secret, now_ms())
    with pytest.raises(InvalidApiKey, match="revoked"):
        rotate(keys, key.key_id, grace_s=1.0)


def test_a_key_that_expired_opens_nothing(keys: ApiKeys) -> None:
    key, secret = made(keys, expires_ms=now_ms() + 5_000)

    assert key.opens(secret, now_ms())
    assert not key.opens(secret, now_ms() + 6_000)


def test_a_key_that_is_not_there_is_named(keys: ApiKeys) -> None:
    for ask in (keys.get, lambda key_id: keys.change(key_id, lambda key: key)):
        with pytest.raises(UnknownApiKey, match="0123456789ab"):
            ask("0123456789ab")


def test_a_change_is_made_of_what_the_key_is_now(keys: ApiKeys) -> None:
    """Somebody else changes the key between our look and our change: neither change is lost."""
    key, _ = made(keys)
    calls = 0

    def change(seen: ApiKey) -> ApiKey:
        nonlocal calls
        calls += 1
        if calls == 1 and not isinstance(keys, MemoryApiKeys):
            keys.change(key.key_id, lambda other: replace(other, galleries=("staff",)))
        return replace(seen, name="renamed")

    changed = keys.change(key.key_id, change)

    assert changed == keys.get(key.key_id)
    assert changed.name == "renamed"
    assert changed.galleries == (() if isinstance(keys, MemoryApiKeys) else ("staff",))


def test_admin_may_everything_and_others_what_they_were_given() -> None:
    admin, _ = issue("a", (Scope.ADMIN,))
    reader, _ = issue("r", (Scope.READ,), galleries=("staff",))

    assert all(admin.may(scope) for scope in Scope)
    assert [scope for scope in Scope if reader.may(scope)] == [Scope.READ]
    assert reader.sees("staff")
    assert not reader.sees("guests")
    assert admin.sees("guests")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"name": ""}, "1..100"),
        ({"name": "a\nb"}, "control"),
        ({"scopes": ()}, "submit, read, enrol, admin"),
        ({"rate_per_s": 0.0}, "more than 0"),
        ({"rate_per_s": float("nan")}, "more than 0"),
    ],
)
def test_a_key_that_cannot_be_is_refused_with_the_reason(how: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidApiKey, match=said):
        issue(**{"name": "n", "scopes": (Scope.READ,), **how})


def test_galleries_of_a_key_have_names_that_galleries_can_have() -> None:
    with pytest.raises(InvalidName):
        issue("n", (Scope.READ,), galleries=("No Such",))


@pytest.mark.parametrize("text", ["", "kith_", "kith_0123456789ab_short", "kith_0123456789AB_" + "a" * 43, "Bearer x"])
def test_what_is_no_token_has_no_parts(text: str) -> None:
    assert parts_of(text) is None
