"""Servers as children of the test run: on loopback, on ports of their own, and gone with it however it ends."""

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class MissingComponent(Exception):
    """A server's programs are not installed."""


class ServerFailed(Exception):
    """A server is installed but does not come up; the message ends with its log."""


def need(*programs: str, package: str) -> None:
    """Raises MissingComponent, saying what to install, unless all `programs` are found, on PATH or by path."""
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        raise MissingComponent(
            f"{', '.join(absent)} not found; run tests/servers/install, or install Debian's {package}"
        )


def free_port() -> int:
    """A TCP port of 127.0.0.1 nobody listens on.

    Below the range the kernel takes outgoing connections from: a server that is stopped for a while finds its port
    again, and a client that retries meanwhile cannot be connected to itself.
    """
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def spawn(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `command`, its output appended to `log`.

    The kernel kills it when the thread that started it dies, so start servers from the main thread. setpriv rather than
    a preexec_fn: Python code between fork and exec may deadlock once threads run, and keeps fork from being vfork.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            # Ctrl-C is pytest's to handle: it stops us in order, instead of the terminal ending all at once.
            start_new_session=True,
        )


def run(command: Sequence[str], log: Path, timeout_s: float = 60.0) -> None:
    """Run `command` to its end. Raises ServerFailed when it fails or takes longer."""
    process = spawn(command, log)
    try:
        failed = process.wait(timeout_s) != 0
    except subprocess.TimeoutExpired:
        stop(process, grace_s=0)
        failed = True
    if failed:
        raise ServerFailed(f"{' '.join(command[:4])} failed: {tail(log)}")


def stop(process: subprocess.Popen[bytes] | None, grace_s: float = 10.0) -> None:
    """End `process`: asked first, killed after `grace_s`."""
    if process is None or process.poll() is not None:
        return
    if grace_s > 0:
        process.terminate()
        try:
            process.wait(grace_s)
            return
        except subprocess.TimeoutExpired:
            pass
    process.kill()
    process.wait()


def wait_until(
    ready: Callable[[], bool],
    what: str,
    processes: Sequence[subprocess.Popen[bytes]],
    log: Path,
    timeout_s: float = 60.0,
) -> None:
    """Wait for `ready()`. Raises ServerFailed when a process ends before, or time runs out."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if any(process.poll() is not None for process in processes):
            raise ServerFailed(f"{what} ended while starting: {tail(log)}")
        if time.monotonic() > deadline:
            raise ServerFailed(f"{what} did not answer within {timeout_s:g} s: {tail(log)}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for a message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "it left no log"
