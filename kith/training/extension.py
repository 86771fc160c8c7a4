"""kith extend: a classifier grown by new classes and retrained, judged beside the embedding that needs no training.

Both answers to a growing list on the same pictures. The classifier is retrained each time the list grows; the embedding
is the same classifier with its head cut off, and a new class costs one vector per picture.
"""

import copy
import io
import json
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kith.checkpoints import load_pack
from kith.crops import CropReader
from kith.detector import open_detector
from kith.errors import Misconfigured, Rejected
from kith.manifest import EmbedderSpec
from kith.networks.classifiers import Classified, Loaded, class_names, load_classifier
from kith.networks.heads import Cut
from kith.networks.resized import CROP_PX, Resized
from kith.networks.weights import save_state
from kith.packs.conventions import Conventions, three
from kith.training.last_layers import Floats, Schedule, features_of, grow, retrain_all, retrain_last
from kith.training.objective import Normalise
from kith.training.progress import Progress
from kith.training.replay import Examples, read_examples

WEIGHTS, PROGRAM, CLASSES, FIGURES = "classifier.safetensors", "classifier.pt2", "classes.json", "extension.json"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to the grown list. old, new: share of the pictures held out of the old and of the new classes that are
    named rightly, among all classes; new is None for a classifier that has no names for them. seconds: what it cost
    after the features were there."""

    what: str
    old: float | None
    new: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Extension:
    """answers: what was tried, in order. judged: pictures held out of old and new classes. files: what was written."""

    names: tuple[str, ...]
    old: int
    answers: tuple[Answer, ...]
    judged: tuple[int, int]
    learned: int
    notes: tuple[str, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """classifier, weights: see kith.networks.classifiers. new, old: folders CLASS/IMAGE.jpg. names: file with the names
    of the old classes in the order of the outputs; None for the list beside the weights, else the folders of `old`,
    sorted. spec: how pixels become the network's input. input_size: its side, None for what it was recorded for."""

    classifier: str
    weights: Path | None
    new: Path
    old: Path
    spec: EmbedderSpec
    names: Path | None = None
    input_size: int | None = None


def extend(task: Task, reader: CropReader, out: Path, how: Schedule, progress: Progress) -> Extension:
    """Grow, retrain, judge, and write the grown classifier to `out`. Raises Rejected, InvalidPack, Diverged."""
    loaded = load_classifier(task.classifier, task.weights)
    cut = loaded.cut(input_size=task.input_size)
    if cut.head is None:
        raise Rejected(f"{task.classifier} has no classification layer to grow: it is an embedding network")
    out.mkdir(parents=True, exist_ok=True)
    examples = read_examples(
        task.old, task.new, _known(task, cut), reader, out / "crops", seed=how.seed, tell=progress.reading
    )
    for note in examples.notes:
        progress.note(note)
    torch.manual_seed(how.seed)
    size = task.input_size or loaded.input_size
    # Deterministic and on the CPU: what is learned here is small.
    bench = _Bench(cut, Resized(cut.network, size), examples, Normalise.of(task.spec, torch.device("cpu")), loaded)
    grown, answers = bench.run(how, progress)
    if (answers[0].old or 0) < 2 / examples.old:
        progress.note(
            f"the classifier names {answers[0].old or 0:.0%} of its own classes rightly: are its classes in the order "
            "of --names (or of the folders' names), and is the preprocessing its own?"
        )
    files = _write(out, grown, examples, answers, loaded, size)
    judged = len(examples.judged(new=False)), len(examples.judged(new=True))
    return Extension(examples.names, examples.old, answers, judged, len(examples.learn), examples.notes, files)


def preprocessing(channels: str | None, scale: float | None, mean: str | None, std: str | None) -> EmbedderSpec:
    """What was said of the classifier's input, with the manifest's defaults for the rest. Raises Rejected."""
    said = Conventions(
        channels=channels,
        scale=scale,
        mean=None if mean is None else three(mean, "--mean"),
        std=None if std is None else three(std, "--std"),
    )
    return said.apply(EmbedderSpec("onnx", 1))


def open_reader(pack: Path | None) -> CropReader:
    """Reads pictures as the service does with the detector of `pack`; None: they are aligned crops already.

    Raises InvalidPack, and Misconfigured for a pack without a detector.
    """
    detector = None if pack is None else open_detector(load_pack(pack))
    if pack is not None and detector is None:
        raise Misconfigured(f"{pack} has no face detector: it takes aligned crops (--aligned)")
    return CropReader(detector)


def plain(found: Extension) -> dict[str, Any]:
    """`found` for JSON."""
    return {
        "classes": list(found.names),
        "old_classes": found.old,
        "new_classes": len(found.names) - found.old,
        "learned_from": found.learned,
        "judged_by": {"old": found.judged[0], "new": found.judged[1]},
        "answers": [asdict(answer) for answer in found.answers],
        "notes": list(found.notes),
        "files": [str(file) for file in found.files],
    }


