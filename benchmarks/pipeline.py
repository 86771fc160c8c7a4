"""End to end (picture in the store → decision in the results stream) against the plain loop that does the same work.

A real network of the MobileFaceNet class on the CPU, jobs of 16 images in the bulk lane, one embed worker and one
publish worker. Both sides use the same store, gallery, network, batch size, fetch threads and torch threads.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import inputs
from benchmarks.peer import PlainPeer
from benchmarks.report import Figure, at_least
from benchmarks.rig import Rig, open_rig
from benchmarks.rounds import interleave, median_ratio
from benchmarks.session import Session, Unavailable, scratch
from kith.jobs import Content, ImageRef

PER_JOB = 16
_TARGET_RATIO = 0.90
_ENROLLED = 320


def run(session: Session) -> list[Figure]:
    """Three kinds of input: aligned crops, loose crops with one face, whole photographs."""
    pack = inputs.weights(session.data)
    if pack is None:
        raise Unavailable(f"pipeline measures a real network, and {session.data / 'weights'} holds none; name --data")
    figures: list[Figure] = []
    with session.progress("pipeline") as tell, scratch() as home, PlainPeer(home / "images", pack) as peer:
        tell("loading the network")
        # One size for both: two measurements under noise might disagree, and would then be compared.
        batch = peer.ask("batch")
        with open_rig(home, pack, batch={"size": batch}) as rig:
            _enrol(rig, peer, session)
            for name, content, references in _workloads(rig, session):
                figures += _compare(session, rig, peer, name, content, references, tell)
    return [Figure("batch size, measured", batch, "images"), *figures]


def _enrol(rig: Rig, peer: PlainPeer, session: Session) -> None:
    people = [
        (file.parent.name, file.read_bytes())
        for file in inputs.aligned_crops(session.data, session.scaled(_ENROLLED, 16))
    ]
    rig.enrol(people)
    references = rig.put([data for _, data in people])
    peer.ask("enrol", [(name, each.key) for (name, _), each in zip(people, references, strict=True)])


def _workloads(rig: Rig, session: Session) -> list[tuple[str, Content, Sequence[ImageRef]]]:
    """(name, what the pictures show, the pictures of one round); each round takes a second or more."""

    def stored(files: Sequence[Path], count: int) -> list[ImageRef]:
        once = rig.put([file.read_bytes() for file in files])
        return (once * -(-count // len(once)))[:count]

    few = 2 * PER_JOB
    data = session.data
    return [
        ("aligned 112×112 crops", Content.ALIGNED, stored(inputs.aligned_crops(data, 2048), session.scaled(4096, few))),
        ("photos: loose crops", Content.PHOTO, stored(inputs.loose_crops(data, 1024), session.scaled(1024, few))),
        ("photos: whole photographs", Content.PHOTO, stored(inputs.photos(data), session.scaled(256, few))),
    ]


def _compare(
    session: Session,
    rig: Rig,
    peer: PlainPeer,
    name: str,
    content: Content,
    references: Sequence[ImageRef],
    tell: Callable[[str], None],
) -> list[Figure]:
    keys = [each.key for each in references]
    contenders = {
        "kith": lambda: rig.run(references, PER_JOB, content).rate,
        "plain loop": lambda: float(peer.ask("run", keys, content is Content.ALIGNED)),
    }
    tell(f"{name}: warming up")
    warm = len(references) // 4
    before = rig.client.results.position()
    rig.run(references[:warm], PER_JOB, content)
    if (refused := rig.refused(before)) > warm // 2:
        raise RuntimeError(f"{refused} of {warm} {name} were refused, there is nothing to measure")
    peer.ask("run", keys[:warm], content is Content.ALIGNED)
    rounds = interleave(contenders, session.rounds, lambda who: tell(f"{name}: {who}"))
    ours, theirs = rounds["kith"], rounds["plain loop"]
    return [
        at_least(f"{name}: of the plain loop's rate", median_ratio(ours, theirs), _TARGET_RATIO, "×", peer=1.0),
        Figure(f"{name}: rate", statistics.median(ours), "images/s", statistics.median(theirs)),
    ]
