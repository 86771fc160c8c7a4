"""What a stack is made of, each as a part that is supervised: workers, the camera process, the HTTP
door and the Valkey server."""

import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import psutil

from kith.errors import Misconfigured
from kith.supervision import Death

#: Exit status of a worker that cannot start as configured; starting it again would change nothing.
_BAD_CONFIGURATION = 78
#: What lived this long was sound, whatever else is known of it.
_SOUND_AFTER_S = 5.0
#: Connections the kernel holds until they are accepted: what comes while the door is started again.
_BACKLOG = 2048
#: Seconds between two questions whether there is something to do.
_ASK_EVERY_S = 2.0


@dataclass
class WorkerPart:
    """A worker process; it is started when this is made.

    last_words: the end of its log. has_heartbeat: whether the ledger has a sign of life of that process id.
    """

    name: str
    spawn: Callable[[], subprocess.Popen[bytes]]
    last_words: Callable[[], str]
    has_heartbeat: Callable[[int], bool]

    def __post_init__(self) -> None:
        self.start_again()

    def start_again(self) -> None:
        self.process = self.spawn()
        self._started_s = time.monotonic()

    def death(self) -> Death | None:
        code = self.process.poll()
        if code == _BAD_CONFIGURATION:
            return Death(f"refuses its configuration and stays down: {self.last_words()}", for_good=True)
        return None if code is None else Death(f"ended with status {code}")

    def was_sound(self) -> bool:
        # A heartbeat outlives its worker by seconds: of one that was ready and has just died, there still is one.
        return time.monotonic() - self._started_s > _SOUND_AFTER_S or self.has_heartbeat(self.process.pid)


class WantedPart:
    """A process that runs from when there is something for it to do: the camera process, the outward worker.

    why: of its start. wanted: whether there is; asked now and then, until the process was started. Afterwards it runs
    on, also with nothing to do any more.
    """

    def __init__(
        self,
        name: str,
        why: str,
        wanted: Callable[[], bool],
        spawn: Callable[[], subprocess.Popen[bytes]],
        last_words: Callable[[], str],
    ) -> None:
        self.name, self._why = name, why
        self._wanted, self._spawn, self._last_words = wanted, spawn, last_words
        self.process: subprocess.Popen[bytes] | None = None
        self._is_wanted = False
        self._ask_at_s = self._started_s = float("-inf")

    def start_again(self) -> None:
        self.process = self._spawn()
        self._started_s = time.monotonic()

    def death(self) -> Death | None:
        if self.process is None:
            if not self._is_wanted and time.monotonic() >= self._ask_at_s:
                self._ask_at_s = time.monotonic() + _ASK_EVERY_S
                self._is_wanted = self._wanted()
            return Death(self._why, first=True) if self._is_wanted else None
        code = self.process.poll()
        if code == _BAD_CONFIGURATION:
            return Death(f"refuses its configuration and stays down: {self._last_words()}", for_good=True)
        return None if code is None else Death(f"ended with status {code}")

    def was_sound(self) -> bool:
        return time.monotonic() - self._started_s > _SOUND_AFTER_S


class DoorPart:
    """The HTTP door; it is started when this is made.

    listening: the socket that callers connect to. It is not the process's own, so that who calls while the process is
    started again waits a moment and is not refused.
    """

    name = "api-1"

    def __init__(
        self,
        listening: socket.socket,
        spawn: Callable[[socket.socket], subprocess.Popen[bytes]],
        last_words: Callable[[], str],
    ) -> None:
        self._listening, self._spawn, self._last_words = listening, spawn, last_words
        self.start_again()

    @property
    def url(self) -> str:
        """Its address."""
        host, port = self._listening.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start_again(self) -> None:
        self.process = self._spawn(self._listening)
        self._started_s = time.monotonic()

    def death(self) -> Death | None:
        code = self.process.poll()
        if code == _BAD_CONFIGURATION:
            return Death(f"refuses its configuration and stays down: {self._last_words()}", for_good=True)
        return None if code is None else Death(f"ended with status {code}")

    def was_sound(self) -> bool:
        return time.monotonic() - self._started_s > _SOUND_AFTER_S

    def close(self) -> None:
        """Refuse callers from now on."""
        self._listening.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that callers can connect to. Raises Misconfigured where somebody else has the port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(_BACKLOG)
        except BaseException:
            made.close()
            raise
    except OSError as refused:
        raise Misconfigured(
            f"nobody can listen on {host}, port {port}: {refused.strerror or refused}; choose another (api.host, "
            "api.port, KITH_API__PORT), or 0 for any that is free"
        ) from None
    return made


class Server(Protocol):
    """kith.backends.valkey_embedded.EmbeddedValkey, as far as it matters here."""

    @property
    def pid(self) -> int | None: ...

    def start(self, *, adopt: bool = False) -> object: ...

    def stop(self) -> None: ...


class ServerPart:
    """The Valkey server. One that was stopped on purpose has no process id and stays down."""

    name = "valkey"

    def __init__(self, server: Server) -> None:
        self._server = server
        self._started_s = time.monotonic()

    def start_again(self) -> None:
        # Reaps the dead process.
        self._server.stop()
        self._server.start(adopt=True)
        self._started_s = time.monotonic()

    def death(self) -> Death | None:
        pid = self._server.pid
        return Death("ended") if pid is not None and not _lives(pid) else None

    def was_sound(self) -> bool:
        return time.monotonic() - self._started_s > _SOUND_AFTER_S


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
