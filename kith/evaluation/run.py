"""One whole evaluation: a pack, a plan, and every figure that the pictures can show."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from kith.checkpoints import Pack
from kith.crops import CropReader, Labelled
from kith.embedder import Embedder
from kith.evaluation.bootstrap import Estimate, Refused
from kith.evaluation.confusions import Confusion, hardest
from kith.evaluation.embedding import Embedded, embed_images
from kith.evaluation.identification import Identification, Scored, identify, score
from kith.evaluation.pairs import MOST_COMPARISONS, Pairs, Verification, all_comparisons, draw_pairs, verify
from kith.evaluation.plan import Plan
from kith.evaluation.split import Split, split_identities


@dataclass(frozen=True, slots=True)
class Compared:
    """Verification over one set of pairs. title: for people; origin: where the pairs come from."""

    title: str
    origin: str
    found: Verification | Refused


@dataclass(frozen=True, slots=True, eq=False)
class Identified:
    """Identification. origin: who decided who is enrolled; scored, split: for plots."""

    origin: str
    found: Identification | Refused
    scored: Scored | None = None
    split: Split | None = None
    confusions: tuple[Confusion, ...] = ()

    @property
    def cutoff(self) -> float | None:
        """Of the whole gallery at the highest FPIR asked for, None where that was refused."""
        if isinstance(self.found, Refused):
            return None
        cutoff = self.found.sizes[-1].at[0].cutoff
        return cutoff.value if isinstance(cutoff, Estimate) else None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Everything found. seconds: for reading, finding, aligning and embedding; templates: most per subject, where the
    evaluation itself decided who is enrolled."""

    pack: Pack
    runtime: str
    plan: Plan
    seed: int
    embedded: Embedded
    seconds: float
    verification: tuple[Compared, ...]
    identification: Identified | None

    @property
    def skipped(self) -> dict[str, str]:
        """label → why, of every picture named or present that is in no figure."""
        return {**self.plan.skipped, **self.embedded.skipped}


def run(
    pack: Pack,
    embedder: Embedder,
    reader: CropReader,
    plan: Plan,
    *,
    templates: int = 2,
    seed: int = 0,
    comparisons: int = MOST_COMPARISONS,
    tell: Callable[[int], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Embed the pictures of `plan` and find every figure; the same for the same seed and machine.

    templates: enrolled per subject, where no list says. comparisons: most of every picture with every other one; more
    take longer. tell: how many pictures are done; say: which step begins. Raises Rejected when no picture can be used.
    """
    began_s = time.perf_counter()
    embedded = embed_images(embedder, reader, plan.images, tell)
    took_s = time.perf_counter() - began_s
    say("comparing pairs")
    verification = _verification(embedded, plan, comparisons, seed)
    identified = None
    if plan.identify:
        say("searching galleries")
        identified = _identification(embedded, plan, pack.default_cutoff, templates, seed)
    return Evaluation(pack, embedder.runtime, plan, seed, embedded, took_s, verification, identified)


def _verification(embedded: Embedded, plan: Plan, comparisons: int, seed: int) -> tuple[Compared, ...]:
    labels = embedded.subjects
    if plan.pairs is None:
        origin = "drawn, in folds of different people"
        pairs = draw_pairs(labels, np.random.default_rng([seed, 0]))
    else:
        origin = plan.pairs.file.name
        pairs = _listed_pairs(embedded, plan)
    compared = [Compared("Pairs", origin, _verified(embedded, pairs, np.random.default_rng([seed, 1])))]
    if plan.identify:
        # With lists of pairs alone, nobody asked about other pairs than theirs.
        all_pairs = all_comparisons(labels, np.random.default_rng([seed, 2]), comparisons)
        found = _verified(embedded, all_pairs, np.random.default_rng([seed, 3]))
        compared.append(
            Compared("All comparisons", f"pictures with all others, up to {comparisons:,} of each kind drawn", found)
        )
    return tuple(compared)


def _verified(embedded: Embedded, pairs: Pairs, random: np.random.Generator) -> Verification | Refused:
    try:
        return verify(embedded.vectors, embedded.subjects, pairs, random)
    except ValueError as why:
        return Refused(str(why))


def _listed_pairs(embedded: Embedded, plan: Plan) -> Pairs:
    """The listed pairs of which both pictures have a vector."""
    assert plan.pairs is not None
    row_of = {image: row for row, image in enumerate(embedded.images)}
    kept = [
        (row_of[left], row_of[right], same, fold)
        for left, right, same, fold in zip(
            plan.pairs.left, plan.pairs.right, plan.pairs.same, plan.pairs.folds, strict=True
        )
        if left in row_of and right in row_of
    ]
    rows = np.array([pair[:2] for pair in kept], np.intp).reshape(-1, 2)
    folds = np.unique([pair[3] for pair in kept], return_inverse=True)[1]
    return Pairs(rows[:, 0], rows[:, 1], np.array([pair[2] for pair in kept], bool), folds.astype(np.intp))


def _identification(embedded: Embedded, plan: Plan, in_use: float, templates: int, seed: int) -> Identified:
    labels = embedded.subjects
    if plan.probes is None:
        origin = f"half of the people enrolled with up to {templates} pictures, the others strangers"
        split = split_identities(labels, np.random.default_rng([seed, 4]), templates)
    else:
        origin = ", ".join(file.name for file in plan.probes.files)
        split = _listed_split(embedded, plan)
    if reason := _cannot(embedded, split):
        return Identified(origin, Refused(reason))
    vectors = embedded.vectors
    scored = score(
        vectors[split.gallery],
        labels[split.gallery],
        vectors[split.mated],
        labels[split.mated],
        vectors[split.non_mated],
        labels[split.non_mated],
    )
    found = identify(scored, in_use, np.random.default_rng([seed, 5]))
    made = Identified(origin, found, scored, split)
    cutoff = in_use if made.cutoff is None else made.cutoff
    return Identified(origin, found, scored, split, hardest(scored, embedded, split, cutoff))


def _listed_split(embedded: Embedded, plan: Plan) -> Split:
    """The rows the lists name; a mated probe whose subject has lost all templates is nobody's probe any more."""
    assert plan.probes is not None
    row_of = {image: row for row, image in enumerate(embedded.images)}

    def rows(images: Iterable[Labelled]) -> list[int]:
        return [row_of[image] for image in images if image in row_of]

    gallery = rows(plan.probes.gallery)
    enrolled = {embedded.images[row].subject for row in gallery}
    mated = [row for row in rows(plan.probes.mated) if embedded.images[row].subject in enrolled]
    return Split(*(np.array(part, np.intp) for part in (gallery, mated, rows(plan.probes.non_mated))))


def _cannot(embedded: Embedded, split: Split) -> str:
    people = len(set(embedded.subjects.tolist()))
    if people < 2:
        return f"{people} person only: there is nobody to be told apart from"
    if not len(split.gallery) or not len(split.mated):
        return "every person has a single picture: somebody known can be enrolled or asked about, not both"
    if not len(split.non_mated):
        return "there are no strangers: how often one is given a name cannot be seen"
    return ""
