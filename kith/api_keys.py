"""Keys of the HTTP door: who may call, what for, and in which galleries. Nobody can read a key back: hashes are kept.

A key is shown once, as `kith_ID_SECRET`. The id is no secret: it names the key in lists and is the actor `key:ID` of
the audit log. Of the secret, 256 random bits, an Argon2id hash is kept (RFC 9106; parameters as OWASP's Password
Storage Cheat Sheet asks at least). Rotating gives the key another secret; the one before it goes on for as long as is
said, so that clients may be changed one after the other.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from kith.errors import InvalidApiKey
from kith.jobs import Finite, now_ms
from kith.names import gallery_name

_TOKEN = re.compile(r"kith_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,100}")

#: 19 MiB, two passes, one lane. A hash in the wrong hands is one of 256 random bits: no cost would be too low for that.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class Scope(StrEnum):
    """What a key may do. SUBMIT: hand in images and learn what was decided about them. READ: everything that is told or
    listed. ENROL: change who is in a gallery. ADMIN: all of that, and all else."""

    SUBMIT = "submit"
    READ = "read"
    ENROL = "enrol"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Secret:
    """The hash of one secret. until_ms: when it ends, None for the one that is in force."""

    hash: str
    created_ms: int
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret. galleries: those it may touch, empty for all. rate_per_s: calls a second, None for
    the installation's. secrets: oldest first, none when it was revoked. Times in Unix milliseconds.

    Raises InvalidApiKey.
    """

    key_id: str
    name: str
    scopes: tuple[Scope, ...]
    created_ms: int
    secrets: tuple[Secret, ...]
    galleries: tuple[str, ...] = ()
    rate_per_s: Finite | None = None
    expires_ms: int | None = None
    revoked_ms: int | None = None
    wire: Literal[1] = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidApiKey("the name of an API key is not 1..100 characters without control characters")
        if not self.scopes:
            raise InvalidApiKey(f"API key {self.name} may do nothing; give it some of {', '.join(Scope)}")
        if self.rate_per_s is not None and not self.rate_per_s > 0:
            raise InvalidApiKey(f"API key {self.name}: {self.rate_per_s:g} calls a second; give more than 0")
        for gallery in self.galleries:
            gallery_name(gallery)

    @property
    def actor(self) -> str:
        """What it is called in the audit log."""
        return f"key:{self.key_id}"

    def may(self, scope: Scope) -> bool:
        """Whether it has the scope; admin has all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, gallery: str) -> bool:
        """Whether the gallery is one of its own."""
        return not self.galleries or gallery in self.galleries

    def lives(self, at_ms: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_ms is None and (self.expires_ms is None or at_ms < self.expires_ms)

    def opens(self, secret: str, at_ms: int) -> bool:
        """Whether `secret` is one that counts at `at_ms`. Takes about 20 ms of CPU for each that is tried."""
        return self.opened_by(secret, at_ms) is not None

    def opened_by(self, secret: str, at_ms: int) -> Secret | None:
        """Which of its secrets that is, None where it is none that counts. As `opens`."""
        if not self.lives(at_ms):
            return None
        # The newest first: it is the one in use, but for the hours after a rotation.
        current = (each for each in reversed(self.secrets) if each.until_ms is None or at_ms < each.until_ms)
        return next((each for each in current if _is(secret, each.hash)), None)


class ApiKeys(Protocol):
    """Where keys are kept. Raises StateUnavailable, StateFull. Safe to call from many threads and processes."""

    def add(self, key: ApiKey) -> None:
        """Keep a new key."""
        ...

    def get(self, key_id: str) -> ApiKey:
        """Raises UnknownApiKey."""
        ...

    def all(self) -> list[ApiKey]:
        """Oldest first, revoked ones too."""
        ...

    def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        """Put what `change` makes of a key in its place; the key then. Raises UnknownApiKey.

        `change` may be called again, when somebody else changed the key meanwhile.
        """
        ...


def issue(
    name: str,
    scopes: tuple[Scope, ...],
    *,
    galleries: tuple[str, ...] = (),
    rate_per_s: float | None = None,
    expires_ms: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its token, which nothing can tell again. Raises InvalidApiKey, InvalidName."""
    key_id, secret, at_ms = secrets.token_hex(6), secrets.token_urlsafe(32), now_ms()
    key = ApiKey(key_id, name, scopes, at_ms, (Secret(_HASHER.hash(secret), at_ms),), galleries, rate_per_s, expires_ms)
    return key, token_of(key_id, secret)


def rotate(keys: ApiKeys, key_id: str, grace_s: float) -> tuple[ApiKey, str]:
    """Another secret for a key; the former ones end after `grace_s` seconds at the latest. Raises UnknownApiKey,
    InvalidApiKey for one that was revoked."""
    secret, at_ms = secrets.token_urlsafe(32), now_ms()
    hashed, ends_ms = _HASHER.hash(secret), at_ms + round(grace_s * 1000)

    def changed(key: ApiKey) -> ApiKey:
        if key.revoked_ms is not None:
            raise InvalidApiKey(f"API key {key_id} was revoked; make a new one (kith apikeys create)")
        former = (replace(each, until_ms=min(each.until_ms or ends_ms, ends_ms)) for each in key.secrets)
        kept = tuple(each for each in former if each.until_ms is not None and each.until_ms > at_ms)
        return replace(key, secrets=(*kept, Secret(hashed, at_ms)))

    return keys.change(key_id, changed), token_of(key_id, secret)


def revoke(keys: ApiKeys, key_id: str) -> ApiKey:
    """The key opens nothing any more; it stays in the list, for the audit log names it. Raises UnknownApiKey."""
    at_ms = now_ms()
    return keys.change(key_id, lambda key: replace(key, secrets=(), revoked_ms=key.revoked_ms or at_ms))


def token_of(key_id: str, secret: str) -> str:
    """What a caller sends."""
    return f"kith_{key_id}_{secret}"


def parts_of(token: str) -> tuple[str, str] | None:
    """Id and secret of a token, None for what is none."""
    found = _TOKEN.fullmatch(token)
    return (found[1], found[2]) if found else None


def _is(secret: str, hashed: str) -> bool:
    try:
        return _HASHER.verify(hashed, secret)
    except (VerificationError, InvalidHashError):
        return False
