"""The composition root of the workers: settings in, running process out. Nothing else here decides anything."""

import argparse
import logging
import os
import platform
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from kith.audited import AuditedGalleryStore
from kith.backends.audit_redis import RedisAudit
from kith.backends.connect import gallery_store, image_store, key_store, redis_client
from kith.backends.erasure_redis import RedisErasure
from kith.backends.ledger_redis import RedisLedger
from kith.backends.migration_redis import RedisMigrationStore
from kith.backends.queue_celery import CeleryQueue, make_app
from kith.backends.samples_redis import RedisSamples
from kith.checkpoints import Pack
from kith.default_cutoff import default_cutoff
from kith.errors import KithError, Misconfigured
from kith.jobs import EMBED_TASK, LANES, PUBLISH_QUEUE, PUBLISH_TASK, Lane
from kith.ledger import WorkerBeat
from kith.replica import Follower
from kith.settings import Settings, load
from workers import app as celery_app
from workers.cutoffs import Cutoffs
from workers.heartbeat import Heartbeat
from workers.memory import keep_memory, spare_what_is_loaded
from workers.publish import PublishWorker
from workers.publisher import Publisher
from workers.retention import Retention
from workers.sweeper import Sweeper
from workers.upkeep import Upkeep

_log = logging.getLogger(__name__)

#: Exit status of a worker whose model thread died (EX_SOFTWARE): its supervisor starts another.
MODEL_DIED = 70
#: Exit status of a worker that cannot start as configured (EX_CONFIG): starting it again changes nothing.
BAD_CONFIGURATION = 78


@dataclass(frozen=True, slots=True)
class _Options:
    settings: Settings
    name: str
    worker_id: str


def run_embed(argv: Sequence[str]) -> int:
    """Load the model, follow the galleries, serve the lanes."""
    return _guarded(_options("embed", argv), _embed)


def run_publish(argv: Sequence[str]) -> int:
    """Serve the publish queue."""
    return _guarded(_options("publish", argv), _publish)


def run_upkeep(argv: Sequence[str]) -> int:
    """Sweep until SIGTERM or SIGINT."""
    return _guarded(_options("upkeep", argv), _upkeep)


def _embed(options: _Options) -> int:
    # Here, because publish and upkeep run where none of torch, onnxruntime and OpenCV is installed.
    from kith.searchers.searcher import open_searcher  # noqa: PLC0415
    from workers.embed import EmbedWorker  # noqa: PLC0415
    from workers.models import held, open_models  # noqa: PLC0415

    keep_memory()
    settings = options.settings
    state, store = redis_client(settings), image_store(settings)
    store.check()
    keys = key_store(settings)
    ledger, galleries = RedisLedger(state, settings), gallery_store(settings, state, keys)
    models = open_models(settings, _leave)
    main, *others = models
    searcher = open_searcher(settings.model.device)
    # A copy is loaded by the store itself: nobody looks at anybody.
    follower = Follower(galleries, block_ms=settings.gallery.follow_block_ms)
    audited = AuditedGalleryStore(galleries, RedisAudit(state, settings.redis.prefix), f"worker:{options.name}")
    migrations = RedisMigrationStore(state, settings.redis.prefix, keys)
    with ThreadPoolExecutor(settings.worker.fetch_threads or os.cpu_count() or 1, "fetch") as threads:
        app = make_app(settings)
        decider = held(models, settings, store, audited, migrations, follower, threads, searcher)
        worker = EmbedWorker(decider, ledger, CeleryQueue(app, settings), options.worker_id)
        celery_app.register(app, EMBED_TASK, worker.handle)

        def describe(beat: WorkerBeat) -> WorkerBeat:
            return replace(
                _with_model(beat, main.pack),
                also=tuple(each.pack.model_id for each in others),
                runtime=main.embedder.runtime,
                lanes=tuple(settings.worker.lanes),
                batch_size=main.size,
                batch_fill=main.fill,
                images=worker.images,
                jobs=worker.jobs,
                galleries=follower.sequences(),
            )

        spare_what_is_loaded()
        for each in models:
            name, runtime = each.pack.manifest.name, each.embedder.runtime
            _log.warning("ready: model %s (%s) on %s, batches of %d", name, each.pack.model_id, runtime, each.size)
        heartbeat = Heartbeat(ledger, options.worker_id, "embed", settings.worker.heartbeat_s, describe).start()
        try:
            return celery_app.run(
                app,
                settings,
                queues=sorted(settings.worker.lanes, key=LANES.index),
                concurrency=settings.worker.concurrency,
                node=options.name,
            )
        finally:
            follower.stop()
            searcher.close()
            for each in models:
                each.batcher.close()
            heartbeat.stop()


