"""A trained classifier → a model pack: its head cut off, the rest in a form that serves.

Our own networks go into the pack as their weights; anything else is exported to ONNX, and the export is compared with
the network it came from before the pack is written.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from kith.checkpoints import MANIFEST, Pack, write_pack
from kith.embedder import open_embedder
from kith.errors import NameTaken, Rejected
from kith.manifest import EmbedderSpec, Manifest
from kith.networks.classifiers import Loaded, load_classifier
from kith.networks.heads import Cut, project
from kith.networks.weights import save_state
from kith.packs.conventions import CUTOFF, CUTOFF_NOTE, Conventions, check_named
from kith.packs.detectors import find_detector
from kith.runtimes.export import export_onnx, parity


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a classifier becomes a pack.

    said: preprocessing, terms and cutoff; `dimension` asks for a fresh projection to it. layer: whose output is the
    embedding, None for what goes into the classification layer. input_size: side of the classifier's input, pixels,
    None for what it was recorded for, else 112; crops are 112×112 and are resized inside the exported network.
    detector: a file, or the folder of a pack that lends its own. name: of the pack.
    """

    said: Conventions
    layer: str | None = None
    input_size: int | None = None
    detector: Path | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """pack: as written. layer: that was cut off or whose output is the embedding, "" where there was nothing to cut.
    classes: that the classifier knew. projected: whether a fresh projection ends it. difference: largest, of any value
    of a unit vector, between torch and the exported file; None where nothing was exported. batch: the only batch size
    the network takes, None for any."""

    pack: Pack
    layer: str
    classes: int | None
    projected: bool
    difference: float | None
    batch: int | None


def pack_classifier(source: str, weights: Path | None, out: Path, recipe: Recipe) -> Made:
    """Write the pack of the classifier that `source` names (see kith.networks.classifiers) to the folder `out`.

    Raises Rejected when something has to be named first or cannot be exported, InvalidPack when weights or detector are
    not what they would have to be, NameTaken when there is a pack in `out`.
    """
    if (out / MANIFEST).exists():
        raise NameTaken(f"{out} holds a pack already; name another folder with --out")
    said = recipe.said
    if not source.startswith("kith:"):
        check_named(said, source)
    detector = None if recipe.detector is None else find_detector(recipe.detector)
    loaded = load_classifier(source, weights)
    cut = loaded.cut(recipe.layer, recipe.input_size)
    projected = said.dimension is not None and said.dimension != cut.dimension
    if projected and said.dimension is not None:
        cut = project(cut, said.dimension)
    ours = loaded.builder is not None and recipe.layer is None and not projected
    if ours and loaded.builder is not None:
        spec = EmbedderSpec("safetensors", cut.dimension, "embedder.safetensors", network=loaded.builder)
        data, difference, batch = save_state(cut.network), None, None
    else:
        spec = EmbedderSpec("onnx", cut.dimension, "embedder.onnx")
        data, difference, batch = _exported(cut, loaded, recipe.input_size or loaded.input_size)
    files: dict[str, bytes | Path] = {str(spec.file): data}
    if detector is not None:
        files[detector[0].file] = detector[1]
    manifest = Manifest(
        name=recipe.name or out.name,
        licence=said.licence or "the terms of the pictures it was trained on",
        source=said.source or f"made with kith pack from {source}",
        # write_pack fills in the hashes.
        embedder=replace(said.apply(spec), sha256="0" * 64),
        default_cutoff=CUTOFF if said.cutoff is None else said.cutoff,
        cutoff_note=said.cutoff_note
        or (CUTOFF_NOTE if said.cutoff is None else "named, without a word on how it was found"),
        detector=None if detector is None else detector[0],
    )
    pack = write_pack(out, manifest, files)
    open_embedder(pack, device="cpu")
    return Made(pack, cut.layer, cut.classes, projected, difference, batch)


def _exported(cut: Cut, loaded: Loaded, input_size: int) -> tuple[bytes, float, int | None]:
    """The ONNX file, its difference from the network, and the only batch size it takes."""
    refused: Rejected | None = None
    for batch in (None, loaded.batch):
        try:
            data = export_onnx(cut.network, input_size, batch)
            return data, parity(cut.network, data, input_size, batch), batch
        except Rejected as why:
            # A network recorded for one batch size says so by refusing every other.
            refused = refused or why
    assert refused is not None
    raise refused
