"""Values of Redis read from the connection straight into arrays: `read_values`.

redis-py reads a reply into a buffer that grows and cuts it out of that: of every byte there are three or four copies on
the way. While what is freed is overwritten (kith.free_memory), as it is when vectors are read, all of them are written
twice more, and a load waited longer for that than for the server.

Here only what is expected is read: values, and that there are none. Whatever else comes, an error or a message of the
server, a connection that went or is none of redis-py's own, and all is asked once more by redis-py, which knows what to
do about it, or whose error says it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray

Value = NDArray[np.uint8]

#: Bytes read beyond what is sure to come, to find where a line ends: of a value, too, which are copied from here.
_AHEAD = 64
_END = b"\r\n"
#: How RESP2 and RESP3 say that there is no value.
_NONE = b"$-1", b"_"


class Unexpected(Exception):
    """Not a value; or not all of it."""


def read_values(client: redis.Redis, keys: Sequence[str]) -> list[Value]:
    """The values of `keys`, asked for together, in memory of their own, which may be written to: uint8 (bytes,). Empty
    where there is none.

    For values of a kilobyte to a few megabytes. Raises what redis-py raises.
    """
    try:
        return _read(client, keys)
    except (Unexpected, OSError, redis.exceptions.RedisError):
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(key)
            return [np.frombuffer(bytearray(value or b""), np.uint8) for value in pipe.execute()]


def _read(client: redis.Redis, keys: Sequence[str]) -> list[Value]:
    pool: Any = client.connection_pool
    # Checked by redis-py: it is open, and nothing is left in it that somebody asked for before.
    connection = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands([("GET", key) for key in keys]))
        replies = Replies(getattr(connection, "_sock", None))
        return [replies.value() for _ in keys]
    except BaseException:
        # What was asked for may still come, and nobody is to take it for his answer.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


class Replies:
    """Replies to GET as they come from `sock`, a socket or what TLS makes of one; with its timeout."""

    def __init__(self, sock: Any) -> None:
        if sock is None:
            raise Unexpected
        self._sock = sock
        self._ahead = bytearray(_AHEAD)
        #: What of `_ahead` was read and not taken yet.
        self._start = self._end = 0

    def value(self) -> Value:
        head = self._line()
        if head in _NONE:
            return np.empty(0, np.uint8)
        if not (head[:1] == b"$" and head[1:].isdigit()):
            raise Unexpected
        value = np.empty(int(head[1:]), np.uint8)
        room = value.data
        filled = min(self._end - self._start, len(room))
        room[:filled] = self._ahead[self._start : self._start + filled]
        self._start += filled
        while filled < len(room):
            filled += self._receive(room[filled:])
        if self._line():
            raise Unexpected
        return value

    def _line(self) -> bytes:
        """Up to the next end of a line, without it."""
        while (end := self._ahead.find(_END, self._start, self._end)) < 0:
            left = self._ahead[self._start : self._end]
            if len(left) == _AHEAD:
                raise Unexpected
            self._ahead[: len(left)] = left
            self._start, self._end = 0, len(left)
            self._end += self._receive(memoryview(self._ahead)[self._end :])
        line = bytes(self._ahead[self._start : end])
        self._start = end + len(_END)
        return line

    def _receive(self, room: memoryview) -> int:
        count: int = self._sock.recv_into(room)
        if not count:
            raise Unexpected
        return count
