"""Values of Redis read from the connection straight into arrays: `read_values`.

redis-py reads a reply into a buffer that grows and cuts it out of that: three or four copies of every byte. While what
is freed is overwritten (kith.free_memory), as it is when vectors are read, each copy is written twice more; without
them, a load of a gallery waits for the server.

Only what is expected is read here: a value, or that there is none. When anything else comes, an error or a message of
the server, when the connection goes, or when it is of a kind that has no socket to read from, redis-py asks for
everything once more: it knows what to do about it, and where it does not, its error says what is wrong.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray

Value = NDArray[np.uint8]

_log = logging.getLogger(__name__)

#: Bytes read at a time to find the end of a line. What is read beyond it is the beginning of a value.
_AHEAD = 64
_END = b"\r\n"
#: How RESP2 and RESP3 say that there is no value.
_NONE = b"$-1", b"_"
#: Redis has none that is larger (proto-max-bulk-len).
_LARGEST = 512 << 20


class Unexpected(Exception):
    """Not a value; or not all of it."""


def read_values(client: redis.Redis, keys: Sequence[str]) -> list[Value]:
    """The values of `keys`, asked for together, in memory of their own, which may be written to: uint8 (bytes,). Empty
    where there is none.

    For values of a kilobyte to a few megabytes. Raises what redis-py raises.
    """
    values = _read(client, keys)
    if values is None:
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(key)
            values = [np.frombuffer(bytearray(value or b""), np.uint8) for value in pipe.execute()]
    return values


def _read(client: redis.Redis, keys: Sequence[str]) -> list[Value] | None:
    pool: Any = client.connection_pool
    try:
        connection = pool.get_connection()
        try:
            # By name, and before anything is asked: a connection that keeps replies for itself has none.
            replies = Replies(getattr(connection, "_sock", None))
            # The pool looks itself, but not at connections that may be told of a maintenance.
            if connection.can_read():
                raise Unexpected("something was told that nobody asked for")
            connection.send_packed_command(connection.pack_commands([("GET", key) for key in keys]))
            return [replies.value() for _ in keys]
        except BaseException:
            # What was asked for may still come, and nobody is to take it for his answer.
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
    except (Unexpected, OSError, redis.exceptions.RedisError) as fault:
        _log.warning("%d values are asked for once more, by redis-py: %s", len(keys), fault)
    return None


class Replies:
    """Replies to GET as they come from `sock`, a socket or what TLS makes of one; with its timeout."""

    def __init__(self, sock: Any) -> None:
        if sock is None:
            raise Unexpected("the connection has no socket to read from")
        self._sock = sock
        self._ahead = bytearray(_AHEAD)
        #: What of `_ahead` was read and not taken yet.
        self._start = self._end = 0

    def value(self) -> Value:
        """The next one, empty where there is none. Raises Unexpected for whatever else comes, OSError."""
        head = self._line()
        if head in _NONE:
            return np.empty(0, np.uint8)
        if not (head[:1] == b"$" and head[1:].isdigit() and int(head[1:]) <= _LARGEST):
            raise Unexpected("a reply is no value")
        value = np.empty(int(head[1:]), np.uint8)
        room = value.data
        filled = min(self._end - self._start, len(room))
        room[:filled] = self._ahead[self._start : self._start + filled]
        self._start += filled
        while filled < len(room):
            filled += self._receive(room[filled:])
        if self._line():
            raise Unexpected("a value was longer than it should be")
        return value

    def _line(self) -> bytes:
        """Up to the next end of a line, without it."""
        while (end := self._ahead.find(_END, self._start, self._end)) < 0:
            left = self._ahead[self._start : self._end]
            if len(left) == _AHEAD:
                raise Unexpected("a reply began with a long line")
            self._ahead[: len(left)] = left
            self._start, self._end = 0, len(left)
            self._end += self._receive(memoryview(self._ahead)[self._end :])
        line = bytes(self._ahead[self._start : end])
        self._start = end + len(_END)
        return line

    def _receive(self, room: memoryview) -> int:
        count: int = self._sock.recv_into(room)
        if not count:
            raise Unexpected("the connection was closed")
        return count
