"""Who plays in the demo of cameras: three people who are known, and a stranger."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kith.detector import Detector
from kith.errors import Misconfigured
from producers.rehearsal.album import from_folder, from_manifest
from producers.rehearsal.scene import Portrait

#: The same people at every run; nobody was picked for the occasion.
_SEED = 1

_PEOPLE, _PICTURES, _ENROLLED = 4, 4, 2
#: Synthetic people where there are no others, and pictures of each; a few more than are needed, for one that turns
#: away too far to be drawn.
_SUBJECTS, _IMAGES = 6, 8


@dataclass(frozen=True)
class Player:
    """photos: what cameras see of them, none of which is enrolled."""

    name: str
    enrol: tuple[Portrait, ...]
    photos: tuple[Portrait, ...]


@dataclass(frozen=True)
class Cast:
    """known: enrolled. origin: where the pictures are from, for people."""

    origin: str
    known: tuple[Player, ...]
    stranger: Player


def own(directory: Path, detector: Detector) -> Cast:
    """The first people of SUBJECT/IMAGE.jpg whose pictures do. Raises Misconfigured where too few do."""
    found = from_folder(directory, detector, _PEOPLE, _PICTURES)
    if len(found) < _PEOPLE:
        raise Misconfigured(
            f"{directory} has {len(found)} people to show: the demo of cameras needs {_PEOPLE}, in folders "
            f"SUBJECT/IMAGE.jpg with {_PICTURES} pictures each that show one whole face of 40 pixels or more"
        )
    return _cast(str(directory), list(found), found)


def shared(faces: Path) -> Cast:
    """Of the shared faces, drawn by lot. Raises OSError."""
    found = from_manifest(faces, at_least=_PICTURES)
    names = random.Random(_SEED).sample(sorted(found), _PEOPLE)  # noqa: S311 (no secret)
    return _cast(str(faces / "val"), names, found)


def synthetic(directory: Path, detector: Detector) -> Cast:
    """People nobody has to be asked about, made for this performance in `directory`."""
    from kith.synthetic.album import write  # noqa: PLC0415 (a second to load, for those who have no pictures)
    from kith.synthetic.model import load  # noqa: PLC0415
    from kith.synthetic.people import People  # noqa: PLC0415

    write(People(load()), directory, _SUBJECTS, _IMAGES)
    cast = own(directory, detector)
    origin = "synthetic people: nobody is shown (your own: make demo-camera FACES=DIR)"
    return Cast(origin, cast.known, cast.stranger)


def _cast(origin: str, names: Sequence[str], found: Mapping[str, Sequence[Portrait]]) -> Cast:
    known = [Player(name, tuple(found[name][:_ENROLLED]), tuple(found[name][_ENROLLED:])) for name in names[:-1]]
    return Cast(origin, tuple(known), Player(names[-1], (), tuple(found[names[-1]])))
