"""The HTTP door: how long a submission takes, and how soon everybody who listens hears of an event.

The door is a process of its own, as `kith up` runs it, with Valkey and a directory store; no worker runs, so that what
is measured is the door. Peer: an application of the same framework that reads the same bodies and does nothing else.
"""

import asyncio
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from benchmarks.callers import Answers, listen, post
from benchmarks.report import Figure, at_most
from benchmarks.rounds import percentile
from benchmarks.session import Session, scratch
from kith import wire
from kith.api_keys import Scope, issue
from kith.applications import application_root, process_environment
from kith.backends.connect import redis_client
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.client import Client
from kith.jobs import now_ms
from kith.parts import listen as open_port
from kith.settings import Settings, load
from kith.stack import local_settings
from kith.watching.events import Event, EventKind

_PER_S, _BYTES, _CONNECTIONS = 200, 20_000, 32
_LISTENERS = 200
_TELL = """
local entry = redis.call('XADD', KEYS[1], '*', 'gallery', ARGV[1])
redis.call('HSET', KEYS[1] .. ':told', entry, ARGV[2])
return entry
"""


def run(session: Session) -> list[Figure]:
    """Milliseconds to an accepted job at 200 requests/s of 20 kB, and from an event to 200 listeners."""
    seconds, events = session.scaled(60, 2), session.scaled(120, 5)
    with scratch() as folder, session.progress("api") as tell:
        settings = local_settings(load(), folder)
        with EmbeddedValkey(settings.home / "valkey"):
            token = _prepared(settings)
            tell("the peer")
            with _door(["-m", "benchmarks.bare_door"], settings) as (host, port):
                peer = asyncio.run(_posted(host, port, token, max(2, seconds // 4)))
            with _door(["-m", "producers.api"], settings) as (host, port):
                tell(f"{_PER_S} requests/s for {seconds} s")
                ours = asyncio.run(_posted(host, port, token, seconds))
                tell(f"{events} events to {_LISTENERS} listeners")
                took_ms, alive = asyncio.run(_told(host, port, token, settings, events))
    return [
        at_most("submit, p99", percentile(ours.took_ms, 99), 25.0, "ms", percentile(peer.took_ms, 99)),
        Figure("submit, median", percentile(ours.took_ms, 50), "ms", percentile(peer.took_ms, 50)),
        at_most("submissions not answered 202", len(ours.wrong), 0, f"of {len(ours.took_ms):,}"),
        at_most(f"an event to {_LISTENERS} listeners, p99", percentile(took_ms, 99), 100.0, "ms"),
        Figure(f"an event to {_LISTENERS} listeners, median", percentile(took_ms, 50), "ms"),
        at_most("events that a listener missed", events * _LISTENERS - len(took_ms), 0, f"{alive} still listened"),
    ]


def _prepared(settings: Settings) -> str:
    with Client.open(settings) as client:
        client.galleries.create("bench", model_id="m", dimension=4)
        key, token = issue("bench", (Scope.SUBMIT, Scope.READ), rate_per_s=1e6)
        client.api_keys.add(key)
    return token


@contextmanager
def _door(module: list[str], settings: Settings) -> Iterator[tuple[str, int]]:
    listening = open_port("127.0.0.1", 0)
    host, port = listening.getsockname()[:2]
    process = subprocess.Popen(
        [sys.executable, *module, "--fd", str(listening.fileno())],
        cwd=application_root(),
        env=process_environment(settings),
        stderr=subprocess.DEVNULL,
        pass_fds=[listening.fileno()],
    )
    try:
        # The socket listens already: the first connection is answered as soon as the process is up.
        with socket.create_connection((host, port), 60) as first:
            first.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while first.recv(65_536):
                pass
        yield host, port
    finally:
        process.terminate()
        process.wait(20)
        listening.close()


async def _posted(host: str, port: int, token: str, seconds: int) -> Answers:
    pictures = _pictures(_PER_S * seconds + _PER_S)
    head = (
        f"POST /v1/jobs?gallery=bench&lane=bulk HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {_BYTES}\r\n\r\n"
    ).encode()
    requests = [head + picture for picture in pictures]
    # Not measured: the key is hashed at the first call, and connections are made.
    await post(host, port, requests[:_PER_S], _PER_S, _CONNECTIONS)
    return await post(host, port, requests[_PER_S:], _PER_S, _CONNECTIONS)


def _pictures(count: int) -> list[bytes]:
    """JPEGs of 20 kB, no two alike: the same one is stored once only."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=80)
    base = buffer.getvalue()
    assert len(base) < _BYTES - 8
    return [base + bytes(_BYTES - 8 - len(base)) + number.to_bytes(8, "big") for number in range(count)]


async def _told(host: str, port: int, token: str, settings: Settings, events: int) -> tuple[list[float], int]:
    request = (f"GET /v1/events/stream HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").encode()
    sent_s: dict[str, float] = {}
    took_ms: list[float] = []

    def heard(line: bytes) -> None:
        now_s = time.perf_counter()
        took_ms.append(1000 * (now_s - sent_s[json.loads(line[6:])["event_id"]]))

    async def tell() -> None:
        with redis_client(settings) as state:
            for number in range(events):
                event = Event(
                    f"{os.getpid()}-{number}", EventKind.NEW, "bench", now_ms(), camera="front", subject="Ada"
                )
                sent_s[event.event_id] = time.perf_counter()
                state.eval(_TELL, 1, f"{settings.redis.prefix}:events", event.gallery, wire.to_json(event))
                await asyncio.sleep(0.25)
        await asyncio.sleep(1.0)

    alive = await listen(host, port, request, _LISTENERS, heard, tell)
    return took_ms, alive
