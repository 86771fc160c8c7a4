"""Cameras, from a real RTSP server to the events: is everybody who walks by told of once, by the right name?

Scenes are drawn from the shared faces, so that the truth is known: three cameras with four people each, who go from one
to the next; pairs who cross; people who leave and return, at once and after long; a server that is killed and comes
back; one that stalls with its connections open; a camera process killed in mid-visit. The peer is recognition frame by
frame on the same clips (benchmarks/cameras_frames.py). Such scenes with everybody dealt anew, in a time of their own
(benchmarks/cameras_replayed.py), make hundreds of visits: shares of a hundredth are nothing to count in dozens. Then
four cameras are watched for a while: how soon the events come, what a stream costs, whether memory grows.

KITH_BENCH_SOAK_MINUTES says for how long, 2 by default; 30 show what memory does. KITH_BENCH_CAMERAS names the parts to
run, of scenes, replayed and load, with commas between; all by default.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import cameras_load, cameras_replayed
from benchmarks.cameras_frames import FrameByFrame
from benchmarks.cameras_judging import Score, heard, judged
from benchmarks.cameras_scenes import (
    GAP_S,
    Dealer,
    Person,
    cast,
    crossing,
    dealt,
    hall,
    returning,
    scene,
    staying,
)
from benchmarks.cameras_stage import Stage, open_stage, write_clips
from benchmarks.cameras_truth import Play, stays
from benchmarks.report import Figure, at_least, at_most
from benchmarks.session import Session, Unavailable, scratch
from kith.checkpoints import load_pack
from kith.default_cutoff import default_cutoff
from kith.errors import Misconfigured
from kith.journal import FREE
from kith.packs.shipped import default_pack
from producers.rehearsal.album import from_manifest
from producers.rehearsal.rtsp_server import require_rtsp_server
from producers.rehearsal.scene import Scene

_FOUND, _WRONG, _ANNOUNCED, _SWITCHED, _EMBEDDINGS = 0.95, 0.01, 1.1, 0.02, 12.0
_GALLERY = "scenes"
_GAP_MS = round(GAP_S * 1000)
_PARTS = ("scenes", "replayed", "load")
#: Of scenes replayed, each with everybody dealt anew: about 65 visits.
_ROUNDS = 5

#: Seconds of each scene with a mishap: before it, while it lasts, and after it.
_BEFORE_S, _AWAY_S, _AFTER_S = 9.0, 4.0, 12.0
#: A stall is noticed after `camera.stall_s`, 5 s; until then it is a pause.
_STALLED_S = 8.0
#: What is on its way when the last camera is closed.
_SETTLE_S = 4.0


@dataclass(frozen=True)
class _Plot:
    """together: the scenes of cameras that play at the same time, in the order they are played."""

    people: tuple[Person, ...]
    together: tuple[Mapping[str, Scene], ...]
    cut: Mapping[str, Scene]
    stalled: Mapping[str, Scene]
    killed: Mapping[str, Scene]

    @property
    def scenes(self) -> dict[str, Scene]:
        """All, by camera."""
        return {
            name: each for part in (*self.together, self.cut, self.stalled, self.killed) for name, each in part.items()
        }


def run(session: Session) -> list[Figure]:
    """The scenes and the table beside the peer's; then what cameras cost."""
    parts = _parts()
    try:
        require_rtsp_server()
    except Misconfigured as missing:
        raise Unavailable(str(missing)) from None
    faces, pack = session.data / "faces", default_pack()
    if pack is None or not (faces / "manifest.csv").is_file():
        raise Unavailable(f"scenes are drawn from {faces} and judged with the shipped pack; name the data with --data")
    everybody = cast(from_manifest(faces))
    figures: list[Figure] = []
    with session.progress("cameras") as tell, scratch() as home:
        if "replayed" in parts:
            figures += _replayed(pack, everybody, session, tell)
        plot, load = _plot(dealt(everybody), session), cameras_load.scenes(everybody, session)
        clips = (plot.scenes if "scenes" in parts else {}) | (load if "load" in parts else {})
        write_clips(home / "clips", clips, tell)
        with open_stage(home, pack, GAP_S) as stage:
            if "scenes" in parts:
                figures += _scenes(stage, plot, tell)
            if "load" in parts:
                figures += cameras_load.run(stage, load, everybody, stage.server(), session, tell)
            stage.check()
    return figures


