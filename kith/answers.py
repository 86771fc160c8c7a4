"""Waiting for the decisions of many jobs, of this run and of earlier ones."""

from collections import deque
from collections.abc import Iterable

from kith.jobs import Decision
from kith.ledger import Ledger
from kith.results import Results


class Answers:
    """Collects what is decided, oldest job first.

    Asks the ledger about each job rather than reading the results stream: a job of yesterday's run may have been
    decided before this process started, and the ledger knows where its decisions lie.

    dead: job id → why it was buried. forgotten: jobs decided so long ago that the ledger no longer knows.
    """

    def __init__(self, ledger: Ledger, results: Results, job_ids: Iterable[str] = ()) -> None:
        self._ledger = ledger
        self._results = results
        self._open = deque(job_ids)
        self.dead: dict[str, str] = {}
        self.forgotten: list[str] = []

    def expect(self, job_ids: Iterable[str]) -> None:
        """Wait for these as well."""
        self._open.extend(job_ids)

    @property
    def waiting(self) -> int:
        """Jobs not known to have ended."""
        return len(self._open)

    def look(self, at_most: int = 64) -> list[Decision]:
        """Decisions that have come since the last look; does not wait.

        Stops at the first job that is still open: lanes are first in, first out, so those behind it hardly are any
        further. `at_most` jobs per look, so that a caller with a progress bar gets its turn. Raises StateUnavailable.
        """
        decisions: list[Decision] = []
        for _ in range(min(at_most, len(self._open))):
            job_id = self._open[0]
            state = self._ledger.state(job_id)
            if state.state == "done":
                entries = self._results.fetch(state.entries)
                decisions += sorted((entry.decision for entry in entries), key=lambda decision: decision.index)
                if not entries:
                    self.forgotten.append(job_id)
            elif state.state == "dead":
                self.dead[job_id] = state.reason or "no reason on record"
            elif state.state == "unknown":
                self.forgotten.append(job_id)
            else:
                break
            # Only now: an interruption between asking and taking must not skip a job.
            self._open.popleft()
        return decisions
