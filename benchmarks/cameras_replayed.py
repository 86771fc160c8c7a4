"""The scenes of cameras in a time of their own, without servers, queues and processes: judged on hundreds of visits.

What the camera process and the watcher do with a frame and a crop is what they do in service (producers.camera.eye,
kith.watching.book); clips are encoded and decoded as there. What is left out is waiting. Each round deals everybody
anew, and draws by lot who is enrolled.
"""

import multiprocessing
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.cameras_frames import looked_at
from benchmarks.cameras_judging import Score, judged, said_of
from benchmarks.cameras_scenes import GAP_S, Person, crossing, dealt, hall, returning, scene, staying
from benchmarks.cameras_truth import Play, shown_in, stays
from kith import alignment
from kith.cameras import Camera
from kith.checkpoints import load_pack
from kith.detector import FrameDetector, open_detector
from kith.embedder import Embedder, embed, open_embedder
from kith.jobs import Outcome, Seen
from kith.settings import Cameras, Watch
from kith.watching.book import VisitBook
from kith.watching.events import Event
from kith.watching.evidence import Vector
from kith.watching.log import Heard
from kith.watching.news import News, Sighted
from kith.watching.state import State
from producers.camera.counts import Counts
from producers.camera.eye import Alignment, Crop, Eye
from producers.camera.frame import Frame, PlainPicture
from producers.camera.picking import PickingRule
from producers.rehearsal.clip import write_scene
from producers.rehearsal.scene import Pixels

_GALLERY = "replayed"
_GAP_MS = round(GAP_S * 1000)
#: From a frame to its crop's decision, as measured with idle workers; and a deadline that never passes here.
_ON_ITS_WAY_MS, _EXPIRES_MS = 80, 5_000
_BEGIN_MS = 1_000_000
_STAYING_S = 30.0

#: When, and what: news of a track, or a crop.
_Told = tuple[int, News | Crop]


@dataclass(frozen=True)
class Line:
    """What the log has at `at_ms`: news of a track, or a crop and its vector."""

    at_ms: int
    news: News | Seen
    vector: Vector | None = None


@dataclass(frozen=True)
class Round:
    """people: everybody who may be enrolled. plays: in the order of time, those that begin together begin together."""

    people: tuple[Person, ...]
    plays: tuple[Play, ...]


def run(
    pack: Path, people: Sequence[Person], rounds: int, cutoff: float, tell: Callable[[str], None]
) -> tuple[Score, float]:
    """All rounds together: the score, and embeddings a true visit."""
    turns = [round_of(people, number) for number in range(1, rounds + 1)]
    # Not forked: whoever calls may have threads.
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")) as processes:
        waiting = [[processes.submit(_seen, pack, play) for play in turn.plays] for turn in turns]
        everything = [each for of_turn in waiting for each in of_turn]
        for number, _ in enumerate(as_completed(everything), start=1):
            tell(f"replaying scenes: {number} of {len(everything)}")
    # By play, not as they came: of lines of the same moment the order tells.
    lines = [[line for each in of_turn for line in each.result()] for of_turn in waiting]
    templates = _enrolled(_rig(pack), people)
    scores = [judged_round(templates, cutoff, turn, its) for turn, its in zip(turns, lines, strict=True)]
    total = sum_of(scores)
    return total, sum(isinstance(line.news, Seen) for its in lines for line in its) / total.stays


def sum_of(scores: Sequence[Score]) -> Score:
    """Several as one."""
    return Score(**{name: sum(getattr(each, name) for each in scores) for name in Score.__dataclass_fields__})


def round_of(everybody: Sequence[Person], seed: int) -> Round:
    """Everybody dealt anew, and by lot who is enrolled; the same for the same seed."""
    lot = random.Random(seed)
    shuffled = lot.sample(list(everybody), len(everybody))
    roles = lot.sample([person.known for person in everybody], len(everybody))
    people = tuple(replace(person, known=known) for person, known in zip(shuffled, roles, strict=True))
    hand = dealt(people)
    halls = [hall(hand.some(12), 3, 30.0 * turn) for turn in range(2)]
    together = [
        {f"hall-{number}": scene([walk for each in halls for walk in each[number]], 100 * seed + number)
         for number in range(3)},
        {"returning": scene(returning(hand.some(6)), 100 * seed + 20),
         **{f"crossing-{number}": scene(crossing(hand.some(10)), 100 * seed + 10 + number) for number in (1, 2)}},
        {f"staying-{number}": scene(staying(hand.some(4), _STAYING_S), 100 * seed + 30 + number, _STAYING_S)
         for number in (1, 2)},
    ]  # fmt: skip
    plays, start_ms = list[Play](), _BEGIN_MS
    for scenes in together:
        plays += [Play(name, each, start_ms, start_ms + round(1000 * each.seconds)) for name, each in scenes.items()]
        start_ms = max(play.end_ms for play in plays) + 2 * _GAP_MS
    return Round(people, tuple(plays))


