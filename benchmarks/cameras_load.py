"""What cameras cost and how soon they tell: four of a busy place for minutes, then four of an empty one."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cameras_scenes import Person, busy, scene
from benchmarks.cameras_stage import Stage
from benchmarks.report import Figure, at_most
from benchmarks.rounds import percentile, robust_slope
from benchmarks.session import Session
from kith.watching.events import EventKind
from producers.rehearsal.rtsp_server import RtspServer
from producers.rehearsal.scene import Scene

CAMERAS = 4
#: As cameras send them; five of these are looked at.
_FPS = 15
_P50_MS, _P99_MS = 300.0, 1000.0

#: How long four busy cameras are watched, in minutes, and the half an hour that says something about memory.
MINUTES, _DEFAULT_MINUTES = "KITH_BENCH_SOAK_MINUTES", 2.0

_STAGES = ("decode", "gate", "convert", "detect", "track", "pick")
_READ_EVERY_S = 2.0
#: Share of the run in which buffers and caches may still reach their size.
_WARM_UP = 0.25
_WATCHED = ("camera-1", "embed-1", "watch")


@dataclass(frozen=True)
class _Spell:
    """Some time with four cameras. cpu_s: of the camera process. us: CPU of its stages, microseconds. looked: frames
    in which faces were looked for, of `frames`. memory: megabytes of each process, by seconds since the beginning."""

    seconds: float
    cpu_s: float
    us: Mapping[str, int]
    frames: int
    looked: int
    memory: Mapping[str, Sequence[tuple[float, float]]]

    @property
    def streams(self) -> float:
        """That one core carries."""
        return CAMERAS * self.seconds / self.cpu_s


def scenes(people: Sequence[Person], session: Session) -> dict[str, Scene]:
    """busy-N: a stream of people, each on one camera; quiet-N: nobody at all."""
    seconds = session.scaled(60, 12)
    shares = [people[number::CAMERAS] for number in range(CAMERAS)]
    crowds = {
        f"busy-{number}": scene(busy(share, seconds), 40 + number, seconds, _FPS)
        for number, share in enumerate(shares, start=1)
    }
    return crowds | {f"quiet-{number}": scene([], 50, session.scaled(30, 8), _FPS) for number in range(1, CAMERAS + 1)}


def run(
    stage: Stage,
    clips: Mapping[str, Scene],
    people: Sequence[Person],
    server: RtspServer,
    session: Session,
    tell: Callable[[str], None],
) -> list[Figure]:
    """Latency, memory and the costs of both."""
    minutes = float(os.environ.get(MINUTES) or _DEFAULT_MINUTES)
    stage.enrol("busy", people)
    crowds = {name: clip for name, clip in clips.items() if name.startswith("busy")}
    crowded = _spell(stage, crowds, server, 12 if session.quick else 60 * minutes, "busy", tell)
    empty = _spell(
        stage,
        {name: clip for name, clip in clips.items() if name.startswith("quiet")},
        server,
        session.scaled(24, 5),
        "quiet",
        tell,
    )
    return [*_latency(stage), *_costs(crowded, empty), *_memory(crowded)]


def _spell(
    stage: Stage,
    clips: Mapping[str, Scene],
    server: RtspServer,
    seconds: float,
    name: str,
    tell: Callable[[str], None],
) -> _Spell:
    stage.open("busy", clips, server)
    before, began = stage.counts(), stage.producer().cpu_times()
    memory: dict[str, list[tuple[float, float]]] = {each: [] for each in _WATCHED}
    passed_s = 0.0
    while passed_s < seconds:
        tell(f"{name}: {passed_s:.0f} of {seconds:.0f} s")
        for _ in range(10):
            stage.wait(_READ_EVERY_S)
            passed_s += _READ_EVERY_S
            for each in _WATCHED:
                memory[each].append((passed_s, stage.process(each).memory_info().rss / 1e6))
            if passed_s >= seconds:
                break
    ended = stage.producer().cpu_times()
    # Reported once a lease's quarter: what is counted is of a little less time than the CPU's.
    after = stage.counts()
    counted = {each: after.get(each, 0) - before.get(each, 0) for each in after}
    stage.close(list(clips))
    return _Spell(
        passed_s,
        ended.user + ended.system - began.user - began.system,
        {each: counted.get(f"us_{each}", 0) for each in _STAGES},
        counted.get("frames", 0),
        counted.get("looked_at", 0),
        memory,
    )


def _latency(stage: Stage) -> list[Figure]:
    told = [each for each in stage.events("busy") if each.kind is EventKind.NEW and each.told_ms is not None]
    waits = [float((each.told_ms or 0) - each.at_ms) for each in told]
    if not waits:
        raise RuntimeError("nobody was announced before four busy cameras: there is nothing to measure")
    name = "four cameras, 5 frames/s: frame seen → `new` event"
    return [
        at_most(f"{name}, p50", percentile(waits, 50), _P50_MS, "ms"),
        at_most(f"{name}, p99", percentile(waits, 99), _P99_MS, "ms"),
        Figure("of so many `new` events", len(waits), "events"),
    ]


def _costs(crowded: _Spell, empty: _Spell) -> list[Figure]:
    spells = {"busy": crowded, "quiet": empty}
    return [
        *(
            Figure(f"streams a core, 640×480, 5 frames/s: {name}", spell.streams, "streams")
            for name, spell in spells.items()
        ),
        *(
            Figure(f"{name}: frames in which faces are looked for", spell.looked / max(1, spell.frames), "of all")
            for name, spell in spells.items()
        ),
        *(
            Figure(f"{name}: CPU of {stage}, of the process's", us / 1e6 / spell.cpu_s, "")
            for name, spell in spells.items()
            for stage, us in spell.us.items()
        ),
    ]


def _memory(spell: _Spell) -> list[Figure]:
    figures = [Figure("memory: watched for", spell.seconds / 60, "minutes")]
    for name, readings in spell.memory.items():
        warm = readings[int(len(readings) * _WARM_UP) :]
        slope = robust_slope([each[0] for each in warm], [each[1] for each in warm]) if len(warm) > 1 else 0.0
        figures += [
            Figure(f"memory of {name}: slope", 3600 * slope, "MB/hour"),
            Figure(f"memory of {name}: at the end", readings[-1][1], "MB", readings[0][1]),
        ]
    return figures
