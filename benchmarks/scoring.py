"""How should the templates of a subject make one score: the best of them, their mean, or a mean weighted by quality?

Faces that the shipped model never saw, through its own detector. Of the people with enough pictures two thirds are
enrolled from so many each, all other pictures of theirs are mated probes, everybody else is a stranger; the cutoff is
that of FPIR 1 % among the strangers. Once from the pictures as they are, once with one of each subject's templates
blurred: what a gallery looks like that was filled in a hurry. The same draws for all three.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.report import Figure
from benchmarks.session import Session, Unavailable
from kith import images
from kith.alignment import align
from kith.checkpoints import load_pack
from kith.crops import CROP_PX, Labelled, Pixels, list_subjects
from kith.detector import Detector, open_detector
from kith.embedder import embed, open_embedder
from kith.errors import NoFace, Rejected
from kith.evaluation.open_set import OpenSet, Searches, evaluate
from kith.gallery_settings import GallerySettings, Scoring
from kith.journal import Snapshot, Vectors
from kith.packs.shipped import default_pack
from kith.principal import by_prominence
from kith.quality import assess
from kith.settings import Limits
from kith.similarity import search
from kith.view import GalleryView, Replica

_FPIR = 0.01
_TEMPLATES = (2, 3, 5)
_DRAWS = 20
_BATCH = 64

#: Of the blur, in pixels of the 112 × 112 crop: a face out of focus, or one of 15 pixels enlarged.
_BLUR = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """vectors: float32 (n, d), unit. qualities: float32 (n,). owners: (n,), a number per person, from 0 on."""

    vectors: Vectors
    qualities: NDArray[np.float32]
    owners: NDArray[np.intp]


class Look(NamedTuple):
    """An aligned crop and the quality the service gives it."""

    crop: Pixels
    quality: float


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Who is enrolled, by rows of the faces. templates: (subjects, t). mated, strangers: probes."""

    templates: NDArray[np.intp]
    mated: NDArray[np.intp]
    strangers: NDArray[np.intp]


def run(session: Session) -> list[Figure]:
    """rank-1 and DIR at FPIR 1 % of each scoring, by templates a subject; the peer is the best template."""
    folder = session.data / "faces" / "val"
    if not folder.is_dir():
        raise Unavailable(f"scoring is judged on faces, and {folder} is not there; name --data")
    listed = list_subjects(folder).images
    with session.progress("scoring") as tell:
        tell(f"{len(listed):,} pictures")
        plain, blurred = _faces(listed if not session.quick else listed[:400])
        return [
            figure
            for name, spoilt in (("as they are", plain), ("one of them blurred", blurred))
            for count in _TEMPLATES[: 1 if session.quick else None]
            for figure in _figures(session, f"{count} templates, {name}", plain, spoilt, count, tell)
        ]


def _faces(listed: tuple[Labelled, ...]) -> tuple[Faces, Faces]:
    """The faces of pictures, and the same blurred."""
    path = default_pack()
    if path is None:
        raise Unavailable("this checkout has no default pack (kith/packs)")
    pack = load_pack(path)
    detector, embedder = open_detector(pack), open_embedder(pack)
    if detector is None:
        raise Unavailable("the default pack has no detector")
    template = pack.manifest.embedder.template

    def read(image: Labelled) -> tuple[Look, Look] | None:
        try:
            return _read(image.path, detector, template)
        except Rejected:
            return None

    with ThreadPoolExecutor() as pool:
        seen = [(image.subject, found) for image, found in zip(listed, pool.map(read, listed), strict=True) if found]
    _, owners = np.unique([subject for subject, _ in seen], return_inverse=True)

    def of(looks: list[Look]) -> Faces:
        crops = [look.crop for look in looks]
        parts = [embed(embedder, crops[at : at + _BATCH]) for at in range(0, len(crops), _BATCH)]
        return Faces(np.concatenate(parts), np.array([look.quality for look in looks], np.float32), owners)

    return of([plain for _, (plain, _) in seen]), of([blurred for _, (_, blurred) in seen])


