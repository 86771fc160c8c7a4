"""The HTTP door as a real server on a real stack, and callers of it."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI
from PIL import Image

from kith import wire
from kith.api_keys import Scope, issue
from kith.backends.connect import redis_client
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.checkpoints import simulated_pack
from kith.client import Client
from kith.jobs import Content, ImageRef, Kind, Lane, Quality, Seen, now_ms
from kith.settings import Settings, load
from kith.stack import Stack, local_settings
from kith.watching.events import Event
from kith.watching.news import TrackBegun, TrackEnded
from producers.api.app import create_app
from producers.api.doors import Doors
from producers.api.run import open_doors
from producers.api.sockets import Sockets


@dataclass(frozen=True)
class House:
    """A door that is open. client: of the same installation, past the door."""

    url: str
    doors: Doors
    app: FastAPI

    @property
    def client(self) -> Client:
        return self.doors.client

    def caller(
        self, *scopes: Scope, galleries: tuple[str, ...] = (), rate_per_s: float | None = None, timeout_s: float = 30.0
    ) -> httpx.Client:
        """A caller with a key of its own; admin without scopes."""
        key, token = issue("test", scopes or (Scope.ADMIN,), galleries=galleries, rate_per_s=rate_per_s)
        self.client.api_keys.add(key)
        headers = {"authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s)


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application on a free port of loopback, in a thread; its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, ws=Sockets, log_config=None, server_header=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def house(home: Path, pack: Path | None = None, **sections: dict[str, object]) -> Iterator[House]:
    """A stack with its door open, whose model costs nothing unless a pack is named. sections: of the settings."""
    pack = pack or simulated_pack(home / "pack").path
    model = {"pack": pack} | sections.pop("model", {})
    settings = local_settings(load(model=model, **sections), home / "home")
    with Stack(settings):
        doors = open_doors(settings)
        try:
            app = create_app(doors)
            with served(app) as url:
                yield House(url, doors, app)
        finally:
            doors.client.close()


@contextmanager
def front(home: Path, **sections: dict[str, object]) -> Iterator[House]:
    """A door with Valkey and nobody to do the work behind it: jobs are accepted and wait. Gallery `staff` is there."""
    home = home.resolve()
    settings = local_settings(load(**sections), home)
    with EmbeddedValkey(home / "valkey"):
        doors = open_doors(settings)
        doors.client.galleries.create("staff", model_id="m", dimension=4)
        app = create_app(doors)
        try:
            with served(app) as url:
                yield House(url, doors, app)
        finally:
            doors.client.close()


_TELL = """
local entry = redis.call('XADD', KEYS[1], '*', 'gallery', ARGV[1])
redis.call('HSET', KEYS[1] .. ':told', entry, ARGV[2])
return entry
"""


def tell(settings: Settings, event: Event) -> str:
    """Write an event as watching.lua does; its place."""
    with redis_client(settings) as state:
        place: bytes = state.eval(_TELL, 1, f"{settings.redis.prefix}:events", event.gallery, wire.to_json(event))  # type: ignore[assignment]
    return place.decode()


_GOOD = Quality(0.6, 0.8, 0.9, 0.9, 1.0)


def walk(client: Client, gallery: str, camera: str, number: int, *crops: bytes) -> None:
    """Somebody passes a camera, and is seen on these crops; number: the track's."""
    track = f"{camera}.{gallery}.{number}"
    client.sightings.tell(gallery, [TrackBegun(camera, track, now_ms())])
    for shot, data in enumerate(crops, 1):
        seen = Seen(camera, track, now_ms(), (0, 0, 60, 60), (640, 480), shot, _GOOD)
        image = ImageRef(client.intake.put(data).key, seen=seen)
        job = client.intake.job(
            Kind.IDENTIFY, [image], gallery=gallery, lane=Lane.LIVE, content=Content.ALIGNED,
            expires_ms=now_ms() + 600_000,
        )  # fmt: skip
        client.submit(job)
    client.sightings.tell(gallery, [TrackEnded(camera, track, now_ms(), crops=len(crops))])


def crop(person: int, shot: int = 0) -> bytes:
    """A 112×112 PNG of `person`: to the simulated model all shots of one are alike, and of two are not."""
    squares = np.random.default_rng(person).integers(0, 256, (14, 14, 3), np.uint8)
    shots = np.random.default_rng(1000 * person + shot).integers(0, 9, (14, 14, 3), np.uint8)
    mixed = np.clip(squares.astype(int) + shots, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(mixed.repeat(8, 0).repeat(8, 1)).save(buffer, "PNG")
    return buffer.getvalue()
