"""A stack under `kith up` for all end-to-end tests, and `kith` as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from kith.checkpoints import simulated_pack
from kith.client import Client

KITH = Path(sys.executable).with_name("kith")


@dataclass(frozen=True)
class Ran:
    """What a command said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON value; fails when there is anything else on it."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Kith:
    """The command line against one home."""

    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The caller's, without what it may say about another Kith."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
        # Port 0: stacks of several tests run at once.
        return {**clean, "KITH_HOME": str(self.home), "KITH_API__PORT": "0", "COLUMNS": "200", **more}

    def __call__(self, *arguments: str | Path, status: int = 0, **more: str) -> Ran:
        """Run to the end and check how it ended."""
        done = subprocess.run(
            [KITH, *arguments],
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *command: str | Path, **more: str) -> "Running":
        """Start a command that goes on. The first word is a program, or an argument of `kith`."""
        return Running([*command] if Path(command[0]).is_absolute() else [KITH, *command], self.environment(**more))


class Running:
    """A process that goes on, with its lines as they come."""

    def __init__(self, command: list[str | Path], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def until(self, text: str, timeout_s: float = 60.0) -> None:
        """Wait for a line that holds `text`."""
        wait_for(lambda: any(text in line for line in self.lines), f"{text!r} in {self.lines}", timeout_s)

    def end(self, number: int = signal.SIGINT, timeout_s: float = 30.0) -> int:
        """Send a signal; the status it ends with."""
        self.process.send_signal(number)
        status = self.process.wait(timeout_s)
        self._reader.join(5)
        return status

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


def wait_for(ready: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Wait until `ready()` is true; fails saying `what` did not happen."""
    deadline_s = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline_s, f"after {timeout_s:g} s: {what}"
        time.sleep(0.02)


def processes_of(home: Path) -> list[str]:
    """Command lines of living processes that work in `home`: servers name it, workers have it in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            if str(home) in " ".join(command) or process.environ().get("KITH_HOME", "").startswith(str(home)):
                found.append(f"{process.pid}: {' '.join(command)}")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return [each for each in found if not each.startswith(f"{os.getpid()}:")]


def picture(path: Path, person: int, shot: int = 0) -> Path:
    """A 112×112 crop of `person`: to the simulated model all shots of one are alike, and of two are not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    squares = np.random.default_rng(person).integers(0, 256, (14, 14, 3), np.uint8)
    shots = np.random.default_rng(1000 * person + shot).integers(0, 9, (14, 14, 3), np.uint8)
    mixed = np.clip(squares.astype(int) + shots, 0, 255).astype(np.uint8)
    Image.fromarray(mixed.repeat(8, 0).repeat(8, 1)).save(path)
    return path


def published(client: Client, gallery: str) -> Counter[str | None]:
    """How often each label of a gallery stands in the results."""
    found: Counter[str | None] = Counter()
    last = "0"
    while page := client.results.after(last):
        last = page[-1].entry_id
        found.update(entry.decision.label for entry in page if entry.decision.gallery == gallery)
    return found


def shown_on(terminal: int) -> bytes:
    """All that is written to a pseudo-terminal, whose other end is closed here, until its last holder ends."""
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:
        pass  # how Linux says that nobody holds the other end any more
    os.close(terminal)
    return shown


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that costs nothing."""
    return simulated_pack(tmp_path_factory.mktemp("pack")).path


@pytest.fixture(scope="session")
def kith(tmp_path_factory: pytest.TempPathFactory, pack: Path) -> Iterator[Kith]:
    """The command line, with `kith up` running in its home. It ends by Ctrl-C, and must leave nothing."""
    kith = Kith(tmp_path_factory.mktemp("kith"))
    # What a killed submitter left unsent is looked at after a second, not after half a minute.
    with kith.start("up", "--pack", pack, KITH_JOBS__RESEND_AFTER_S="1") as up:
        up.until("Ctrl-C ends it")
        yield kith
        assert up.end() == 0, up.lines
    assert processes_of(kith.home) == []
