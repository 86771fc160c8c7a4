"""How long work says how far it is."""

from collections.abc import Callable

#: Called with what is being done, how much of it is done, of how much.
Tell = Callable[[str, int, int], None]


def silent(*_: object) -> None:
    """For whoever does not want to know."""
