"""A process that follows a gallery and searches it, for tests that look into its memory: URL, prefix, gallery, method.

Says `ready` and then the number it has reached whenever a line comes on its standard input (the number to wait for).
"""

import sys

import numpy as np
import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.replica import Follower
from workers.memory import keep_memory


def main() -> None:
    keep_memory()
    url, prefix, gallery, method = sys.argv[1:]
    if method == "int8":
        from kith.searchers.searcher import Int8Searcher  # noqa: PLC0415

        searcher = Int8Searcher()
        search = searcher.search
    else:
        from kith.similarity.plain import search  # type: ignore[no-redef]  # noqa: PLC0415
    follower = Follower(RedisGalleryStore(redis.Redis.from_url(url), prefix), block_ms=50)
    view = follower.view(gallery)
    probes = np.eye(4, view.dimension, dtype=np.float32)
    if method == "int8":
        searcher.pack(view)
    print("ready", flush=True)
    for line in sys.stdin:
        view = follower.view(gallery, at_least=int(line), timeout_s=20)
        for _ in range(3):
            search(view, probes, 2)
        print(view.sequence, flush=True)


if __name__ == "__main__":
    main()
