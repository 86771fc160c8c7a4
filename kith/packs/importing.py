"""Somebody's face model → a pack in `HOME/packs`.

Recognised as they are: a folder with a manifest, files known by their hash (kith.known_weights), InsightFace's format
(kith.packs.insightface), each also in a .zip; anything else by naming its conventions (kith.packs.conventions). The
pack is made aside, checked whole (kith.packs.verifying) and only then moved to its name.
"""

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from kith.checkpoints import load_pack, write_pack
from kith.errors import NameTaken, Rejected
from kith.packs.archives import extract
from kith.packs.catalogue import Entry
from kith.packs.conventions import Conventions
from kith.packs.detectors import find_detector
from kith.packs.listing import EVALUATION, MODEL_CARD
from kith.packs.recognising import Parts, recognise
from kith.packs.shipped import pack_name, packs_folder
from kith.packs.verifying import Verified, verify

#: What may stand beside the weights; copied as it is.
_DOCUMENTS = (MODEL_CARD, EVALUATION)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asks for. name: of the pack, None for the source's own. detector: a file, or the folder of a pack
    that lends its own; None for what is beside the weights. replace: an imported pack of this name."""

    said: Conventions = field(default_factory=Conventions)
    name: str | None = None
    detector: Path | None = None
    replace: bool = False


def import_pack(source: Path, home: Path, wish: Wish, entry: Entry | None = None) -> Verified:
    """Make a pack of `source` (a folder, a .zip, or a weights file) and verify it where it will stay.

    entry: the catalogue's, when the files are its downloads. Raises Rejected when something must be named first,
    NameTaken, InvalidName, and InvalidPack when the files are not what they would have to be.
    """
    source = source.expanduser()
    if not source.exists():
        raise Rejected(f"{source} does not exist")
    if wish.name is not None:
        check_free(wish.name, home, wish)
    packs = packs_folder(home)
    packs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=packs) as scratch:
        found = extract(source, Path(scratch) / "archive") if source.suffix.lower() == ".zip" else source
        parts = _with_wishes(recognise(found, source, wish.said, entry), wish)
        name = wish.name or parts.manifest.name
        check_free(name, home, wish)
        final = packs / name
        made = Path(scratch) / "pack"
        write_pack(made, replace(parts.manifest, name=name), parts.files)
        for document in _DOCUMENTS:
            if found.is_dir() and (found / document).is_file():
                shutil.copyfile(found / document, made / document)
        verified = verify(made, device="cpu")
        _move(made, final, Path(scratch))
    return replace(verified, pack=load_pack(final))


def _with_wishes(parts: Parts, wish: Wish) -> Parts:
    """`parts` with what the person said of them, and the detector they named."""
    manifest, said = parts.manifest, wish.said
    manifest = replace(
        manifest,
        embedder=said.apply(manifest.embedder),
        licence=said.licence or manifest.licence,
        source=said.source or manifest.source,
    )
    if said.cutoff is not None:
        note = said.cutoff_note or "named at the import, without a word on how it was found"
        manifest = replace(manifest, default_cutoff=said.cutoff, cutoff_note=note)
    if said.dimension is not None and said.dimension != manifest.embedder.dimension:
        real = manifest.embedder.dimension
        raise Rejected(f"--dimension says {said.dimension}, the network returns vectors of {real}; leave it out")
    if wish.detector is None:
        return Parts(manifest, parts.files)
    spec, data = find_detector(wish.detector)
    kept = {name: content for name, content in parts.files.items() if name == manifest.embedder.file}
    return Parts(replace(manifest, detector=spec), {**kept, spec.file: data})


def check_free(name: str, home: Path, wish: Wish) -> None:
    """Raises NameTaken when a pack of that name is in `home` and is not to be replaced, InvalidName."""
    final = packs_folder(home) / pack_name(name)
    if final.exists() and not wish.replace:
        raise NameTaken(
            f"{final.parent} has a pack called {name} already; give this one another name with --name, or add --replace"
        )


def _move(made: Path, final: Path, scratch: Path) -> None:
    """Put the finished pack in its place; at no moment is there half of one under its name."""
    if final.exists():
        final.replace(scratch / "replaced")
    made.replace(final)
