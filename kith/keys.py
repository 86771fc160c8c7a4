"""The keys of the galleries: one AES-256 data key each, what a ring of them is, and who may keep them.

Whoever holds the key reads the templates, in Redis, in its files and in every backup of either. Without it nobody does:
destroying the key forgets the gallery wherever a copy of it lies. So keys are kept apart from what they seal, in a
directory, in the settings (a secret of the environment), or wrapped by a key service; `kith.backends.keys_*` has these.

A gallery has a ring of keys: the newest seals, all open. A rotation adds one; when everything is sealed anew the older
ones are retired.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from kith.errors import Misconfigured
from kith.names import gallery_name

#: AES-256. The same size fits the seed of an Ed25519 signature.
SECRET_BYTES = 32

#: Enough to tell the keys of one ring apart; part of every sealed template.
KEY_ID_BYTES = 4

#: The ring whose keys sign receipts instead of sealing. No gallery can have this name.
SIGNING = "_signing"

#: The ring that seals the addresses and secrets of webhooks.
WEBHOOKS = "_webhooks"

#: The rings that are no gallery's.
RESERVED = frozenset({SIGNING, WEBHOOKS})


@dataclass(frozen=True, slots=True)
class Key:
    """secret: `SECRET_BYTES` random bytes, never shown. created_ms: Unix milliseconds, 0 where nobody noted it.
    key_id: `KEY_ID_BYTES`, follows from the secret, so that a key needs no register to be recognised."""

    secret: bytes = field(repr=False)
    created_ms: int = 0
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise Misconfigured(f"a key has {len(self.secret)} bytes, AES-256 needs {SECRET_BYTES}")
        # 32 bits of a hash tell nothing about 256 bits of randomness.
        object.__setattr__(self, "key_id", sha256(b"kith key id\0" + self.secret).digest()[:KEY_ID_BYTES])


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one gallery, oldest first. Raises Misconfigured when there are none, or two of one id."""

    gallery: str
    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise Misconfigured(f"the key ring of gallery {self.gallery} is empty")
        if len({key.key_id for key in self.keys}) < len(self.keys):
            raise Misconfigured(f"the key ring of gallery {self.gallery} holds the same key twice; take one out")

    @property
    def newest(self) -> Key:
        """The key that seals."""
        return self.keys[-1]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids in hex, oldest first."""
        return tuple(key.key_id.hex() for key in self.keys)


class KeyStore(Protocol):
    """Keeps rings by gallery name. Safe to call from many threads, and beside other processes.

    Every verb raises InvalidName, KeysUnavailable when the keys cannot be read just now, Misconfigured when they are
    kept in a way they must not be.
    """

    def galleries(self) -> list[str]:
        """The galleries that have keys here, by name."""
        ...

    def ring(self, gallery: str) -> KeyRing:
        """The keys of `gallery`. Raises UnknownKey when there are none; none are made."""
        ...

    def check_changeable(self, gallery: str) -> None:
        """Raises UnknownKey when there are no keys of `gallery`, Misconfigured when they are changed elsewhere."""
        ...

    def create(self, gallery: str) -> KeyRing:
        """The keys of `gallery`, made if there are none. Only for a gallery in which nothing is sealed yet: elsewhere a
        missing key must show, not be replaced by another."""
        ...

    def rotate(self, gallery: str) -> KeyRing:
        """Add a key that seals from now on. Raises UnknownKey."""
        ...

    def retire(self, gallery: str, key_ids: Collection[str]) -> KeyRing:
        """Destroy these keys (ids in hex), because nothing is sealed by them any more; what is left.

        The newest stays: Rejected when it is among them. Ids that are not there are passed over. Raises UnknownKey.
        """
        ...

    def destroy(self, gallery: str) -> tuple[str, ...]:
        """Destroy all keys of `gallery`; their ids. What they sealed cannot be read any more. Raises UnknownKey."""
        ...


class KeyWrapper(Protocol):
    """A key management service, named by the setting `security.kms` as `package.module:callable`.

    The callable takes nothing and returns one of these. Data keys are made here, and only what `wrap` makes of them is
    written down; the service's own key never leaves it. `gallery` should be bound as additional data (AWS calls it the
    encryption context, Vault the derivation context) and may choose the service's key, so that destroying that one
    there forgets the gallery too. It is also `_signing`, for the key that signs receipts, and `_webhooks`.

    Raise KeysUnavailable (or any OSError) when the service cannot be reached, Misconfigured when it refuses.
    """

    def wrap(self, gallery: str, secret: bytes) -> bytes:
        """`secret`, 32 bytes, as the service encrypts it."""
        ...

    def unwrap(self, gallery: str, wrapped: bytes) -> bytes:
        """The secret again."""
        ...


def ring_name(name: str) -> str:
    """`name` itself where it may have keys: a gallery's name, or a reserved one. Raises InvalidName."""
    return name if name in RESERVED else gallery_name(name)
