"""Four processes change one gallery at random while others follow it; then all is held against the plain gallery.

    python -m tests.faults.gallery_campaign --calls 1000000 --seed 1

makes a million calls, in rounds of 50,000 with seeds of their own, each on a gallery of its own. A seed fixes what the
processes want to do, not how their calls interleave.
"""

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kith.backends.valkey_embedded import EmbeddedValkey
from tests.faults.gallery_crowd import (
    GALLERY,
    change,
    follow_as_workers_do,
    follow_late,
    follow_step_by_step,
    open_store,
    position,
    watch_the_keys,
)
from tests.faults.gallery_replay import compare, compare_end, replay
from tests.plain_gallery import DIMENSION

WRITERS = 4
_FOLLOWERS = (follow_step_by_step, follow_late, follow_as_workers_do, watch_the_keys)
_ROUND = 50_000


def campaign(url: str, home: Path, calls: int, seed: int, tell: Callable[[str], None] = lambda _: None) -> Counter[str]:
    """`calls` calls in all on the empty server at `url`; what was made, refused and seen. Fails where anything differs.

    home: an empty folder for what the processes write down, a kilobyte a sight.
    """
    client, store = open_store(url)
    client.flushall()
    store.create(GALLERY, model_id="m", dimension=DIMENSION)
    # Not fork: the caller may have threads.
    processes = multiprocessing.get_context("spawn")
    ended = processes.Value("q", -1)
    records = [home / f"writer-{number}.jsonl" for number in range(WRITERS)]
    writers = [
        processes.Process(target=change, args=(url, f"{seed}-{number}", calls // WRITERS, record))
        for number, record in enumerate(records)
    ]
    seen = [home / follow.__name__ for follow in _FOLLOWERS]
    followers = [
        processes.Process(target=follow, args=(url, f"{seed}-{follow.__name__}", record, ended))
        for follow, record in zip(_FOLLOWERS, seen, strict=True)
    ]
    everybody = [*followers, *writers]
    try:
        for each in everybody:
            each.start()
        for each in writers:
            _wait(each, everybody)
        ended.value, _ = position(client)
        for each in followers:
            _wait(each, everybody)
    finally:
        for each in everybody:
            if each.is_alive():
                each.kill()
            each.join()
        client.close()
    tell("replaying")
    plain, counts = replay(records)
    for record in seen:
        counts += compare(plain, record)
    compare_end(plain, url)
    return counts


def _wait(process: multiprocessing.process.BaseProcess, everybody: list[multiprocessing.process.BaseProcess]) -> None:
    while process.is_alive():
        process.join(0.2)
        failed = [each for each in everybody if each.exitcode]
        assert not failed, "a process failed, and said why above"
    assert process.exitcode == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.gallery_campaign")
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--round", type=int, default=_ROUND, help="calls in one round")
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    for seed, start in enumerate(range(0, arguments.calls, arguments.round), arguments.seed):
        home, began_s = Path(tempfile.mkdtemp(prefix="kith-campaign-")), time.monotonic()
        (home / "seen").mkdir()
        with EmbeddedValkey(home / "valkey") as server:
            counts = campaign(server.url, home / "seen", min(arguments.round, arguments.calls - start), seed)
        # Only now: what a round that failed wrote down is needed.
        shutil.rmtree(home)
        total += counts
        print(f"seed {seed}: {dict(counts)} in {time.monotonic() - began_s:.0f} s", flush=True)
    print(f"all agree: {dict(total)}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
