"""Server-sent events as they are read (WHATWG HTML, section 9.2.6), from whatever pieces they arrive in."""

import re
from dataclasses import dataclass

from kith.errors import ApiUnavailable

#: An event of Kith is a few kilobytes. What grows past this is no stream of events.
_MOST_BYTES = 4 << 20

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """name: `message` where it has none. data: its lines, joined. last_id: the newest id by then, '' before any."""

    name: str
    data: str
    last_id: str = ""


class EventParser:
    """last_id: of the last event that had one, also of one without data. retry_s: as the server asked."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_s: float | None = None
        self._rest = b""
        self._name, self._data = "", list[str]()
        self._id: str | None = None
        self._begun = False

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """The events that end in this piece. Raises ApiUnavailable for what is no stream of events."""
        text = self._rest + piece
        if not self._begun and len(text) >= 3:
            self._begun, text = True, text.removeprefix(b"\xef\xbb\xbf")
        # A line feed may follow in the next piece; the two are one end.
        held = text[-1:] if text.endswith(b"\r") else b""
        *lines, rest = _END_OF_LINE.split(text[: len(text) - len(held)])
        self._rest = rest + held
        if len(self._rest) + sum(map(len, self._data)) > _MOST_BYTES:
            raise ApiUnavailable(f"an event of more than {_MOST_BYTES:,} bytes; this is no stream of Kith")
        found = [self._line(line.decode(errors="replace")) for line in lines]
        return [each for each in found if each is not None]

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = int(value) / 1000
        # A line that begins with a colon is a comment; fields of other names are for others.
        return None

    def _dispatch(self) -> ServerEvent | None:
        if self._id is not None:
            self.last_id = self._id
        found = ServerEvent(self._name or "message", "\n".join(self._data), self.last_id) if self._data else None
        self._name, self._data = "", []
        return found
