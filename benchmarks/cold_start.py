"""One cold start, in a process of its own that handles memory as embed workers do; seconds on stdout.

python -m benchmarks.cold_start URL VALUES WAY  a replica of the gallery `bench`, or, where VALUES is not 0, so many
                                                values of a megabyte, read and kept; WAY: by `redis-py`, or `straight`
                                                from the connection, as galleries are
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import redis

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.straight_values import read_values
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


def raw_s(url: str, values: int, read: Callable[[redis.Redis, list[str]], list[Any]]) -> float:
    """Of as many bytes, kept as they come."""
    with redis.Redis.from_url(url) as client:
        client.ping()
        began = time.perf_counter()
        held: list[Any] = []
        for start in range(0, values, _AT_ONCE):
            held += read(client, [f"raw:{number}" for number in range(start, min(start + _AT_ONCE, values))])
        took = time.perf_counter() - began
    assert sum(map(len, held)) == values * MB
    return took


def by_redis_py(client: redis.Redis, keys: list[str]) -> list[Any]:
    """The values of `keys`, in one round trip."""
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.get(key)
    return pipe.execute()


def main() -> None:
    """Measure one."""
    restart_with_one_heap()
    keep_memory()
    url, values, way = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    print(raw_s(url, values, read_values if way == "straight" else by_redis_py) if values else load_s(url))


if __name__ == "__main__":
    main()
