"""Threads that take the most urgent call first, whatever the order in which the calls came.

Celery gives its pool every message as it arrives, and a pool of threads works them off in that order. Over RabbitMQ a
worker holds as many waiting messages of each lane as it has threads: a live job would wait for all the bulk jobs that
happened to be there before it. Over Redis little waits here, for the lanes are emptied in order of urgency there.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from celery import Celery
from celery.concurrency.base import apply_target
from celery.concurrency.thread import ApplyResult, TaskPool

from kith.stack_memory import wipe_stack


@dataclass(order=True, frozen=True, slots=True)
class _Waiting:
    rank: int
    arrival: int
    call: Callable[[], None] = field(compare=False)


class UrgentFirstPool(TaskPool):  # type: ignore[misc]
    """Urgency is the order of the application's queues. Among equals first come, first served.

    Chosen only when a thread is free: what runs is never interrupted, and what waits may be overtaken until then.
    """

    def __init__(self, *args: Any, app: Celery, **options: Any) -> None:
        super().__init__(*args, app=app, **options)
        self._ranks = {queue: rank for rank, queue in enumerate(app.amqp.queues)}
        self._waiting: list[_Waiting] = []
        self._arrivals = itertools.count()
        self._lock = threading.Lock()

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> ApplyResult:
        call = partial(apply_target, target, args, kwargs, callback, accept_callback)
        with self._lock:
            heapq.heappush(self._waiting, _Waiting(self._rank(args or ()), next(self._arrivals), call))
        # One turn for each call, but not each call its own turn. Nobody takes the result of a turn for that of the
        # call: Celery lets go of it at once and learns how the call went from `callback`.
        return ApplyResult(self.executor.submit(self._take_a_turn))

    def _take_a_turn(self) -> None:
        with self._lock:
            # There is one: as many calls were put in as turns were given, before them.
            first = heapq.heappop(self._waiting)
        try:
            first.call()
        finally:
            # The job had vectors in its hands, and the next one may not come for days.
            wipe_stack()

    def _rank(self, args: Sequence[Any]) -> int:
        """0 for the most urgent queue; past all others for a queue that is not ours, or a call that is no task."""
        # Of Celery's task calls the third argument is the request, as a task sees it in `self.request`. A message sent
        # to a queue carries its name as routing key, over either broker, and still does when it is delivered again.
        request = args[2] if len(args) > 2 else None
        delivery = request.get("delivery_info") if isinstance(request, Mapping) else None
        key = delivery.get("routing_key") if isinstance(delivery, Mapping) else None
        return self._ranks.get(key, len(self._ranks)) if isinstance(key, str) else len(self._ranks)
