"""A small face detector from a bigger one, without a single label.

Scenes are composed of faces cut from photographs (kith.training.scenes), the teacher says what it sees in them, and the
student learns to say the same: first, where both have the same shape, each unit by itself on what the teacher's units
before it made; then the network as a whole (kith.training.detector_trainer).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kith.checkpoints import load_pack
from kith.errors import Misconfigured
from kith.networks.face_detector import FaceDetector
from kith.training.cutouts import cut_faces, photographs
from kith.training.detector_config import DetectorConfig
from kith.training.detector_export import export_detector
from kith.training.detector_figures import compare, figures_of, look_at, shares
from kith.training.detector_teacher import DetectorTeacher
from kith.training.detector_trainer import DetectorTrainer
from kith.training.progress import Progress, Silent
from kith.yunet import YuNet

DETECTOR = "detector.onnx"
FIGURES = "detector.json"


@dataclass(frozen=True, slots=True)
class DistilledDetector:
    """file: the detector, ONNX. figures: beside its teacher on the photographs held out, as in detector.json; see
    kith.training.detector_figures."""

    file: Path
    figures: Mapping[str, float]


def distil_detector(
    config: DetectorConfig, out: Path, progress: Progress | None = None, *, resume: bool = False
) -> DistilledDetector:
    """Distil the detector of the pack `config.teacher`; writes `detector.onnx` and `detector.json` to the folder `out`.

    The detector is written anew after each epoch, so that a run may be ended early. resume: go on from the checkpoint
    in `out`. Raises Misconfigured for a teacher without a detector or another run's checkpoint, InvalidPack, Rejected
    for folders without faces, Diverged when the loss is no number any more.
    """
    told = progress or Silent()
    out.mkdir(parents=True, exist_ok=True)
    threads = config.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    pack = load_pack(config.teacher)
    spec = pack.manifest.detector
    if spec is None:
        raise Misconfigured(f"{config.teacher} has no detector to learn from; name a pack that has one")
    model, where = pack.read(spec), str(pack.path / spec.file)
    finder, teacher = YuNet(model, where=where), DetectorTeacher(model, where, threads)
    if not teacher.alike:
        told.note("the teacher has another shape: its outputs alone are learned from, which takes longer")
    learned, held_out = _pictures(config)
    cutouts = cut_faces(learned, finder, threads, lambda count: told.reading(count, len(learned)))
    reference = look_at(held_out, finder, threads, lambda count: told.reading(count, len(held_out)))
    told.note(f"{len(cutouts)} faces of {len(learned)} photographs to learn from, {len(held_out)} photographs held out")
    checked = reference.sample(config.checked)

    def check(network: FaceDetector) -> Mapping[str, float]:
        data = export_detector(network)
        _write(out / DETECTOR, data)
        return shares(compare(data, checked, threads))

    data = export_detector(DetectorTrainer(config, teacher, cutouts, out, told).run(resume, check))
    _write(out / DETECTOR, data)
    figures = figures_of(data, reference, threads)
    _write(out / FIGURES, json.dumps(figures, indent=2).encode())
    return DistilledDetector(out / DETECTOR, figures)


def _pictures(config: DetectorConfig) -> tuple[list[Path], list[Path]]:
    """Photographs to learn from, and others to compare on."""
    found = photographs(config.data, config.pictures, config.seed)
    if config.validation:
        return found, photographs(config.validation, config.pictures, config.seed)
    held = min(max(1, round(len(found) * config.held_out)), len(found) - 1)
    return found[held:], found[:held]


def _write(file: Path, data: bytes) -> None:
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_bytes(data)
    aside.replace(file)
