"""People who do not exist: an identity each, and as many pictures of it as one likes.

Drawn from the linear model of `kith.synthetic.model`. A sampler may be kinder than nature: people differ
more than the model's own do, and their pictures less, because averages of photographs look alike to a network; and each
new person is chosen, of several candidates, as the one least like all before (Mitchell, "Spectrally optimal sampling
for distribution ray tracing", 1991). What `variation` 1 means was set so that recognition is possible and not trivial.

Every picture depends on (seed, person, picture) alone, with numpy's PCG64 and arithmetic in float64, rounded
at the end: the same everywhere but for a rounding on the edge.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kith.synthetic.model import CROP_AT, CROP_PX, FACE_HALF, Model, paint
from kith.synthetic.photograph import developed, framed, grained

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

#: How far people differ, _AMPLIFIED · varianceᶠ with f = _FLATTENED: more than the model's own, whose spread would be
#: variance ½, and more evenly, so that there is room for many. What surrounds the face is as the model has it.
_AMPLIFIED, _FLATTENED = 1.4, 0.35
#: How much less their pictures differ at `variation` 1 than the model's own.
_CALMED = 0.33

#: Nobody and nothing is further from the average than this, in standard deviations before amplification: the
#: model knows little about its own tails, and shows it.
_MOST_UNUSUAL = 2.0

#: Candidates for each place, of which the least familiar is taken, compared with so many who came before.
_CANDIDATES = 64
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """identity: (k,) the symmetric coordinates that all pictures of this person share."""

    identity: Floats


class People:
    """An endless row of people. seed: other seeds, other people. variation: how much pictures of one person differ, 0
    for the same pose, light and mood in all of them."""

    def __init__(self, model: Model, seed: int = 0, variation: float = 1.0) -> None:
        self._model = model
        self.seed = seed
        self.variation = variation
        between = model.between.astype(np.float64)
        of_the_face = model.symmetric[:, :FACE_HALF].any(axis=1)
        self._spread = np.where(of_the_face, _AMPLIFIED * between**_FLATTENED, np.sqrt(between))
        self._people: list[Floats] = []
        self._looks: list[Floats] = []

    def person(self, number: int) -> Person:
        """Person `number`, from 0. Those before come first: who is next depends on who is there."""
        while len(self._people) <= number:
            self._newcomer()
        return Person(self._people[number])

    def picture(self, number: int, shot: int, aligned: bool = False) -> Pixels:
        """Picture `shot`, from 0, of person `number`: (240, 200, 3) uint8 RGB, or aligned the (112, 112, 3) crop."""
        identity = self.person(number).identity
        rng = np.random.default_rng([self.seed, 1, number, shot])
        calm = _CALMED * self.variation
        symmetric = identity + calm * _drawn(rng, len(self._model.scale))
        mirrored = calm * _drawn(rng, len(self._model.mirrored_scale))
        portrait = developed(paint(*self._model.vectors(symmetric, mirrored)), self.variation, rng)
        if aligned:
            top, start = CROP_AT
            return grained(portrait[top : top + CROP_PX, start : start + CROP_PX], rng)
        return grained(framed(portrait, self.variation, rng), rng)

    def _newcomer(self) -> None:
        rng = np.random.default_rng([self.seed, 0, len(self._people)])
        candidates = self._spread * np.stack([_drawn(rng, len(self._spread)) for _ in range(_CANDIDATES)])
        looks = self._model.looks(candidates)
        chosen = 0
        if self._looks:
            chosen = int((looks @ np.stack(self._looks[-_REMEMBERED:]).T).max(axis=1).argmin())
        self._people.append(candidates[chosen])
        self._looks.append(looks[chosen])


def _drawn(rng: np.random.Generator, count: int) -> Floats:
    """Standard normal numbers without tails."""
    return np.clip(rng.standard_normal(count), -_MOST_UNUSUAL, _MOST_UNUSUAL)
