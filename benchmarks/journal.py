"""What changing a gallery costs: templates in bulk, one by one, every verb; and the memory a template takes.

Peer: a hash per template, plain HSET, pipelined: how one would keep vectors in Redis without packing or a journal.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import redis

from benchmarks.report import Figure, at_least, at_most
from benchmarks.rounds import interleave, median_ratio, percentile
from benchmarks.session import Session, scratch
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.gallery import Enrolment, GallerySettings
from kith.journal import Vectors
from kith.table_import import import_table
from kith.tables import open_table

_DIMENSION = 512
_PAYLOAD = 4 * _DIMENSION
#: What docs/gallery.md promises.
_RATE, _MEMORY = 20_000, 1.25


def run(session: Session) -> list[Figure]:
    """Templates/s into Redis, bytes of a 512-number template there, milliseconds of each verb."""
    templates, verbs = session.scaled(50_000, 2_000), session.scaled(300, 10)
    # As many vectors as tell nothing apart, over and over: a server stores every one.
    vectors = _unit(np.random.default_rng(0), 4096)
    with (
        scratch() as folder,
        EmbeddedValkey(folder / "valkey") as server,
        redis.Redis.from_url(server.url) as client,
        session.progress("journal") as tell,
    ):
        rates = _rates(session, client, folder, vectors, templates, tell)
        memory = _memory(client, vectors, templates, tell)
        took = _verbs(client, vectors, verbs, tell)
        dropped = _drop(client, vectors, templates, tell)
    return [*rates, *memory, *took, *dropped]


def _rates(
    session: Session,
    client: redis.Redis,
    folder: Path,
    vectors: Vectors,
    templates: int,
    tell: Callable[[str], None],
) -> list[Figure]:
    names = itertools.count()
    matrix, people = folder / "v.npy", folder / "names.csv"
    np.save(matrix, np.resize(vectors, (templates, _DIMENSION)))

    def bulk(per: int) -> Callable[[], float]:
        def measure() -> float:
            _flush(client)
            people.write_text("subject\n" + "".join(f"Person {row // per}\n" for row in range(templates)))
            store, name = RedisGalleryStore(client, "bench"), f"g{next(names)}"
            store.create(name, model_id="m", dimension=_DIMENSION)
            began = time.perf_counter()
            with open_table(matrix, people) as table:
                import_table(store, name, table, again=True)
            return templates / (time.perf_counter() - began)

        return measure

    def store_alone() -> float:
        _flush(client)
        store = _gallery(client)
        some = _enrolments(vectors, templates, 5)
        began = time.perf_counter()
        store.enrol("bench", some)
        return templates / (time.perf_counter() - began)

    def plain() -> float:
        _flush(client)
        began = time.perf_counter()
        _hashes(client, vectors, templates)
        return templates / (time.perf_counter() - began)

    contenders = {"bulk 5": bulk(5), "bulk 1": bulk(1), "store": store_alone, "plain": plain}
    took = interleave(contenders, session.scaled(7, 1), tell)
    rate = {name: float(np.median(values)) for name, values in took.items()}
    return [
        at_least("import of a table, 5 templates a subject", rate["bulk 5"], _RATE, "templates/s", rate["plain"]),
        at_least("import of a table, 1 template a subject", rate["bulk 1"], _RATE, "templates/s", rate["plain"]),
        Figure("enrol of the store alone, 5 a subject", rate["store"], "templates/s", rate["plain"]),
        Figure("import of a table, of plain hashes", median_ratio(took["bulk 5"], took["plain"]), "×", 1.0),
    ]


def _memory(client: redis.Redis, vectors: Vectors, templates: int, tell: Callable[[str], None]) -> list[Figure]:
    tell("memory of plain hashes")
    _flush(client)
    peer = _bytes(client, templates, lambda: _hashes(client, vectors, templates)) / _PAYLOAD
    figures = []
    for per in (5, 1):
        tell(f"memory, {per} templates a subject")
        _flush(client)
        store = _gallery(client)
        some = _enrolments(vectors, templates, per)
        before = _used(client)
        store.enrol("bench", some)
        fresh = (_used(client) - before) / templates / _PAYLOAD
        store.trim("bench", -1)
        rest = (_used(client) - before) / templates / _PAYLOAD
        label = f"memory of a template, {per} a subject"
        figures += [
            Figure(f"{label}, with its entries of the journal", fresh, "× its vector", peer),
            at_most(f"{label}, journal trimmed", rest, _MEMORY, "× its vector", peer),
        ]
    return figures


def _verbs(client: redis.Redis, vectors: Vectors, count: int, tell: Callable[[str], None]) -> list[Figure]:
    """Each verb `count` times, one call after the other, on people of five templates."""
    tell("every verb")
    _flush(client)
    store = _gallery(client)
    some = _enrolments(vectors, 5 * 2 * count, 5)
    store.enrol("bench", some)
    ids = [each.template_id for each in some]

    def undo(_: int) -> Any:
        return store.undo("bench", store.info("bench").sequence)

    def single(index: int) -> Any:
        new = Enrolment(f"New {index}", f"{10**9 + index:024x}", vectors[index % len(vectors)], "ab/n", 0.5, "m")
        return store.enrol("bench", [new])

    # In this order: each finds what the one before left.
    verbs: dict[str, Callable[[int], Any]] = {
        "enrol one template": single,
        "rename": lambda n: store.rename("bench", f"Person {n}", f"Somebody {n}"),
        "describe": lambda n: store.describe("bench", f"Somebody {n}", external_id=f"x{n}", metadata={"room": "7"}),
        "remove one template": lambda n: store.remove("bench", f"Somebody {n}", [ids[5 * n]]),
        "move one template": lambda n: store.move("bench", f"Somebody {n}", [ids[5 * n + 1]], f"Person {count + n}"),
        "merge two subjects": lambda n: store.merge("bench", f"Somebody {n}", f"Person {count + n}"),
        "settings": lambda n: store.configure("bench", GallerySettings(margin=n / 10_000)),
        "undo (and asking what is newest)": undo,
        "show": lambda n: store.show("bench", f"Person {count + n}"),
        "history, 100 entries": lambda _: store.history("bench"),
        "forget": lambda n: store.forget("bench", f"Person {count + n}"),
    }
    figures = []
    for name, verb in verbs.items():
        took = []
        for index in range(count):
            began = time.perf_counter()
            verb(index)
            took.append(1000 * (time.perf_counter() - began))
        figures.append(Figure(f"{name}, p50", percentile(took, 50), "ms"))
        figures.append(Figure(f"{name}, p99", percentile(took, 99), "ms"))
    return figures


def _drop(client: redis.Redis, vectors: Vectors, templates: int, tell: Callable[[str], None]) -> list[Figure]:
    """A gallery ends: how long in all, and how long the server answers nobody else at the most."""
    tell(f"dropping {templates:,} templates")
    _flush(client)
    store = _gallery(client)
    store.enrol("bench", _enrolments(vectors, templates, 5))
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    began = time.perf_counter()
    store.drop("bench", store.info("bench").epoch)
    took = 1000 * (time.perf_counter() - began)
    longest: Any = client.slowlog_get(10_000)
    client.config_set("slowlog-log-slower-than", 10_000)
    blocked = max(each["duration"] for each in longest) / 1000
    label = f"drop a gallery of {templates:,} templates"
    return [Figure(label, took, "ms"), Figure(f"{label}: longest answer of the server", blocked, "ms")]


def _gallery(client: redis.Redis) -> RedisGalleryStore:
    store = RedisGalleryStore(client, "bench")
    store.create("bench", model_id="m", dimension=_DIMENSION)
    return store


def _enrolments(vectors: Vectors, templates: int, per: int) -> Sequence[Enrolment]:
    return [
        Enrolment(f"Person {row // per}", f"{row:024x}", vectors[row % len(vectors)], f"ab/{row:064x}", 0.5, "m")
        for row in range(templates)
    ]


def _hashes(client: redis.Redis, vectors: Vectors, templates: int) -> None:
    for start in range(0, templates, 500):
        with client.pipeline(transaction=False) as pipe:
            for row in range(start, min(templates, start + 500)):
                said: dict[Any, Any] = {"subject": f"Person {row}", "image": f"ab/{row:064x}", "quality": 0.5}
                said["vector"] = vectors[row % len(vectors)].tobytes()
                pipe.hset(f"plain:{row:024x}", mapping=said)
            pipe.execute()


def _bytes(client: redis.Redis, templates: int, fill: Callable[[], None]) -> float:
    before = _used(client)
    fill()
    return (_used(client) - before) / templates


def _flush(client: redis.Redis) -> None:
    # At once: what is freed in the background would be taken for memory of what comes next.
    client.execute_command("FLUSHALL", "SYNC")  # type: ignore[no-untyped-call]


def _used(client: redis.Redis) -> int:
    # Of the data alone: buffers of connections and of the append-only file come and go.
    said: Any = client.memory_stats()
    return int(said["dataset.bytes"]) + int(said.get("overhead.hashtable.main", 0))


def _unit(random: np.random.Generator, count: int) -> Vectors:
    vectors = random.standard_normal((count, _DIMENSION)).astype(np.float32)
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
