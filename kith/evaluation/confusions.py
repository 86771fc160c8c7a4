"""The hardest confusions of a gallery: strangers and others who are given a wrong name, people known who are missed."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kith.crops import Labelled
from kith.evaluation.embedding import Embedded
from kith.evaluation.identification import Scored
from kith.evaluation.split import Split

#: Of each kind.
_MOST = 12


@dataclass(frozen=True, slots=True)
class Confusion:
    """probe was compared with template, the nearest one of its subject; score: their cosine.

    wrong_accept: template is of somebody else, and the score reaches the cutoff. miss: template is of the probe's own
    subject, who is not named.
    """

    kind: Literal["wrong_accept", "miss"]
    probe: Labelled
    template: Labelled
    score: float


def hardest(
    scored: Scored, embedded: Embedded, split: Split, cutoff: float, most: int = _MOST
) -> tuple[Confusion, ...]:
    """Up to `most` wrong accepts, highest score first, then up to `most` misses, lowest first; one of each person.

    scored: made of the rows of `embedded` that `split` names, in its order. cutoff: a cosine.
    """
    mated_nearest = scored.mated.argmax(axis=1)
    wrong = mated_nearest != scored.truth
    probes = np.concatenate([split.non_mated, split.mated[wrong]])
    columns = np.concatenate([scored.non_mated.argmax(axis=1), mated_nearest[wrong]])
    scores = np.concatenate([scored.non_mated.max(axis=1), scored.mated.max(axis=1)[wrong]])
    accepts = [row for row in np.argsort(-scores, kind="stable") if scores[row] >= cutoff]
    own = scored.mated[np.arange(len(scored.truth)), scored.truth]
    missed = [row for row in np.argsort(own, kind="stable") if wrong[row] or own[row] < cutoff]
    return (
        *_first(embedded, split, scored, [(probes[row], columns[row]) for row in accepts], "wrong_accept", most),
        *_first(embedded, split, scored, [(split.mated[row], scored.truth[row]) for row in missed], "miss", most),
    )


def _first(
    embedded: Embedded,
    split: Split,
    scored: Scored,
    found: list[tuple[int, int]],
    kind: Literal["wrong_accept", "miss"],
    most: int,
) -> list[Confusion]:
    """The first `most` (row of the probe, column of the subject) of `found`, one of each person asked about."""
    names = embedded.subjects[split.gallery]
    chosen: dict[str, Confusion] = {}
    for row, column in found:
        probe = embedded.images[row]
        if len(chosen) == most or probe.subject in chosen:
            continue
        templates = split.gallery[names == scored.subjects[column]]
        cosines = embedded.vectors[templates] @ embedded.vectors[row]
        best = int(cosines.argmax())
        chosen[probe.subject] = Confusion(kind, probe, embedded.images[templates[best]], float(cosines[best]))
    return list(chosen.values())
