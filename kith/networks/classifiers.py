"""Classifiers by name: from Python code, from files that hold whole networks, and our own.

    package.module:callable     what the call returns, or the module it names; weights may come from a file
    network.pt                  TorchScript
    network.pt2                 an ExportedProgram of torch.export
    kith:NAME[:CLASSES]         a network of kith.networks with a classification layer; needs weights

What is trusted: Python code named by an import path is run, that is what naming it asks for. A TorchScript file and an
ExportedProgram are programs too, if poorer ones (torch itself warns against those of strangers): load what you would
run.
Weights are not: they are read as tensors or refused.
"""

import importlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kith.errors import InvalidPack, Rejected
from kith.networks import BUILDERS, build
from kith.networks.adopt import dimension_of
from kith.networks.heads import AnyClassifier, Cut, cut_head, sample_for
from kith.networks.layers import default_sample
from kith.networks.weights import load_into, read_state

OURS = "kith:"


class Classified(nn.Module):
    """A network with a classification layer behind it: (n, 3, height, width) to (n, classes) logits."""

    def __init__(self, network: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.network = network
        self.head = head

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.network(pixels))
        return logits


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A classifier with its weights, in eval mode. source: how it was named. builder: of our own networks, its name.
    embeds: it has no classification layer, it is an embedding network already (our own only)."""

    classifier: AnyClassifier
    source: str
    builder: str | None = None
    embeds: bool = False

    @property
    def batch(self) -> int:
        """The batch size it was recorded for; 2 where that is not known."""
        return sample_for(self.classifier).shape[0]

    @property
    def input_size(self) -> int:
        """The side of the input it was recorded for, pixels; 112 where that is not known."""
        return sample_for(self.classifier).shape[-1]

    def cut(self, layer: str | None = None, input_size: int | None = None) -> Cut:
        """Its embedding network; see `cut_head`. input_size: side of its input in pixels, None for its own."""
        sample = None if input_size is None else default_sample(input_size, self.batch)
        if layer is None and self.builder is not None:
            if self.embeds and isinstance(self.classifier, nn.Module):
                with torch.no_grad():
                    dimension = self.classifier(default_sample(batch=1)).shape[1]
                return Cut(self.classifier, "", dimension, None)
            if isinstance(self.classifier, Classified):
                # Exactly our own network, so that its weights go into a pack under its name.
                head = self.classifier.head
                return Cut(self.classifier.network, "head", head.in_features, head.out_features, head)
        return cut_head(self.classifier, layer, sample)


def load_classifier(source: str, weights: Path | None = None) -> Loaded:
    """The classifier that `source` names, in eval mode, with `weights` loaded into it.

    weights: safetensors or a state dict saved by torch. Raises Rejected when the source names nothing that can be used,
    InvalidPack when the weights hold code or do not fit.
    """
    if source.startswith(OURS):
        return _ours(source, weights)
    if Path(source).expanduser().is_file():
        if weights is not None:
            raise Rejected(f"{source} holds its weights itself: leave out --weights")
        return Loaded(_from_file(Path(source).expanduser()), source)
    name, colon, attribute = source.partition(":")
    if not colon or not name or not attribute:
        raise Rejected(
            f"{source} is neither a file nor package.module:callable nor {OURS}NAME with NAME one of "
            f"{', '.join(sorted(BUILDERS))}"
        )
    network = _from_code(name, attribute)
    if weights is not None:
        load_into(network, read_state(_bytes(weights), str(weights)), str(weights), source)
    return Loaded(network.eval(), source)


def class_names(file: Path) -> list[str]:
    """The names of a classifier's classes, in the order of its outputs, from a JSON list. Raises Rejected."""
    try:
        names = json.loads(file.read_text())
    except (OSError, ValueError) as fault:
        raise Rejected(f"{file} cannot be read as JSON: {fault}") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise Rejected(f"{file} is not a list of class names")
    if len(set(names)) < len(names):
        raise Rejected(f"{file} names a class twice: {next(name for name in names if names.count(name) > 1)}")
    return names


