"""Waiting for jobs without holding a thread: whoever waits is woken when the job's decisions are told."""

import asyncio
import contextlib
from collections.abc import Sequence

from anyio import to_thread

from kith.client import Client
from kith.ledger import JobState
from kith.results import Entry
from producers.api.listening import Tail

#: Ends of a job that no result tells of (it died, it was cancelled, its results were trimmed) are looked for so often.
_LOOK_EVERY_S = 1.0

#: States after which nothing comes.
ENDED = frozenset({"done", "dead", "cancelled", "unknown"})


class Completions:
    """Of all jobs of the installation."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[str, set[asyncio.Event]] = {}
        results = client.results
        self._tail: Tail[Entry] = Tail(
            results.position,
            lambda last, block_s: results.after(last, block_s=block_s),
            lambda entry: entry.entry_id,
            self._hear,
        )

    async def wait(self, job_id: str, timeout_s: float) -> JobState:
        """Where the job stands when it has ended, or when the time is up. Raises StateUnavailable."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        told = asyncio.Event()
        waiting = self._waiting.setdefault(job_id, set())
        waiting.add(told)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline_s):
                    # Before the first look, or a decision between the two would be heard by nobody.
                    await self._tail.join()
            while True:
                state = await self.state(job_id)
                left_s = deadline_s - loop.time()
                if state.state in ENDED or left_s <= 0:
                    return state
                try:
                    async with asyncio.timeout(min(left_s, _LOOK_EVERY_S)):
                        await told.wait()
                except TimeoutError:
                    continue
                told.clear()
        finally:
            self._tail.leave()
            waiting.discard(told)
            if not waiting:
                self._waiting.pop(job_id, None)

    async def state(self, job_id: str) -> JobState:
        """Where a job stands now."""
        return await to_thread.run_sync(self._client.ledger.state, job_id)

    def close(self) -> None:
        """Hear no more."""
        self._tail.close()

    def _hear(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            for told in self._waiting.get(entry.decision.job_id, ()):
                told.set()
