"""A client of Redis that loses replies on the way, as a network does: the server has done what it was asked."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


class Losses:
    """due: replies to scripts that will be lost from now on. lost: how many were."""

    def __init__(self) -> None:
        self.due = self.lost = 0


def losing_client(url: str, losses: Losses) -> redis.Redis:
    """A client that asks again, as that of kith.backends.connect does. url: unix://."""

    class Losing(redis.UnixDomainSocketConnection):
        sent = b""

        def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            super().send_packed_command(command, check_health)
            # Afterwards: connecting sends something too.
            self.sent = command if isinstance(command, bytes) else b"".join(bytes(part) for part in command)

        def read_response(self, *args: Any, **kwargs: Any) -> Any:
            response = super().read_response(*args, **kwargs)
            if losses.due and b"EVALSHA" in self.sent and not isinstance(response, Exception):
                losses.due -= 1
                losses.lost += 1
                self.disconnect()
                raise redis.ConnectionError("the reply was lost")
            return response

    path = url.removeprefix("unix://").partition("?")[0]
    pool = redis.ConnectionPool(
        connection_class=Losing,
        path=path,
        retry=Retry(NoBackoff(), retries=3),
        retry_on_error=[redis.ConnectionError],
    )
    return redis.Redis.from_pool(pool)