def _parts() -> tuple[str, ...]:
    named = tuple(each.strip() for each in (os.environ.get("KITH_BENCH_CAMERAS") or ",".join(_PARTS)).split(","))
    if unknown := [each for each in named if each not in _PARTS]:
        raise Unavailable(f"KITH_BENCH_CAMERAS names {unknown[0]!r}; there are {', '.join(_PARTS)}")
    return named


def _plot(people: Dealer, session: Session) -> _Plot:
    taken: list[Person] = []

    def some(count: int) -> list[Person]:
        chosen = people.some(count)
        taken.extend(chosen)
        return chosen

    halls = [hall(some(12), 3, 30.0 * turn) for turn in range(session.scaled(2, 1))]
    together = [
        {f"hall-{number + 1}": scene([walk for each in halls for walk in each[number]], number) for number in range(3)}
    ]
    if not session.quick:
        pairs = {f"crossing-{number}": scene(crossing(some(10)), 10 + number) for number in (1, 2)}
        together.append({"returning": scene(returning(some(6)), 20), **pairs})
    seconds = 50.0

    def stayers(name: str, seed: int) -> dict[str, Scene]:
        return {name: scene(staying(some(4), seconds), seed, seconds)}

    return _Plot(
        together=tuple(together),
        cut=stayers("cut", 30),
        stalled=stayers("stalled", 31),
        killed={} if session.quick else stayers("killed", 32),
        people=tuple(taken),
    )


def _scenes(stage: Stage, plot: _Plot, tell: Callable[[str], None]) -> list[Figure]:
    tell("enrolling")
    stage.enrol(_GALLERY, plot.people)
    for scenes in plot.together:
        _played(stage, scenes, tell)
    _cut_and_stalled(stage, plot, tell)
    if plot.killed:
        _killed(stage, plot, tell)
    tell("waiting for the last visits to end")
    stage.wait(GAP_S + _SETTLE_S)
    decisions, events = stage.decisions(_GALLERY), stage.events(_GALLERY)
    known = {person.name: person.known for person in plot.people}
    truth = stays(stage.plays, _GAP_MS)
    ours = judged(heard(events, decisions, stage.plays), truth, known, _GAP_MS)
    theirs, embedded = _peer(stage, plot, known, tell)
    return _figures(ours, len(decisions) / ours.stays, theirs, embedded)


def _played(stage: Stage, scenes: Mapping[str, Scene], tell: Callable[[str], None]) -> None:
    tell(f"watching {', '.join(scenes)}")
    stage.open(_GALLERY, scenes, stage.server())
    names = sorted(scenes, key=lambda name: scenes[name].seconds)
    passed_s = 0.0
    for name in names:
        # Before its end: a stream that ends is opened again, and everybody would be there once more.
        stage.wait(scenes[name].seconds - 1 - passed_s)
        passed_s = scenes[name].seconds - 1
        stage.close([name])


def _cut_and_stalled(stage: Stage, plot: _Plot, tell: Callable[[str], None]) -> None:
    tell("watching a server that is killed and one that stalls")
    cut, stalled = stage.server(), stage.server()
    stage.open(_GALLERY, plot.cut, cut)
    stage.open(_GALLERY, plot.stalled, stalled)
    stage.wait(_BEFORE_S)
    cut.stop(kill=True)
    stalled.freeze()
    for name in (*plot.cut, *plot.stalled):
        stage.ended(name)
    stage.wait(_AWAY_S)
    cut.start()
    stage.wait(_STALLED_S - _AWAY_S)
    stalled.thaw()
    stage.until(lambda: all(stage.playing(name) for name in (*plot.cut, *plot.stalled)), "cameras that come back")
    stage.wait(_AFTER_S)
    stage.close([*plot.cut, *plot.stalled])


