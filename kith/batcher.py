"""Many callers, one model thread: requests of all jobs in flight are gathered into full batches.

A batch leaves when it is full, or when the window of one of its requests has passed since that one arrived: the window
bounds what anybody waits for company, however the others trickle in. More urgent requests are served first, and may
have a shorter window or none: then they leave as soon as the model is free, with whatever came while it was not. Each
request has its own fate: when the model call fails, the batch is run again one by one, and only what fails alone is
refused.

Should the model itself be broken (a canary fails too), or its thread die, every waiting caller fails at once with
ModelThreadDead and `on_death` is called, so that the process ends and its supervisor starts a sound one. Nobody hangs.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kith.errors import ModelThreadDead

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class _Call(Generic[T, R]):
    """The requests one caller handed in together, and what became of each."""

    def __init__(self, items: Sequence[T]) -> None:
        self.items = items
        self.outcomes: list[R | Exception | None] = [None] * len(items)
        self._missing = len(items)
        self._done = threading.Event()
        self._lock = threading.Lock()

    def settle(self, index: int, outcome: R | Exception) -> None:
        with self._lock:
            if self.outcomes[index] is not None:
                return
            self.outcomes[index] = outcome
            self._missing -= 1
            if self._missing == 0:
                self._done.set()

    def wait(self) -> list[R | Exception]:
        self._done.wait()
        return [outcome for outcome in self.outcomes if outcome is not None]


@dataclass(frozen=True, slots=True)
class _Request(Generic[T, R]):
    call: _Call[T, R]
    index: int
    arrived_s: float


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Since the start: model calls, requests served by them, and calls that failed and were run singly."""

    batches: int
    requests: int
    failures: int


#: Told of a batch that was served: its requests, how long the first of them had waited and how long it took, seconds.
Served = Callable[[int, float, float], None]


class Batcher(Generic[T, R]):
    """Runs `run` on batches of up to `size` requests in a thread of its own.

    run: takes 1..size items, returns as many results in order. windows_s: seconds a request waits for company, one per
    class of urgency, the most urgent first. canary: an item known to be good; when a single item fails, the canary
    tells a bad item from a broken model. capacity: requests that may wait; past it callers block, which is what slows
    the broker's consumption down.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]],
        *,
        size: int,
        windows_s: Sequence[float],
        canary: T,
        capacity: int = 1024,
        on_death: Callable[[BaseException], None] | None = None,
        served: Served = lambda _, __, ___: None,
    ) -> None:
        if not 1 <= size <= capacity or not windows_s:
            raise ValueError(f"size {size}, capacity {capacity}: need 1 <= size <= capacity, and a window per urgency")
        self._run = run
        self._size = size
        self._windows_s = tuple(windows_s)
        self._canary = canary
        self._capacity = capacity
        self._on_death = on_death
        self._served = served
        self._waiting: tuple[deque[_Request[T, R]], ...] = tuple(deque() for _ in windows_s)
        self._changed = threading.Condition()
        self._closed = False
        self._dead: BaseException | None = None
        self._in_flight: list[_Request[T, R]] = []
        self._batches = self._requests = self._failures = 0
        self._thread = threading.Thread(target=self._serve, name="model", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> BatchCounts:
        """A snapshot of the counters."""
        return BatchCounts(self._batches, self._requests, self._failures)

    def submit(self, items: Sequence[T], *, urgency: int = 0) -> list[R | Exception]:
        """Run all `items`, each in whatever batch it falls; blocks until every one has its result or its exception.

        Raises ModelThreadDead when the model thread has died or dies meanwhile.
        """
        call: _Call[T, R] = _Call(items)
        if not items:
            return []
        with self._changed:
            for index in range(len(items)):
                self._changed.wait_for(lambda: self._closed or self._depth() < self._capacity)
                if self._closed:
                    break
                self._waiting[urgency].append(_Request(call, index, time.monotonic()))
                # The model thread must see these requests before we may sleep on a full queue.
                if self._depth() == self._capacity:
                    self._changed.notify_all()
            if self._closed:
                raise ModelThreadDead(f"no more embeddings: {self._dead or 'the worker is stopping'}")
            self._changed.notify_all()
        outcomes = call.wait()
        for outcome in outcomes:
            if isinstance(outcome, ModelThreadDead):
                raise outcome
        return outcomes

    def close(self) -> None:
        """Serve what is waiting, then end the thread. Later submissions raise ModelThreadDead."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _depth(self) -> int:
        return sum(map(len, self._waiting))

    def _serve(self) -> None:
        try:
            while batch := self._next_batch():
                self._in_flight = batch
                began_s = time.monotonic()
                self._serve_batch(batch)
                self._in_flight = []
                waited_s = began_s - min(request.arrived_s for request in batch)
                self._served(len(batch), waited_s, time.monotonic() - began_s)
                # Not until the next batch comes, which may be tomorrow: its calls hold what was answered.
                del batch
        except BaseException as death:  # noqa: BLE001 (whatever it is, the callers must hear of it)
            self._die(death)

    def _next_batch(self) -> list[_Request[T, R]]:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._depth() > 0)
            while not self._closed and self._depth() < self._size:
                leaves_s = min(
                    requests[0].arrived_s + window_s
                    for requests, window_s in zip(self._waiting, self._windows_s, strict=True)
                    if requests
                )
                remaining_s = leaves_s - time.monotonic()
                if remaining_s <= 0 or not self._changed.wait(remaining_s):
                    break
            batch: list[_Request[T, R]] = []
            for requests in self._waiting:
                while requests and len(batch) < self._size:
                    batch.append(requests.popleft())
            self._changed.notify_all()
            return batch

    def _serve_batch(self, batch: Sequence[_Request[T, R]]) -> None:
        self._batches += 1
        self._requests += len(batch)
        try:
            results = self._checked_run([request.call.items[request.index] for request in batch])
        except Exception as failure:  # noqa: BLE001 (any failure of a batch is first retried singly)
            self._failures += 1
            _log.warning(
                "a batch of %d failed (%s: %s), running it one by one", len(batch), type(failure).__name__, failure
            )
            for request in batch:
                request.call.settle(request.index, self._run_alone(request))
            return
        for request, result in zip(batch, results, strict=True):
            request.call.settle(request.index, result)

    def _run_alone(self, request: _Request[T, R]) -> R | Exception:
        try:
            return self._checked_run([request.call.items[request.index]])[0]
        except Exception as failure:  # noqa: BLE001
            # Raises out of the loop, and so ends the thread, when even the canary fails: then the model is at fault.
            self._checked_run([self._canary])
            return failure

    def _checked_run(self, items: Sequence[T]) -> Sequence[R]:
        results = self._run(items)
        if len(results) != len(items):
            raise RuntimeError(f"the model answered {len(results)} results to {len(items)} requests")
        return results

    def _die(self, death: BaseException) -> None:
        _log.critical("the model thread died: %s: %s", type(death).__name__, death)
        with self._changed:
            self._closed = True
            self._dead = death
            orphans = [*self._in_flight, *(request for requests in self._waiting for request in requests)]
            for requests in self._waiting:
                requests.clear()
            self._changed.notify_all()
        for request in orphans:
            request.call.settle(request.index, ModelThreadDead(f"{type(death).__name__}: {death}"))
        if self._on_death is not None:
            self._on_death(death)
