"""The whole system on this machine: Valkey, the directory store and the workers, as child processes under one roof.

What `kith up`, the demo, the end-to-end tests and the benchmarks start. The production form (docker-compose.yml)
differs in settings only. Another composition root, hence its use of backends.
"""

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

from pydantic import SecretStr

from kith.applications import application_root, process_environment
from kith.backends.cameras_redis import RedisCameras
from kith.backends.connect import redis_client
from kith.backends.ledger_redis import RedisLedger
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.backends.webhooks_redis import RedisWebhooks
from kith.errors import Misconfigured, StateUnavailable
from kith.metrics.knobs import Address, address_for
from kith.parts import DoorPart, ServerPart, WantedPart, WorkerPart, listen
from kith.settings import Settings
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

    embed, publish: how many workers of each. api: whether the HTTP door is opened too; where its port is taken it stays
    shut. notify: told of every event worth a line ("embed-1 ended …").
    """

    def __init__(
        self,
        settings: Settings,
        *,
        embed: int = 1,
        publish: int = 1,
        valkey: bool = True,
        api: bool = False,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self._roles = [
            *((f"embed-{n}", "embed") for n in range(1, embed + 1)),
            *((f"publish-{n}", "publish") for n in range(1, publish + 1)),
            ("upkeep", "upkeep"),
            ("watch", "watch"),
        ]
        self._notify = notify
        self._valkey = EmbeddedValkey(settings.home / "valkey") if valkey else None
        self._children: list[WorkerPart] = []
        self._wanted: list[WantedPart] = []
        self._api = api
        self._door: DoorPart | None = None
        self._lock: IO[str] | None = None
        self._stopping = threading.Event()
        self._supervisor: Supervisor | None = None

    def start(self, timeout_s: float = 90.0) -> Self:
        """Start everything and wait until every worker has said that it is ready.

        Raises Misconfigured (another stack runs in this home; `workers` is not here; a worker refuses its settings,
        with the last line of its log), StateUnavailable when it takes longer than `timeout_s`.
        """
        root = application_root()
        self._claim_home()
        try:
            if self._valkey is not None:
                # We hold the home's lock, so a server that runs here was left behind by a stack that was killed.
                self._valkey.start(adopt=True)
            for name, role in self._roles:
                self._children.append(self._worker(name, role, root))
            self._wait_until_ready(timeout_s)
            if self._api:
                try:
                    self._door = self._door_part(root)
                except Misconfigured as taken:
                    self._notify(f"the HTTP door stays shut: {taken}")
        except BaseException:
            self.stop()
            raise
        # The server first: without it no worker comes up.
        servers: list[Part] = [ServerPart(self._valkey)] if self._valkey is not None else []
        self._wanted = [self._camera_part(root), self._outward_part(root)]
        doors: list[Part] = [self._door] if self._door is not None else []
        self._supervisor = Supervisor([*servers, *self._children, *self._wanted, *doors], self._notify)
        self._supervisor.start()
        return self

    def stop(self) -> None:
        """Workers first (each finishes the jobs it holds), then Valkey, whose log is written out."""
        self._stopping.set()
        if self._supervisor is not None:
            self._supervisor.stop()
        running = self._running()
        for process in running.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        for name, process in running.items():
            try:
                process.wait(max(0.1, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._notify(f"{name} did not end in {_STOP_TIMEOUT_S:g} s and was killed; its jobs are redelivered")
                process.kill()
                process.wait()
        self._children.clear()
        self._wanted.clear()
        if self._door is not None:
            self._door.close()
            self._door = None
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

    @property
    def url(self) -> str | None:
        """The address of the HTTP door, where it is open."""
        return None if self._door is None else self._door.url

    def pids(self, role: str = "") -> dict[str, int]:
        """Process ids of the children whose name starts with `role`."""
        return {name: process.pid for name, process in self._running().items() if name.startswith(role)}

    def metrics_of(self, name: str) -> Address | None:
        """Where a process tells Prometheus. Raises Misconfigured where there are not enough ports."""
        # The same ports for those of which there is one, however many the others are; the door, which may take several
        # (api.processes), comes last.
        few, others = ("upkeep", "watch", "outward-1", "camera-1"), (name for name, _ in self._roles)
        numbered = dict.fromkeys((*few, *others, DoorPart.name))
        return address_for(self.settings.metrics, list(numbered).index(name))

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

    def _camera_part(self, root: Path) -> WantedPart:
        return self._wanted_part("camera-1", "has cameras to serve", "producers.camera", self._has_cameras, root)

    def _outward_part(self, root: Path) -> WantedPart:
        return self._wanted_part("outward-1", "has somebody to tell", "workers.outward", self._has_listeners, root)

    def _wanted_part(self, name: str, why: str, module: str, wanted: Callable[[], bool], root: Path) -> WantedPart:
        command = [sys.executable, "-m", module, "--name", name]
        if (at := self.metrics_of(name)) is not None and at.port:
            # Who was not there at the start is in no list that was shown then.
            why = f"{why}, http://{at}/metrics"
        return WantedPart(name, why, wanted, lambda: self._popen(name, command, root), lambda: self._last_words(name))

    def _door_part(self, root: Path) -> DoorPart:
        def spawn(listening: socket.socket) -> subprocess.Popen[bytes]:
            number = listening.fileno()
            command = [sys.executable, "-m", "producers.api", "--fd", str(number)]
            return self._popen(DoorPart.name, command, root, number)

        knobs = self.settings.api
        return DoorPart(listen(knobs.host, knobs.port), spawn, lambda: self._last_words(DoorPart.name))

    def _has_cameras(self) -> bool:
        with contextlib.suppress(StateUnavailable), redis_client(self.settings) as state:
            return any(not camera.paused for camera in RedisCameras(state, self.settings.redis.prefix).all())
        return False

    def _has_listeners(self) -> bool:
        if self.settings.mqtt.host is not None:
            return True
        with contextlib.suppress(StateUnavailable), redis_client(self.settings) as state:
            return bool(RedisWebhooks(state, self.settings.redis.prefix).all())
        return False

    def _running(self) -> dict[str, subprocess.Popen[bytes]]:
        """The processes that were started, by name; those first that make work for the others."""
        running = {} if self._door is None else {self._door.name: self._door.process}
        running |= {part.name: part.process for part in self._wanted if part.process is not None}
        return running | {child.name: child.process for child in self._children}

    def _popen(self, name: str, command: list[str], root: Path, *inherited: int) -> subprocess.Popen[bytes]:
        environment = process_environment(self.settings) | {"KITH_SUPERVISOR_PID": str(os.getpid())}
        environment |= {"KITH_METRICS__LISTEN": str(self.metrics_of(name) or "")}
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
                pass_fds=inherited,
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