def _killed(stage: Stage, plot: _Plot, tell: Callable[[str], None]) -> None:
    tell("watching a camera process that is killed in mid-visit")
    stage.open(_GALLERY, plot.killed, stage.server())
    stage.wait(_BEFORE_S)
    stage.producer().kill()
    for name in plot.killed:
        stage.ended(name)
    stage.until(lambda: all(stage.playing(name) for name in plot.killed), "the cameras of a killed process")
    stage.wait(_AFTER_S)
    stage.close(list(plot.killed))


def _peer(stage: Stage, plot: _Plot, known: Mapping[str, bool], tell: Callable[[str], None]) -> tuple[Score, float]:
    snapshot = stage.client.snapshot(_GALLERY)
    rows = [
        (snapshot.names[int(owner)][1], vector)
        for block, owners in zip(snapshot.blocks, snapshot.owners, strict=True)
        for vector, owner in zip(block, owners, strict=False)
        if owner != FREE
    ]
    settings = stage.client.settings
    assert settings.model.pack is not None
    cutoff = default_cutoff(settings, snapshot.model_id)
    peer = FrameByFrame(
        settings.model.pack, [name for name, _ in rows], np.stack([vector for _, vector in rows]), cutoff, _GAP_MS
    )
    said, plays, embedded, start_ms = [], list[Play](), 0, 0
    mishap_s = 2 * _BEFORE_S + _AFTER_S
    parts = [*plot.together, {**plot.cut, **plot.stalled, **plot.killed}]
    for number, scenes in enumerate(parts):
        played = [
            Play(name, each, start_ms, start_ms + round(1000 * (each.seconds if number < len(parts) - 1 else mishap_s)))
            for name, each in scenes.items()
        ]
        start_ms = max(play.end_ms for play in played) + 2 * _GAP_MS
        plays += played
        seen = peer.watch([(play, stage.clips / f"{play.camera}.mp4") for play in played], tell)
        said += seen.said
        embedded += seen.embeddings
    truth = stays(plays, _GAP_MS)
    return judged(said, truth, known, _GAP_MS), embedded / len(truth)


def _replayed(pack: Path, everybody: Sequence[Person], session: Session, tell: Callable[[str], None]) -> list[Figure]:
    cutoff = load_pack(pack).manifest.default_cutoff
    score, embedded = cameras_replayed.run(pack, everybody, session.scaled(_ROUNDS, 1), cutoff, tell)
    return _table(score, embedded, "replayed: ")


def _figures(ours: Score, embedded: float, theirs: Score, theirs_embedded: float) -> list[Figure]:
    return _table(ours, embedded, "", theirs, theirs_embedded)


def _table(
    ours: Score, embedded: float, where: str, theirs: Score | None = None, theirs_embedded: float | None = None
) -> list[Figure]:
    def peer(share: str) -> float | None:
        return None if theirs is None else getattr(theirs, share)

    visits = "true visits" if theirs is None else "true visits (peer: recognition frame by frame)"
    return [
        Figure(f"{where}{visits}", ours.stays, "visits", peer("stays")),
        at_least(f"{where}visits found", ours.found_share, _FOUND, peer=peer("found_share")),
        at_most(f"{where}visits on which a wrong name was said", ours.wrong_share, _WRONG, peer=peer("wrong_share")),
        at_most(f"{where}`new` events a true visit", ours.announced_each, _ANNOUNCED, peer=peer("announced_each")),
        Figure(f"{where}visits of known people with their name", ours.named_share, "", peer("named_share")),
        at_most(
            f"{where}strangers' numbers that switched", ours.switched_share, _SWITCHED, peer=peer("switched_share")
        ),
        Figure(f"{where}strangers' numbers said", ours.numbered, "times", peer("numbered")),
        at_most(f"{where}embeddings a true visit", embedded, _EMBEDDINGS, peer=theirs_embedded),
    ]
