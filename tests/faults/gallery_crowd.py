"""Processes that change one gallery at once, and processes that follow it: each writes down what it did or saw."""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.errors import KithError
from kith.gallery import Enrolment, GallerySettings, Snapshot
from kith.journal import FREE, Op
from kith.replica import Follower, GalleryView, Replica
from tests import gallery_schema
from tests.plain_gallery import key, unit

PREFIX, GALLERY = "crowd", "door"

#: Few names and few pictures of each, so that everybody meets everybody again and again.
NAMES = tuple(f"p{number:02}" for number in range(12))
SEEDS = 20
CUTOFFS = (None, 0.1, 0.3, 0.5, 0.7)

#: Everything that can ever be enrolled: a face is known by its vector, and each has a quality of its own.
IDS = tuple(key(name, seed) for name in NAMES for seed in range(SEEDS))
VECTORS = np.stack([unit(1000 * who + seed) for who in range(len(NAMES)) for seed in range(SEEDS)])
QUALITIES = np.arange(1, len(IDS) + 1, dtype=np.float32) / np.float32(1000)
_ORDER = np.argsort(VECTORS[:, 0])

#: What somebody saw at `sequence`. horizon: the store was there or before it when the last of it was read. exact: it
#: was read whole, so nothing may be missing. settings: index of the cutoff. names, owners: number of the subject of
#: each name and of each of IDS, 0 for none.
SEEN = np.dtype(
    [
        *(("sequence", "i8"), ("horizon", "i8"), ("exact", "u1"), ("settings", "u1")),
        *(("names", "u4", len(NAMES)), ("owners", "u4", len(IDS))),
    ]
)


class Ended(Protocol):
    """The number at which all changes have been made, -1 before (multiprocessing.Value)."""

    value: int


def open_store(url: str) -> tuple[redis.Redis, RedisGalleryStore]:
    """A client of its own and the store on it."""
    client = redis.Redis.from_url(url)
    return client, RedisGalleryStore(client, PREFIX)


def face(who: str, seed: int) -> Enrolment:
    place = NAMES.index(who) * SEEDS + seed
    return Enrolment(who, IDS[place], VECTORS[place], f"ab/{seed}", float(QUALITIES[place]), "m")


def change(url: str, seed: str, calls: int, record: Path) -> None:
    """Make `calls` random calls, and write each to `record` with its answer, one JSON line each.

    low, high: the store was at `low` or after it before the call, at `high` or before it after the call. trimmed: what
    was cut off the journal then, where the call was refused.
    """
    chance = random.Random(seed)
    client, store = open_store(url)
    with closing(client), record.open("w") as out:
        low = 0
        for _ in range(calls):
            verb, *arguments = next(_calls(chance, store, low))
            line: dict[str, Any] = {"verb": verb, "arguments": arguments, "low": low}
            try:
                answer = CALLS[verb](store, *arguments)
                line["answer"] = answer
                low = max([low, *answer])
            except KithError as refused:
                line["error"] = type(refused).__name__
            if "error" in line or line["answer"] == [] or max(line["answer"]) <= line["low"]:
                low, line["trimmed"] = position(client)
            out.write(json.dumps(line | {"high": low}) + "\n")


def position(client: redis.Redis) -> tuple[int, int]:
    """The newest sequence number, and the newest that is cut off."""
    meta: Any = client.hmget(f"{PREFIX}:g:{GALLERY}:meta", "sequence", "trimmed")
    return int(meta[0]), int(meta[1])


