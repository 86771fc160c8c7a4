"""How many values a label may have. Whatever is called as people please (galleries, cameras) is bounded by a number:
each value is a series that Prometheus keeps for weeks.

No label ever names a person, nor the id of one: whose face was seen when is nothing for a time series database, which
forgets nobody on request.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

#: Galleries, or cameras, that one process tells of by name.
MOST = 100
#: Stands for all further ones together. No gallery and no camera can be called so.
OTHERS = "(others)"


def bounded(
    found: Iterable[tuple[str, T]], together: Callable[[Sequence[T]], T], most: int = MOST
) -> list[tuple[str, T]]:
    """The first `most` of `found`, by name, as they are; the rest is one, made by `together`, under the name OTHERS."""
    named = list(found)
    if len(named) <= most:
        return named
    return [*named[:most], (OTHERS, together([value for _, value in named[most:]]))]
