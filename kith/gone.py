"""What is known of galleries that are being forgotten whole, until nothing of them is left: `GoneGalleries`."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kith.subjects import Dropped


@dataclass(frozen=True, slots=True)
class Going:
    """How far the forgetting of a gallery has come; kept until its receipt is out. epoch, sequence: of the gallery,
    the second 0 until it is dropped. keys: ids of those that are destroyed. done: kind → how many are gone by now."""

    epoch: str
    sequence: int
    keys: tuple[str, ...] = ()
    done: dict[str, int] = field(default_factory=dict)


class GoneGalleries(Protocol):
    """Every method raises StateUnavailable. Galleries are dropped by GalleryStore.drop; while one is noted here, no
    other can be made under its name."""

    def all(self) -> Mapping[str, Going]:
        """Those that are being forgotten, or were when somebody broke off, by name."""
        ...

    def going(self, gallery: str) -> Going | None:
        """How far it has come."""
        ...

    def note(self, gallery: str, going: Going, holder: str) -> bool:
        """Note it; False, and nothing is noted, when `holder` holds it no more. Works when memory is full."""
        ...

    def hold(self, gallery: str, holder: str, lease_s: float) -> bool:
        """Keep others from forgetting it at the same time, or go on doing so, for so long; whether nobody else does."""
        ...

    def release(self, gallery: str, holder: str) -> None:
        """Hold it no more."""
        ...

    def dropped(self, epoch: str) -> Dropped | None:
        """What it held when it was dropped."""
        ...

    def ask(self, epoch: str, pictures: Collection[str]) -> None:
        """Note pictures that jobs of it asked about, before these end. Works when memory is full."""
        ...

    def pictures(self, epoch: str) -> Iterator[tuple[bool, set[str]]]:
        """Keys of pictures that it told of, some at a time, and whether they are of enrolments. When the next are asked
        for, what told of those before is erased: delete them first."""
        ...

    def finish(self, gallery: str, epoch: str) -> None:
        """It is forgotten: its name is free."""
        ...

    def left(self, gallery: str, epoch: str) -> Iterator[str]:
        """Where there is anything of the gallery itself."""
        ...

    def standing(self, gallery: str) -> str | None:
        """The epoch of the gallery that has the name, whatever else of it can be read (empty where that cannot either);
        None where none has."""
        ...

    def born_ms(self, gallery: str) -> int | None:
        """When the gallery that has the name now was made, Unix milliseconds; None where none has."""
        ...
