"""The chain of the audit log: how an entry is written, what its digest covers, whether a whole log holds together."""

import json
from hashlib import sha256

from kith.audit import Action, AuditEntry, Deed, Head, Verdict, detail_text

#: The names of what `columns_of` returns.
COLUMNS = ("actor", "action", "gallery", "subject", "sequence", "detail")


def digest_of(previous: str, number: int, at_ms: int, deed: Deed) -> str:
    """The digest of an entry: SHA-256, in hex, over the previous digest and its content."""
    parts = (previous, str(number), str(at_ms), *columns_of(deed))
    # Length first, in bytes: no choice of texts can shift a border between two parts.
    return sha256(b"".join(b"%d:%s," % (len(part), part) for part in map(str.encode, parts))).hexdigest()


def columns_of(deed: Deed) -> tuple[str, ...]:
    """A deed as texts, the order of `COLUMNS`; absent ones are empty."""
    sequence = "" if deed.sequence is None else str(deed.sequence)
    return (deed.actor, deed.action, deed.gallery, deed.subject_id or "", sequence, detail_text(deed.detail))


def deed_of(columns: tuple[str, ...]) -> Deed:
    """The opposite of `columns_of`. Raises ValueError (KithError for some) when they are not what it made."""
    actor, action, gallery, subject_id, sequence, detail = columns
    try:
        told = json.loads(detail) if detail else {}
    except RecursionError:
        raise ValueError("not as it was written") from None
    if not isinstance(told, dict):
        raise ValueError("not as it was written")
    deed = Deed(actor, Action(action), gallery, subject_id or None, int(sequence) if sequence else None, told)
    if columns_of(deed) != columns:
        raise ValueError("not as it was written")
    return deed


def linked(head: Head, at_ms: int, deeds: list[Deed]) -> list[AuditEntry]:
    """`deeds` as the entries that follow `head`, all of the time `at_ms`."""
    entries: list[AuditEntry] = []
    for deed in deeds:
        number = head.number + 1
        head = Head(number, digest_of(head.digest, number, at_ms, deed))
        entries.append(AuditEntry(number, at_ms, deed, head.digest))
    return entries


class Chain:
    """Walks a chain from its anchor, entry by entry, and notes the first that does not fit."""

    def __init__(self, anchor: Head, kept: Head | None = None) -> None:
        self._anchor = self._head = anchor
        self._kept = kept
        self._checked = 0
        self._broken: tuple[int, str] | None = None
        self._compared = None if kept is None else False
        if kept is not None and kept.number == anchor.number:
            self._compare(anchor)

    def add(self, entry: AuditEntry | int) -> bool:
        """The next entry as it stands in the log (its number alone when it cannot be read); whether to go on."""
        number = entry if isinstance(entry, int) else entry.number
        if isinstance(entry, int):
            self._broken = (number, "it is not an entry that Kith wrote")
        elif number != self._head.number + 1:
            self._broken = (self._head.number + 1, f"it is missing: the log goes on with {number}")
        elif entry.digest != digest_of(self._head.digest, number, entry.at_ms, entry.deed):
            self._broken = (number, "its digest does not fit the entry before it and its content")
        else:
            self._head, self._checked = Head(number, entry.digest), self._checked + 1
            self._compare(self._head)
        return self._broken is None

    def end(self, head: Head) -> Verdict:
        """The verdict, after the last entry. head: what the log says its end is."""
        if self._broken is None and head.number == self._head.number and head != self._head:
            self._broken = (head.number, "its digest is not that of the end that the log states")
        if self._broken is None and head != self._head:
            self._broken = (self._head.number + 1, f"it is missing: the log should end with {head.number}")
        if self._broken is None and self._kept is not None and self._kept.number > self._head.number:
            self._broken = (self._head.number + 1, f"it is missing: {self._kept.number} entries were there once")
        broken, why = self._broken or (None, "")
        return Verdict(self._anchor, self._head, self._checked, broken, why, self._compared)

    def _compare(self, head: Head) -> None:
        if self._kept is not None and self._kept.number == head.number:
            self._compared = True
            if self._kept.digest != head.digest:
                self._broken = (head.number, "its digest is not the one that was kept: the log was written anew")
