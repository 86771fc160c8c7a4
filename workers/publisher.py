"""From saved decisions to the results stream: exactly one record per decision, and nothing stale among them."""

from dataclasses import replace

from kith.jobs import Decision, Outcome, now_ms
from kith.ledger import Ledger


class Publisher:
    """Publishes jobs whose decisions are saved. Safe to call twice, from anywhere, for the same job."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def publish(self, job_id: str) -> bool:
        """Publish all decisions of `job_id` in one step; False when there was nothing (more) to publish.

        The deadline is checked here again: between the decision and this moment a broker may have been away for an
        hour.
        """
        decisions = self._ledger.saved(job_id)
        if not decisions:
            return False
        at_ms = now_ms()
        return self._ledger.publish(job_id, [_stamped(decision, at_ms) for decision in decisions])


def _stamped(decision: Decision, at_ms: int) -> Decision:
    late = decision.expires_ms is not None and at_ms > decision.expires_ms
    # An enrolment has happened whenever its record appears; only an answer about who stands there can go stale.
    if late and decision.outcome not in (Outcome.EXPIRED, Outcome.ENROLLED):
        decision = decision.expire()
    return replace(decision, published_ms=at_ms)
