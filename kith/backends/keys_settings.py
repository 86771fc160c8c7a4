"""Keys from the setting `security.keys`: a secret of the environment, or a file of KITH_SECRETS_DIR.

    KITH_SECURITY__KEYS="staff:BASE64 guests:BASE64,BASE64"

Galleries with white space between them; of each its keys (32 bytes in base64, `openssl rand -base64 32` makes one) with
commas, oldest first. Whoever writes the secret makes, rotates and destroys: here nothing is written. A gallery that is
not in it has its keys in the directory.
"""

import base64
from collections.abc import Collection

from pydantic import SecretStr

from kith.errors import InvalidName, Misconfigured
from kith.keys import RESERVED, SECRET_BYTES, Key, KeyRing, KeyStore, ring_name


class SettingsKeys:
    """Implements kith.keys.KeyStore. behind: keeps the keys of all other galleries. Raises Misconfigured."""

    def __init__(self, text: SecretStr, behind: KeyStore) -> None:
        self._rings = _parsed(text.get_secret_value())
        self._behind = behind

    def __repr__(self) -> str:
        return f"SettingsKeys({sorted(self._rings)!r}, {self._behind!r})"

    def galleries(self) -> list[str]:
        return sorted({*self._rings, *self._behind.galleries()} - RESERVED)

    def ring(self, gallery: str) -> KeyRing:
        return self._rings.get(gallery) or self._behind.ring(gallery)

    def check_changeable(self, gallery: str) -> None:
        self._refuse(gallery, "change them there")
        self._behind.check_changeable(gallery)

    def create(self, gallery: str) -> KeyRing:
        return self._rings.get(gallery) or self._behind.create(gallery)

    def rotate(self, gallery: str) -> KeyRing:
        self._refuse(gallery, "add one behind the last, with a comma")
        return self._behind.rotate(gallery)

    def retire(self, gallery: str, key_ids: Collection[str]) -> KeyRing:
        self._refuse(gallery, "take them out there")
        return self._behind.retire(gallery, key_ids)

    def destroy(self, gallery: str) -> tuple[str, ...]:
        self._refuse(gallery, "take them out there, and out of every copy of that secret")
        return self._behind.destroy(gallery)

    def _refuse(self, gallery: str, remedy: str) -> None:
        if gallery in self._rings:
            raise Misconfigured(f"the keys of gallery {gallery} come from the setting security.keys; {remedy}")


def _parsed(text: str) -> dict[str, KeyRing]:
    rings: dict[str, KeyRing] = {}
    for number, part in enumerate(text.split(), 1):
        name, colon, listed = part.partition(":")
        # No message repeats what was written: it is a key, or what stands where one should.
        try:
            ring_name(name if colon else "")
        except InvalidName:
            raise Misconfigured(f"security.keys: part {number} is not GALLERY:KEY") from None
        if name in rings:
            raise Misconfigured(f"security.keys: gallery {name} is named twice")
        try:
            secrets = [base64.b64decode(each, validate=True) for each in listed.split(",")]
        except ValueError:
            raise Misconfigured(f"security.keys: a key of gallery {name} is not base64") from None
        sizes = {len(secret) for secret in secrets} - {SECRET_BYTES}
        if sizes:
            raise Misconfigured(
                f"security.keys: a key of gallery {name} has {min(sizes)} bytes, AES-256 needs {SECRET_BYTES} "
                f"(openssl rand -base64 {SECRET_BYTES} makes one)"
            )
        rings[name] = KeyRing(name, tuple(Key(secret) for secret in secrets))
    return rings
