"""Addresses and secrets of webhooks at rest: sealed with AES-256-GCM (NIST SP 800-38D) by the ring `_webhooks`.

    base64( key id (4 bytes) · nonce (12) · ciphertext · tag (16) )

A seal opens for the webhook it was made for and for no other: its id is authenticated with it. The secret has to be
known to sign, so that a hash would not do; the address is sealed with it because many services put a token in it. The
keys are where those of the galleries are (kith.keys): whoever adds webhooks and whoever delivers need the same ring.
"""

import base64
import json
import os
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kith.errors import SealBroken, UnknownKey
from kith.keys import KEY_ID_BYTES, WEBHOOKS, KeyStore

_NONCE_BYTES = 12
#: Sets these seals apart from whatever else the key may ever be used for.
_DOMAIN = b"kith webhook 1\0"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where deliveries go, and what signs them: text, as the receiver has it."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


def new_secret() -> str:
    """256 random bits, marked for those who search for leaked secrets."""
    return f"whsec_{secrets.token_urlsafe(32)}"


def sealed(receiver: Receiver, webhook_id: str, keys: KeyStore) -> str:
    """Raises KeysUnavailable, Misconfigured."""
    key = keys.create(WEBHOOKS).newest
    nonce = os.urandom(_NONCE_BYTES)
    plain = json.dumps([receiver.url, receiver.secret]).encode()
    text = AESGCM(key.secret).encrypt(nonce, plain, _DOMAIN + webhook_id.encode())
    return base64.b64encode(key.key_id + nonce + text).decode()


def opened(text: str, webhook_id: str, keys: KeyStore) -> Receiver:
    """Raises UnknownKey, SealBroken, KeysUnavailable."""
    row = base64.b64decode(text)
    body = KEY_ID_BYTES + _NONCE_BYTES
    ring = keys.ring(WEBHOOKS)
    key = next((each for each in ring.keys if each.key_id == row[:KEY_ID_BYTES]), None)
    if key is None:
        raise UnknownKey(f"webhook {webhook_id} was sealed by another key than this process has; add it again")
    try:
        plain = AESGCM(key.secret).decrypt(row[KEY_ID_BYTES:body], row[body:], _DOMAIN + webhook_id.encode())
    except InvalidTag:
        raise SealBroken(f"webhook {webhook_id} was altered where it is kept; remove it and add it again") from None
    url, secret = json.loads(plain)
    return Receiver(url, secret)
