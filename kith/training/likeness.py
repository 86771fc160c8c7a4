"""Which synthetic people a recogniser takes for one another: a linear guess from identities to its vectors.

Made-up people are shown to the recogniser, and its vectors explained by their identities with ridge regression. The
guess explains less than half of what differs, which is enough to choose people by who do not look alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kith.synthetic.model import Model, quantise
from kith.synthetic.people import People

#: People shown, one picture each, as calm as it gets: it is identity that is asked about.
SHOWN = 2000
_AT_ONCE = 16

#: Added to each identity number's sum of squares, as if so many people had been shown that explain nothing.
_RIDGE = 200.0
#: Of a stored number.
_LEVELS = 127

Embed = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]


def with_likeness(
    model: Model,
    embed: Embed,
    seed: int = 0,
    tell: Callable[[str, int, int], None] = lambda *_: None,
    shown: int = SHOWN,
) -> Model:
    """`model` with the likeness that `embed` sees: aligned crops (112, 112, 3) in, unit vectors (n, dimension) out.

    shown: how many people `embed` is shown.
    """
    people = People(replace(model, likeness=np.zeros_like(model.likeness)), seed, variation=0.3)
    vectors, identities = [], []
    for start in range(0, shown, _AT_ONCE):
        some = range(start, min(start + _AT_ONCE, shown))
        vectors.append(embed([people.picture(number, 0, aligned=True) for number in some]))
        identities += [people.person(number).identity for number in some]
        tell("looking for likenesses", some.stop, shown)
    seen = np.concatenate(vectors).astype(np.float64)
    mean = seen.mean(axis=0)
    stored, scale = quantise(_explained(np.array(identities), seen - mean), _LEVELS)
    return replace(model, likeness=stored, likeness_scale=scale, likeness_mean=mean.astype(np.float32))


def _explained(identities: NDArray[np.float64], centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k, q): the linear map from identities (n, k) to `centred` vectors (n, q)."""
    spread = identities.std(axis=0)
    # Coordinates in which nobody differs explain nothing.
    spread = np.where(spread > 0, spread, np.inf)
    scaled = identities / spread
    squares = scaled.T @ scaled + _RIDGE * np.eye(len(spread))
    explained: NDArray[np.float64] = np.linalg.solve(squares, scaled.T @ centred) / spread[:, None]
    return explained
