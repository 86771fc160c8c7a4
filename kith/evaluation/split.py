"""Who is enrolled and who is a stranger, where the data does not say: a split of identities, repeatable by its seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Labels = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows of a set of pictures. gallery: templates, mated: other pictures of the enrolled, non_mated: of strangers."""

    gallery: Rows
    mated: Rows
    non_mated: Rows


def split_identities(labels: Labels, random: np.random.Generator, templates: int = 2) -> Split:
    """Half of the identities enrolled with up to `templates` pictures, the rest of their pictures mated probes; the
    other half are strangers. labels: (n,) the identity of each picture.

    An enrolled identity keeps at least one picture as a probe, so whoever has a single one is a stranger; where fewer
    than half have two, all of those are enrolled. One stranger is always left.
    """
    if templates < 1:
        raise ValueError(f"a subject is enrolled with at least one template, not {templates}")
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    # Pictures in random order, grouped by identity: the first ones of each group are its templates.
    order = random.permutation(len(labels))
    order = order[np.argsort(codes[order], kind="stable")]
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    can_be_asked = np.flatnonzero(counts >= 2)
    half = min(len(names) // 2, len(can_be_asked))
    enrolled = np.zeros(len(names), bool)
    enrolled[random.permutation(can_be_asked)[:half]] = True
    owner = codes[order]
    is_template = enrolled[owner] & (place < np.minimum(templates, counts[owner] - 1))
    return Split(
        gallery=np.sort(order[is_template]),
        mated=np.sort(order[enrolled[owner] & ~is_template]),
        non_mated=np.sort(order[~enrolled[owner]]),
    )
