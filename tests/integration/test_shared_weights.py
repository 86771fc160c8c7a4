"""Real weights on real faces: the accuracy the published weights reach, from loose crops to decisions.

The data is not part of the repository. It is looked for beside the checkout (../shared/data) or where KITH_SHARED_DATA
says; without it these tests skip, and fail in CI.
"""

import csv
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kith.alignment import align
from kith.checkpoints import Pack, load_pack, write_pack
from kith.detector import Detection, Detector, open_detector
from kith.embedder import Embedder, embed, open_embedder
from kith.evaluation.open_set import OpenSet, evaluate, search
from kith.evaluation.verification import fold_accuracies, pair_scores, tar_at_far
from kith.manifest import TEMPLATE
from kith.principal import by_prominence
from kith.quality import assess
from kith.runtimes.pytorch import TorchEmbedder

#: What was measured when the data was compiled; a correct pipeline is at most 0.2 points below it.
ACCURACY, TAR, RANK_1, DIR = 0.9849, 0.9615, 0.9863, 0.9315
TOLERANCE = 0.002

_BATCH = 16

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Photos:
    """The val split: names, loose crops, and the boxes (x, y, width, height) and landmarks its manifest gives."""

    root: Path
    rows: dict[tuple[str, str], int]
    images: list[Pixels]
    boxes: list[NDArray[np.float32]]
    landmarks: list[NDArray[np.float32]]

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.root / "faces" / name).open(newline="") as opened:
            return list(csv.DictReader(opened))

    def members(self, name: str) -> tuple[NDArray[np.str_], list[int]]:
        rows = self.table(name)
        return np.array([row["identity"] for row in rows]), [self.rows[row["identity"], row["image"]] for row in rows]


@pytest.fixture(scope="module")
def root(repository: Path) -> Path:
    place = Path(os.environ.get("KITH_SHARED_DATA", repository.parent / "shared" / "data"))
    if not (place / "weights").is_dir():
        reason = f"no face data in {place}; set KITH_SHARED_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return place


@pytest.fixture(scope="module")
def pack(root: Path) -> Pack:
    return load_pack(root / "weights")


@pytest.fixture(scope="module")
def photos(root: Path) -> Photos:
    rows: dict[tuple[str, str], int] = {}
    images: list[Pixels] = []
    boxes: list[NDArray[np.float32]] = []
    landmarks: list[NDArray[np.float32]] = []
    with (root / "faces" / "manifest.csv").open(newline="") as opened:
        for row in csv.DictReader(opened):
            if row["split"] == "val":
                rows[row["identity"], Path(row["file"]).stem] = len(images)
                images.append(read(root / "faces" / row["file"]))
                boxes.append(np.array(row["box"].split(), np.float32))
                landmarks.append(np.array(row["landmarks"].split(), np.float32).reshape(5, 2))
    return Photos(root, rows, images, boxes, landmarks)


