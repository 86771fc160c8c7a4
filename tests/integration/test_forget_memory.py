"""After a forget none of the person's vectors is in the memory of a process that held them, in no form they had there:
not in what is free, in buffers of libraries, in gaps of what others have in use, or on a stack."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import redis
from PIL import Image

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.checkpoints import load_pack, simulated_pack
from kith.client import Client
from kith.embedder import embed, open_embedder
from kith.gallery import Enrolment
from kith.gallery_settings import GallerySettings, Scoring
from kith.jobs import Content
from kith.journal import BLOCK_ROWS, Snapshot, Vectors
from kith.packs.shipped import default_pack
from kith.settings import load
from kith.stack import Stack, local_settings
from tests.e2e.conftest import picture
from tests.plain_gallery import unit
from tests.process_memory import Words, count, forms, vectors_in

NAME = "Xanthippe Quux"
#: The memory is gone over once a second; on a busy machine that takes its time.
_SETTLE_S = 20.0
#: Others, and one that was never anywhere: the search must find those and not this one.
OTHERS, NOBODY = (100, 1200), 9999


def face(name: str, seed: int, dimension: int) -> Enrolment:
    return Enrolment(name, f"t{seed}", unit(seed, dimension), f"img{seed}", 0.5, "m")


@contextmanager
def following(url: str, prefix: str, method: str, root: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.integration.follower_process", url, prefix, "door", method]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def reach(process: "subprocess.Popen[str]", sequence: int) -> None:
    """Have it search at `sequence` or later."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{sequence}\n")
    process.stdin.flush()
    assert int(process.stdout.readline()) >= sequence


