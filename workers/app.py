"""The Celery side of the workers: tasks, lanes, acknowledgements. What a task does is `workers.embed` and
`workers.publish`.

    python -m workers.embed               an embed worker (all lanes; --lanes live,interactive reserves it)
    python -m workers.publish             a publish worker
    python -m workers.upkeep              the sweeper
    python -m workers.watch               the watcher of cameras
    celery -A workers.app flower          works as with any Celery application

A task is acknowledged after its handler returned: by then the decisions are saved or published, or the ledger knows
when to try again. A handler that raises is acknowledged too, and the sweeper re-sends the job: no message loops in the
broker.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache

from celery import Celery, Task
from celery.utils.nodenames import gethostname, nodename
from celery.worker.consumer import Consumer

from kith.backends.queue_celery import make_app, queue_name
from kith.jobs import EMBED_TASK, PUBLISH_TASK
from kith.settings import Settings, load
from workers.pool import UrgentFirstPool


def register(app: Celery, name: str, handle: Callable[[str], None]) -> Task:
    """Make `handle` the body of task `name`. Its one argument is JSON text or an id, never an object."""

    def task(argument: str) -> None:
        handle(argument)

    # shared=False: by default Celery adds a task to every application of the process, the tests' among them.
    task.__name__ = name.rpartition(".")[2]
    registered: Task = app.task(task, name=name, acks_late=True, ignore_result=True, shared=False)
    return registered


def run(app: Celery, settings: Settings, *, queues: Sequence[str], concurrency: int, node: str) -> int:
    """Serve `queues` until told to stop; returns the exit code. One process, one pool of threads.

    Threads, because forking after CUDA is initialised breaks it and the model thread is shared by all tasks; gossip and
    mingle are off because workers need nothing from each other.
    """
    worker = app.Worker(
        pool_cls=UrgentFirstPool,
        consumer_cls=_Consumer,
        concurrency=concurrency,
        # Over Redis a worker asks its queues in this order, and takes from the next only what the one before lacks.
        queues=sorted((queue_name(settings, queue) for queue in queues), key=list(app.amqp.queues).index),
        hostname=nodename(node, gethostname()),
        without_gossip=True,
        without_mingle=True,
        loglevel="WARNING",
        quiet=True,
        task_events=settings.broker.events,
    )
    # Returns after the first SIGTERM or SIGINT, when the tasks that run have ended; those that wait go back.
    worker.start()
    return int(worker.exitcode or 0)


class _Consumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, but for what it sets up for tasks with a delay wherever a queue is a quorum queue: 28 queues
    and as many exchanges on the broker, and a warning for each queue of ours at every start. Nothing of Kith sends with
    a delay: what is to be tried later waits in the ledger."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        default_steps = tuple(
            step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")
        )


@cache
def _monitored() -> Celery:
    """The application as Flower and `celery inspect` see it: every task by name, none of their bodies."""
    app = make_app(load())
    for name in (EMBED_TASK, PUBLISH_TASK):
        register(app, name, _not_a_worker)
    return app


def _not_a_worker(_: str) -> None:
    sys.exit("tasks run in `python -m workers.embed` and `python -m workers.publish`, which load the model first")


def __getattr__(name: str) -> Celery:
    # `celery -A workers.app` looks for `app`: built when asked for, so that importing this module reads no settings.
    if name in ("app", "celery"):
        return _monitored()
    raise AttributeError(name)
