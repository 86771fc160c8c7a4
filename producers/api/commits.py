"""Commits that are shared: jobs that are handed in while others are being written go together, as the next.

One job costs the ledger a round trip and the broker another, and each a turn of a thread; thirty cost the same. Whoever
hands in still hears of its own jobs alone: after they are in the ledger, and with an error of its own.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anyio import to_thread

from kith.errors import KithError
from kith.intake import Receipt
from kith.jobs import EmbedJob

#: Jobs of one commit, as many as the broker takes at once; those of one caller stay together, however many.
_MOST = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    jobs: Sequence[EmbedJob]
    told: "asyncio.Future[list[Receipt]]"


class Commits:
    """offer: writes jobs for good, a receipt for each (kith.intake.Intake.offer). Within one event loop."""

    def __init__(self, offer: Callable[[Sequence[EmbedJob]], list[Receipt]]) -> None:
        self._offer = offer
        self._waiting: deque[_Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def commit(self, jobs: Sequence[EmbedJob]) -> list[Receipt]:
        """A receipt for each job, once they are in the ledger. Raises what writing them raised."""
        told: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(jobs, told))
        if self._writer is None:
            # By itself, not by whoever came first: a caller that hangs up takes nobody's commit with it.
            self._writer = asyncio.create_task(self._write())
        return await told

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._together(self._taken())
        finally:
            # No race: nothing is awaited between the look at what waits and this.
            self._writer = None

    def _taken(self) -> list[_Waiting]:
        taken, count = [self._waiting.popleft()], 0
        count = len(taken[0].jobs)
        while self._waiting and count + len(self._waiting[0].jobs) <= _MOST:
            taken.append(self._waiting.popleft())
            count += len(taken[-1].jobs)
        return taken

    async def _together(self, taken: list[_Waiting]) -> None:
        jobs = [job for each in taken for job in each.jobs]
        try:
            receipts = iter(await to_thread.run_sync(self._offer, jobs))
        except KithError as away:
            # A part is away, for all of them. A copy each: an exception that is raised in many places at once gathers
            # the traces of all.
            for each in taken:
                _fail(each, copy.copy(away))
        except Exception as fault:  # noqa: BLE001 (it is told to whom it concerns)
            # Something about one of them that nobody foresaw: the others are not to suffer for it. What is in the
            # ledger already is known there, and gets the same receipt but for the word `new`.
            if len(taken) == 1:
                _fail(taken[0], fault)
            for each in taken if len(taken) > 1 else ():
                await self._together([each])
        else:
            for each in taken:
                own = [next(receipts) for _ in each.jobs]
                if not each.told.done():
                    each.told.set_result(own)


def _fail(waiting: _Waiting, fault: Exception) -> None:
    if not waiting.told.done():
        waiting.told.set_exception(fault)
