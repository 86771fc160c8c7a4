"""Who calls: from a token to a key that lives, within its rate and its scopes.

A token that was once found right is not hashed again as long as the record of its key has the same secrets: Argon2 is
slow on purpose, and callers come hundreds of times a second. The record itself is read again every
`api.key_cache_s`, so a key that is revoked or changed counts as such after that, in every process.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from anyio import to_thread
from starlette.requests import HTTPConnection

from kith.api_keys import ApiKey, Scope, parts_of
from kith.client import Client
from kith.errors import UnknownApiKey
from kith.jobs import now_ms
from kith.settings import Settings
from producers.api.doors import Doors
from producers.api.problems import Problem
from producers.api.tracing import Trace

#: Tokens remembered in a process; past it all are forgotten, and hashed once more.
_MOST_KNOWN = 10_000
#: Wrong secrets for one key: at most ten at once and one every five seconds are tried at all.
_WRONG_PER_S, _WRONG_BURST = 0.2, 10
#: Calls of a key that are taken from its rate at a time: those of so many seconds; and how long they are good for.
_AHEAD_S, _KEPT_S = 0.05, 1.0
#: Secrets that are hashed at once, each takes 19 MiB and a core; and how long one waits for its turn.
_HASHING, _HASHING_S = 2, 0.5


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller who was admitted. client: acts as the key, so that the audit log says so."""

    key: ApiKey
    client: Client
    trace: Trace

    @property
    def settings(self) -> Settings:
        """Those of the installation."""
        return self.client.settings

    def must(self, scope: Scope) -> None:
        """Raises Problem where the key lacks the scope."""
        if not self.key.may(scope):
            raise Problem(
                403,
                "scope_missing",
                f"key {self.key.key_id} has the scopes {', '.join(self.key.scopes)}, this needs {scope}",
                limit=scope,
                remedy="use a key with this scope (kith apikeys create --scope)",
            )

    def gallery(self, name: str | None = None) -> str:
        """The gallery that is meant, the installation's default for None. Raises Problem where it is not the key's."""
        name = name or self.settings.gallery.default
        if not self.key.sees(name):
            raise Problem(
                403,
                "gallery_forbidden",
                f"key {self.key.key_id} is for the galleries {', '.join(self.key.galleries)}, not for {name[:64]}",
                field="gallery",
                remedy="name one of those, or use another key",
            )
        return name

    def all_galleries(self) -> None:
        """Raises Problem for a key of certain galleries: what is asked for is of the whole installation."""
        if self.key.galleries:
            raise Problem(
                403,
                "gallery_forbidden",
                f"key {self.key.key_id} is for certain galleries, and this is about the whole installation",
                remedy="use a key for all galleries",
            )


@dataclass(slots=True)
class _Known:
    """A key that a token opens. left: calls that were taken ahead, until until_s."""

    key: ApiKey
    read_s: float
    left: int = 0
    until_s: float = 0.0

    def take(self, now_s: float) -> bool:
        # In the event loop alone, so that nobody takes the same one; given by threads, where the last word counts.
        if self.left < 1 or now_s >= self.until_s:
            return False
        self.left -= 1
        return True

    def give(self, left: int, until_s: float) -> None:
        self.left, self.until_s = left, until_s