def _calls(chance: random.Random, store: RedisGalleryStore, low: int) -> Iterator[tuple[Any, ...]]:
    who, other = chance.sample(NAMES, 2)
    # Now and then a few are met so often that merges of merges are undone and made again.
    if chance.random() < 0.3:
        who, other = chance.sample(NAMES[:3], 2)
    verb = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    if verb == "enrol":
        yield verb, who, [chance.randrange(SEEDS) for _ in range(chance.randint(1, 5))]
    elif verb in ("remove_all", "move_all"):
        some = _templates(chance, store, who)
        yield (verb, who, some) if verb == "remove_all" else (verb, who, some, other)
    elif verb in ("merge", "rename"):
        yield verb, who, other
    elif verb == "describe":
        notes = chance.choice([{}, {"floor": str(chance.randrange(3))}])
        yield verb, who, chance.choice([None, "1", "2", "3"]), notes
    elif verb == "settings":
        yield verb, chance.choice(CUTOFFS)
    elif verb == "undo":
        yield verb, max(1, low - int(chance.expovariate(0.3)))
    elif verb == "trim":
        yield verb, chance.choice([-1, 0.05, 0.5, 0.5])
    else:
        yield verb, who


def _templates(chance: random.Random, store: RedisGalleryStore, who: str) -> list[str]:
    """Some that he has, mostly."""
    try:
        known = [each.template_id for each in store.show(GALLERY, who).templates] if chance.random() < 0.8 else []
    except KithError:
        known = []
    return chance.sample(known or IDS, min(len(known) or 1, chance.randint(1, 3)))


_WEIGHTS = {
    **{"enrol": 34, "undo": 16, "move_all": 11, "remove_all": 8, "rename": 8, "merge": 6, "describe": 6, "forget": 6},
    **{"settings": 3, "show": 1, "history": 1, "trim": 0.2},
}

#: Each answers with sequence numbers of changes, none for a call that only looks.
CALLS: dict[str, Callable[..., list[int]]] = {
    "enrol": lambda store, who, seeds: store.enrol(GALLERY, [face(who, seed) for seed in seeds]),
    "remove_all": lambda store, who, ids: [store.remove(GALLERY, who, ids)],
    "move_all": lambda store, who, ids, to: [store.move(GALLERY, who, ids, to)],
    "merge": lambda store, who, into: [store.merge(GALLERY, who, into)],
    "rename": lambda store, old, new: [store.rename(GALLERY, old, new)],
    "describe": lambda store, who, external, notes: [
        store.describe(GALLERY, who, external_id=external, metadata=notes)
    ],
    "forget": lambda store, who: [store.forget(GALLERY, who).sequence],
    "settings": lambda store, cutoff: [store.configure(GALLERY, GallerySettings(cutoff=cutoff))],
    "undo": lambda store, sequence: [store.undo(GALLERY, sequence)],
    "show": lambda store, who: [each.sequence for each in store.show(GALLERY, who).templates][:0],
    "history": lambda store, _: [each.sequence for each in store.history(GALLERY, limit=5)][:0],
    "trim": lambda store, keep_s: [store.trim(GALLERY, keep_s)][:0],
}


def follow_step_by_step(url: str, seed: str, record: Path, ended: Ended) -> None:
    """A replica brought forward one change at a time, never late but where it sleeps; written to `record` each time."""
    chance, (client, store) = random.Random(seed), open_store(url)
    with closing(client), record.open("wb") as out:
        replica = None
        while ended.value < 0 or replica is None or replica.view.sequence < ended.value:
            if replica is None or chance.random() < 0.001:
                replica = Replica(store.snapshot(GALLERY))
                out.write(seen_in_view(replica.view, position(client)[0], exact=True))
            changes = store.changes(GALLERY, replica.view.sequence, block_ms=100, limit=chance.choice([1, 10, 1000]))
            horizon = position(client)[0]
            for each in changes:
                if each.op is Op.RELOAD:
                    replica = None
                    break
                out.write(seen_in_view(replica.apply([each]), horizon))


