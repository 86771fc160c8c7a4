"""Waiting for the decisions of many jobs, of this run and of earlier ones."""

from collections.abc import Iterable, Iterator
from itertools import islice

from kith.jobs import Decision
from kith.ledger import Ledger
from kith.results import Results


class Answers:
    """Collects what is decided, the oldest jobs first.

    Asks the ledger about each job rather than reading the results stream: a job of yesterday's run may have been
    decided before this process started, and the ledger knows where its decisions lie.

    dead: job id → why it was buried. forgotten: jobs decided so long ago that the ledger no longer knows.
    """

    def __init__(self, ledger: Ledger, results: Results, job_ids: Iterable[str] = ()) -> None:
        self._ledger = ledger
        self._results = results
        #: In the order of submission; a dict, because a job in the middle may be the one that ends.
        self._open = dict.fromkeys(job_ids)
        self._round: Iterator[str] = iter(())
        self._found: list[Decision] = []
        self.dead: dict[str, str] = {}
        self.forgotten: list[str] = []

    def expect(self, job_ids: Iterable[str]) -> None:
        """Wait for these as well."""
        self._open.update(dict.fromkeys(job_ids))

    @property
    def waiting(self) -> int:
        """Jobs not known to have ended."""
        return len(self._open)

    def look(self, at_most: int = 64) -> list[Decision]:
        """Decisions that have come since the last look; does not wait.

        Lanes are first in, first out, so the front is where jobs end. But one that was put off must not hide those
        behind it: past a number of open ones, the rest of the look goes to the others in turn. `at_most` jobs per look,
        so that a caller with a progress bar gets its turn. Raises StateUnavailable; nothing is lost by that.
        """
        asked: set[str] = set()
        still_open = 0
        for job_id in list(islice(self._open, at_most)):
            asked.add(job_id)
            still_open += not self._has_ended(job_id)
            if still_open > at_most // 2:
                break
        for job_id in self._in_turn(at_most - len(asked)):
            if job_id not in asked and job_id in self._open:
                self._has_ended(job_id)
        found, self._found = self._found, []
        return found

    def _in_turn(self, count: int) -> set[str]:
        """The next `count` jobs of a round through all of them, which goes on where the last look stopped."""
        turn = set(islice(self._round, count))
        if len(turn) < count:
            self._round = iter(list(self._open))
            turn.update(islice(self._round, count - len(turn)))
        return turn

    def _has_ended(self, job_id: str) -> bool:
        state = self._ledger.state(job_id)
        if state.state == "done":
            entries = self._results.fetch(state.entries)
            self._found += sorted((entry.decision for entry in entries), key=lambda decision: decision.index)
            if not entries:
                self.forgotten.append(job_id)
        elif state.state == "dead":
            self.dead[job_id] = state.reason or "no reason on record"
        elif state.state == "unknown":
            self.forgotten.append(job_id)
        else:
            return False
        # Only now: an interruption between asking and taking must not skip a job.
        del self._open[job_id]
        return True
