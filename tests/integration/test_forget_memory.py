"""After a forget none of the person's vectors is in the memory of a process that held them, freed memory included."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.checkpoints import simulated_pack
from kith.client import Client
from kith.gallery import Enrolment
from kith.jobs import Content
from kith.settings import load
from kith.stack import Stack, local_settings
from tests.e2e.conftest import picture
from tests.plain_gallery import unit
from tests.process_memory import count

D = 512
NAME = "Xanthippe Quux"
#: The change is applied at once, and freed memory gone over once a second; on a busy machine that takes its time.
_SETTLE_S = 8.0


#: A known fault, told in docs/gallery.md: some copies of a row stay, also after 20 s, and where they are is not known.
#: Not strict, because on a busy machine they are overwritten.
SOMETIMES = pytest.mark.xfail(reason="a few copies of a row stay in the process; the cause is not found", strict=False)


def face(name: str, seed: int) -> Enrolment:
    return Enrolment(name, f"t{seed}", unit(seed, D), f"img{seed}", 0.5, "m")


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


def settled(pid: int, hers: Sequence[bytes], others: Sequence[bytes]) -> dict[bytes, int]:
    """What is found once nothing of hers is, or when the time for that is over."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        time.sleep(1.0)
        found = count(pid, *hers, *others)
        if not any(found[each] for each in hers) or time.monotonic() > deadline:
            return found


def reach(process: "subprocess.Popen[str]", sequence: int) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{sequence}\n")
    process.stdin.flush()
    assert int(process.stdout.readline()) >= sequence


@pytest.mark.parametrize("method", ["plain", pytest.param("int8", marks=SOMETIMES)])
def test_a_follower_that_searched_holds_nothing_of_somebody_forgotten(
    redis_client: redis.Redis, valkey: EmbeddedValkey, prefix: str, repository: Path, method: str
) -> None:
    store = RedisGalleryStore(redis_client, prefix)
    store.create("door", model_id="m", dimension=D)
    # Some are loaded with the gallery, some followed; and those in a full block, in one that grows, and in both.
    store.enrol("door", [face(NAME, 1), *(face(f"n{seed % 300}", 100 + seed) for seed in range(1500)), face(NAME, 2)])
    with following(valkey.url, prefix, method, repository) as process:
        reach(process, store.enrol("door", [face(NAME, seed) for seed in (3, 4, 5)])[-1])
        hers = [unit(seed, D).tobytes()[:16] for seed in range(1, 6)]
        others = [unit(seed, D).tobytes()[:16] for seed in (100, 1200)]
        before = count(process.pid, *hers, *others, NAME.encode())
        assert all(before.values()), "the look into the memory is blind"
        reach(process, store.forget("door", NAME).sequence)
        after = settled(process.pid, [*hers, NAME.encode()], others)
        assert [after[each] for each in hers] == [0] * 5
        assert after[NAME.encode()] == 0
        assert all(after[each] for each in others)


@SOMETIMES
def test_an_embed_worker_that_enrolled_and_recognised_somebody_holds_none_of_the_vectors_after_a_forget(
    tmp_path: Path,
) -> None:
    pack = simulated_pack(tmp_path / "pack", dimension=D)
    settings = local_settings(load(model={"pack": pack.path}), tmp_path / "home")
    with Stack(settings) as stack, Client.open(settings) as client:
        for person in range(2, 8):
            client.enrol(f"n{person}", [picture(tmp_path / f"{person}.png", person)], content=Content.ALIGNED)
        hers = [picture(tmp_path / f"hers{shot}.png", 1, shot) for shot in range(3)]
        client.enrol(NAME, hers[:2], content=Content.ALIGNED)
        sequence = client.galleries.info("default").sequence
        [seen] = client.identify([hers[2]], content=Content.ALIGNED, min_sequence=sequence)
        assert seen.subject == NAME
        vectors, owners = client.snapshot().templates()
        numbers = {name: number for number, (_, name) in client.snapshot().names.items()}
        mine = [row.tobytes()[:16] for row in vectors[owners == numbers[NAME]]]
        theirs = [row.tobytes()[:16] for row in vectors[owners == numbers["n3"]]]
        [worker] = stack.pids("embed").values()
        before = count(worker, *mine, *theirs)
        assert all(before.values()), "the look into the memory is blind"
        receipt = client.forget(NAME).receipt
        assert len(receipt.replicas) == 1
        after = settled(worker, mine, theirs)
        assert [after[each] for each in mine] == [0, 0]
        assert all(after[each] for each in theirs)
        assert np.isfinite(vectors).all()