class Callers:
    """Admits callers."""

    def __init__(self, doors: Doors, clock: Callable[[], float] = time.monotonic) -> None:
        self._doors, self._clock = doors, clock
        self._known: dict[bytes, _Known] = {}
        # Tokens are remembered by a digest nobody else can compute: a dump of this process tells no token.
        self._pepper = secrets.token_bytes(32)
        self._hashing = threading.BoundedSemaphore(_HASHING)

    async def admit(self, token: str | None, scopes: tuple[Scope, ...], trace: Trace) -> Caller:
        """Who calls with `token`, whose key has any of `scopes`. Raises Problem (401, 403, 429), StateUnavailable."""
        if not token:
            raise _unauthorised("no API key was sent")
        digest = self._digest(token)
        known = self._known.get(digest)
        # No thread, and no question to Redis, for who called a moment ago and has calls left that were taken then.
        if known is None or not self._fresh(known) or not known.take(self._clock()):
            known = await to_thread.run_sync(self._ask, token, digest)
        key = _living(known.key)
        caller = Caller(key, self._doors.client.acting_as(key.actor), trace)
        if scopes and not any(key.may(scope) for scope in scopes):
            caller.must(scopes[0])
        return caller

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(errors="replace"), key=self._pepper, digest_size=16).digest()

    def _fresh(self, known: "_Known") -> bool:
        return self._clock() - known.read_s < self._doors.settings.api.key_cache_s

    def _ask(self, token: str, digest: bytes) -> "_Known":
        known = self._known.get(digest)
        if known is None or not self._fresh(known):
            known = self._read(token, digest, known)
        self._take(known)
        return known

    def _take(self, known: "_Known") -> None:
        """One call for now, and as many as come within moments, so that not each of them asks Redis."""
        key, settings = known.key, self._doors.settings.api
        rate = key.rate_per_s or settings.rate_per_s
        # A key with a rate of its own has a burst in proportion.
        burst = max(1, round(settings.burst * rate / settings.rate_per_s))
        some = min(burst, max(1, int(rate * _AHEAD_S)))
        name = f"key:{key.key_id}"
        # Where that many are not left there may still be one.
        if some > 1 and self._doors.rates.take(name, rate, burst, some) == 0.0:
            known.give(some - 1, self._clock() + _KEPT_S)
            return
        wait_s = self._doors.rates.take(name, rate, burst)
        if wait_s > 0:
            raise Problem(
                429,
                "rate_exceeded",
                f"key {key.key_id} may call {rate:g} times a second, and {burst} times at once",
                limit=rate,
                remedy="send less often; Retry-After says when the next call is let through",
                retry_s=wait_s,
            )

    def _read(self, token: str, digest: bytes, known: "_Known | None") -> "_Known":
        parts = parts_of(token)
        if parts is None:
            raise _unauthorised("what was sent is no API key")
        key_id, secret = parts
        try:
            key = self._doors.client.api_keys.get(key_id)
        except UnknownApiKey:
            raise _unauthorised("the API key is unknown") from None
        same = known is not None and known.key.secrets == key.secrets and not _ended(known.key)
        if not same:
            self._check(key, secret)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        found = self._known[digest] = _Known(_living(key), self._clock())
        return found

    def _check(self, key: ApiKey, secret: str) -> None:
        if not self._hashing.acquire(timeout=_HASHING_S):
            # Or whoever sends wrong secrets all the time would hold the threads of those who are known.
            raise Problem(429, "too_many_attempts", "too many unknown secrets are being checked", retry_s=1.0)
        try:
            if key.opens(secret, now_ms()):
                return
        finally:
            self._hashing.release()
        wait_s = self._doors.rates.take(f"wrong:{key.key_id}", _WRONG_PER_S, _WRONG_BURST)
        if wait_s > 0:
            raise Problem(429, "too_many_attempts", "too many wrong secrets were sent for this key", retry_s=wait_s)
        raise _unauthorised("the API key is wrong, or was revoked, or has expired")


def needs(*scopes: Scope) -> Callable[[HTTPConnection], Awaitable[Caller]]:
    """A dependency: the caller, who has any of these scopes."""

    async def admitted(connection: HTTPConnection) -> Caller:
        callers: Callers = connection.app.state.callers
        return await callers.admit(token_in(connection), scopes, connection.state.trace)

    return admitted


def token_in(connection: HTTPConnection) -> str | None:
    """`Authorization: Bearer TOKEN`, or `X-Api-Key: TOKEN`."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return connection.headers.get("x-api-key")


def _ended(key: ApiKey) -> bool:
    """Whether a secret of the key has ended since: then it must be known which one the token has."""
    return any(each.until_ms is not None and each.until_ms <= now_ms() for each in key.secrets)


def _living(key: ApiKey) -> ApiKey:
    if not key.lives(now_ms()):
        raise _unauthorised("the API key has expired or was revoked")
    return key


def _unauthorised(why: str) -> Problem:
    return Problem(
        401,
        "unauthorised",
        why,
        field="Authorization",
        remedy="send `Authorization: Bearer KEY` or `X-Api-Key: KEY`; kith apikeys create makes one",
        headers={"www-authenticate": 'Bearer realm="kith"'},
    )
