"""Who is let in, on doubles: what is hashed and read again, and when."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from kith.api_keys import ApiKey, Scope, issue, revoke, rotate
from kith.backends.api_keys_memory import MemoryApiKeys
from kith.backends.rates_memory import MemoryRates
from kith.jobs import now_ms
from kith.settings import Settings
from producers.api.callers import Callers
from producers.api.problems import Problem
from producers.api.tracing import Trace

TRACE = Trace("r", "00-" + "1" * 32 + "-" + "2" * 16 + "-00")


class Keys(MemoryApiKeys):
    """Counts how often a record is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def get(self, key_id: str) -> ApiKey:
        self.reads += 1
        return super().get(key_id)


class House:
    """Doors on doubles, and a clock that is set by hand."""

    def __init__(self, **api: Any) -> None:
        self.now_s = 100.0
        self.keys = Keys()
        self.settings = Settings.model_validate({"api": {"rate_per_s": 1e6, "burst": 10**6, **api}})
        self.rates = MemoryRates(lambda: self.now_s)
        self.client = self
        self.api_keys = self.keys
        self.callers = Callers(self, lambda: self.now_s)  # type: ignore[arg-type]

    def acting_as(self, by: str) -> str:
        return by

    def admit(self, token: str | None, *scopes: Scope) -> Any:
        return anyio.run(self.callers.admit, token, scopes, TRACE)

    def refused(self, token: str | None, *scopes: Scope) -> Problem:
        with pytest.raises(Problem) as refused:
            self.admit(token, *scopes)
        return refused.value

    def key(self, *scopes: Scope, **how: Any) -> tuple[ApiKey, str]:
        key, token = issue("k", scopes or (Scope.SUBMIT,), **how)
        self.keys.add(key)
        return key, token


def test_who_has_a_key_acts_under_its_name() -> None:
    house = House()
    key, token = house.key()

    caller = house.admit(token, Scope.SUBMIT)

    assert caller.client == f"key:{key.key_id}"
    assert caller.trace is TRACE


def test_a_token_is_hashed_once_and_its_record_read_again_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(key_cache_s=5)
    _, token = house.key()
    hashed = 0
    opens = ApiKey.opens

    def counting(key: ApiKey, secret: str, at_ms: int) -> bool:
        nonlocal hashed
        hashed += 1
        return opens(key, secret, at_ms)

    monkeypatch.setattr(ApiKey, "opens", counting)
    for _ in range(5):
        house.admit(token)
    assert (hashed, house.keys.reads) == (1, 1)
    house.now_s += 6
    house.admit(token)
    assert (hashed, house.keys.reads) == (1, 2)


def test_a_key_that_was_revoked_opens_nothing_after_the_time_it_is_believed() -> None:
    house = House(key_cache_s=5)
    key, token = house.key()
    house.admit(token)
    revoke(house.keys, key.key_id)

    house.now_s += 6
    assert house.refused(token).status == 401


def test_a_secret_that_was_rotated_away_opens_nothing_then_and_the_new_one_does() -> None:
    house = House(key_cache_s=5)
    key, former = house.key()
    house.admit(former)
    _, token = rotate(house.keys, key.key_id, grace_s=0.0)
    house.now_s += 6

    assert house.refused(former).status == 401
    house.admit(token)


def test_a_key_that_expires_while_it_is_believed_opens_nothing_from_then_on() -> None:
    house = House(key_cache_s=3600)
    key, token = house.key(expires_ms=now_ms() + 3_600_000)
    house.admit(token)
    known = next(iter(house.callers._known.values()))
    known.key = replace(key, expires_ms=now_ms() - 1)

    assert house.refused(token).status == 401


def test_wrong_secrets_for_one_key_are_tried_a_few_times_only() -> None:
    house = House()
    key, token = house.key()
    wrong = [f"kith_{key.key_id}_{letter * 43}" for letter in "abcdefghijkl"]

    assert [house.refused(each).status for each in wrong] == [401] * 10 + [429] * 2
    house.admit(token)


def test_a_key_of_a_rate_has_a_burst_in_proportion() -> None:
    house = House(rate_per_s=100, burst=200)
    _, token = house.key(rate_per_s=1.0)

    house.admit(token)
    house.admit(token)
    refused = house.refused(token)

    assert (refused.status, refused.limit) == (429, 1.0)
    assert refused.retry_s == pytest.approx(1.0)


@pytest.mark.parametrize("token", [None, "", "x", "kith_0123456789ab_" + "a" * 43])
def test_without_a_key_nobody_gets_in(token: str | None, tmp_path: Path) -> None:
    assert House().refused(token).status == 401


def test_a_scope_that_is_missing_is_named() -> None:
    house = House()
    _, token = house.key(Scope.READ)

    assert house.refused(token, Scope.ENROL).limit == "enrol"
    house.admit(token, Scope.ENROL, Scope.READ)
