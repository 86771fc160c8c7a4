"""The broker through Celery: ordinary tasks, JSON only, over Redis/Valkey or RabbitMQ.

Nothing here is relied upon for delivery: the ledger and its sweeper are what keeps a job. The options below make loss
rare and redelivery quick.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import kombu.transport.redis
import redis
from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import BatchPublishError, OperationalError

from kith.errors import BrokerUnavailable
from kith.jobs import EMBED_TASK, LANES, PUBLISH_QUEUE, PUBLISH_TASK, Lane
from kith.settings import Settings

_log = logging.getLogger(__name__)

#: Waits between attempts to reach a broker that is away; past them the sweeper takes over.
_RETRY_S = (0.1, 0.4)

#: Patience of whoever only looks how much waits, to connect; seconds.
_LOOK_S = 1.5


def queue_name(settings: Settings, queue: str) -> str:
    """Broker-side name of a lane or of the publish queue: two installations may share one broker."""
    return f"{settings.redis.prefix}.{queue}"


def make_app(settings: Settings) -> Celery:
    """The Celery application, configured but without tasks; `workers.app` adds those."""
    app = Celery("kith", set_as_current=False, amqp=_Amqp)
    app.conf.update(
        broker_url=settings.broker_url,
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport_options(settings),
        # The result backend alone would cost 45 % more CPU; decisions travel by the results stream.
        result_backend=None,
        task_ignore_result=True,
        accept_content=["json"],
        task_serializer="json",
        task_queues=_queues(settings),
        task_create_missing_queues=False,
        task_acks_late=True,
        # A failure the task itself did not handle: acknowledged, the sweeper sends the job again after its time.
        task_acks_on_failure_or_timeout=True,
        task_reject_on_worker_lost=True,
        # Messages a worker may hold for each of its threads. Over RabbitMQ, of each lane: one that runs and one that
        # waits, or the thread that ends the last live job it was given would begin a bulk job before the next live one
        # is there. Over Redis, of all lanes together; what waits there is taken by urgency, so none waits here.
        worker_prefetch_multiplier=2 if _is_amqp(settings) else 1,
        worker_send_task_events=settings.broker.events,
        task_send_sent_event=settings.broker.events,
        worker_hijack_root_logger=False,
        # Running tasks finish when the connection breaks: their decisions are saved in Redis, not in the broker.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=True,
    )
    return app


def _queues(settings: Settings) -> list[Queue]:
    """Most urgent first: workers rank what they hold by this order."""
    # Each queue has its own key. Without one Celery binds them all to the key of its default queue, and one message
    # sent there by mistake would be in every lane.
    exchange = Exchange(settings.redis.prefix, type="direct", durable=True)  # type: ignore[no-untyped-call]
    # Quorum queues, because Celery then has RabbitMQ count each lane's unfinished messages apart: a worker whose hands
    # are full of bulk jobs is given a live one all the same. Classic queues it serves in turn, out of one allowance.
    arguments = {"x-queue-type": "quorum"} if _is_amqp(settings) else None
    names = [queue_name(settings, name) for name in (*LANES, PUBLISH_QUEUE)]
    return [
        Queue(name, exchange, routing_key=name, durable=True, queue_arguments=arguments)  # type: ignore[no-untyped-call]
        for name in names
    ]


def _is_amqp(settings: Settings) -> bool:
    return settings.broker_url.startswith(("amqp", "pyamqp"))


def _transport_options(settings: Settings) -> dict[str, Any]:
    if _is_amqp(settings):
        return {"confirm_publish": True, "max_retries": 1, "interval_start": 0.1, "interval_max": 0.4}
    return {
        # Long enough for the slowest job, short enough for a restarted broker's reserved messages to come back.
        "visibility_timeout": settings.broker.redelivery_s,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # Strict: a worker takes from `bulk` only when `live` and `interactive` are empty.
        "queue_order_strategy": "priority",
        "socket_timeout": settings.redis.timeout_s,
        "socket_connect_timeout": settings.redis.timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "global_keyprefix": "",
        "max_retries": 1,
        "interval_start": 0.1,
        "interval_max": 0.4,
    }


class _ThriftyChannel(kombu.transport.redis.Channel):
    """kombu's channel, but for one client where kombu makes a new one for every message it notes or acknowledges: a
    quarter of all it costs to receive a message. A client holds no connection, it borrows from the pool for each
    command, so sharing it changes nothing else."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            # For one BRPOP that is always under way: made once per channel, with a connection of its own.
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        # A channel that reconnects makes a new pool; the clients of the old one would talk to nobody.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[no-untyped-call]
        return self._kept

    def _get_pool(self, asynchronous: bool = False) -> Any:
        # When the server goes away Celery forgets the connection, and then acknowledges what ended meanwhile on its old
        # channels. kombu would look for the host in nothing: an AttributeError, for which a worker leaves its tasks and
        # ends. That the connection is lost it takes as it should, and the message comes back.
        if self.connection is None or self.connection.client is None:
            raise redis.ConnectionError("the connection of this channel was given up")
        return super()._get_pool(asynchronous)  # type: ignore[no-untyped-call]


