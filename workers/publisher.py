"""From decisions to the results stream: exactly one record per decision, and nothing stale among them."""

from collections.abc import Sequence

from kith.jobs import Decision
from kith.ledger import Ledger, Published


class Publisher:
    """Publishes decided jobs. Safe to call twice, from anywhere, for the same job."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def publish(self, job_id: str, decisions: Sequence[Decision] = ()) -> bool:
        """Publish all decisions of `job_id` in one step; False when there was nothing (more) to publish.

        decisions: of all its images; the saved ones where none are given. The ledger checks the deadline once more:
        between the decision and this moment a broker may have been away for an hour. What is late is published as
        expired, with nobody named in it.
        """
        published = self._ledger.publish(job_id, decisions)
        if published is Published.LATE:
            # No race: a deadline that has passed stays passed, and whoever comes first strikes the job off.
            expired = [decision.expire() for decision in decisions or self._ledger.saved(job_id)]
            published = self._ledger.publish(job_id, expired) if expired else Published.BEFORE
        return published is Published.NOW
