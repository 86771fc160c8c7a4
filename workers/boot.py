"""The composition root of the workers: settings in, running process out. Nothing else here decides anything."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from kith.audited import AuditedGalleryStore
from kith.backends.audit_redis import RedisAudit
from kith.backends.cameras_redis import RedisCameras
from kith.backends.connect import gallery_store, image_store, key_store, redis_client
from kith.backends.erasure_redis import RedisErasure
from kith.backends.events_redis import RedisEvents
from kith.backends.ledger_redis import RedisLedger
from kith.backends.lengths_redis import RedisLengths
from kith.backends.migration_redis import RedisMigrationStore
from kith.backends.queue_celery import CeleryQueue, make_app
from kith.backends.results_redis import RedisResults
from kith.backends.samples_redis import RedisSamples
from kith.backends.sightings_redis import RedisSightings
from kith.backends.watched_vectors import WatchedVectors
from kith.backends.watching_redis import RedisWatch
from kith.backends.webhooks_redis import RedisWebhooks
from kith.checkpoints import Pack
from kith.default_cutoff import default_cutoff
from kith.errors import UnknownGallery
from kith.intake import JobQueue
from kith.jobs import EMBED_TASK, LANES, PUBLISH_QUEUE, PUBLISH_TASK
from kith.ledger import Ledger, WorkerBeat
from kith.metrics.house import HouseState
from kith.metrics.instruments import Instruments
from kith.metrics.jobs import AnsweredJobs, EmbeddedJobs
from kith.metrics.models import Batches, Models
from kith.metrics.readiness import Check
from kith.metrics.replicas import Replicas
from kith.metrics.sweeps import Sweeps
from kith.metrics.tellings import Tellings
from kith.metrics.watches import Watches
from kith.promptly import Promptly
from kith.replica import Follower
from kith.traces import sending_to
from kith.watching.watcher import Watcher
from workers import app as celery_app
from workers.cutoffs import Cutoffs
from workers.heartbeat import Heartbeat
from workers.house import HouseReader
from workers.memory import keep_memory, spare_what_is_loaded
from workers.outward import tell
from workers.outward_parts import open_parts
from workers.publish import PublishWorker
from workers.publisher import Publisher
from workers.retention import Retention
from workers.starting import Options, guarded, options_of
from workers.sweeper import Sweeper
from workers.upkeep import Upkeep
from workers.watch import watch
from workers.watched_retention import WatchedRetention

_log = logging.getLogger(__name__)

#: Exit status of a worker whose model thread died (EX_SOFTWARE): its supervisor starts another.
MODEL_DIED = 70


def run_embed(argv: Sequence[str]) -> int:
    """Load the model, follow the galleries, serve the lanes."""
    return guarded(options_of("embed", argv), _embed)


def run_publish(argv: Sequence[str]) -> int:
    """Serve the publish queue."""
    return guarded(options_of("publish", argv), _publish)


def run_upkeep(argv: Sequence[str]) -> int:
    """Sweep until SIGTERM or SIGINT."""
    return guarded(options_of("upkeep", argv), _upkeep)


def run_watch(argv: Sequence[str]) -> int:
    """Watch the news of cameras until SIGTERM or SIGINT."""
    return guarded(options_of("watch", argv), _watch)


def run_outward(argv: Sequence[str]) -> int:
    """Tell webhooks and MQTT until SIGTERM or SIGINT."""
    return guarded(options_of("outward", argv), _outward)


def _embed(options: Options, shown: Instruments) -> int:
    # Here, because publish and upkeep run where none of torch, onnxruntime and OpenCV is installed.
    from kith.searchers.searcher import open_searcher  # noqa: PLC0415
    from workers.embed import EmbedWorker  # noqa: PLC0415
    from workers.job_spans import NoJobSpans, OtlpJobSpans  # noqa: PLC0415
    from workers.models import held, open_models  # noqa: PLC0415

    keep_memory()
    settings = options.settings
    state, store = redis_client(settings), image_store(settings)
    store.check()
    keys = key_store(settings)
    answers, jobs = AnsweredJobs(shown.registry), EmbeddedJobs(shown.registry)
    ledger, galleries = RedisLedger(state, settings, answers.answered), gallery_store(settings, state, keys)
    otlp = settings.metrics.otlp
    # Before the models, which take seconds: what is missing is said at once.
    spans = OtlpJobSpans(sending_to(otlp), options.worker_id) if otlp else NoJobSpans()
    models = open_models(settings, _leave, Batches(shown.registry))
    Models(shown.registry).show([each.shown for each in models])
    main, *others = models
    searcher = open_searcher(settings.model.device)
    # A copy is loaded by the store itself: nobody looks at anybody.
    follower = Follower(
        galleries,
        block_ms=settings.gallery.follow_block_ms,
        kept=searcher,
        half=settings.gallery.precision == "half",
    )
    shown.readiness.needs("galleries", Replicas(follower, shown.registry).trouble)
    audited = AuditedGalleryStore(galleries, RedisAudit(state, settings.redis.prefix), f"worker:{options.name}")
    migrations = RedisMigrationStore(state, settings.redis.prefix, keys)
    with ThreadPoolExecutor(settings.worker.fetch_threads or os.cpu_count() or 1, "fetch") as threads:
        app = make_app(settings)
        decider = held(models, settings, store, audited, migrations, follower, threads, searcher)
        cover = WatchedVectors(state, settings.redis.prefix, keys, galleries.formats).as_text
        queue, lanes = CeleryQueue(app, settings), sorted(settings.worker.lanes, key=LANES.index)
        shown.readiness.needs("broker", _asked(queue, lanes[0]))
        publisher = Publisher(ledger, answers.late)
        worker = EmbedWorker(
            decider, ledger, queue, options.worker_id, cover, publisher=publisher, measured=jobs, spans=spans
        )
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
                epochs=follower.epochs(),
                galleries=follower.confirmed(),
            )

        spare_what_is_loaded()
        for each in models:
            name, runtime = each.pack.manifest.name, each.embedder.runtime
            _log.warning("ready: model %s (%s) on %s, batches of %d", name, each.pack.model_id, runtime, each.size)
        heartbeat = _beating(options, shown, ledger, describe)
        try:
            return celery_app.run(
                app,
                settings,
                queues=lanes,
                concurrency=settings.worker.concurrency,
                node=options.name,
            )
        finally:
            follower.stop()
            searcher.close()
            for each in models:
                each.batcher.close()
            heartbeat.stop()
            spans.close()


def _publish(options: Options, shown: Instruments) -> int:
    settings = options.settings
    answers = AnsweredJobs(shown.registry)
    ledger = RedisLedger(redis_client(settings), settings, answers.answered)
    worker = PublishWorker(Publisher(ledger, answers.late))
    app = make_app(settings)
    shown.readiness.needs("broker", _asked(CeleryQueue(app, settings), PUBLISH_QUEUE))
    celery_app.register(app, PUBLISH_TASK, worker.handle)
    heartbeat = _beating(options, shown, ledger, lambda beat: replace(beat, jobs=worker.jobs))
    try:
        return celery_app.run(app, settings, queues=[PUBLISH_QUEUE], concurrency=2, node=options.name)
    finally:
        heartbeat.stop()


def _upkeep(options: Options, shown: Instruments) -> int:
    settings = options.settings
    state = redis_client(settings)
    answers, sweeps = AnsweredJobs(shown.registry), Sweeps(shown.registry)
    ledger, queue = RedisLedger(state, settings, answers.answered), CeleryQueue(make_app(settings), settings)
    sweeper = Sweeper(ledger, queue, Publisher(ledger, answers.late), settings.jobs)
    shown.readiness.needs("sweeps", sweeps.recent)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    heartbeat = _beating(options, shown, ledger)
    try:
        galleries = gallery_store(settings, state, key_store(settings))
        audit = RedisAudit(state, settings.redis.prefix)
        audited = AuditedGalleryStore(galleries, audit, f"worker:{options.name}")
        prefix, default = settings.redis.prefix, partial(default_cutoff, settings)
        registered = RedisCameras(state, prefix), RedisWebhooks(state, prefix), RedisLengths(state, prefix)
        results = RedisResults(state, settings)
        HouseState(HouseReader(ledger, results, queue, galleries, *registered, default), shown.registry)
        cutoffs = Cutoffs(audited, RedisSamples(state, prefix), default)
        erasure = RedisErasure(state, settings.redis.prefix)
        watch = RedisWatch(state, settings, None), RedisEvents(state, settings), RedisSightings(state, settings)
        store = image_store(settings)
        watched = WatchedRetention(*watch, erasure, store, settings)
        retention = Retention(galleries, erasure, store, audit, settings, watched)
        Upkeep(sweeper, ledger, galleries, settings, cutoffs, retention, sweeps).run(stop)
    finally:
        heartbeat.stop()
    return 0


def _watch(options: Options, shown: Instruments) -> int:
    settings = options.settings
    state, keys = redis_client(settings), key_store(settings)
    ledger, galleries = RedisLedger(state, settings), gallery_store(settings, state, keys)
    store = RedisWatch(state, settings, keys)

    def keep_strangers_s(gallery: str) -> float | None:
        try:
            return galleries.info(gallery).settings.keep_strangers_s
        except UnknownGallery:
            return None

    log = RedisSightings(state, settings)
    watches = Watches(shown.registry)
    shown.readiness.needs("rounds", watches.recent)
    watcher = Watcher(
        log, store, store.vectors.of_text, settings.watch, options.worker_id, keep_strangers_s, watches.told
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    heartbeat = _beating(options, shown, ledger)
    try:
        watch(watcher, stop, watches)
    finally:
        heartbeat.stop()
    return 0


def _outward(options: Options, shown: Instruments) -> int:
    settings = options.settings
    ledger = RedisLedger(redis_client(settings), settings)
    parts = open_parts(settings, options.worker_id, Tellings(shown.registry))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    heartbeat = _beating(options, shown, ledger)
    try:
        tell(parts.lease, parts.steps, stop, parts.close)
    finally:
        heartbeat.stop()
    return 0


def _beating(
    options: Options,
    shown: Instruments,
    ledger: Ledger,
    describe: Callable[[WorkerBeat], WorkerBeat] = lambda beat: beat,
) -> Heartbeat:
    """The worker's sign of life, begun: with it the worker has started, and by it it is known to live."""
    heartbeat = Heartbeat(ledger, options.worker_id, options.role, options.settings.worker, describe)
    shown.readiness.lives_by("heartbeat", heartbeat.turning)
    shown.readiness.needs("state", heartbeat.heard)
    heartbeat.start()
    shown.readiness.begin()
    return heartbeat


def _asked(queue: JobQueue, name: str) -> Check:
    def ask() -> None:
        queue.depth(name)

    return Promptly(ask, "the broker")


def _with_model(beat: WorkerBeat, pack: Pack) -> WorkerBeat:
    return replace(beat, model_id=pack.model_id, model_name=pack.manifest.name)


def _leave(death: BaseException) -> None:
    """End the process at once: its jobs are in the ledger, and no thread of it can do them any more."""
    _log.critical("leaving, for the supervisor to start another worker: the model thread died (%s)", death)
    # Not sys.exit: this runs in the model thread, and Celery's pool would wait for tasks that wait for us.
    threading.Timer(0.5, os._exit, (MODEL_DIED,)).start()