class _ThriftyTransport(kombu.transport.redis.Transport):
    Channel = _ThriftyChannel


class _ThriftyConnection(Connection):
    def get_transport_cls(self) -> Any:
        # Here, not by kombu's table of names: that one is global, and this process may hold other applications.
        found = super().get_transport_cls()  # type: ignore[no-untyped-call]
        return _ThriftyTransport if found is kombu.transport.redis.Transport else found


class _Amqp(AMQP):  # type: ignore[misc]
    Connection = _ThriftyConnection


class CeleryQueue:
    """Implements kith.intake.JobQueue. Safe to call from many threads."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    def send(self, payload: str, lane: Lane) -> None:
        self.send_many([(payload, lane)])

    def send_many(self, payloads: Sequence[tuple[str, Lane]]) -> None:
        if payloads:
            self._send(EMBED_TASK, payloads)

    def send_saved(self, job_id: str) -> None:
        self._send(PUBLISH_TASK, [(job_id, PUBLISH_QUEUE)])

    def depth(self, queue: str) -> int:
        # Whoever asks how things stand does not wait long to hear that the broker is away.
        connecting = self._app.connection_for_write(connect_timeout=_LOOK_S)
        with self._mapped(), connecting as connection, connection.channel() as channel:
            # Declared, not just looked up: before the first job of an installation its queue is not there yet.
            declared = self._app.amqp.queues[queue_name(self._settings, queue)].bind(channel)
            return int(declared.queue_declare().message_count)

    def _send(self, task: str, messages: Sequence[tuple[str, str]]) -> None:
        for wait_s in (*_RETRY_S, None):
            try:
                with self._mapped(), self._app.producer_pool.acquire(block=True) as producer, producer.batch(64):
                    for argument, queue in messages:
                        self._app.send_task(
                            task,
                            args=[argument],
                            queue=queue_name(self._settings, queue),
                            producer=producer,
                            retry=False,
                        )
                return
            except BrokerUnavailable:
                # Some of the batch may be out already; a job sent twice is noticed by the ledger.
                if wait_s is None:
                    raise
                time.sleep(wait_s)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Whatever the transport raises for a broker that is away, as BrokerUnavailable."""
        try:
            yield
        except self._transport_errors as away:
            raise BrokerUnavailable(f"the broker cannot be reached: {away}") from away

    @cached_property
    def _transport_errors(self) -> tuple[type[Exception], ...]:
        # Each transport names the exceptions of its own driver; kombu wraps those of its retry loops and of a batch.
        connection = self._app.connection_for_write()
        return (OperationalError, BatchPublishError, OSError, *connection.connection_errors, *connection.channel_errors)
