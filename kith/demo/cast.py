"""Who plays in the demo: people to enrol, pictures to ask about, and one newcomer."""

import csv
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kith import folder
from kith.errors import Misconfigured, Rejected

#: The same people at every run; nobody was picked for the occasion.
_SEED = 1

#: From the shared faces: people known, and most probes of each kind. Enough to see rates, few enough for a minute.
_KNOWN, _MOST_KNOWN_PROBES, _MOST_STRANGERS = 40, 160, 160
#: Share of one's own subjects held out as strangers, where there are at least so many.
_STRANGERS, _STRANGERS_FROM = 0.2, 5
#: Pictures of the newcomer shown before and after.
_NEWCOMER_PROBES = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file. subject: who is on it in truth, None for a person the gallery does not know."""

    path: Path
    subject: str | None

    @property
    def label(self) -> str:
        """SUBJECT/IMAGE.jpg."""
        return f"{self.path.parent.name}/{self.path.name}"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody who is enrolled while everything runs."""

    name: str
    enrol: tuple[Picture, ...]
    probes: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """enrol: pictures of people to know. probes: of known people and of strangers, shuffled."""

    origin: str
    enrol: tuple[Picture, ...]
    probes: tuple[Picture, ...]
    newcomer: Newcomer | None

    @property
    def subjects(self) -> int:
        """How many people are known."""
        return len({picture.subject for picture in self.enrol})


def from_shared(faces: Path) -> Cast:
    """A sample of the open-set protocol of the shared faces (gallery.csv, probes_known.csv, probes_unknown.csv)."""
    gallery, probes = _by_identity(faces / "gallery.csv"), _by_identity(faces / "probes_known.csv")
    strangers = [
        (name, image) for name, images in _by_identity(faces / "probes_unknown.csv").items() for image in images
    ]
    chance = random.Random(_SEED)  # noqa: S311 (no secret)
    people = chance.sample(sorted(name for name in gallery if name in probes), _KNOWN + 1)
    *known, newcomer = people

    def picture(name: str, image: str, subject: str | None) -> Picture:
        return Picture(faces / "val" / name / f"{image}.jpg", subject)

    asked = [picture(name, image, name) for name in known for image in probes[name]]
    asked = chance.sample(asked, min(len(asked), _MOST_KNOWN_PROBES))
    asked += [
        picture(name, image, None) for name, image in chance.sample(strangers, min(len(strangers), _MOST_STRANGERS))
    ]
    chance.shuffle(asked)
    return Cast(
        origin=str(faces / "val"),
        enrol=tuple(picture(name, image, name) for name in known for image in gallery[name]),
        probes=tuple(asked),
        newcomer=Newcomer(
            newcomer,
            tuple(picture(newcomer, image, newcomer) for image in gallery[newcomer]),
            tuple(picture(newcomer, image, newcomer) for image in probes[newcomer][:_NEWCOMER_PROBES]),
        ),
    )


def from_folder(directory: Path) -> Cast:
    """One's own people, from SUBJECT/IMAGE.jpg: the first half of each is enrolled, the rest asked about; about a
    fifth of them are held out as strangers where there are at least five, and one of those becomes the newcomer.

    Raises Misconfigured when there is nothing to enrol and ask about.
    """
    people = _people(directory)
    chance = random.Random(_SEED)  # noqa: S311 (no secret)
    held_out = round(_STRANGERS * len(people)) if len(people) >= _STRANGERS_FROM else 0
    strangers = set(chance.sample(sorted(people), held_out))
    newcomer = _newcomer(people, sorted(strangers) or sorted(people)[1:])
    known = [name for name in people if name not in strangers and (newcomer is None or name != newcomer.name)]
    enrol: list[Picture] = []
    probes: list[Picture] = []
    for name in known:
        first, rest = _halves(people[name])
        enrol += [Picture(path, name) for path in first]
        probes += [Picture(path, name) for path in rest]
    probes += [Picture(path, None) for name in sorted(strangers) for path in people[name]]
    if not enrol or not probes:
        raise Misconfigured(
            f"{directory} has nothing to show: the demo needs folders SUBJECT/IMAGE.jpg, one subject at least with two "
            "images"
        )
    chance.shuffle(probes)
    return Cast(str(directory), tuple(enrol), tuple(probes), newcomer)


def _people(directory: Path) -> dict[str, list[Path]]:
    people: dict[str, list[Path]] = defaultdict(list)
    for image in folder.scan(directory, lambda _path, _fault: None):
        try:
            people[folder.subject_of(image.path)].append(directory / image.path)
        except Rejected:
            # A picture beside the folders has no name to go with it.
            continue
    return dict(sorted(people.items()))


def _newcomer(people: dict[str, list[Path]], candidates: Sequence[str]) -> Newcomer | None:
    name = next((name for name in candidates if len(people[name]) >= 2), None)
    if name is None:
        return None
    first, rest = _halves(people[name])
    probes = tuple(Picture(path, name) for path in rest[:_NEWCOMER_PROBES])
    return Newcomer(name, tuple(Picture(path, name) for path in first), probes)


def _halves(paths: Sequence[Path]) -> tuple[Sequence[Path], Sequence[Path]]:
    middle = max(1, len(paths) // 2)
    return paths[:middle], paths[middle:]


def _by_identity(file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            found[row["identity"]].append(row["image"])
    return found