def _read(path: Path, detector: Detector, template: ArrayLike) -> tuple[Look, Look]:
    """The face of a picture, and the same blurred. Raises Rejected."""
    pixels = images.decode(path.read_bytes(), Limits())
    found = detector.detect(pixels)
    if not found:
        raise NoFace("no face")
    face = by_prominence(found, *pixels.shape[:2])[0]
    crop = align(pixels, face.landmarks, CROP_PX, template)
    spoilt = np.asarray(cv2.GaussianBlur(crop, (0, 0), _BLUR), np.uint8)
    return Look(crop, assess(crop, face).value), Look(spoilt, assess(spoilt, face).value)


def draw(owners: NDArray[np.intp], count: int, random: np.random.Generator) -> Draw:
    """Two thirds of those who have more than `count` pictures, enrolled from `count` of them."""
    pictures = np.bincount(owners)
    able = random.permutation(np.flatnonzero(pictures > count))
    enrolled = able[: 2 * len(able) // 3]
    order = random.permutation(len(owners))
    templates = np.array([order[owners[order] == who][:count] for who in enrolled])
    asked = np.isin(owners, enrolled)
    asked[templates] = False
    return Draw(templates, np.flatnonzero(asked), np.flatnonzero(~np.isin(owners, enrolled)))


def judged(plain: Faces, spoilt: Faces, drawn: Draw, scoring: Scoring) -> OpenSet:
    """What `scoring` makes of a draw. spoilt: whence the first template of each subject is."""
    view = _gallery(plain, spoilt, drawn, scoring)
    mated, strangers = (_searches(view, plain.vectors[rows]) for rows in (drawn.mated, drawn.strangers))
    return evaluate(mated, plain.owners[drawn.mated].astype(str), strangers, _FPIR)


def _gallery(plain: Faces, spoilt: Faces, drawn: Draw, scoring: Scoring) -> GalleryView:
    rows, count = drawn.templates, drawn.templates.shape[1]
    first = np.arange(rows.size) % count == 0
    flat = rows.reshape(-1)
    people = {number + 1: str(plain.owners[row]) for number, row in enumerate(rows[:, 0])}
    snapshot = Snapshot("scoring", "m", plain.vectors.shape[1], "e", 1, GallerySettings(scoring=scoring))
    snapshot.names.update({number: (f"{number:016x}", name) for number, name in people.items()})
    vectors = np.where(first[:, np.newaxis], spoilt.vectors[flat], plain.vectors[flat])
    qualities = np.where(first, spoilt.qualities[flat], plain.qualities[flat])
    for slot, (vector, quality) in enumerate(zip(vectors, qualities, strict=True)):
        snapshot.put(slot, vector, slot // count + 1, float(quality))
    return Replica(snapshot).view


def _searches(view: GalleryView, probes: Vectors) -> Searches:
    hits = [found[0] for found in search(view, probes, 1)]
    return Searches(np.array([hit.score for hit in hits], np.float64), np.array([hit.subject for hit in hits]))


def _figures(
    session: Session, name: str, plain: Faces, spoilt: Faces, count: int, tell: Callable[[str], None]
) -> list[Figure]:
    found: dict[Scoring, list[OpenSet]] = {scoring: [] for scoring in Scoring}
    for seed in range(session.scaled(_DRAWS, 2)):
        tell(f"{name}, draw {seed + 1}")
        drawn = draw(plain.owners, count, np.random.default_rng(seed))
        for scoring, results in found.items():
            results.append(judged(plain, spoilt, drawn, scoring))
    dirs = {scoring: np.array([each.dir for each in results]) for scoring, results in found.items()}
    ranks = {scoring: float(np.mean([each.rank_1 for each in results])) for scoring, results in found.items()}
    best = dirs[Scoring.BEST]
    figures = [
        Figure(f"{name}: DIR at FPIR 1 %, best template", float(best.mean()), ""),
        Figure(f"{name}: rank-1, best template", ranks[Scoring.BEST], ""),
    ]
    for scoring in (Scoring.MEAN, Scoring.QUALITY):
        label = f"{name}: DIR at FPIR 1 %, {scoring}"
        better = float((dirs[scoring] > best).mean())
        figures += [
            Figure(label, float(dirs[scoring].mean()), "", float(best.mean())),
            Figure(f"{label}: draws in which it beats the best template", better, ""),
            Figure(f"{name}: rank-1, {scoring}", ranks[scoring], "", ranks[Scoring.BEST]),
        ]
    return figures
