"""People walking past a camera, drawn so that it is known who is where: whose tracks are whose, and what is sent."""

from collections import defaultdict

import numpy as np
import pytest

from kith.cameras import Camera
from kith.checkpoints import load_pack
from kith.detector import open_detector
from kith.packs.shipped import default_pack
from kith.watching.news import News, TrackEnded, Unfit
from producers.camera.counts import Counts
from producers.camera.eye import Alignment, Crop, Eye
from producers.camera.frame import Frame, PlainPicture
from producers.camera.picking import PickingRule
from producers.camera.tracker import overlap
from producers.rehearsal.scene import Scene, Walk
from tests.camera_clips import portraits
from tests.servers.fixtures import missing


class Watched:
    """A scene as an eye of the shipped detector saw it, five frames a second."""

    def __init__(self, scene: Scene) -> None:
        folder = default_pack()
        if folder is None:
            missing("kith-small", "the shipped pack is not here")
        pack = load_pack(folder)
        detector = open_detector(pack)
        assert detector is not None
        self.news: list[News] = []
        self.crops: list[Crop] = []
        alignment = Alignment(pack.input_size, pack.manifest.embedder.template)
        eye = Eye(
            *(Camera("hall", "/clip.mp4", "door"), "1", detector, alignment, PickingRule()),
            tell=self.news.extend,
            send=self.crops.append,
            counts=Counts(),
        )
        self.scene = scene
        for number in range(0, scene.frames, 3):
            frame = Frame(PlainPicture(scene.draw(number)), self._ms(number), number / scene.fps)
            eye.look(frame)
        eye.end()

    def _ms(self, number: int) -> int:
        return round(1000 * number / self.scene.fps)

    def who(self, crop: Crop) -> str | None:
        """Whose face a crop is, by the truth of its frame."""
        there = self.scene.truth(round(crop.seen.at_ms * self.scene.fps / 1000))
        best = max(there, key=lambda each: overlap(each.box, crop.seen.box), default=None)
        return best.who if best is not None and overlap(best.box, crop.seen.box) > 0.4 else None

    @property
    def well_seen(self) -> set[str]:
        """Who is whole in the picture for half a second."""
        frames: dict[str, int] = defaultdict(int)
        for number in range(self.scene.frames):
            for there in self.scene.truth(number):
                frames[there.who] += there.hidden == 0
        return {who for who, whole in frames.items() if whole >= self.scene.fps / 2}

    @property
    def people_of_tracks(self) -> dict[str, list[str | None]]:
        found: dict[str, list[str | None]] = defaultdict(list)
        for crop in self.crops:
            found[crop.seen.track].append(self.who(crop))
        return found


def busy_hall(seed: int) -> Scene:
    """Four people in twelve seconds, each from one side to the other, at their own pace and distance."""
    random, known = np.random.default_rng(seed), list(portraits().values())
    walks = []
    for person in random.choice(len(known), 4, replace=False):
        y, begin, takes = random.uniform(150, 330), random.uniform(0, 4), random.uniform(3, 7)
        first, last = (-60, 700) if random.random() < 0.5 else (700, -60)
        path = ((begin, first, y), (begin + takes, last, y + random.uniform(-30, 30)))
        walks.append(Walk(known[person], path, random.uniform(50, 110)))
    return Scene(tuple(walks), 12, seed=seed)


@pytest.mark.needs("shared data")
def test_in_busy_halls_every_crop_is_of_one_person_each_track_has_one_and_nobody_is_missed() -> None:
    mixed, crops, tracks, people = 0, 0, 0, 0
    for seed in range(200, 204):
        watched = Watched(busy_hall(seed))
        named = watched.people_of_tracks
        assert None not in {who for each in named.values() for who in each}, "a crop of nobody"
        mixed += sum(len(set(each)) > 1 for each in named.values())
        crops, tracks = crops + len(watched.crops), tracks + len(named)
        seen = {who for each in named.values() for who in each}
        assert seen >= watched.well_seen
        people += len(seen)
        assert max(map(len, named.values())) <= 8
    assert people >= 15
    # No track that was two people's, little more than one track each, a handful of crops each.
    assert mixed == 0
    assert tracks <= 1.5 * people
    assert crops <= 8 * people


@pytest.mark.needs("shared data")
def test_two_who_cross_before_the_camera_are_two_tracks() -> None:
    one, other = list(portraits().values())[40:42]
    scene = Scene(
        (Walk(one, ((0, -50, 210), (5, 690, 210)), 80), Walk(other, ((0, 690, 225), (5, -50, 225)), 95)), 5, seed=3
    )
    watched = Watched(scene)
    assert sorted(map(set, watched.people_of_tracks.values()), key=sorted) == sorted(
        [{one[0].identity}, {other[0].identity}], key=sorted
    )


@pytest.mark.needs("shared data")
@pytest.mark.parametrize(
    ("seen", "why"),
    [({"face_px": 22.0}, Unfit.TOO_SMALL), ({"blur_px": 8.0}, Unfit.BLURRED), ({"light": 0.12}, Unfit.DARK)],
)
def test_who_is_seen_too_badly_is_followed_not_sent_and_the_reason_is_told(seen: dict[str, float], why: Unfit) -> None:
    walk = Walk(list(portraits().values())[40], ((0, 100, 240), (4, 500, 240)), **{"face_px": 90.0, **seen})  # type: ignore[arg-type]
    watched = Watched(Scene((walk,), 6, seed=5))
    reasons = {each.unfit for each in watched.news if isinstance(each, TrackEnded)}
    assert watched.crops == []
    assert reasons == {why}
