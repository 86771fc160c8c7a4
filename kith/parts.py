"""What a stack is made of, each as a part that is supervised: worker processes and the Valkey server."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import psutil

from kith.supervision import Death

#: Exit status of a worker that cannot start as configured; starting it again would change nothing.
_BAD_CONFIGURATION = 78
#: What lived this long was sound, whatever else is known of it.
_SOUND_AFTER_S = 5.0


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
