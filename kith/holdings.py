"""What is held of one subject before it is forgotten, and the traces by which leftovers are found afterwards."""

import hmac
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from kith.keys import Key

#: Bytes of a digest that are kept: enough that none is met by chance in any number of values.
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that a gallery holds of a person: of the subject of that name, and of those who ended under it.

    subject_id, meant: see GalleryStore.ids, the first and all of them. subject_ids: these and those merged into them.
    names: they have, or had as far back as the journal goes. texts: external ids. templates: ids; images: keys; both
    also of removed ones. rows: vectors as they are stored, sealed where the gallery is sealed. current: how many
    templates there are now. payloads: changes that tell.
    """

    subject_id: str
    subject_ids: frozenset[str]
    names: frozenset[str]
    texts: frozenset[str]
    templates: frozenset[str]
    images: frozenset[str]
    rows: tuple[bytes, ...]
    current: int
    payloads: int
    meant: tuple[str, ...]


def together(people: Sequence[Holdings]) -> Holdings:
    """The holdings of several as those of one person, the first."""
    return Holdings(
        people[0].subject_id,
        subject_ids=frozenset().union(*(each.subject_ids for each in people)),
        names=frozenset().union(*(each.names for each in people)),
        texts=frozenset().union(*(each.texts for each in people)),
        templates=frozenset().union(*(each.templates for each in people)),
        images=frozenset().union(*(each.images for each in people)),
        rows=tuple(row for each in people for row in each.rows),
        current=sum(each.current for each in people),
        payloads=sum(each.payloads for each in people),
        meant=tuple(name for each in people for name in each.meant),
    )


@dataclass(frozen=True, slots=True)
class Traces:
    """How leftovers of somebody forgotten are recognised by whoever has the installation's signing key, and by nobody
    else: digests (hex) under a key derived from it and from `salt`. rows: of vectors as they were stored; texts: of
    names, external ids and template ids. The key keeps names from being guessed with the receipt alone."""

    salt: str
    rows: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


class Tracer:
    """Makes the digests of `Traces`. key: of the ring that signs receipts."""

    def __init__(self, key: Key, salt: str) -> None:
        self.salt = salt
        # An extract step of HKDF (RFC 5869): the seed that signs is used for nothing else directly.
        self._key = hmac.digest(b"kith traces 1\0" + salt.encode(), key.secret, "sha256")

    @classmethod
    def fresh(cls, key: Key) -> "Tracer":
        """With a salt of its own: two receipts about one person have nothing in common."""
        return cls(key, secrets.token_hex(16))

    def row(self, row: bytes) -> str:
        """Of a stored vector."""
        return hmac.new(self._key, b"row\0" + row, sha256).hexdigest()[: 2 * _DIGEST_BYTES]

    def text(self, text: str) -> str:
        """Of a name or an id."""
        return hmac.new(self._key, b"text\0" + text.encode(errors="replace"), sha256).hexdigest()[: 2 * _DIGEST_BYTES]

    def traces(self, rows: Iterable[bytes], texts: Iterable[str]) -> Traces:
        """Sorted, each once. Free slots (zeros) are nobody's."""
        return Traces(
            self.salt,
            tuple(sorted({self.row(row) for row in rows if row.strip(b"\0")})),
            tuple(sorted({self.text(text) for text in texts if text})),
        )


@dataclass(frozen=True, slots=True)
class Pending:
    """A forgetting under way, kept until its receipt is out; no name in it. meant: see GalleryStore.ids. images: still
    to be deleted, of enrolments; probes: of searches. done: kind → how many are gone by now."""

    subject_id: str
    meant: tuple[str, ...]
    subject_ids: tuple[str, ...]
    epoch: str
    salt: str
    rows: tuple[str, ...]
    texts: tuple[str, ...]
    images: tuple[str, ...]
    probes: tuple[str, ...] = ()
    sequence: int = 0
    done: dict[str, int] = field(default_factory=dict)

    @property
    def traces(self) -> Traces:
        """By which it is recognised."""
        return Traces(self.salt, self.rows, self.texts)


class Marks:
    """Says of ids, names and pictures whether they are the forgotten person's. shared: pictures that are others'."""

    def __init__(self, pending: Pending, tracer: Tracer, shared: Collection[str] = ()) -> None:
        self.subject_ids = frozenset(pending.subject_ids)
        self.images = frozenset((*pending.images, *pending.probes)).difference(shared)
        self._texts, self._tracer = frozenset(pending.texts), tracer
        self._known: dict[str, bool] = {}

    def text(self, text: str | None) -> bool:
        """Whether it is a name, external id or template id of the person."""
        if not text:
            return False
        if text not in self._known:
            if len(self._known) > 100_000:
                self._known.clear()
            self._known[text] = self._tracer.text(text) in self._texts
        return self._known[text]

    def person(self, subject_id: str | None, name: str | None) -> bool:
        """The id decides where there is one: a name may have been given on."""
        return subject_id in self.subject_ids if subject_id else self.text(name)
