"""Waiting for the decisions of a job that was submitted."""

import time

from kith.errors import JobDead, KithError, NoAnswerYet
from kith.jobs import Decision
from kith.ledger import Ledger
from kith.results import Results

#: Pauses between looks at a job that is being waited for: a warm worker answers within the first few.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.005, 0.1


def wait(ledger: Ledger, results: Results, job_id: str, timeout_s: float) -> list[Decision]:
    """The decisions of a submitted job, in the order of its images.

    Raises JobDead when it ended in the dead letters or was cancelled, NoAnswerYet when it is still open after
    `timeout_s` seconds.
    """
    deadline_s = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        state = ledger.state(job_id)
        if state.state == "done":
            decisions = [entry.decision for entry in results.fetch(state.entries)]
            return sorted(decisions, key=lambda decision: decision.index)
        if state.state == "dead":
            raise JobDead(f"job {job_id} is a dead letter: {state.reason} (kith dead show {job_id})")
        if state.state == "cancelled":
            raise JobDead(f"job {job_id} was cancelled, or its gallery was forgotten: nothing is decided")
        if time.monotonic() > deadline_s:
            raise NoAnswerYet(_why_not(ledger, job_id, state.state, state.reason, timeout_s))
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, _LAST_PAUSE_S)


def _why_not(ledger: Ledger, job_id: str, stage: str, reason: str | None, timeout_s: float) -> str:
    message = f"job {job_id} is not decided after {timeout_s:g} s (stage: {stage}"
    message += f", last trouble: {reason})" if reason else ")"
    try:
        if not any(beat.role == "embed" for beat in ledger.workers()):
            message += "; no embed worker is up, start one with `kith up`"
    except KithError:
        pass
    return message
