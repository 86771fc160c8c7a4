"""Whatever cameras tell, in whatever order, lost or twice: visits begin once, end once, and nothing is left behind."""

from collections import Counter, defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kith import wire
from kith.jobs import Outcome, Seen
from kith.settings import Watch
from kith.watching.book import VisitBook
from kith.watching.events import Event, EventKind
from kith.watching.log import Heard
from kith.watching.news import (
    CameraStarted,
    News,
    Sighted,
    StrangerForgotten,
    StrangerIgnored,
    StrangerMerged,
    StrangerNamed,
    SubjectForgotten,
    TrackBegun,
    TrackEnded,
    TracksAlive,
    Unfit,
)
from kith.watching.state import State
from tests.simulated_cameras import CUTOFF, unit

FACES = [unit(np.eye(6, dtype=np.float32)[n] + 0.1) for n in range(6)]
T = 1_000_000

cameras = st.sampled_from(["front", "hall"])
numbers = st.integers(1, 4)
strangers = st.integers(1, 4)
tracks = st.builds(lambda camera, run, n: f"{camera}.{run}.{n}", cameras, st.sampled_from("rs"), numbers)


def camera_of(track: str) -> str:
    return track.partition(".")[0]


@st.composite
def sighted(draw: st.DrawFn) -> tuple[Sighted, int]:
    track, face, known = draw(tracks), draw(st.integers(0, 5)), draw(st.booleans())
    number = draw(st.integers(1, 9))
    quality = draw(st.floats(0, 1))
    score = draw(st.floats(-1, 1))
    seen = Seen(camera_of(track), track, draw(st.integers(T, T + 200_000)), (0, 0, 9, 9), (640, 480), number)
    lost = draw(st.sampled_from([None, Outcome.EXPIRED, Outcome.LOW_QUALITY, Outcome.REJECTED]))
    news = Sighted(
        f"{track}:{number}:{draw(st.integers(0, 10**9))}",
        seen,
        lost or (Outcome.MATCH if known and score >= CUTOFF else Outcome.UNKNOWN),
        f"k{face}{number}",
        expires_ms=draw(st.none() | st.integers(T, T + 400_000)),
        quality=quality,
        nearest=f"p{face}" if known else None,
        nearest_id=f"id{face}" if known else None,
        score=score if known else None,
        cutoff=CUTOFF,
        model_id=draw(st.sampled_from(["m", "m", "m", "other"])),
    )
    return news, -1 if lost else face


plain = (
    st.builds(lambda track: TrackBegun(camera_of(track), track, T), tracks)
    | st.builds(lambda track: TracksAlive(camera_of(track), (track,), T), tracks)
    | st.builds(
        lambda track, crops, unfit: TrackEnded(camera_of(track), track, T, crops=crops, unfit=unfit),
        tracks, st.integers(0, 5), st.none() | st.sampled_from(Unfit),
    )
    | st.builds(lambda camera, run: CameraStarted(camera, run, T), cameras, st.sampled_from("rs"))
    | st.builds(lambda n: StrangerNamed(n, f"p{n}", f"id{n}", T), strangers)
    | st.builds(lambda n, into: StrangerMerged(n, into, T), strangers, strangers)
    | st.builds(lambda n, ignored: StrangerIgnored(n, ignored, T), strangers, st.booleans())
    | st.builds(lambda n: StrangerForgotten(n, T), strangers)
    | st.builds(lambda n: SubjectForgotten((f"id{n}",), (f"p{n}",), T), st.integers(0, 5))
)  # fmt: skip
lines = st.lists(st.tuples(plain.map(lambda news: (news, -1)) | sighted(), st.integers(0, 20_000)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(lines)
def test_visits_begin_once_and_end_once_and_leave_nothing_behind(told: list[tuple[tuple[News, int], int]]) -> None:
    book, events, at_ms = VisitBook("g", Watch(), State()), list[Event](), T
    for place, ((news, face), pause_ms) in enumerate(told):
        at_ms += pause_ms
        events += book.take(Heard("g", f"{at_ms}-{place}", news), None if face < 0 else FACES[face], at_ms)
    while (due := book.due_ms()) is not None:
        at_ms = max(at_ms, due)
        events += book.tick(at_ms, at_ms)
    assert (book.state.tracks, book.state.visits) == ({}, {})
    forgotten = any(isinstance(news, StrangerForgotten | SubjectForgotten) for (news, _), _ in told)
    by_visit: dict[str, list[EventKind]] = defaultdict(list)
    for event in events:
        assert wire.from_json(Event, wire.to_json(event)) == event
        if event.visit is not None and event.kind is not EventKind.RENAMED:
            by_visit[event.visit].append(event.kind)
    for kinds in by_visit.values():
        counts = Counter(kinds)
        assert counts[EventKind.NEW] <= 1
        assert counts[EventKind.END] + counts[EventKind.MERGED] <= 1
        if EventKind.NEW in kinds:
            assert kinds[0] is EventKind.NEW
            # Who is forgotten while being watched has no end: nothing may tell of them any more.
            assert forgotten or kinds[-1] in (EventKind.END, EventKind.MERGED)
    ids = Counter(event.event_id for event in events)
    assert {event_id for event_id, count in ids.items() if count > 1} == set()


@settings(max_examples=60, deadline=None)
@given(lines, st.integers(0, 59))
def test_a_book_written_down_anywhere_and_read_again_goes_on_the_same(
    told: list[tuple[tuple[News, int], int]], cut: int
) -> None:
    whole, at_ms, texts = VisitBook("g", Watch(), State()), T, list[list[Event]]()
    second: VisitBook | None = None
    for place, ((news, face), pause_ms) in enumerate(told):
        at_ms += pause_ms
        if place == cut:
            whole.state.touch()
            changes = whole.state.changes()
            records = {key: text for key, text in changes.records.items() if text is not None}
            records["next"] = str(whole.state.strangers.next_number)
            vectors = {key: rows for key, rows in changes.vectors.items() if rows is not None}
            second = VisitBook("g", Watch(), State(records, vectors))
        heard, vector = Heard("g", f"{at_ms}-{place}", news), None if face < 0 else FACES[face]
        events = whole.take(heard, vector, at_ms)
        if second is not None:
            assert second.take(heard, vector, at_ms) == events
        texts.append(events)
