"""The demo of cameras on a stack that runs: people walk by, events come, a stranger is named and comes again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kith.cameras import Camera, CameraState
from kith.cli.events import line_of
from kith.client import Client
from kith.demo.screen import Screen
from kith.errors import KithError, NoAnswerYet
from kith.jobs import now_ms
from kith.watching.events import Event, EventKind
from producers.rehearsal.casting import Cast, Player
from producers.rehearsal.clip import write_scene
from producers.rehearsal.rtsp_server import RtspServer
from producers.rehearsal.scene import Scene, Walk

GALLERY = "demo"
#: A minute, as installed, would be a long time to look at an empty door.
GAP_S = 8.0

_FPS, _FACE_PX, _Y = 10, 92.0, 230.0
_LEFT, _RIGHT = -70.0, 710.0
#: Nobody is there at the end of a clip; before it is over the camera is removed, or everything would begin again.
_TAIL_S = 3.0
_PATIENCE_S = 60.0
#: For crops that are on their way.
_SETTLE_S = 2.0


def first_act(cast: Cast) -> dict[str, Scene]:
    """Two people who cross at the door; a stranger and somebody behind; one of the first two goes on to the hall."""
    one, other, third = cast.known
    door = (
        _across(one, 0, 7),
        _across(other, 0.5, 7, back=True),
        _across(_early(cast.stranger), 9, 7),
        _across(third, 12, 7),
    )
    hall = (_across(one, 11, 7, back=True),)
    return {"door": _scene(door, 1), "hall": _scene(hall, 2)}


def second_act(cast: Cast) -> dict[str, Scene]:
    """The stranger comes again."""
    return {"gate": _scene((_across(_late(cast.stranger), 0, 7, back=True),), 3)}


def write_clips(folder: Path, scenes: Mapping[str, Scene]) -> None:
    """Draw and encode them."""
    for name, scene in scenes.items():
        write_scene(folder / f"{name}.mp4", scene)


class Performance:
    """One performance. server: plays the clips of both acts."""

    def __init__(self, client: Client, cast: Cast, server: RtspServer, screen: Screen) -> None:
        self._client, self._cast, self._server, self._screen = client, cast, server, screen
        self._last = client.events.position()
        self._began_ms = now_ms()
        self.events: list[Event] = []
        self.crops = self.frames = 0

    def enrol(self) -> None:
        """Enrol those who are known. Raises KithError where one cannot be."""
        for player in self._cast.known:
            decisions = self._client.enrol(player.name, [each.file for each in player.enrol], gallery=GALLERY)
            if not any(each.subject for each in decisions):
                raise KithError(f"{player.name} cannot be enrolled: {decisions[0].reason}")
        names = ", ".join(player.name for player in self._cast.known)
        self._screen.say(f"enrolled from {len(self._cast.known[0].enrol)} pictures each: {names}")

    def play(self, scenes: Mapping[str, Scene]) -> None:
        """Add a camera for each scene, tell what comes of it, and remove them. Raises NoAnswerYet when none plays."""
        for name in scenes:
            camera = Camera(name, self._server.url(name), GALLERY, added_ms=now_ms())
            self._client.cameras.add(camera)
            self._screen.say(f"camera {name}: {camera.shown}")
        self._follow(lambda: all(self._live_since(name) for name in scenes), "the cameras play")
        ends_ms = {name: (self._live_since(name) or 0) + 1000 * (scenes[name].seconds - 1) for name in scenes}
        for name in sorted(ends_ms, key=lambda name: ends_ms[name]):
            self._follow(lambda name=name: now_ms() >= ends_ms[name], f"camera {name}")  # type: ignore[misc]
            counts = self._client.cameras.status(name).counts
            self.crops += counts.get("crops", 0)
            self.frames += counts.get("frames", 0)
            self._client.cameras.remove(name)

    def stranger(self) -> int | None:
        """The number that the stranger was given, None where no crop was good enough for one."""
        found = [each for each in self._client.strangers.desk.strangers(GALLERY) if each.lives]
        return found[0].number if found else None

    def name(self, number: int) -> None:
        """Give the stranger a name; what is told of it."""
        name = self._cast.stranger.name
        decisions, _ = self._client.strangers.name(GALLERY, number, name)
        enrolled = sum(each.subject is not None for each in decisions)
        self._screen.say(
            f"named: stranger-{number} is {name}, enrolled from {enrolled} crops the cameras had kept", "bold"
        )
        until_s = time.monotonic() + _SETTLE_S
        self._follow(lambda: time.monotonic() > until_s, "")

    def until_gone(self) -> None:
        """Wait until everybody who came is gone."""
        self._follow(lambda: not self._there(), "the last visit ends")

    def summary(self) -> None:
        """What came of it."""
        new = sum(each.kind is EventKind.NEW for each in self.events)
        names = {player.name for player in self._cast.known}
        named = names & {each.subject for each in self.events}
        say = self._screen.say
        say(f"{self.frames:>6}  frames looked at, {self.crops} crops sent to the workers")
        say(f"{new:>6}  visits announced: {len(names) + 1} people came, the stranger twice")
        say(f"{len(named):>6}  of the {len(names)} people who are known were named")

    def _there(self) -> set[str | None]:
        gone = {each.visit for each in self.events if each.kind in (EventKind.END, EventKind.MERGED)}
        return {each.visit for each in self.events if each.kind is EventKind.NEW} - gone

    def _live_since(self, name: str) -> int | None:
        status = self._client.cameras.status(name)
        return status.since_ms if status.state is CameraState.LIVE else None

    def _follow(self, done: Callable[[], bool], what: str) -> None:
        """Tell of events as they come, until `done`."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while not done():
            if time.monotonic() > deadline_s:
                raise NoAnswerYet(f"{what}: not within {_PATIENCE_S:g} s")
            for entry in self._client.events.after(self._last, block_s=0.2):
                self._last = entry.entry_id
                self.events.append(entry.event)
                self._tell(entry.event)

    def _tell(self, event: Event) -> None:
        if event.why == "better_crop":
            return
        seconds = ((event.told_ms or event.at_ms) - self._began_ms) / 1000
        self._screen.say(f"  {seconds:5.1f} s  {event.kind.value:<8} {line_of(event)}")


def _early(stranger: Player) -> Player:
    """As they are seen first. Nothing is enrolled of them but what cameras saw, and later they look otherwise."""
    return replace(stranger, photos=stranger.photos[::2])


def _late(stranger: Player) -> Player:
    return replace(stranger, photos=stranger.photos[1::2])


def _across(player: Player, begin_s: float, seconds: float, *, back: bool = False) -> Walk:
    start, end = (_RIGHT, _LEFT) if back else (_LEFT, _RIGHT)
    return Walk(player.photos, ((begin_s, start, _Y), (begin_s + seconds, end, _Y)), _FACE_PX)


def _scene(walks: tuple[Walk, ...], seed: int) -> Scene:
    return Scene(walks, max(walk.path[-1][0] for walk in walks) + _TAIL_S, fps=_FPS, seed=seed)