def overlap(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    sides = np.minimum(one[:2] + one[2:], other[:2] + other[2:]) - np.maximum(one[:2], other[:2])
    shared = np.clip(sides, 0, None).prod()
    return float(shared / (one[2:].prod() + other[2:].prod() - shared))


def read(file: Path) -> Pixels:
    image = cv2.imread(str(file))
    assert image is not None, file
    return np.ascontiguousarray(image[:, :, ::-1], np.uint8)


def in_batches(embedder: Embedder, crops: list[Pixels]) -> Vectors:
    return np.concatenate([embed(embedder, crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)])


@pytest.fixture(scope="module")
def detector(pack: Pack) -> Detector:
    opened = open_detector(pack)
    assert opened is not None
    return opened


@pytest.fixture(scope="module")
def detections(photos: Photos, detector: Detector) -> list[list[Detection]]:
    """Found by two threads at once, as a worker does."""
    found: list[list[Detection]] = [[] for _ in photos.images]

    def work(start: int) -> None:
        for index in range(start, len(found), 2):
            found[index] = detector.detect(photos.images[index])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.fixture(scope="module")
def crops(photos: Photos, detections: list[list[Detection]]) -> list[Pixels]:
    """The face of every photo that the service would take for the one meant, found and aligned by us."""
    return [
        align(image, by_prominence(found, *image.shape[:2])[0].landmarks)
        for image, found in zip(photos.images, detections, strict=True)
    ]


@pytest.fixture(scope="module")
def serving(pack: Pack) -> Embedder:
    return open_embedder(pack, "cpu")


@pytest.fixture(scope="module")
def vectors(serving: Embedder, crops: list[Pixels]) -> Vectors:
    return in_batches(serving, crops)


@pytest.fixture(scope="module")
def given_vectors(serving: Embedder, photos: Photos) -> Vectors:
    """From the landmarks of the data's own manifest, without our detector."""
    aligned = [align(image, points) for image, points in zip(photos.images, photos.landmarks, strict=True)]
    return in_batches(serving, aligned)


def verification(photos: Photos, vectors: Vectors) -> tuple[float, float]:
    """(mean accuracy of ten folds, TAR at FAR 0.1 %) of pairs.csv."""
    pairs = photos.table("pairs.csv")
    left = [photos.rows[pair["identity1"], pair["image1"]] for pair in pairs]
    right = [photos.rows[pair["identity2"], pair["image2"]] for pair in pairs]
    same = np.array([pair["same"] == "1" for pair in pairs])
    folds = np.array([int(pair["fold"]) for pair in pairs])
    scores = pair_scores(vectors[left], vectors[right])
    return float(fold_accuracies(scores, same, folds).mean()), tar_at_far(scores, same, 1e-3)[0]


def identification(photos: Photos, vectors: Vectors) -> OpenSet:
    names, gallery = photos.members("gallery.csv")
    truth, known = photos.members("probes_known.csv")
    _, unknown = photos.members("probes_unknown.csv")
    mated = search(vectors[known], vectors[gallery], names)
    return evaluate(mated, truth, search(vectors[unknown], vectors[gallery], names), 0.01)


def test_every_labelled_face_is_found_where_it_is(photos: Photos, detections: list[list[Detection]]) -> None:
    for found, box in zip(detections, photos.boxes, strict=True):
        assert max((overlap(np.array(face.box), box) for face in found), default=0) > 0.35


def test_verification_from_loose_crops_is_as_published(photos: Photos, vectors: Vectors) -> None:
    accuracy, tar = verification(photos, vectors)
    print(f"end to end: accuracy {accuracy:.4f}, TAR@1e-3 {tar:.4f}")
    assert accuracy >= ACCURACY - TOLERANCE
    assert tar >= TAR - TOLERANCE


def test_identification_from_loose_crops_is_as_published(photos: Photos, vectors: Vectors) -> None:
    result = identification(photos, vectors)
    print(f"end to end: {result}")
    assert result.rank_1 >= RANK_1 - TOLERANCE
    assert result.dir >= DIR - TOLERANCE


def test_our_landmarks_serve_recognition_at_least_as_well_as_the_given_ones(
    photos: Photos, vectors: Vectors, given_vectors: Vectors
) -> None:
    given_accuracy, given_tar = verification(photos, given_vectors)
    given = identification(photos, given_vectors)
    print(f"given landmarks: accuracy {given_accuracy:.4f}, TAR@1e-3 {given_tar:.4f}, {given}")
    accuracy, tar = verification(photos, vectors)
    assert accuracy >= given_accuracy - TOLERANCE
    assert tar >= given_tar - TOLERANCE
    assert identification(photos, vectors).rank_1 >= given.rank_1 - TOLERANCE


def test_swapped_channels_and_shuffled_labels_are_noticed(
    photos: Photos, crops: list[Pixels], serving: Embedder, vectors: Vectors
) -> None:
    # Were these to pass, the numbers above would prove nothing. Skin is red: a swap costs little of the cosine, and so
    # little of the accuracy that it could go unnoticed for long.
    some = crops[:320]
    swapped = in_batches(serving, [np.ascontiguousarray(crop[:, :, ::-1]) for crop in some])
    assert (swapped * vectors[:320]).sum(axis=1).mean() < 0.97
    shuffled = vectors[np.random.default_rng(0).permutation(len(vectors))]
    assert verification(photos, shuffled)[0] < 0.60


def test_the_default_cutoff_keeps_strangers_out_of_a_gallery_it_never_saw(
    photos: Photos, vectors: Vectors, pack: Pack
) -> None:
    names, gallery = photos.members("gallery.csv")
    _, unknown = photos.members("probes_unknown.csv")
    truth, known = photos.members("probes_known.csv")
    strangers = search(vectors[unknown], vectors[gallery], names).scores > pack.default_cutoff
    mated = search(vectors[known], vectors[gallery], names)
    named = (mated.scores > pack.default_cutoff) & (mated.subjects == truth)
    print(f"at {pack.default_cutoff}: FPIR {strangers.mean():.4f}, DIR {named.mean():.4f}")
    # Chosen for 1 % on other people; 537 searches see such a rate as 0.3 % to 2.3 % (95 %, binomial).
    assert strangers.mean() < 0.023
    assert named.mean() > 0.93


def test_the_serving_form_agrees_with_float32_on_every_face(
    pack: Pack, crops: list[Pixels], vectors: Vectors, serving: Embedder
) -> None:
    reference = in_batches(TorchEmbedder(pack, "cpu", runtime="float32"), crops[::4])
    cosines = (reference * vectors[::4]).sum(axis=1)
    print(f"{serving.runtime}: cosine to float32 {cosines.min():.5f} at worst, {cosines.mean():.5f} on average")
    # Processors round differently; one face in a hundred may lie below, none far.
    assert np.quantile(cosines, 0.01) >= 0.999
    assert cosines.min() >= 0.998


def test_the_onnx_export_gives_the_vectors_of_the_state_dict(
    root: Path, pack: Pack, crops: list[Pixels], tmp_path: Path
) -> None:
    manifest = pack.manifest
    spec = replace(manifest.embedder, format="onnx", network=None, file="net.onnx")
    export = write_pack(
        tmp_path / "pack",
        replace(manifest, embedder=spec, detector=None),
        {"net.onnx": root / "weights" / "mobilefacenet_foamliu_b1.onnx"},
    )
    some = crops[::40]
    plain = in_batches(TorchEmbedder(pack, "cpu", runtime="float32"), some)
    assert (in_batches(open_embedder(export, "cpu"), some) * plain).sum(axis=1).min() > 0.9999
    assert export.model_id != pack.model_id


def test_golden_vectors_have_not_moved(pack: Pack) -> None:
    """Preprocessing, alignment and network together, against numbers written down once, on a drawn picture.

    A change here means that stored galleries no longer match: raise PIPELINE_VERSION with it.
    """
    rows, columns = np.mgrid[:150, :130].astype(np.float64)
    waves = [127 + 120 * np.sin(rows / 9 + k) * np.cos(columns / (7 + k)) for k in range(3)]
    turned = np.array(TEMPLATE) @ np.array([[0.97, -0.1], [0.1, 0.97]]) + [8, 20]
    crop = align(np.stack(waves, axis=-1).astype(np.uint8), turned)
    (vector,) = embed(TorchEmbedder(pack, "cpu", runtime="float32"), [crop])
    golden = [-0.0428, -0.134, 0.0251, -0.0869, 0.098, 0.2116, 0.0547, 0.0867, 0.0513, 0.1183, 0.0821, 0.0472]
    assert vector[:12] == pytest.approx(golden, abs=1e-3)
    assert pack.model_id == "7b1d5862717e38d2"


def test_people_in_photographs_are_found_and_told_apart(root: Path, detector: Detector, serving: Embedder) -> None:
    folder = root / "camera" / "real"

    def faces(file: Path) -> Iterator[tuple[Detection, Pixels]]:
        image = read(file)
        for face in detector.detect(image):
            yield face, align(image, face.landmarks)

    enrolled = {
        person.name: in_batches(serving, [next(faces(file))[1] for file in sorted(person.iterdir())])
        for person in sorted((folder / "enrol").iterdir())
    }
    found = list(faces(folder / "obama_and_biden.jpg"))
    areas = [face.box[2] * face.box[3] for face, _ in found]
    assert areas == sorted(areas, reverse=True)
    assert all(assess(crop, face).value > 0.3 for face, crop in found)
    vectors = in_batches(serving, [crop for _, crop in found])
    for templates in enrolled.values():
        best = np.sort((vectors @ templates.T).max(axis=1))[::-1]
        assert best[0] > 0.44 > best[1]
