"""Who would lose templates when a gallery moves to another model: pictures that are gone or show no face to it, and
templates that were imported as vectors and never had a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kith.catalogue import Catalogue

#: Why a template that never had a picture cannot move; `code: message`, as the reasons of pictures are.
NO_PICTURE = "no_picture: it was imported as a vector, and no picture is kept with it"

#: People named in one sentence.
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A subject with templates that cannot move. lost: how many; kept: how many can; why: code of the reason → how many
    of those lost."""

    subject_id: str
    subject: str
    lost: int
    kept: int
    why: Mapping[str, int]


def left_behind(catalogue: Catalogue, unable: Mapping[str, str]) -> list[LeftBehind]:
    """By name; unable: template id → reason."""
    found = []
    for subject in catalogue.subjects.values():
        reasons = [unable[each.template_id] for each in subject.templates if each.template_id in unable]
        if reasons:
            codes = Counter(reason.partition(":")[0] for reason in reasons)
            kept = len(subject.templates) - len(reasons)
            found.append(LeftBehind(subject.subject_id, subject.name, len(reasons), kept, dict(codes)))
    return sorted(found, key=lambda each: each.subject)


def told(gallery: str, found: Sequence[LeftBehind]) -> str:
    """In a sentence: how many templates of whom, why, and what can be done."""
    lost, people = sum(each.lost for each in found), len(found)
    why: Counter[str] = Counter()
    for each in found:
        why.update(each.why)
    reasons = ", ".join(f"{count:,} {code}" for code, count in sorted(why.items()))
    alone = [each.subject for each in found if not each.kept]
    ended = f"; {len(alone):,} of these people would have no template left: {_names(alone)}" if alone else ""
    return (
        f"{lost:,} templates of {people:,} people in gallery {gallery} cannot move to the other model ({reasons}): "
        f"{_names([each.subject for each in found])}{ended}. Enrol them from pictures (kith enrol NAME FILE… -g "
        f"{gallery}), or give --leave-behind, which removes these templates for good"
    )


def _names(people: Sequence[str]) -> str:
    more = len(people) - _MOST_NAMES
    return ", ".join(people[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
