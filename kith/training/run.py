"""A whole training run: a configuration in, a model pack with its figures and its report out."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kith import wire
from kith.checkpoints import Pack, load_pack, write_pack
from kith.crops import CropReader
from kith.detector import Detector, detector_of
from kith.errors import Misconfigured
from kith.manifest import Manifest
from kith.packs.detectors import Lent
from kith.runtimes.pytorch import has_bfloat16
from kith.training.beginning import Beginning, begin
from kith.training.config import TrainConfig
from kith.training.distil import open_teacher
from kith.training.faces import Faces, read_faces, split
from kith.training.objective import Normalise
from kith.training.phases import Tools
from kith.training.progress import Progress
from kith.training.report import write_report
from kith.training.trainer import Trained, Trainer

#: The cosine a match needs where nobody was held out to measure one on: few networks let strangers that near.
_CAUTIOUS_CUTOFF = 0.6


@dataclass(frozen=True, slots=True)
class Outcome:
    """pack: the finished model. figures: of the people held out, empty without any. report: the page to look at."""

    pack: Pack
    figures: Mapping[str, float]
    report: Path


def run(
    config: TrainConfig, out: Path, progress: Progress, *, detector: Lent | None = None, resume: bool = False
) -> Outcome:
    """Train as `config` says; everything goes to the folder `out`: `pack/`, `report.html`, the checkpoint, the crops.

    detector: finds the faces, and goes into the new pack; needed for photographs, not for aligned crops. resume: go on
    from the checkpoint in `out`. Raises Misconfigured, Rejected, Diverged.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = _device(config.device)
    threads = config.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    torch.backends.cudnn.deterministic = True
    # First: what is wrong with it should show before an hour of pictures is read.
    beginning = begin(config)
    for note in beginning.notes:
        progress.note(note)
    faces, held_out = _people(config, out, detector, progress)
    tools = _tools(config, beginning, device, threads)
    trained = Trainer(config, tools, faces, held_out, out, progress).run(resume)
    figures = dict(trained.history[-1].validation or {}) if held_out is not None and trained.history else {}
    if trained.score is not None:
        best = max((each for each in trained.history if each.best), key=lambda each: each.epoch + 1000 * each.phase)
        figures = dict(best.validation or {})
    pack = _pack(config, out / "pack", beginning, trained, figures, detector, held_out)
    report = write_report(out / "report.html", config, faces, held_out, trained, pack)
    return Outcome(pack, figures, report)


def _people(config: TrainConfig, out: Path, detector: Lent | None, progress: Progress) -> tuple[Faces, Faces | None]:
    found: Detector | None = None
    if not config.data.aligned:
        found = None if detector is None else detector_of(*detector, where="the detector")
        if found is None:
            raise Misconfigured(
                "photographs need a detector to find the faces: name one, or a model pack that has one (--detector), "
                "or say --aligned when the pictures are 112×112 crops"
            )
    reader = CropReader(found)
    kind = "aligned" if found is None else "found"
    faces = read_faces(config.data.path, reader, out / f"crops-{kind}", progress.reading)
    for note in faces.notes:
        progress.note(note)
    if config.data.validation is None:
        return split(faces, config.data.validation_share, config.seed)
    held_out = read_faces(config.data.validation, reader, out / f"validation-{kind}", progress.reading)
    if both := sorted(set(faces.names) & set(held_out.names)):
        raise Misconfigured(
            f"{len(both)} subjects are in both {config.data.path} and {config.data.validation} "
            f"({', '.join(both[:3])}): figures on people the network has seen are worthless"
        )
    return faces, held_out


def _tools(config: TrainConfig, beginning: Beginning, device: torch.device, threads: int) -> Tools:
    network = beginning.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher = None if config.teacher is None else open_teacher(load_pack(config.teacher), device, threads)
    return Tools(
        network=network,
        dimension=beginning.spec.dimension,
        normalise=Normalise.of(beginning.spec, device),
        device=device,
        amp=config.amp and _gains_from_bfloat16(device),
        teacher=teacher[0] if teacher else None,
        teacher_stages=teacher[1] if teacher else None,
    )


def _pack(
    config: TrainConfig,
    folder: Path,
    beginning: Beginning,
    trained: Trained,
    figures: Mapping[str, float],
    detector: Lent | None,
    held_out: Faces | None,
) -> Pack:
    cutoff = figures.get("cutoff")
    note = "chosen, not measured: nobody was held out; run kith calibrate"
    if cutoff is not None and held_out is not None:
        note = (
            f"FPIR {config.validation.fpir * 100:g} % on {len(held_out.names)} people held out, half of them enrolled; "
            "calibrate on your own searches"
        )
    manifest = Manifest(
        name=config.name,
        licence=config.licence,
        source=config.source,
        embedder=beginning.spec,
        default_cutoff=round(cutoff, 3) if cutoff is not None else _CAUTIOUS_CUTOFF,
        cutoff_note=note,
        detector=None if detector is None else detector[0],
    )
    files: dict[str, bytes | Path] = {str(beginning.spec.file): beginning.file(trained.network)}
    if detector is not None:
        files[detector[0].file] = detector[1]
    pack = write_pack(folder, manifest, files)
    evaluation = {
        "model_id": pack.model_id,
        "held_out": None if held_out is None else {"subjects": len(held_out.names), "pictures": len(held_out.labels)},
        "fpir": config.validation.fpir,
        "figures": dict(figures),
        "epochs": [wire.to_dict(epoch) for epoch in trained.history],
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n")
    return pack


def _device(wanted: str) -> torch.device:
    cuda = torch.cuda.is_available()
    if wanted == "cuda" and not cuda:
        raise Misconfigured("device is cuda, but torch finds no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if cuda and wanted != "cpu" else "cpu")


def _gains_from_bfloat16(device: torch.device) -> bool:
    return torch.cuda.is_bf16_supported() if device.type == "cuda" else has_bfloat16()
