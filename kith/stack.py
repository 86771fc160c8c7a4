"""The whole system on this machine: Valkey, the directory store and the workers, as child processes under one roof.

What `kith up`, the demo, the end-to-end tests and the benchmarks start. The production form (docker-compose.yml)
differs in settings only. Another composition root, hence its use of backends.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

from pydantic import SecretStr

from kith.backends.connect import redis_client
from kith.backends.ledger_redis import RedisLedger
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.errors import Misconfigured, StateUnavailable
from kith.parts import ServerPart, WorkerPart
from kith.settings import Settings, as_environment
from kith.supervision import Part, Supervisor

_STOP_TIMEOUT_S = 15.0


def local_settings(settings: Settings, home: Path | None = None) -> Settings:
    """`settings` for a stack of one's own under `home`: its Valkey, its directory store."""
    home = (home or settings.home).expanduser().resolve()
    url = EmbeddedValkey(home / "valkey").url
    return settings.model_copy(
        update={
            "home": home,
            "redis": settings.redis.model_copy(update={"url": SecretStr(url)}),
            "store": settings.store.model_copy(update={"kind": "directory", "directory": home / "images"}),
        }
    )


class Stack:
    """Starts what it is told, restarts what dies, stops everything it started. Use as a context manager.

    embed, publish: how many workers of each. notify: told of every event worth a line ("embed-1 ended …").
    """

    def __init__(
        self,
        settings: Settings,
        *,
        embed: int = 1,
        publish: int = 1,
        valkey: bool = True,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self._roles = [
            *((f"embed-{n}", "embed") for n in range(1, embed + 1)),
            *((f"publish-{n}", "publish") for n in range(1, publish + 1)),
            ("upkeep", "upkeep"),
        ]
        self._notify = notify
        self._valkey = EmbeddedValkey(settings.home / "valkey") if valkey else None
        self._children: list[WorkerPart] = []
        self._lock: IO[str] | None = None
        self._stopping = threading.Event()
        self._supervisor: Supervisor | None = None

    def start(self, timeout_s: float = 90.0) -> Self:
        """Start everything and wait until every worker has said that it is ready.

        Raises Misconfigured (another stack runs in this home; `workers` is not here; a worker refuses its settings,
        with the last line of its log), StateUnavailable when it takes longer than `timeout_s`.
        """
        root = _application_root()
        self._claim_home()
        try:
            if self._valkey is not None:
                # We hold the home's lock, so a server that runs here was left behind by a stack that was killed.
                self._valkey.start(adopt=True)
            for name, role in self._roles:
                self._children.append(self._worker(name, role, root))
            self._wait_until_ready(timeout_s)
        except BaseException:
            self.stop()
            raise
        # The server first: without it no worker comes up.
        servers: list[Part] = [ServerPart(self._valkey)] if self._valkey is not None else []
        self._supervisor = Supervisor([*servers, *self._children], self._notify)
        self._supervisor.start()
        return self

    def stop(self) -> None:
        """Workers first (each finishes the jobs it holds), then Valkey, whose log is written out."""
        self._stopping.set()
        if self._supervisor is not None:
            self._supervisor.stop()
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        for child in self._children:
            try:
                child.process.wait(max(0.1, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._notify(
                    f"{child.name} did not end in {_STOP_TIMEOUT_S:g} s and was killed; its jobs are redelivered"
                )
                child.process.kill()
                child.process.wait()
        self._children.clear()
        if self._valkey is not None:
            self._valkey.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def cancel(self) -> None:
        """Have a `start` under way in another thread raise, after it has taken down what it started."""
        self._stopping.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def valkey(self) -> EmbeddedValkey | None:
        """The server, for those who want to restart it."""
        return self._valkey

    def pids(self, role: str = "") -> dict[str, int]:
        """Process ids of the children whose name starts with `role`."""
        return {child.name: child.process.pid for child in self._children if child.name.startswith(role)}

    def log_of(self, name: str) -> Path:
        """Where a worker's output goes."""
        return self.settings.home / "logs" / f"{name}.log"

    def _claim_home(self) -> None:
        self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.settings.home / "logs").mkdir(exist_ok=True)
        lock = (self.settings.home / "up.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise Misconfigured(
                f"another `kith up` runs in {self.settings.home}; use it, or name another home (--home, KITH_HOME)"
            ) from None
        self._lock = lock

    def _worker(self, name: str, role: str, root: Path) -> WorkerPart:
        command = [sys.executable, "-m", f"workers.{role}", "--name", name]
        return WorkerPart(
            name, lambda: self._popen(name, command, root), lambda: self._last_words(name), self._has_heartbeat
        )

    def _popen(self, name: str, command: list[str], root: Path) -> subprocess.Popen[bytes]:
        # Ours only: a variable of the caller's would win over what `self.settings` leaves unset, or has changed.
        inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("KITH_")}
        environment = inherited | as_environment(self.settings) | {"KITH_SUPERVISOR_PID": str(os.getpid())}
        with self.log_of(name).open("ab") as log:
            # A session of its own: Ctrl-C reaches us alone, and we stop the workers in order.
            return subprocess.Popen(
                command,
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_until_ready(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        with redis_client(self.settings) as state:
            ledger = RedisLedger(state, self.settings)
            while True:
                if self._stopping.is_set():
                    raise StateUnavailable("the stack was stopped while it was starting")
                ended = next((child for child in self._children if child.process.poll() is not None), None)
                if ended is not None:
                    raise Misconfigured(f"{ended.name} could not start: {self._last_words(ended.name)}")
                ready = {beat.pid for beat in ledger.workers()}
                missing = [child.name for child in self._children if child.process.pid not in ready]
                if not missing:
                    return
                if time.monotonic() > deadline_s:
                    raise StateUnavailable(
                        f"{', '.join(missing)} not ready after {timeout_s:g} s: {self._last_words(missing[0])}"
                    )
                time.sleep(0.05)

    def _has_heartbeat(self, pid: int) -> bool:
        with contextlib.suppress(StateUnavailable), redis_client(self.settings) as state:
            return pid in {beat.pid for beat in RedisLedger(state, self.settings).workers()}
        return False

    def _last_words(self, name: str) -> str:
        with self.log_of(name).open(errors="replace") as log:
            return " / ".join(line.strip() for line in deque(log, maxlen=2)) or "it left no log"


def _application_root() -> Path:
    """The folder that holds `workers/`: the current one, or the checkout this package was imported from.

    Raises Misconfigured where neither has it: the wheel carries the core and this command line only.
    """
    for root in (Path.cwd(), Path(__file__).resolve().parent.parent):
        if (root / "workers" / "embed.py").is_file():
            return root
    raise Misconfigured(
        "the worker processes are not here: the wheel holds the client and the core only. Run `kith up` in a checkout "
        "of the repository, or use docker-compose.yml"
    )