def settled(pid: int, hers: Sequence[str], known: Mapping[str, Mapping[str, Words]]) -> dict[str, list[str]]:
    """What is found once nothing of hers is, or when the time for that is over."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        time.sleep(1.0)
        found = vectors_in(pid, known)
        if not any(found.get(each) for each in hers) or time.monotonic() > deadline:
            return found


def scales(vectors: Mapping[str, Vectors]) -> dict[str, float]:
    """Of int8 forms, where each of `vectors` (n, d) is packed as a whole."""
    return {name: float(np.abs(each).max()) / 127 for name, each in vectors.items()}


def means(snapshot: Snapshot) -> dict[str, Vectors]:
    """By name, added up plainly."""
    vectors, owners = snapshot.templates()
    found = {}
    for number, (_, name) in snapshot.names.items():
        total = np.zeros(snapshot.dimension)
        for vector in vectors[owners == number]:
            total += vector.astype(np.float64)
        found[name] = (total / np.sqrt((total * total).sum())).astype(np.float32)
    return found


@pytest.mark.parametrize(
    ("method", "dimension", "scoring", "searched"),
    [
        ("plain", 512, Scoring.BEST, False),
        ("plain", 128, Scoring.BEST, True),
        ("int8", 512, Scoring.BEST, False),
        ("int8", 512, Scoring.BEST, True),
        ("int8", 128, Scoring.BEST, False),
        ("plain", 64, Scoring.BEST, False),
        ("int8", 512, Scoring.MEAN, False),
    ],
)
def test_a_follower_holds_nothing_of_somebody_forgotten_whether_it_is_searched_again_or_not(
    redis_client: redis.Redis,
    valkey: EmbeddedValkey,
    prefix: str,
    repository: Path,
    method: str,
    dimension: int,
    scoring: Scoring,
    searched: bool,
) -> None:
    store = RedisGalleryStore(redis_client, prefix)
    store.create("door", model_id="m", dimension=dimension, settings=GallerySettings(scoring=scoring))
    # Some are loaded with the gallery, some followed; and those in a full block, in one that grows, and in both.
    first = [1, *range(100, 1600), 2]
    store.enrol("door", [face(NAME if seed < 100 else f"n{seed % 300}", seed, dimension) for seed in first])
    packed = {"full": first[:BLOCK_ROWS], "growing": first[BLOCK_ROWS:], "grown": [*first[BLOCK_ROWS:], 3, 4, 5]}
    by = scales({name: np.stack([unit(seed, dimension) for seed in seeds]) for name, seeds in packed.items()})
    with following(valkey.url, prefix, method, repository) as process:
        reach(process, store.enrol("door", [face(NAME, seed, dimension) for seed in (3, 4, 5)])[-1])
        known = {f"hers {seed}": forms(unit(seed, dimension), by) for seed in range(1, 6)}
        if scoring is Scoring.MEAN:
            mean = means(store.snapshot("door"))
            known["hers, mean"] = forms(mean[NAME], scales({"means": np.stack(list(mean.values()))}))
        hers = list(known)
        known |= {f"n {seed}": forms(unit(seed, dimension), by) for seed in (*OTHERS, NOBODY)}
        before = vectors_in(process.pid, known)
        assert set(before) == {*hers, *(f"n {seed}" for seed in OTHERS)}, "the look into the memory is blind"
        assert count(process.pid, NAME.encode())[NAME.encode()]
        sequence = store.forget("door", NAME).sequence
        if searched:
            reach(process, sequence)
        after = settled(process.pid, hers, known)
        assert {name: after[name] for name in hers if name in after} == {}
        # Nor does a search bring anything back.
        reach(process, sequence)
        after = settled(process.pid, hers, known)
        assert set(after) == {f"n {seed}" for seed in OTHERS}
        assert count(process.pid, NAME.encode())[NAME.encode()] == 0


@pytest.mark.parametrize(
    ("method", "dimension", "scoring"),
    [("plain", 512, Scoring.BEST), ("int8", 512, Scoring.BEST), ("int8", 128, Scoring.QUALITY)],
)
def test_a_follower_holds_nothing_of_a_gallery_that_is_gone(
    redis_client: redis.Redis,
    valkey: EmbeddedValkey,
    prefix: str,
    repository: Path,
    method: str,
    dimension: int,
    scoring: Scoring,
) -> None:
    store = RedisGalleryStore(redis_client, prefix)
    store.create("door", model_id="m", dimension=dimension, settings=GallerySettings(scoring=scoring))
    seeds = range(100, 100 + BLOCK_ROWS)
    store.enrol("door", [face(f"{NAME} {seed}", seed, dimension) for seed in seeds])
    by = scales({"full": np.stack([unit(seed, dimension) for seed in seeds])})
    with following(valkey.url, prefix, method, repository) as process:
        reach(process, store.enrol("door", [face(f"{NAME} 1", 1, dimension)])[-1])
        known = {str(seed): forms(unit(seed, dimension), by) for seed in (1, 100, 600, seeds[-1])}
        everybody = list(known)
        assert set(vectors_in(process.pid, known)) == set(everybody), "the look into the memory is blind"
        assert count(process.pid, NAME.encode())[NAME.encode()]
        store.drop("door", store.info("door").epoch)
        assert settled(process.pid, everybody, known) == {}
        # It is gone over twice, and a name may go the second time.
        deadline = time.monotonic() + _SETTLE_S
        while (left := count(process.pid, NAME.encode())[NAME.encode()]) and time.monotonic() < deadline:
            time.sleep(1.0)
        assert left == 0


@pytest.mark.parametrize(
    ("network", "asked", "whole"),
    [
        *(("simulated", True, False), ("shipped", True, False), ("simulated", False, False)),
        *(("simulated", True, True), ("simulated", False, True)),
    ],
)
def test_an_embed_worker_that_enrolled_and_recognised_somebody_holds_none_of_the_vectors_after_a_forget(
    tmp_path: Path, network: str, asked: bool, whole: bool
) -> None:
    shipped = default_pack()
    assert shipped is not None
    pack = load_pack(shipped) if network == "shipped" else simulated_pack(tmp_path / "pack", dimension=512)
    settings = local_settings(load(model={"pack": pack.path}), tmp_path / "home")
    with Stack(settings) as stack, Client.open(settings) as client:
        for person in range(2, 8):
            client.enrol(f"n{person}", [picture(tmp_path / f"{person}.png", person)], content=Content.ALIGNED)
        shots = [picture(tmp_path / f"hers{shot}.png", 1, shot) for shot in range(3)]
        client.enrol(NAME, shots[:2], content=Content.ALIGNED)
        sequence = client.galleries.info("default").sequence
        if asked:
            [seen] = client.identify([shots[2]], content=Content.ALIGNED, min_sequence=sequence)
            assert seen.subject == NAME
        snapshot = client.snapshot()
        vectors, owners = snapshot.templates()
        names = {name: number for number, (_, name) in snapshot.names.items()}
        probe = embed(open_embedder(pack, settings.model.device), [np.asarray(Image.open(shots[2]).convert("RGB"))])
        by = scales({"gallery": vectors, "probe": probe})
        known = {f"hers {at}": forms(row, by) for at, row in enumerate(vectors[owners == names[NAME]])}
        hers = list(known)
        # What she was recognised by may be gone already; and the shipped network's last bits differ by the batch.
        known["probe"] = forms(probe[0], by)
        known["n3"] = forms(vectors[owners == names["n3"]][0], by)
        known["nobody"] = forms(unit(NOBODY, snapshot.dimension), by)
        [worker] = stack.pids("embed").values()
        if asked:
            assert set(vectors_in(worker, known)) - {"probe"} == {*hers, "n3"}, "the look into the memory is blind"
        receipt = (client.forget_gallery("default") if whole else client.forget(NAME)).receipt
        assert receipt.silent == ()
        # The worker has confirmed it, so nothing has to be waited for; one that only enrols holds no gallery.
        assert len(receipt.replicas) == 1
        for pid in stack.pids().values():
            after = vectors_in(pid, known)
            assert {name: where for name, where in after.items() if name != "n3"} == {}
            assert ("n3" in after) == (asked and pid == worker and not whole)


DERIVING = """
from workers.memory import restart_with_one_heap
restart_with_one_heap()
import sys
import redis
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.samples_redis import RedisSamples
from workers.cutoffs import Cutoffs

client, prefix = redis.Redis.from_url(sys.argv[1]), sys.argv[2]
cutoffs = Cutoffs(RedisGalleryStore(client, prefix), RedisSamples(client, prefix), lambda _: 0.5)
print(cutoffs.tend(), flush=True)
sys.stdin.readline()
"""


def test_upkeep_holds_no_vector_of_anybody_once_it_has_derived_a_cutoff(
    redis_client: redis.Redis, valkey: EmbeddedValkey, prefix: str, repository: Path
) -> None:
    store = RedisGalleryStore(redis_client, prefix)
    store.create("door", model_id="m", dimension=128, settings=GallerySettings(fpir=0.05))
    store.enrol("door", [face(f"n{seed % 300}", seed, 128) for seed in range(1200)])
    command = [sys.executable, "-c", DERIVING, valkey.url, prefix]
    with subprocess.Popen(command, cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "['door']\n"
        assert vectors_in(process.pid, {str(seed): forms(unit(seed, 128), {}) for seed in range(0, 1200, 60)}) == {}
        process.kill()