@dataclass(frozen=True)
class _Rig:
    """What a camera process has of a pack, and the network of the workers."""

    detector: FrameDetector
    embedder: Embedder
    crops: Alignment

    def vectors(self, crops: Sequence[Pixels]) -> list[Vector]:
        """Unit, float32 (d,)."""
        return [row for begin in range(0, len(crops), 16) for row in embed(self.embedder, crops[begin : begin + 16])]


def _rig(pack: Path) -> _Rig:
    loaded = load_pack(pack)
    detector = open_detector(loaded, max_side=Cameras().detect_px)
    assert detector is not None
    return _Rig(detector, open_embedder(loaded), Alignment(loaded.input_size, loaded.manifest.embedder.template))


def _seen(pack: Path, play: Play) -> list[Line]:
    """What a camera tells of a play; in a process of its own."""
    import torch  # noqa: PLC0415 (only there)

    torch.set_num_threads(1)
    rig, knobs, told = _rig(pack), Cameras(), list[_Told]()
    eye = Eye(
        Camera(play.camera, "/played.mp4", _GALLERY),
        str(play.start_ms),
        rig.detector,
        rig.crops,
        PickingRule(knobs.crops_per_track, min_quality=knobs.min_quality, min_face_px=knobs.min_face_px),
        tell=lambda news: told.extend((now_ms[0], each) for each in news),
        send=lambda crop: told.append((now_ms[0], crop)),
        counts=Counts(),
        lost_s=knobs.lost_s,
    )
    now_ms = [play.start_ms]
    with tempfile.TemporaryDirectory(prefix="kith-bench-") as folder:
        for second, pixels in looked_at(write_scene(Path(folder) / "clip.mp4", play.scene), knobs.fps):
            now_ms[0] = play.start_ms + round(1000 * second)
            eye.look(Frame(PlainPicture(pixels), now_ms[0], second))
    eye.end()
    vectors = iter(rig.vectors([each.pixels for _, each in told if isinstance(each, Crop)]))
    return [
        Line(at_ms + _ON_ITS_WAY_MS, each.seen, next(vectors)) if isinstance(each, Crop) else Line(at_ms, each)
        for at_ms, each in told
    ]


def _enrolled(rig: _Rig, people: Sequence[Person]) -> dict[str, list[Vector]]:
    """The templates of each person's enrolment pictures, whether they are enrolled or not."""
    found = {}
    for person in people:
        faces = [(photo.pixels, rig.detector.detect(photo.pixels)) for photo in person.enrol]
        crops = [
            alignment.align(pixels, seen[0].landmarks, rig.crops.size, rig.crops.template)
            for pixels, seen in faces
            if len(seen) == 1
        ]
        found[person.name] = rig.vectors(crops)
    return found


def judged_round(templates: Mapping[str, Sequence[Vector]], cutoff: float, one: Round, lines: Sequence[Line]) -> Score:
    names = [person.name for person in one.people if person.known for _ in templates[person.name]]
    rows = np.stack([row for person in one.people if person.known for row in templates[person.name]])
    book, events, shows = VisitBook(_GALLERY, Watch(gap_s=GAP_S), State()), list[Event](), dict[str, str | None]()
    # In the order of time; of equals, as a camera told them.
    for place, line in enumerate(sorted(lines, key=lambda line: line.at_ms)):
        news = line.news
        if isinstance(news, Seen):
            assert line.vector is not None
            shows[_decision(news)] = shown_in(one.plays, news)
            news = _sighted(news, names, rows @ line.vector, cutoff)
        events += _ticked(book, line.at_ms)
        events += book.take(Heard(_GALLERY, f"{line.at_ms}-{place}", news), line.vector, line.at_ms)
    events += _ticked(book, max(play.end_ms for play in one.plays) + 3 * _GAP_MS)
    known = {person.name: person.known for person in one.people}
    return judged(said_of(events, shows), stays(one.plays, _GAP_MS), known, _GAP_MS)


def _ticked(book: VisitBook, until_ms: int) -> Iterator[Event]:
    while (due_ms := book.due_ms()) is not None and due_ms < until_ms:
        yield from book.tick(due_ms, due_ms)


def _decision(seen: Seen) -> str:
    return f"{seen.track}:{seen.number}"


def _sighted(seen: Seen, names: Sequence[str], scores: Vector, cutoff: float) -> Sighted:
    best: dict[str, float] = {}
    for place in np.argsort(scores)[::-1]:
        best.setdefault(names[place], float(scores[place]))
        if len(best) == 2:
            break
    (nearest, score), (runner_up, second) = best.items()
    return Sighted(
        decision_id=_decision(seen),
        seen=seen,
        outcome=Outcome.MATCH if score >= cutoff else Outcome.UNKNOWN,
        image=_decision(seen),
        expires_ms=seen.at_ms + _EXPIRES_MS,
        quality=seen.quality.value if seen.quality else 0.0,
        nearest=nearest,
        nearest_id=nearest,
        score=score,
        runner_up=runner_up,
        runner_up_score=second,
        cutoff=cutoff,
        model_id="replayed",
    )
