"""A process that follows a gallery and searches it, for tests that look into its memory: URL, prefix, gallery, method.

Says `ready` and then the number it has reached whenever a line comes on its standard input (the number to wait for).
"""

import sys

import numpy as np
from pydantic import SecretStr

from kith.backends.connect import redis_client
from kith.backends.gallery_redis import RedisGalleryStore
from kith.replica import Follower
from kith.settings import Redis, Settings
from kith.similarity import PlainSearcher, Searcher
from kith.stack_memory import wipe_stack
from workers.memory import keep_memory, restart_with_one_heap


def main() -> None:
    restart_with_one_heap()
    keep_memory()
    url, prefix, gallery, method = sys.argv[1:]
    searcher: Searcher = PlainSearcher()
    if method == "int8":
        from kith.searchers.searcher import Int8Searcher  # noqa: PLC0415

        searcher = packing = Int8Searcher()
    # As workers are connected: what a connection keeps of what it read is part of what is looked for.
    client = redis_client(Settings(redis=Redis(url=SecretStr(url))))
    follower = Follower(RedisGalleryStore(client, prefix), block_ms=50, kept=searcher)
    if method == "int8":
        packing.pack(follower.view(gallery))
    print("ready", flush=True)
    for line in sys.stdin:
        sequence = search(follower, searcher, gallery, int(line))
        # As workers.pool does after each job.
        wipe_stack()
        print(sequence, flush=True)


def search(follower: Follower, searcher: Searcher, gallery: str, at_least: int) -> int:
    """Search the newest view a few times, and let go of it; its number."""
    view = follower.view(gallery, at_least=at_least, timeout_s=20)
    probes = np.eye(4, view.dimension, dtype=np.float32)
    for _ in range(3):
        searcher.search(view, probes, 2)
    return view.sequence


if __name__ == "__main__":
    main()
