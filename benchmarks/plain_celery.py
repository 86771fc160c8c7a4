"""The peer of `ceiling`: one Celery task per image, written the plain way, with Celery's own defaults.

celery -A benchmarks.plain_celery worker

It does what a face service must at least do with an image: fetch it from the same store, decode it with the same code,
embed it with the same zero-cost model, hand the result on (a Redis list). It keeps no ledger, searches no gallery and
promises nothing when a process dies. PLAIN_BROKER, PLAIN_REDIS, PLAIN_STORE and PLAIN_PACK say where things are.
"""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

import redis
from celery import Celery

from kith import images
from kith.backends.images_directory import DirectoryImageStore
from kith.checkpoints import load_pack
from kith.embedder import embed, open_embedder
from kith.settings import Limits

#: The list the results are pushed to.
RESULTS = "plain:results"

app = Celery("plain", broker=os.environ.get("PLAIN_BROKER"))


@functools.cache
def _recognise() -> Callable[[str], str]:
    """Built once per process, when its first task comes."""
    store = DirectoryImageStore(Path(os.environ["PLAIN_STORE"]))
    model = open_embedder(load_pack(Path(os.environ["PLAIN_PACK"])))
    limits = Limits()

    def recognise(key: str) -> str:
        vectors = embed(model, [images.decode(store.get(key), limits)])
        return json.dumps({"image": key, "vector": [round(value, 6) for value in vectors[0].tolist()]})

    return recognise


@functools.cache
def _results() -> "redis.Redis":
    return redis.Redis.from_url(os.environ["PLAIN_REDIS"])


@app.task  # type: ignore[untyped-decorator,unused-ignore]
def recognise(key: str) -> None:
    """One image."""
    _results().rpush(RESULTS, _recognise()(key))