def _ours(source: str, weights: Path | None) -> Loaded:
    name, _, classes = source.removeprefix(OURS).partition(":")
    if classes and not (classes.isascii() and classes.isdigit()):
        raise Rejected(f"{source}: {classes!r} is no number of classes")
    if weights is None:
        raise Rejected(f"{source} needs weights: name them with --weights FILE")
    if name not in BUILDERS:
        raise Rejected(f"no network is called {name!r}; known: {', '.join(sorted(BUILDERS))}")
    state = read_state(_bytes(weights), str(weights))
    head = state.get("head.weight")
    if head is not None and head.ndim == 2:
        if classes and int(classes) != len(head):
            raise InvalidPack(f"{weights} knows {len(head)} classes, {source} says {classes}")
        linear = nn.Linear(head.shape[1], head.shape[0], bias="head.bias" in state)
        network: nn.Module = Classified(build(name, head.shape[1]), linear)
        return Loaded(load_into(network, state, str(weights), source), source, name)
    if classes:
        raise InvalidPack(f"{weights} has no classification layer (head.weight), {source} says {classes} classes")
    network = build(name, dimension_of(state, name))
    return Loaded(load_into(network, state, str(weights), name), source, name, embeds=True)


def _from_code(name: str, attribute: str) -> nn.Module:
    with _current_folder():
        try:
            found: Any = importlib.import_module(name)
            for part in attribute.split("."):
                found = getattr(found, part)
            made = found if isinstance(found, nn.Module) else found()
        except Exception as failed:  # somebody else's code: whatever it raises, it is no bug of ours
            raise Rejected(f"{name}:{attribute} cannot be used: {type(failed).__name__}: {failed}") from failed
    if not isinstance(made, nn.Module):
        raise Rejected(f"{name}:{attribute} gives a {type(made).__name__}, a torch.nn.Module is needed")
    return made


@contextmanager
def _current_folder() -> Iterator[None]:
    """A module beside the user is found, as by `python`; a console script has only its own folder."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _from_file(file: Path) -> AnyClassifier:
    data = _bytes(file)
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except zipfile.BadZipFile:
        names = []
    inside = {name.partition("/")[2] for name in names}
    try:
        if "archive_format" in inside:
            _refuse_pickles(data, file)
            return torch.export.load(io.BytesIO(data))
        if "constants.pkl" in inside and any(name.startswith("code/") for name in inside):
            return torch.jit.load(io.BytesIO(data), map_location="cpu").eval()  # type: ignore[no-any-return, no-untyped-call]
    except (RuntimeError, ValueError, KeyError, AssertionError) as broken:
        raise Rejected(f"{file} cannot be loaded: {str(broken).splitlines()[0] if str(broken) else broken!r}") from None
    if "data.pkl" in inside or not names:
        raise Rejected(
            f"{file} holds no network that can be loaded without running code of its own: files of torch.jit.save and "
            "torch.export.save do; for a state dict name the network, and the file with --weights"
        )
    raise Rejected(f"{file} is neither TorchScript nor an ExportedProgram")


def _refuse_pickles(data: bytes, file: Path) -> None:
    """An ExportedProgram keeps tensors as bytes and says so; torch would unpickle whatever says it is a pickle."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    for name in archive.namelist():
        inside = name.partition("/")[2]
        folder, base = os.path.split(inside)
        if inside.endswith("_config.json") and folder in ("data/weights", "data/constants"):
            parts = json.loads(archive.read(name)).get("config", {}).values()
            bad = any(part.get("use_pickle") or "obj" in str(part.get("path_name")) for part in parts)
        elif folder == "data/sample_inputs":
            bad = not _only_tensors(archive.read(name))
        else:
            bad = folder in ("data/weights", "data/constants") and base.endswith(".pt")
        if bad:
            raise InvalidPack(f"{file}: {inside} holds pickled objects; files that hold code are refused")


def _only_tensors(data: bytes) -> bool:
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception:  # noqa: BLE001 - whatever it is, it is not plain tensors
        return not data
    return True


def _bytes(file: Path) -> bytes:
    try:
        return file.expanduser().read_bytes()
    except OSError as fault:
        raise Rejected(f"{file} cannot be read: {fault.strerror or fault}") from None