def _publish(options: _Options) -> int:
    settings = options.settings
    ledger = RedisLedger(redis_client(settings), settings)
    worker = PublishWorker(Publisher(ledger))
    app = make_app(settings)
    celery_app.register(app, PUBLISH_TASK, worker.handle)
    heartbeat = Heartbeat(
        ledger, options.worker_id, "publish", settings.worker.heartbeat_s, lambda beat: replace(beat, jobs=worker.jobs)
    ).start()
    try:
        return celery_app.run(app, settings, queues=[PUBLISH_QUEUE], concurrency=2, node=options.name)
    finally:
        heartbeat.stop()


def _upkeep(options: _Options) -> int:
    settings = options.settings
    state = redis_client(settings)
    ledger = RedisLedger(state, settings)
    sweeper = Sweeper(ledger, CeleryQueue(make_app(settings), settings), Publisher(ledger), settings.jobs)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    heartbeat = Heartbeat(ledger, options.worker_id, "upkeep", settings.worker.heartbeat_s, lambda beat: beat).start()
    try:
        galleries = gallery_store(settings, state, key_store(settings))
        audit = RedisAudit(state, settings.redis.prefix)
        audited = AuditedGalleryStore(galleries, audit, f"worker:{options.name}")
        cutoffs = Cutoffs(audited, RedisSamples(state, settings.redis.prefix), default_cutoff(settings))
        erasure = RedisErasure(state, settings.redis.prefix)
        retention = Retention(galleries, erasure, image_store(settings), audit, settings)
        Upkeep(sweeper, ledger, galleries, settings, cutoffs, retention).run(stop)
    finally:
        heartbeat.stop()
    return 0


def _with_model(beat: WorkerBeat, pack: Pack) -> WorkerBeat:
    return replace(beat, model_id=pack.model_id, model_name=pack.manifest.name)


def _leave(death: BaseException) -> None:
    """End the process at once: its jobs are in the ledger, and no thread of it can do them any more."""
    _log.critical("leaving, for the supervisor to start another worker: the model thread died (%s)", death)
    # Not sys.exit: this runs in the model thread, and Celery's pool would wait for tasks that wait for us.
    threading.Timer(0.5, os._exit, (MODEL_DIED,)).start()


def _options(role: str, argv: Sequence[str]) -> _Options:
    parser = argparse.ArgumentParser(prog=f"python -m workers.{role}", description=f"Run the {role} worker of Kith.")
    parser.add_argument("--config", type=Path, help="TOML file with settings; config/default.toml explains them")
    parser.add_argument("--name", default=role, help="node name, stable over restarts (default: %(default)s)")
    parser.add_argument("--log-level", default="WARNING", help="DEBUG, INFO, WARNING (default) or ERROR")
    if role == "embed":
        parser.add_argument("--lanes", help="comma-separated lanes to serve (default: all)")
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        settings = load(arguments.config)
        if getattr(arguments, "lanes", None):
            lanes = tuple(Lane(lane) for lane in arguments.lanes.split(","))
            settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"lanes": lanes})})
    except (KithError, ValueError) as wrong:
        parser.exit(BAD_CONFIGURATION, f"{parser.prog}: {wrong}\n")
    # A container that starts again has the host name and process id it had before; without the token the ledger would
    # take the jobs of the dead process for being worked on.
    worker_id = f"{arguments.name}@{platform.node()}:{os.getpid()}:{secrets.token_hex(3)}"
    return _Options(settings, arguments.name, worker_id)


def _guarded(options: _Options, serve: Callable[[_Options], int]) -> int:
    """Run a worker; what stops it from starting is one clear line, not a traceback."""
    try:
        return serve(options)
    except KithError as wrong:
        _log.critical("%s worker cannot run: %s", options.name, wrong.reason)
        return BAD_CONFIGURATION if isinstance(wrong, Misconfigured) else 1
