"""A real worker process, to be stopped and killed, whose tasks say in Redis when they begin and when they end.

`python -m tests.contract.slow_worker SECONDS`, settings from the environment. Every task waits for the key `P:go` and
then takes that long.
"""

import sys
import time

from kith.backends.connect import redis_client
from kith.backends.queue_celery import make_app
from kith.jobs import EMBED_TASK, LANES
from kith.settings import load
from workers.app import register, run


def main() -> int:
    settings, seconds = load(), float(sys.argv[1])
    state, prefix = redis_client(settings), settings.redis.prefix

    def handle(payload: str) -> None:
        state.rpush(f"{prefix}:said", f"begin {payload}")
        while not state.exists(f"{prefix}:go"):
            time.sleep(0.01)
        time.sleep(seconds)
        state.rpush(f"{prefix}:said", f"end {payload}")

    app = make_app(settings)
    register(app, EMBED_TASK, handle)
    # The least urgent first, as a careless administrator may name them.
    return run(app, settings, queues=LANES[::-1], concurrency=2, node="slow")


if __name__ == "__main__":
    sys.exit(main())
