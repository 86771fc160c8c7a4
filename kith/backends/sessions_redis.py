"""Sessions in Redis: `P:session:DIGEST`, a record (JSON) that Redis drops when its time is up."""

from typing import Any

import redis

from kith import wire
from kith.backends.redis_errors import mapped_redis_errors
from kith.sessions import Session, digest_of, new_token


class RedisSessions:
    """Implements kith.sessions.Sessions."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        # Any: redis-py types every reply as a union of all protocols' replies; ours are bytes (RESP2, not decoded).
        self._redis: Any = client
        self._prefix = prefix

    def begin(self, session: Session, lifetime_s: int) -> str:
        token = new_token()
        with mapped_redis_errors("sessions"):
            self._redis.set(self._place(token), wire.to_json(session), ex=lifetime_s)
        return token

    def get(self, token: str) -> Session | None:
        with mapped_redis_errors("sessions"):
            found = self._redis.get(self._place(token))
        return None if found is None else wire.from_json(Session, found)

    def end(self, token: str) -> None:
        with mapped_redis_errors("sessions"):
            self._redis.delete(self._place(token))

    def _place(self, token: str) -> str:
        return f"{self._prefix}:session:{digest_of(token)}"
