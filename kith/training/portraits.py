"""Folders of faces → the model of synthetic people: reads, cuts out portraits, learns, and asks a recogniser."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kith.alignment import similarity
from kith.checkpoints import Pack
from kith.crops import CropReader, Labelled, list_subjects, read_crops
from kith.detector import Detector, open_detector
from kith.embedder import embed, open_embedder
from kith.errors import Misconfigured, Rejected
from kith.images import decode
from kith.manifest import TEMPLATE
from kith.principal import by_prominence
from kith.settings import Limits
from kith.synthetic.model import CROP_AT, PORTRAIT_PX
from kith.training.likeness import with_likeness
from kith.training.linear_faces import Learned, learn

Pixels = NDArray[np.uint8]
Tell = Callable[[str, int, int], None]


def learn_from(crops: Path, photos: Path, pack: Pack, seed: int = 0, tell: Tell = lambda *_: None) -> Learned:
    """crops: folders of aligned crops. photos: folders of photographs. pack: its detector finds the faces in `photos`,
    its embedder says who looks alike. tell: (what, done, of all).

    Raises Rejected when there are too few pictures, Misconfigured when the pack has no detector.
    """
    detector = open_detector(pack)
    if detector is None:
        raise Misconfigured(f"the pack {pack.path} has no detector; to find faces in {photos} it needs one (--pack)")
    listed = list_subjects(crops)
    faces = read_crops(
        CropReader(None), listed.images, tell=lambda done: tell("reading crops", done, len(listed.images))
    )
    portraits, subjects = read_portraits(detector, list_subjects(photos).images, tell)
    learned = learn(faces, portraits, subjects, seed=seed, tell=tell)
    embedder = open_embedder(pack, device="cpu")
    model = with_likeness(learned.model, lambda shown: embed(embedder, shown), seed, tell)
    skipped = {**listed.skipped, **faces.skipped}
    first = f", such as {next(iter(skipped.items()))}" if skipped else ""
    return replace(learned, model=model, notes=(*learned.notes, f"{len(skipped)} crops are left out{first}"))


def read_portraits(
    detector: Detector, listed: Sequence[Labelled], tell: Tell = lambda *_: None
) -> tuple[Pixels, NDArray[Any]]:
    """The portraits (n, 189, 144, 3) RGB around the most prominent face of each photograph, and who is on them.

    Photographs without a face, and files that are none, are left out. What lies outside a photograph repeats its rim.
    """
    target = np.array(TEMPLATE) + np.array(CROP_AT[::-1])
    portraits, subjects = [], []
    for count, image in enumerate(listed, 1):
        try:
            pixels = decode(image.path.read_bytes(), Limits())
            faces = by_prominence(detector.detect(pixels), *pixels.shape[:2])[:1]
            turns = [similarity(face.landmarks.astype(np.float64), target) for face in faces]
        except (Rejected, OSError):
            turns = []
        for turn in turns:
            size = PORTRAIT_PX[1], PORTRAIT_PX[0]
            portraits.append(
                cv2.warpAffine(pixels, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            )
            subjects.append(image.subject)
        tell("cutting out portraits", count, len(listed))
    return np.array(portraits, np.uint8).reshape(-1, *PORTRAIT_PX, 3), np.array(subjects)
