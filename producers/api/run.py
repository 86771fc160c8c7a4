"""python -m producers.api: the composition root of the HTTP door. Settings in, running server out."""

import argparse
import gc
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from kith.applications import process_environment
from kith.backends.connect import redis_client
from kith.backends.rates_redis import RedisRates
from kith.backends.sessions_redis import RedisSessions
from kith.client import Client
from kith.errors import KithError, Misconfigured, Retryable
from kith.installation import check_running, settings_of
from kith.metrics.answering import check_room
from kith.metrics.instruments import Instruments
from kith.metrics.readiness import Check
from kith.parts import listen
from kith.promptly import Promptly
from kith.settings import Settings
from kith.traces import sending_to
from producers.api.app import create_app
from producers.api.doors import Doors
from producers.api.sockets import Sockets
from producers.api.spans import OtlpSpans

_log = logging.getLogger("kith.api")

#: Exit status for a configuration that cannot work (EX_CONFIG), and when a part is away, as of the workers.
_BAD_CONFIGURATION, _UNAVAILABLE = 78, 69
#: Streams and waits are cut off after this when the server is to end.
_STOP_S = 5
#: Turns of threads and the event loop.
_TURN_S = 0.0005
#: Pause between two looks at whether our supervisor lives.
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Options:
    settings: Settings
    fd: int | None


def open_doors(settings: Settings) -> Doors:
    """The doors of the installation that `settings` describe."""
    state, prefix = redis_client(settings), settings.redis.prefix
    return Doors(Client.open(settings), RedisRates(state, prefix), RedisSessions(state, prefix))


def app() -> FastAPI:
    """The application of this process's environment: each of several processes makes its own."""
    return _app_of(settings_of())


def main(argv: Sequence[str]) -> int:
    """Entry point; the exit status."""
    options = _options(argv)
    try:
        settings, fd = options.settings, options.fd
        check_running(settings)
        # Before anything is opened: a port that somebody else has is told in one line.
        listening = listen(settings.api.host, settings.api.port) if fd is None else socket.socket(fileno=fd)
        _log.warning("serving on %s, process %d", listening.getsockname(), os.getpid())
        _serve(settings, listening)
    except KithError as wrong:
        sys.stderr.write(f"producers.api: {wrong}\n")
        if isinstance(wrong, Retryable):
            return _UNAVAILABLE
        return _BAD_CONFIGURATION if isinstance(wrong, Misconfigured) else 1
    return 0


def _app_of(settings: Settings) -> FastAPI:
    otlp, doors, shown = settings.metrics.otlp, open_doors(settings), None
    if settings.metrics.address is not None:
        shown = Instruments("api", "api").listen(settings.metrics.address, settings.api.processes)
        shown.readiness.needs("state", _asked(doors))
    made = create_app(doors, OtlpSpans(sending_to(otlp)) if otlp else None, shown)
    # What is loaded by now stays: the collector need not look through all of it again while callers wait.
    gc.collect()
    gc.freeze()
    # A thread that works on a submission gives way to the loop, which has all the others, after this, not after 5 ms.
    sys.setswitchinterval(_TURN_S)
    return made


def _asked(doors: Doors) -> Check:
    def ask() -> None:
        doors.client.ledger.open_count()

    return Promptly(ask, "Redis")


def _serve(settings: Settings, listening: socket.socket) -> None:
    many = settings.api.processes > 1
    if many:
        # Told in one line; else each of the others would say so, and be started again for ever.
        check_room(settings.metrics.address, settings.api.processes)
        # What the command line said has to reach the others.
        os.environ.update(process_environment(settings))
    config = uvicorn.Config(
        "producers.api.run:app" if many else _app_of(settings), factory=many, workers=settings.api.processes,
        ws=Sockets,
        log_config=None, access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=_STOP_S,
    )  # fmt: skip
    if many:
        Multiprocess(config, [listening]).run()
    else:
        server = uvicorn.Server(config)
        threading.Thread(target=_end_with_supervisor, args=(server,), name="supervisor", daemon=True).start()
        server.run([listening])


def _end_with_supervisor(server: uvicorn.Server) -> None:
    """End when the `kith up` that started us has ended without stopping us."""
    supervisor = os.environ.get("KITH_SUPERVISOR_PID")
    while supervisor and supervisor == str(os.getppid()):
        time.sleep(_LOOK_EVERY_S)
    if supervisor:
        server.should_exit = True


def _options(argv: Sequence[str]) -> _Options:
    parser = argparse.ArgumentParser(prog="python -m producers.api", description="Serve Kith over HTTP.")
    parser.add_argument("--config", type=Path, help="TOML file with settings; config/default.toml explains them")
    parser.add_argument("--home", type=Path, help="home of a local stack, else the setting home")
    parser.add_argument("--host", help="where to listen (default: the setting api.host)")
    parser.add_argument("--port", type=int, help="and on which port (default: api.port)")
    parser.add_argument("--fd", type=int, help="listen on this descriptor, which a supervisor opened")
    parser.add_argument("--log-level", default="WARNING", help="DEBUG, INFO, WARNING (default) or ERROR")
    given = parser.parse_args(argv)
    logging.basicConfig(
        level=given.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        settings = settings_of(given.config, given.home)
    except KithError as wrong:
        parser.exit(_BAD_CONFIGURATION, f"{parser.prog}: {wrong}\n")
    said = {name: value for name, value in (("host", given.host), ("port", given.port)) if value is not None}
    return _Options(settings.model_copy(update={"api": settings.api.model_copy(update=said)}), given.fd)
