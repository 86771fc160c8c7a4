"""kith.remote.gallery for asyncio."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kith.remote import verbs
from kith.remote.async_connection import AsyncConnection
from kith.subjects import GalleryInfo, HistoryEntry, SubjectDetail, SubjectInfo
from kith.watching.erasing import ForgottenStranger
from kith.watching.strangers import Stranger

if TYPE_CHECKING:
    from kith.receipts import SignedReceipt


class AsyncGallery:
    """Made by `AsyncClient.gallery`. What it says of a change is its sequence number: a job with that `min_sequence` is
    answered by a gallery that has it. Raises UnknownGallery, UnknownSubject, and as each verb says."""

    def __init__(self, connection: AsyncConnection, name: str) -> None:
        self.name, self._connection = name, connection

    async def info(self) -> GalleryInfo:
        """Its model, how many people, its settings."""
        return await self._connection.send(verbs.gallery(self.name))

    def subjects(self) -> AsyncIterator[SubjectInfo]:
        """Everybody, by name."""
        return self._connection.pages(lambda place: verbs.subjects(self.name, place))

    async def subject(self, name: str) -> SubjectDetail:
        """One person with all templates."""
        return await self._connection.send(verbs.subject(self.name, name))

    async def introduce(
        self, name: str, *, external_id: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> int | None:
        """Add somebody without templates; None where somebody is called so. Raises NameTaken (the external id)."""
        return await self._connection.send(verbs.introduce(self.name, name, external_id, metadata))

    async def rename(self, old: str, new: str) -> int | None:
        """Another name. Raises NameTaken."""
        return await self._connection.send(verbs.change(self.name, old, name=new))

    async def describe(
        self, name: str, *, external_id: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> int | None:
        """Set your own id for them, or your notes; what is None stays. Raises NameTaken."""
        return await self._connection.send(verbs.change(self.name, name, **_said(external_id, metadata)))

    async def merge(self, name: str, into: str) -> int | None:
        """Two names are one person, who is called `into`."""
        return await self._connection.send(verbs.altered("POST", self.name, "merge", subject=name, into=into))

    async def move(self, name: str, templates: Sequence[str], to: str) -> int | None:
        """Some templates are somebody else's. Raises UnknownTemplate."""
        return await self._connection.send(
            verbs.altered("POST", self.name, "move", subject=name, templates=list(templates), to=to)
        )

    async def remove(self, name: str, template_id: str) -> int | None:
        """Take a template from somebody, who stays. Raises UnknownTemplate."""
        return await self._connection.send(verbs.remove(self.name, name, template_id))

    async def forget(self, name: str, *, wait_s: float = 20.0) -> "SignedReceipt":
        """Erase somebody everywhere; the receipt, which is given this once."""
        return await self._connection.send(verbs.forget(self.name, name, wait_s))

    async def forget_gallery(self, *, wait_s: float = 20.0) -> "SignedReceipt":
        """Erase the gallery itself everywhere; the receipt, which is given this once."""
        return await self._connection.send(verbs.forget_gallery(self.name, wait_s))

    def history(self) -> AsyncIterator[HistoryEntry]:
        """What changed, newest first."""
        return self._connection.pages(lambda place: verbs.history(self.name, place))

    async def undo(self, sequence: int) -> int | None:
        """Take a change back. Raises CannotUndo."""
        return await self._connection.send(verbs.altered("POST", self.name, "undo", sequence=sequence))

    async def strangers(self, *, everybody: bool = False) -> list[Stranger]:
        """People nobody has named, last seen last; with `everybody` also those named or merged since."""
        return await self._connection.send(verbs.strangers(self.name, everybody))

    async def name_stranger(self, number: int, subject: str) -> int:
        """Say who a stranger is; how many templates were made of the crops. Raises UnknownStranger."""
        return await self._connection.send(verbs.name_stranger(self.name, number, subject))

    async def merge_strangers(self, number: int, other: int) -> int:
        """Say that two are one; the number that goes on."""
        return await self._connection.send(verbs.merge_strangers(self.name, number, other))

    async def ignore_stranger(self, number: int, *, ignored: bool = True) -> None:
        """Tell of them no more, or again."""
        await self._connection.send(verbs.ignore_stranger(self.name, number, ignored))

    async def forget_stranger(self, number: int) -> ForgottenStranger:
        """Erase them; what was erased, counted."""
        return await self._connection.send(verbs.forget_stranger(self.name, number))


def _said(external_id: str | None, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    given = {"external_id": external_id, "metadata": metadata}
    return {name: value for name, value in given.items() if value is not None}
