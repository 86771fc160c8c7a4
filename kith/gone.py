"""What is known of galleries that are being forgotten whole, until nothing of them is left: `GoneGalleries`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Going:
    """How far the forgetting of a gallery has come; kept until its receipt is out. epoch, sequence: of the gallery.

    until_ms: nothing that was handed in later is about it, for another gallery may have its name by then; result,
    event: the newest entries of these streams at that time; 0 and empty while workers may still decide by it. keys: ids
    of those that were destroyed. done: kind → how many are gone by now. silent: what had not come to its end.
    """

    epoch: str
    sequence: int
    until_ms: int = 0
    result: str = ""
    event: str = ""
    keys: tuple[str, ...] = ()
    done: dict[str, int] = field(default_factory=dict)
    silent: tuple[str, ...] = ()


class GoneGalleries(Protocol):
    """Every method raises StateUnavailable."""

    def going(self, gallery: str) -> Going | None:
        """A forgetting that was interrupted."""
        ...

    def note(self, gallery: str, going: Going | None) -> None:
        """How far it has come; None when it is done."""
        ...

    def pictures(self, epoch: str) -> Iterator[set[str]]:
        """Keys of the pictures that a dropped gallery told of (GalleryStore.drop), some at a time. When the next are
        asked for, what told of those before is erased: delete them first."""
        ...

    def left(self, gallery: str, epoch: str) -> Iterator[str]:
        """Where there is anything of the gallery itself."""
        ...

    def born_ms(self, gallery: str) -> int | None:
        """When the gallery that has the name now was made, Unix milliseconds; None where none has."""
        ...
