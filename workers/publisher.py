"""From decisions to the results stream: exactly one record per decision, and nothing stale among them."""

from collections.abc import Callable, Sequence

from kith.jobs import Decision
from kith.ledger import Ledger, Published
from kith.watching.news import Sighted
from kith.watching.witness import sightings


class Publisher:
    """Publishes decided jobs. Safe to call twice, from anywhere, for the same job. late: told how many decisions of a
    job were published as expired."""

    def __init__(self, ledger: Ledger, late: Callable[[int], None] = lambda _: None) -> None:
        self._ledger, self._late = ledger, late

    def publish(self, job_id: str, decisions: Sequence[Decision] = (), seen: Sequence[Sighted] = ()) -> bool:
        """Publish all decisions of `job_id` in one step; False when there was nothing (more) to publish.

        decisions: of all its images; the saved ones where none are given. seen: what a camera saw by them. The ledger
        checks the deadline once more: between the decision and this moment a broker may have been away for an hour.
        What is late is published as expired, with nobody named in it.
        """
        published = self._ledger.publish(job_id, decisions, seen)
        if published is Published.LATE:
            # No race: a deadline that has passed stays passed, and whoever comes first strikes the job off.
            expired = [decision.expire() for decision in decisions or self._ledger.saved(job_id)]
            # None of them has a vector any more, so there is nothing to cover.
            seen = sightings(expired, lambda _, __: "") if seen else ()
            published = self._ledger.publish(job_id, expired, seen) if expired else Published.BEFORE
            if published is Published.NOW:
                self._late(len(expired))
        return published is Published.NOW
