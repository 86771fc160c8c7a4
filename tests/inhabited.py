"""A house with people in it who do not exist: known ones, and others who walk past its cameras.

For browsers to look at. The model is the one that ships, so that faces are found and scores are what they are; the
people are drawn (kith.synthetic), so that their pictures may be shown to anybody.
"""

import io
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from kith.api_keys import Scope, issue
from kith.cameras import Camera, CameraReport, CameraState, LastFrame
from kith.client import Client
from kith.jobs import Content, Decision, ImageRef, Kind, Lane, Quality, Seen, now_ms
from kith.packs.shipped import default_pack
from kith.settings import load
from kith.stack import Stack, local_settings
from kith.synthetic import model as synthetic
from kith.synthetic.people import People
from kith.synthetic.photograph import jpeg
from kith.watching.news import TrackBegun, TrackEnded
from producers.api.app import create_app
from producers.api.run import open_doors
from tests.http_door import served
from tests.servers.processes import MissingComponent

NAMES = (
    *("Ada Lovelace", "Grace Hopper", "Emmy Noether", "Rosalind Franklin", "Katherine Johnson", "Chien-Shiung Wu"),
    *("Lise Meitner", "Vera Rubin", "Dorothy Hodgkin", "Maryam Mirzakhani", "Mary Cartwright", "Hypatia"),
)
GALLERY = "default"
#: The first stranger: those before are known, or could be.
STRANGER = 40

_GOOD = Quality(0.6, 0.8, 0.9, 0.9, 1.0)
#: Lets the camera processes of the house alone: nobody is to serve cameras that are not there.
_LEASE_S = 3600


@dataclass
class Inhabited:
    """url: of the door. token: of a key that may everything."""

    url: str
    token: str
    client: Client
    people: People
    _tracks: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def crop(self, person: int, shot: int) -> bytes:
        """A 112×112 picture."""
        return jpeg(self.people.picture(person, shot, aligned=True))

    def photo(self, person: int, shot: int) -> bytes:
        """A photograph, 640×480, with the face in the middle."""
        portrait = Image.fromarray(self.people.picture(person, shot)).resize((360, 432), Image.Resampling.BICUBIC)
        canvas = Image.fromarray(np.full((480, 640, 3), 150, np.uint8))
        canvas.paste(portrait, (140, 24))
        buffer = io.BytesIO()
        canvas.save(buffer, "JPEG", quality=92)
        return buffer.getvalue()

    def enrol(self, people: int, each: int = 2) -> None:
        """The first so many, by their names."""
        for number, name in enumerate(NAMES[:people]):
            pictures = [self.crop(number, shot) for shot in range(each)]
            self.client.enrol(name, pictures, gallery=GALLERY, content=Content.ALIGNED, timeout_s=120)

    def ask(self, *people: int, shot: int = 7) -> list[Decision]:
        """Who is that?"""
        pictures = [self.crop(person, shot) for person in people]
        return self.client.identify(pictures, gallery=GALLERY, content=Content.ALIGNED, timeout_s=120)

    def cameras(self) -> None:
        """One that is live and one that is away."""
        registry, at_ms = self.client.cameras, now_ms()
        for name in ("front", "yard"):
            registry.add(Camera(name, f"rtsp://10.0.0.2/{name}", GALLERY, added_ms=at_ms))
        registry.share("nobody", _LEASE_S, 16)
        live = CameraReport(CameraState.LIVE, at_ms - 3_600_000, at_ms, size=(1280, 720), tracks=1)
        away = CameraReport(CameraState.AWAY, at_ms - 240_000, at_ms, why="connection refused")
        assert registry.report("nobody", "front", live, {})
        assert registry.report("nobody", "yard", away, {})
        assert registry.keep_frame("nobody", "front", LastFrame(self.photo(2, 3), at_ms))

    def walk(self, person: int, camera: str = "front", crops: int = 3) -> str:
        """Somebody passes a camera; the track."""
        number = next(self._tracks)
        track = f"{camera}.{GALLERY}.{number}"
        tell = self.client.sightings.tell
        tell(GALLERY, [TrackBegun(camera, track, now_ms())])
        for shot in range(1, crops + 1):
            seen = Seen(camera, track, now_ms(), (0, 0, 60, 60), (640, 480), shot, _GOOD)
            image = ImageRef(self.client.intake.put(self.crop(person, 100 * number + shot)).key, seen=seen)
            job = self.client.intake.job(
                Kind.IDENTIFY, [image], gallery=GALLERY, lane=Lane.LIVE, content=Content.ALIGNED,
                expires_ms=now_ms() + 60_000,
            )  # fmt: skip
            self.client.submit(job)
        tell(GALLERY, [TrackEnded(camera, track, now_ms(), crops=crops)])
        return track

    def until(self, ready: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
        """Wait for something to happen."""
        deadline_s = time.monotonic() + timeout_s
        while not ready():
            assert time.monotonic() < deadline_s, what
            time.sleep(0.05)

    def strangers(self) -> int:
        """How many there are."""
        return sum(each.lives for each in self.client.strangers.desk.strangers(GALLERY))


@contextmanager
def inhabited(home: Path) -> Iterator[Inhabited]:
    """The house, with its door open and nobody known yet. Raises MissingComponent where the shipped pack is not."""
    pack = default_pack()
    if pack is None:
        raise MissingComponent("the pack kith-small is not here")
    settings = local_settings(load(model={"pack": pack}, api={"port": 0}, watch={"gap_s": 0.5}), home)
    with Stack(settings):
        doors = open_doors(settings)
        try:
            key, token = issue("reception", (Scope.ADMIN,))
            doors.client.api_keys.add(key)
            with served(create_app(doors)) as url:
                yield Inhabited(url, token, doors.client, People(synthetic.load(), seed=3))
        finally:
            doors.client.close()
