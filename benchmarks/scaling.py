"""Whether twice the workers do twice the work: a simulated device that sleeps 200 ms per batch of 32.

Sleeping devices need no cores, so a machine of any size shows what the queue, the ledger and the publish worker would
do to a rack of them. Stacks of 1, 2 and 4 embed workers stand side by side and are measured turn by turn.
"""

import statistics
from contextlib import ExitStack
from functools import partial

from benchmarks import inputs
from benchmarks.report import Figure, at_least
from benchmarks.rig import Rig, open_rig, stamp_s
from benchmarks.rounds import interleave, median_ratio, steady_rate
from benchmarks.session import Session, scratch
from kith.checkpoints import simulated_pack
from kith.jobs import Content, ImageRef

_SECONDS_PER_BATCH, _BATCH = 0.2, 32
_TARGETS = {2: 1.95, 4: 3.7}
_PER_JOB = 16
_ENROLLED = 64

#: Seconds one round takes, whatever the number of workers.
_ROUND_S = 10


def run(session: Session) -> list[Figure]:
    """The steady rate with 1, 2 and 4 workers."""
    alone = _BATCH / _SECONDS_PER_BATCH
    with session.progress("scaling") as tell, scratch() as home, ExitStack() as stacks:
        pack = simulated_pack(home / "pack", seconds_per_batch=_SECONDS_PER_BATCH, batch=_BATCH).path
        pictures = inputs.made_up_crops(256)
        contenders = {}
        for workers in (1, *_TARGETS):
            tell(f"starting {workers} workers")
            rig = stacks.enter_context(open_rig(home / f"stack-{workers}", pack, embed=workers))
            references = rig.put(pictures)
            rig.enrol([(f"person {n}", data) for n, data in enumerate(pictures[:_ENROLLED])])
            count = round(workers * alone * session.scaled(_ROUND_S, 2))
            many = (references * -(-count // len(references)))[:count]
            contenders[str(workers)] = partial(_steady, rig, many)
        rounds = interleave(contenders, session.rounds, lambda workers: tell(f"{workers} workers"))
    figures = [Figure("1 worker: steady rate", statistics.median(rounds["1"]), "images/s", alone)]
    for workers, target in _TARGETS.items():
        ours = rounds[str(workers)]
        ratio = median_ratio(ours, rounds["1"])
        figures.append(at_least(f"{workers} workers: of the rate of 1", ratio, target, "×", peer=1.0))
        figures.append(Figure(f"{workers} workers: steady rate", statistics.median(ours), "images/s", workers * alone))
    return figures


def _steady(rig: Rig, images: list[ImageRef]) -> float:
    """Images per second without the start and the end, when workers run empty one after the other."""
    position = rig.client.results.position()
    rig.run(images, _PER_JOB, Content.ALIGNED)
    return steady_rate([stamp_s(entry.entry_id) for entry in rig.entries(position)])
