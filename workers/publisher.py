"""From saved decisions to the results stream: exactly one record per decision, and nothing stale among them."""

from kith.ledger import Ledger, Published


class Publisher:
    """Publishes jobs whose decisions are saved. Safe to call twice, from anywhere, for the same job."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def publish(self, job_id: str) -> bool:
        """Publish all decisions of `job_id` in one step; False when there was nothing (more) to publish.

        The ledger checks the deadline once more: between the decision and this moment a broker may have been away for
        an hour. What is late is published as expired, with nobody named in it.
        """
        published = self._ledger.publish(job_id)
        if published is Published.LATE:
            # No race: a deadline that has passed stays passed, and whoever comes first strikes the job off.
            expired = [decision.expire() for decision in self._ledger.saved(job_id)]
            published = self._ledger.publish(job_id, expired) if expired else Published.BEFORE
        return published is Published.NOW
