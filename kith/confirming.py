"""Waiting until workers say that their copies of a gallery have let somebody go, or the gallery whole."""

import time

from kith.ledger import Ledger
from kith.receipts import ReplicaAt

_LOOK_EVERY_S = 0.1
#: The role of workers that hold copies of galleries.
_HOLDS_COPIES = "embed"


def await_copies(
    ledger: Ledger, gallery: str, epoch: str, sequence: int, wait_s: float, *, ended: bool = False
) -> tuple[list[ReplicaAt], list[str]]:
    """Workers whose copies have applied change `sequence` of the gallery of that epoch, and those that have not said so
    within `wait_s`. ended: with that change the gallery went whole.

    A beat from before the change may not know of a copy made just then: who names none must be heard once more. Nor
    does the number count that a copy of another gallery of this name has reached.
    """
    deadline_s = time.monotonic() + wait_s
    first, held, reached, silent = dict[str, int](), set[str](), dict[str, int](), set[str]()
    while True:
        for beat in ledger.workers():
            if beat.role != _HOLDS_COPIES:
                continue
            who, at = beat.worker_id, (beat.galleries or {}).get(gallery)
            same = (beat.epochs or {}).get(gallery, epoch) == epoch
            anew = first.setdefault(who, beat.seen_ms) != beat.seen_ms
            if at is None:
                done = anew
            elif ended:
                held |= {who} if same else set()
                # Below zero while the former gallery of this name is still in its memory.
                done = anew and not same and at >= 0
            else:
                held.add(who)
                done = same and at >= sequence
            if not done:
                silent.add(who)
                continue
            silent.discard(who)
            if who in held and (ended or at is not None):
                reached[who] = max(sequence, at or 0)
        # One that stopped beating may be cut off and go on with its copy: it stays among the silent.
        if not silent or time.monotonic() > deadline_s:
            return [ReplicaAt(who, at) for who, at in sorted(reached.items())], sorted(silent)
        time.sleep(_LOOK_EVERY_S)
