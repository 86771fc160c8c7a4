"""What the shipped model pack is worth: on people it never saw, from loose pictures through its own detector.

Beside it stand the models it was taught by.
"""

import os
from pathlib import Path

from benchmarks import inputs
from benchmarks.report import Figure, at_least, at_most
from benchmarks.session import Session, Unavailable
from kith.checkpoints import Pack, load_pack
from kith.evaluation.bootstrap import Estimate
from kith.evaluation.pairs import Verification
from kith.evaluation.plan import Given, plan
from kith.evaluation.run import Evaluation
from kith.evaluation.run import run as evaluate
from kith.evaluation.serving import open_serving
from kith.packs.shipped import default_pack
from kith.training.detector_figures import figures_of, look_at
from kith.yunet import YuNet

_TARGET_ACCURACY, _TARGET_DIR = 0.97, 0.80
_TARGET_RECALL, _TARGET_EXTRA, _TARGET_LANDMARKS, _TARGET_FRAME_MS = 0.97, 0.01, 0.04, 25.0
_TARGET_BYTES = 6_000_000


def run(session: Session) -> list[Figure]:
    """Accuracy, detector and size of the default pack; accuracy of its teacher as the peer."""
    ours, weights = default_pack(), inputs.weights(session.data)
    if ours is None:
        raise Unavailable("this checkout has no default pack (kith/packs)")
    if weights is None:
        raise Unavailable(
            f"the pack is judged on faces and beside its teacher, and {session.data} holds neither; name --data"
        )
    with session.progress("pack") as tell:
        tell("the pack on faces it never saw")
        mine = _evaluation(load_pack(ours), session)
        tell("its teacher on the same")
        theirs = _evaluation(load_pack(weights), session)
        tell("the two detectors")
        return [*_recognition(mine, theirs), *_detection(load_pack(ours), load_pack(weights), session), _size(ours)]


def _evaluation(pack: Pack, session: Session) -> Evaluation:
    embedder, reader = open_serving(pack, aligned=False)
    return evaluate(pack, embedder, reader, plan(Given(session.data / "faces" / "val")))


def _recognition(mine: Evaluation, theirs: Evaluation) -> list[Figure]:
    us, them = _figures(mine), _figures(theirs)
    return [
        at_least("verification, official pairs: accuracy", us["accuracy"], _TARGET_ACCURACY, peer=them["accuracy"]),
        Figure("verification: TAR at FAR 1 %", us["tar"], "", them["tar"]),
        Figure("identification, closed set: rank-1", us["rank_1"], "", them["rank_1"]),
        at_least("identification, open set: DIR at FPIR 1 %", us["dir"], _TARGET_DIR, peer=them["dir"]),
    ]


def _figures(found: Evaluation) -> dict[str, float]:
    official = found.verification[0].found
    if not isinstance(official, Verification) or found.identification is None:
        raise Unavailable("the lists of pairs and probes are missing beside the faces")
    whole = found.identification.found
    size = whole.sizes[-1]  # type: ignore[union-attr]
    at_far = next(at for at in official.at if abs(at.rate - 1e-2) < 1e-9)
    at_fpir = next(at for at in size.at if abs(at.rate - 1e-2) < 1e-9)
    named = {
        "accuracy": official.accuracy,
        "tar": at_far.share,
        "rank_1": size.ranks[1],
        "dir": at_fpir.share,
    }
    refused = [name for name, figure in named.items() if not isinstance(figure, Estimate)]
    if refused:
        raise Unavailable(f"too few pictures for {', '.join(refused)}")
    return {name: figure.value for name, figure in named.items() if isinstance(figure, Estimate)}


def _detection(ours: Pack, theirs: Pack, session: Session) -> list[Figure]:
    mine, teacher = ours.manifest.detector, theirs.manifest.detector
    assert mine is not None
    assert teacher is not None
    folders = (session.data / "faces" / "val", session.data / "camera")
    pictures = [file for folder in folders for file in sorted(folder.rglob("*.jpg"))]
    threads = len(os.sched_getaffinity(0))
    reference = look_at(pictures[:: session.scaled(1, 20)], YuNet(theirs.read(teacher)), threads)
    found = figures_of(ours.read(mine), reference, threads)
    return [
        at_least("detector: of its teacher's faces found", found["recall"], _TARGET_RECALL),
        at_most("detector: extra boxes, of its teacher's faces", found["extra"], _TARGET_EXTRA),
        at_most("detector: landmarks off, in eye distances", found["landmark_error"], _TARGET_LANDMARKS),
        at_most("detector: a 640×480 frame on one core", found["frame_ms"], _TARGET_FRAME_MS, "ms"),
    ]


def _size(folder: Path) -> Figure:
    held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return at_most("size of the pack", held / 1e6, _TARGET_BYTES / 1e6, "MB")