def follow_late(url: str, seed: str, record: Path, ended: Ended) -> None:
    """Plain snapshots, some brought forward by a journal that is far ahead, change by change."""
    chance, (client, store) = random.Random(seed), open_store(url)
    with closing(client), record.open("wb") as out:
        last = -1
        while ended.value < 0 or last < ended.value:
            snapshot = store.snapshot(GALLERY)
            out.write(_seen_in_snapshot(snapshot, position(client)[0], exact=True))
            for _ in range(chance.randrange(20)):
                _sleep(chance.expovariate(5), ended)
                changes = store.changes(GALLERY, snapshot.sequence)
                if changes and changes[0].op is Op.RELOAD:
                    break
                horizon = position(client)[0]
                for each in changes:
                    snapshot.apply([each])
                    out.write(_seen_in_snapshot(snapshot, horizon))
            last = snapshot.sequence


def follow_as_workers_do(url: str, seed: str, record: Path, ended: Ended) -> None:
    """The follower of a worker, whose newest view is looked at; it ends and begins again now and then."""
    chance, (client, store) = random.Random(seed), open_store(url)
    with closing(client), record.open("wb") as out:
        last = -1
        while ended.value < 0 or last < ended.value:
            follower = Follower(store, block_ms=50)
            with closing(_Stopping(follower)):
                for _ in range(chance.randrange(1, 2000)):
                    view = follower.view(GALLERY, max(0, ended.value), timeout_s=60)
                    if view.sequence > last:
                        last = view.sequence
                        out.write(seen_in_view(view, position(client)[0]))
                    if last >= ended.value >= 0:
                        return
                    _sleep(0.002, ended)


class _Stopping:
    def __init__(self, follower: Follower) -> None:
        self.close = follower.stop


def watch_the_keys(url: str, _: str, record: Path, ended: Ended) -> None:
    """Looks whether every key in Redis follows from the others, all the while; writes down what it saw where not."""
    client, _store = open_store(url)
    with closing(client):
        record.touch()
        while ended.value < 0:
            stored = gallery_schema.read(client, PREFIX, GALLERY)
            try:
                gallery_schema.check(stored)
            except AssertionError:
                record.write_text(repr(stored))
                raise
            _sleep(0.02, ended)


def _sleep(seconds: float, ended: Ended) -> None:
    if ended.value < 0:
        time.sleep(seconds)


def seen_in_view(view: GalleryView, horizon: int, *, exact: bool = False) -> bytes:
    """A view as SEEN; fails when it contradicts itself."""
    names = {name: number for name in NAMES if (number := view.row_of(name)) is not None}
    assert len(names) == view.subjects, f"{view.subjects} subjects, {len(names)} of them found by name"
    assert all(view.subject_at(number)[1] == name for name, number in names.items())
    assert view.templates == sum(int(np.count_nonzero(owners)) for owners in view.owners)
    return _seen(view, names, horizon, exact)


def _seen_in_snapshot(snapshot: Snapshot, horizon: int, *, exact: bool = False) -> bytes:
    names = {name: number for number, (_, name) in snapshot.names.items()}
    assert len(names) == len(snapshot.names), "two subjects of one name"
    return _seen(snapshot, names, horizon, exact)


def _seen(state: GalleryView | Snapshot, names: dict[str, int], horizon: int, exact: bool) -> bytes:
    seen = np.zeros((), SEEN)
    seen["sequence"], seen["horizon"], seen["exact"] = state.sequence, horizon, exact
    seen["settings"] = CUTOFFS.index(state.settings.cutoff)
    seen["names"] = [names.get(name, 0) for name in NAMES]
    known = set(names.values())
    for block, owners, qualities in zip(state.blocks, state.owners, state.qualities, strict=True):
        rows = np.flatnonzero(owners != FREE)
        assert not block[: len(owners)][owners == FREE].any(), "a free slot holds a vector"
        places = _ORDER[np.searchsorted(VECTORS[_ORDER, 0], block[rows, 0])]
        assert np.array_equal(VECTORS[places], block[rows]), "a vector that nobody enrolled"
        assert np.array_equal(QUALITIES[places], qualities[rows]), "a template has another one's quality"
        assert not seen["owners"][places].any(), "a template stands in two slots"
        seen["owners"][places] = owners[rows]
        assert known.issuperset(owners[rows].tolist()), "a template of nobody"
    return seen.tobytes()