class _Bench:
    """The answers, one after the other, on the same features."""

    def __init__(self, cut: Cut, network: Resized, examples: Examples, normalise: Normalise, loaded: Loaded) -> None:
        assert cut.head is not None
        self._head, self._network, self._examples, self._normalise = cut.head, network, examples, normalise
        self._batch = 32 if isinstance(loaded.classifier, nn.Module) else loaded.batch

    def run(self, how: Schedule, progress: Progress) -> tuple[Classified, tuple[Answer, ...]]:
        examples, labels = self._examples, self._examples.labels
        learn, classes = examples.learn, len(examples.names)

        def tell(name: str, epoch: int, of: int, loss: float, rate: float) -> None:
            progress.step(name, epoch, of, {"loss": loss}, rate)

        features = self._features()
        answers = [self._judged("the classifier as it was", self._head, features, 0.0)]
        began_s = time.perf_counter()
        head = grow(self._head, features[learn], labels[learn], classes)
        answers.append(self._judged("grown, not retrained", head, features, time.perf_counter() - began_s))
        head = retrain_last(head, features, labels, learn, how, tell)
        answers.append(self._judged("last layer retrained", head, features, time.perf_counter() - began_s))
        began_embedding_s = time.perf_counter()
        nearest = self._nearest(features)
        embedding = Answer(
            "head cut off, nearest template, no training",
            *self._shares(nearest),
            time.perf_counter() - began_embedding_s,
        )
        if how.all_epochs:
            retrained = retrain_all(self._network, head, examples, self._normalise, how, tell)
            seconds = time.perf_counter() - began_s
            answers.append(self._judged("all layers retrained", retrained, self._features(), seconds))
            head = retrained
        network = copy.deepcopy(self._network.network)
        return Classified(network, head).eval(), (*answers, embedding)

    def _features(self) -> Floats:
        return features_of(self._network, self._examples.pixels, self._normalise, self._batch)

    def _judged(self, what: str, head: nn.Linear, features: Floats, seconds: float) -> Answer:
        with torch.no_grad():
            named = head(torch.from_numpy(features[self._examples.judge])).argmax(1).numpy()
        old, new = self._shares(named)
        return Answer(what, old, new if head.out_features > self._examples.old else None, seconds)

    def _nearest(self, features: Floats) -> NDArray[Any]:
        """The class of the nearest template, by cosine, for each picture held out; the others are the templates."""
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        scores = unit[self._examples.judge] @ unit[self._examples.learn].T
        nearest: NDArray[Any] = self._examples.labels[self._examples.learn][scores.argmax(axis=1)]
        return nearest

    def _shares(self, named: NDArray[Any]) -> tuple[float | None, float | None]:
        truth = self._examples.labels[self._examples.judge]
        is_new = truth >= self._examples.old
        return _share(named == truth, ~is_new), _share(named == truth, is_new)


def _share(right: NDArray[np.bool_], among: NDArray[np.bool_]) -> float | None:
    return float(right[among].mean()) if among.any() else None


def _known(task: Task, cut: Cut) -> list[str] | int:
    assert cut.classes is not None
    beside = None if task.weights is None else task.weights.with_name(CLASSES)
    file = task.names or (beside if beside is not None and beside.is_file() else None)
    if file is None:
        return cut.classes
    names = class_names(file)
    if len(names) != cut.classes:
        raise Rejected(f"{file} names {len(names)} classes, the classifier knows {cut.classes}")
    return names


def _write(
    out: Path, grown: Classified, examples: Examples, answers: tuple[Answer, ...], loaded: Loaded, size: int
) -> tuple[Path, ...]:
    texts = {
        CLASSES: list(examples.names),
        FIGURES: {"old_classes": examples.old, "answers": [asdict(answer) for answer in answers]},
    }
    files = [out / WEIGHTS]
    (out / WEIGHTS).write_bytes(save_state(grown))
    if loaded.builder is None:
        # Somebody's own code builds a network of the old number of classes: this file needs no code.
        files.append(out / PROGRAM)
        (out / PROGRAM).write_bytes(
            _program(grown, size, None if isinstance(loaded.classifier, nn.Module) else loaded.batch)
        )
    for name, value in texts.items():
        files.append(out / name)
        files[-1].write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    return tuple(files)


def _program(grown: Classified, size: int, batch: int | None) -> bytes:
    pixels = torch.zeros(batch or 2, 3, size or CROP_PX, size or CROP_PX)
    shapes = None if batch else ({0: torch.export.Dim.DYNAMIC},)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # torch talks to itself of what its own parts will be called in later versions.
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(grown, (pixels,), dynamic_shapes=shapes), buffer)
    return buffer.getvalue()
