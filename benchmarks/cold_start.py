"""One cold start, in a process of its own that handles memory as embed workers do; seconds on stdout.

python -m benchmarks.cold_start URL VALUES      a replica of the gallery `bench`, or, where VALUES is not 0, so many
                                                values of a megabyte, read and kept
"""

import sys
import time
from typing import Any

import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.replica import Replica
from workers.memory import keep_memory, restart_with_one_heap

MB = 1 << 20
_AT_ONCE = 16


def load_s(url: str) -> float:
    """Of a replica, from Redis."""
    with redis.Redis.from_url(url) as client:
        store = RedisGalleryStore(client, "bench")
        store.info("bench")
        began = time.perf_counter()
        replica = Replica(store.snapshot("bench"))
        took = time.perf_counter() - began
    assert replica.view.templates > 0
    return took


def raw_s(url: str, values: int) -> float:
    """Of as many bytes, kept as they come."""
    with redis.Redis.from_url(url) as client:
        client.ping()
        began = time.perf_counter()
        held: list[Any] = []
        for start in range(0, values, _AT_ONCE):
            pipe = client.pipeline(transaction=False)
            for number in range(start, min(start + _AT_ONCE, values)):
                pipe.get(f"raw:{number}")
            held += pipe.execute()
        took = time.perf_counter() - began
    assert sum(map(len, held)) == values * MB
    return took


def main() -> None:
    """Measure one."""
    restart_with_one_heap()
    keep_memory()
    url, values = sys.argv[1], int(sys.argv[2])
    print(raw_s(url, values) if values else load_s(url))


if __name__ == "__main__":
    main()
