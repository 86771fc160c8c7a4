"""Sign-ins at the pages: a token in a browser's cookie stands for the API key that somebody showed.

The key itself is not kept. A session ends with its time, when its holder signs out, when the key is revoked or
expires, and when the very secret that was shown ends: who rotates a key because it leaked has thrown out whoever came
in with it. Of the token, 256 random bits, only a digest is kept: what Redis holds opens no session.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

from kith.api_keys import ApiKey


@dataclass(frozen=True, slots=True)
class Session:
    """secret_ms: when the secret that was shown had been made, which tells it from others of the key. begun_ms: when
    its holder signed in. Times in Unix milliseconds."""

    key_id: str
    secret_ms: int
    begun_ms: int
    wire: Literal[1] = 1

    def goes_on(self, key: ApiKey, at_ms: int) -> bool:
        """Whether the key, as it is now, still lets in whoever showed that secret."""
        return key.lives(at_ms) and any(
            each.created_ms == self.secret_ms and (each.until_ms is None or at_ms < each.until_ms)
            for each in key.secrets
        )


class Sessions(Protocol):
    """Where sessions are kept. Raises StateUnavailable, StateFull. Safe to call from many threads and processes."""

    def begin(self, session: Session, lifetime_s: int) -> str:
        """Keep a session for so long; its token, which nothing can tell again."""
        ...

    def get(self, token: str) -> Session | None:
        """The session of a token, None when there is none any more."""
        ...

    def end(self, token: str) -> None:
        """Sign out. What has ended already is no error."""
        ...


def new_token() -> str:
    """256 random bits, fit for a cookie."""
    return secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return sha256(token.encode(errors="replace")).hexdigest()
