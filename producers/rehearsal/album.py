"""The photographs that scenes are drawn from: whose they are, and where the face is in each."""

import csv
from pathlib import Path

import cv2
import numpy as np

from kith import folder
from kith.detector import Detector
from kith.errors import Rejected
from producers.rehearsal.scene import Portrait

#: A face of fewer pixels would be enlarged until it is blurred.
_LEAST_PX = 40
_SURE = 0.9


def from_manifest(faces: Path, split: str = "val", at_least: int = 4) -> dict[str, list[Portrait]]:
    """The photographs of each identity of the shared faces that has `at_least` good ones, by name. Raises OSError."""
    found: dict[str, list[Portrait]] = {}
    with (faces / "manifest.csv").open(newline="") as rows:
        for row in csv.DictReader(rows):
            good = row["split"] == split and row["suspect"] == "0" and row["dup"] == "0"
            if good and row["nfaces_in_original"] == "1" and float(row["det_score"]) > _SURE:
                x, y, width, height = map(float, row["box"].split())
                # A cut of the shoulder or a box beyond the edge would show a half face.
                if x >= 0 and y >= 0 and x + width <= float(row["width"]) and y + height <= float(row["height"]):
                    portrait = Portrait(row["identity"], faces / row["file"], (x, y, width, height))
                    found.setdefault(row["identity"], []).append(portrait)
    return {name: files for name, files in sorted(found.items()) if len(files) >= at_least}


def from_folder(directory: Path, detector: Detector, people: int, at_least: int = 2) -> dict[str, list[Portrait]]:
    """The first `people` of SUBJECT/IMAGE.jpg who have `at_least` pictures with one good face, by name."""
    found: dict[str, list[Portrait]] = {}
    for image in folder.scan(directory, lambda _path, _fault: None):
        try:
            name = folder.subject_of(image.path)
        except Rejected:
            # A picture beside the folders has no name to go with it.
            continue
        complete = [each for each, files in found.items() if len(files) >= at_least and each != name]
        if len(complete) >= people:
            break
        portrait = _portrait(name, directory / image.path, detector)
        if portrait is not None:
            found.setdefault(name, []).append(portrait)
    return dict([each for each in sorted(found.items()) if len(each[1]) >= at_least][:people])


def _portrait(name: str, file: Path, detector: Detector) -> Portrait | None:
    pixels = cv2.imread(str(file))
    if pixels is None:
        return None
    faces = detector.detect(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8))
    if len(faces) != 1 or min(faces[0].box[2:]) < _LEAST_PX:
        return None
    x, y, width, height = faces[0].box
    inside = x >= 0 and y >= 0 and x + width <= pixels.shape[1] and y + height <= pixels.shape[0]
    return Portrait(name, file, (x, y, width, height)) if inside else None
