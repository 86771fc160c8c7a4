"""Processes that change one gallery at once, and processes that follow it: each writes down what it did or saw."""

import fcntl
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.migration_redis import RedisMigrationStore
from kith.errors import KithError
from kith.gallery import Enrolment, GallerySettings, Snapshot
from kith.journal import FREE, Op
from kith.replica import Follower, GalleryView, Replica
from tests import gallery_schema
from tests.plain_gallery import DIMENSION, key, unit

PREFIX, GALLERY = "crowd", "door"

#: Few names and few pictures of each, so that everybody meets everybody again and again.
NAMES = tuple(f"p{number:02}" for number in range(12))
SEEDS = 20
CUTOFFS = (None, 0.1, 0.3, 0.5, 0.7)

#: Everything that can ever be enrolled: a face is known by its vector, and each has a quality of its own.
IDS = tuple(key(name, seed) for name in NAMES for seed in range(SEEDS))
_OTHER = 6
#: By model, whose vectors are of another length: a row of the one is no row of the other.
DIMENSIONS = {"m": DIMENSION, "n": _OTHER}
VECTORS = {
    model: np.stack([unit(1000 * who + seed, dimension) for who in range(len(NAMES)) for seed in range(SEEDS)])
    for model, dimension in DIMENSIONS.items()
}
PLACES = {template: place for place, template in enumerate(IDS)}
QUALITIES = np.arange(1, len(IDS) + 1, dtype=np.float32) / np.float32(1000)
_ORDER = {model: np.argsort(vectors[:, 0]) for model, vectors in VECTORS.items()}

#: What somebody saw at `sequence`. horizon: the store was there or before it when the last of it was read. exact: it
#: was read whole, so nothing may be missing. settings: index of the cutoff. model: of the vectors. names, owners:
#: number of the subject of each name and of each of IDS, 0 for none.
SEEN = np.dtype(
    [
        *(("sequence", "i8"), ("horizon", "i8"), ("exact", "u1"), ("settings", "u1"), ("model", "S1")),
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


def face(who: str, seed: int, model: str = "m") -> Enrolment:
    place = NAMES.index(who) * SEEDS + seed
    return Enrolment(who, IDS[place], VECTORS[model][place], f"ab/{seed}", float(QUALITIES[place]), model)


def vectors_of(model: str, templates: Iterable[str]) -> dict[str, np.ndarray]:
    """What the pictures of templates are to a model."""
    return {each: VECTORS[model][PLACES[each]] for each in templates}


def change(url: str, seed: str, calls: int, record: Path) -> None:
    """Make `calls` random calls, and write each to `record` with its answer, one JSON line each.

    low, high: the store was at `low` or after it before the call, at `high` or before it after the call. trimmed: what
    was cut off the journal then, where the call was refused; for a forget, what was cut off at that very moment.
    """
    chance = random.Random(seed)
    client, store = open_store(url)
    with closing(client), record.open("w") as out, (record.parent / "trims.lock").open("w") as lock:
        low, model = 0, store.info(GALLERY).model_id
        for _ in range(calls):
            verb, *arguments = next(_calls(chance, store, low, model))
            line: dict[str, Any] = {"verb": verb, "arguments": arguments, "low": low}
            # Whom a forget finds depends on how far the journal reaches, and a trim has no number of its own.
            if verb in ("forget", "trim"):
                fcntl.flock(lock, fcntl.LOCK_SH if verb == "forget" else fcntl.LOCK_EX)
            try:
                answer = CALLS[verb](store, *arguments)
                line["answer"] = answer
                low = max([low, *answer])
            except KithError as refused:
                line["error"] = type(refused).__name__
            if verb == "forget":
                line["trimmed"] = position(client)[1]
            fcntl.flock(lock, fcntl.LOCK_UN)
            if verb == "switched" or line.get("error") == "ModelMismatch":
                model = store.info(GALLERY).model_id
            if "error" in line or line["answer"] == [] or max(line["answer"]) <= line["low"]:
                low, trimmed = position(client)
                line.setdefault("trimmed", trimmed)
            out.write(json.dumps(line | {"high": low}) + "\n")


def position(client: redis.Redis) -> tuple[int, int]:
    """The newest sequence number, and the newest that is cut off."""
    meta: Any = client.hmget(f"{PREFIX}:g:{GALLERY}:meta", "sequence", "trimmed")
    return int(meta[0]), int(meta[1])


def _calls(chance: random.Random, store: RedisGalleryStore, low: int, model: str) -> Iterator[tuple[Any, ...]]:
    who, other = chance.sample(NAMES, 2)
    # Now and then a few are met so often that merges of merges are undone and made again.
    if chance.random() < 0.3:
        who, other = chance.sample(NAMES[:3], 2)
    verb = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    if verb == "enrol":
        yield verb, who, [chance.randrange(SEEDS) for _ in range(chance.randint(1, 5))], model
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
    elif verb == "switched":
        yield verb, "n" if model == "m" else "m", chance.choice(CUTOFFS)
    elif verb == "embed":
        yield verb, chance.randint(1, 100)
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
    **{"settings": 3, "show": 1, "history": 1, "trim": 0.2, "embed": 2, "switched": 1, "end": 0.1},
}

#: Each answers with sequence numbers of changes, none for a call that only looks.
CALLS: dict[str, Callable[..., list[int]]] = {
    "enrol": lambda store, who, seeds, model: store.enrol(GALLERY, [face(who, seed, model) for seed in seeds]),
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
    "embed": lambda store, most: embed(_migrations(store), most),
    "switched": lambda store, model, cutoff: [move_to(store, _migrations(store), model, cutoff)],
    "end": lambda store, _: end(_migrations(store)),
}


def _migrations(store: RedisGalleryStore) -> RedisMigrationStore:
    return RedisMigrationStore(store._script.client, PREFIX)


def embed(migrations: RedisMigrationStore, most: int) -> list[int]:
    """Vectors of the other model, where there is one, for some templates that lack them."""
    state = migrations.state(GALLERY)
    if state is not None:
        some = [each.template_id for each in migrations.missing(GALLERY)[:most]]
        migrations.put(GALLERY, state.model_id, vectors_of(state.model_id, some), {})
    return []


def move_to(store: RedisGalleryStore, migrations: RedisMigrationStore, model: str, cutoff: float | None) -> int:
    """The whole move to a model, while others change the gallery: refused when they are quicker."""
    migrations.begin(GALLERY, model_id=model, dimension=DIMENSIONS[model], pack="p")
    # Once somebody else has switched to it, what is missing are vectors of the former model, which nobody puts.
    while (state := migrations.state(GALLERY)) and state.model_id == model and state.missing:
        missing = [each.template_id for each in migrations.missing(GALLERY)]
        migrations.put(GALLERY, model, vectors_of(model, missing), {})
    before = store.info(GALLERY).settings
    return migrations.switch(GALLERY, model, before=before, after=GallerySettings(cutoff=cutoff))


def end(migrations: RedisMigrationStore) -> list[int]:
    """No way back."""
    migrations.end(GALLERY)
    return []


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
    seen["settings"], seen["model"] = CUTOFFS.index(state.settings.cutoff), state.model_id.encode()
    seen["names"] = [names.get(name, 0) for name in NAMES]
    known = set(names.values())
    for block, owners, qualities in zip(state.blocks, state.owners, state.qualities, strict=True):
        rows = np.flatnonzero(owners != FREE)
        assert not block[: len(owners)][owners == FREE].any(), "a free slot holds a vector"
        vectors, order = VECTORS[state.model_id], _ORDER[state.model_id]
        places = order[np.minimum(np.searchsorted(vectors[order, 0], block[rows, 0]), len(order) - 1)]
        assert np.array_equal(vectors[places], block[rows]), "a vector that nobody enrolled, or of the other model"
        assert np.array_equal(QUALITIES[places], qualities[rows]), "a template has another one's quality"
        assert not seen["owners"][places].any(), "a template stands in two slots"
        seen["owners"][places] = owners[rows]
        assert known.issuperset(owners[rows].tolist()), "a template of nobody"
    return seen.tobytes()
