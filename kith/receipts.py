"""Receipts of forgetting: what was erased about a subject, signed, so that it can be shown to whoever asked for it.

A receipt names nobody. It lists what is gone by kind, count and identifiers that are about nobody once the thing itself
is gone, and it says just as plainly which replicas did not confirm. It is signed with Ed25519 (RFC 8032) over canonical
JSON (RFC 8785: sorted keys, no white space, whole numbers only), so that any tool can check it:

    {"kith_receipt": 1, "receipt": {…}, "signature": {"algorithm": "Ed25519", "key_id": "…", "value": "BASE64"}}

signed are the bytes `kith receipt 1` NUL followed by the canonical form of `receipt`.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from kith import wire
from kith.errors import JobRejected, Misconfigured, Rejected
from kith.holdings import Traces
from kith.keys import Key
from kith.whole_file import whole_file

_VERSION = 1
_DOMAIN = b"kith receipt 1\0"
_ALGORITHM = "Ed25519"


class AlteredReceipt(Rejected):
    """The receipt is not as it was signed."""


class Kind(StrEnum):
    """What can hold a trace of a subject. Identifiers: keys of images (SHA-256 of bytes that are gone); entry ids; ids
    of dead letters and jobs; key ids. Template ids are none: whoever guesses a name could test it on them. `named`:
    decisions about others in which the subject was named, and is no more; `named_events`: events likewise."""

    VECTORS = "vectors"
    JOURNAL_PAYLOADS = "journal_payloads"
    ENROLMENT_IMAGES = "enrolment_images"
    PROBE_IMAGES = "probe_images"
    CACHED_CROPS = "cached_crops"
    RESULTS = "results"
    NAMED = "named"
    EVENTS = "events"
    NAMED_EVENTS = "named_events"
    OPEN_JOBS = "open_jobs"
    DEAD_LETTERS = "dead_letters"
    CALIBRATION_SAMPLES = "calibration_samples"
    SNAPSHOTS = "snapshots"
    KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Erased:
    """count: how many of `kind` are gone. identifiers: sorted; of all of them, or none where they have none, and of a
    whole gallery, for there would be too many."""

    kind: Kind
    count: int
    identifiers: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: Kind, identifiers: Iterable[str]) -> "Erased":
        """All of `identifiers`, each once."""
        listed = tuple(sorted(set(identifiers)))
        return cls(kind, len(listed), listed)


@dataclass(frozen=True, slots=True)
class ReplicaAt:
    """A worker's copy in memory, and the sequence it has applied: from `Receipt.sequence` on, the subject is gone."""

    worker_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """One forgetting. subject_id: None when the whole gallery went. sequence: of the gallery's change. at_ms: Unix
    milliseconds. by: the actor, as in the audit log. erased: each kind once, those with nothing to erase with count 0.

    replicas: those that find the subject no more and have wiped their memory. silent: ids of those that had not said so
    when the receipt was made (a worker that is cut off drops its copy when it comes back, or ends), and jobs under way
    with the pictures that stay for them. audit: `number:digest`, the audit log's end when the receipt was made, which
    pins the log too. traces: by which the installation that made the receipt recognises leftovers (kith.forget_check).
    beyond: what Kith cannot reach, in words. Raises Rejected when the parts contradict each other.
    """

    gallery: str
    epoch: str
    sequence: int
    at_ms: int
    by: str
    erased: tuple[Erased, ...]
    subject_id: str | None = None
    replicas: tuple[ReplicaAt, ...] = ()
    silent: tuple[str, ...] = ()
    audit: str = ""
    traces: Traces | None = None
    beyond: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds = [each.kind for each in self.erased]
        if len(set(kinds)) < len(kinds):
            raise Rejected("a receipt lists each kind of what was erased once")
        if any(each.count < 0 or (each.identifiers and each.count != len(each.identifiers)) for each in self.erased):
            raise Rejected("a receipt counts what it lists")
        early = [each.worker_id for each in self.replicas if each.sequence < self.sequence]
        if early:
            raise Rejected(f"{', '.join(early)} did not confirm change {self.sequence}; it belongs among the silent")


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """key_id: which public key to check with (`key_id_of`). signature: 64 bytes."""

    receipt: Receipt
    key_id: str
    signature: bytes


def signing_key(key: Key) -> Ed25519PrivateKey:
    """The private key whose seed is `key`, of the ring `kith.keys.SIGNING`."""
    return Ed25519PrivateKey.from_private_bytes(key.secret)


def public_pem(key: Ed25519PublicKey) -> str:
    """A public key in PEM (SubjectPublicKeyInfo), to hand to those who check receipts."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_public_pem(text: bytes) -> Ed25519PublicKey:
    """The opposite. Raises Misconfigured when it is not an Ed25519 public key in PEM."""
    try:
        key = load_pem_public_key(text)
    except ValueError:
        raise Misconfigured("this is not a public key in PEM; `kith keys public` prints one") from None
    if not isinstance(key, Ed25519PublicKey):
        raise Misconfigured("this public key is not one of Ed25519; `kith keys public` prints one")
    return key


def key_id_of(key: Ed25519PublicKey) -> str:
    """16 hex digits that tell public keys apart; they prove nothing."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def sign(receipt: Receipt, key: Ed25519PrivateKey) -> SignedReceipt:
    """`receipt`, signed."""
    return SignedReceipt(receipt, key_id_of(key.public_key()), key.sign(_signed_bytes(wire.to_dict(receipt))))


def verify(signed: SignedReceipt, *keys: Ed25519PublicKey) -> Receipt:
    """The receipt, when one of `keys` signed exactly it. Raises AlteredReceipt otherwise."""
    matching = [key for key in keys if key_id_of(key) == signed.key_id]
    if not matching:
        known = ", ".join(key_id_of(key) for key in keys) or "none"
        raise AlteredReceipt(
            f"the receipt says it is signed by key {signed.key_id}; known here: {known}. Get the public key from "
            "whoever issued the receipt, not from where the receipt lay"
        )
    try:
        matching[0].verify(signed.signature, _signed_bytes(wire.to_dict(signed.receipt)))
    except InvalidSignature:
        raise AlteredReceipt(
            f"the receipt is not as key {signed.key_id} signed it: it, or its signature, was altered"
        ) from None
    return signed.receipt


def to_text(signed: SignedReceipt) -> str:
    """The receipt as the JSON of a file, for people to read too."""
    signature = {
        "algorithm": _ALGORITHM,
        "key_id": signed.key_id,
        "value": base64.b64encode(signed.signature).decode(),
    }
    plain = {"kith_receipt": _VERSION, "receipt": wire.to_dict(signed.receipt), "signature": signature}
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def from_text(text: str | bytes) -> SignedReceipt:
    """A receipt from the text of its file. Raises AlteredReceipt for whatever `to_text` did not write."""
    try:
        plain = json.loads(text, object_pairs_hook=_without_twins)
        version, body, signature = plain["kith_receipt"], plain["receipt"], plain["signature"]
        if version != _VERSION:
            raise AlteredReceipt(f"the receipt has version {version}, this Kith reads version {_VERSION}")
        if signature["algorithm"] != _ALGORITHM:
            raise AlteredReceipt(f"the receipt is signed with {signature['algorithm']}, this Kith knows {_ALGORITHM}")
        key_id, value = str(signature["key_id"]), base64.b64decode(signature["value"], validate=True)
        receipt = wire.from_json(Receipt, json.dumps(body))
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise AlteredReceipt(f"this is no receipt of forgetting ({type(fault).__name__})") from None
    except (JobRejected, Rejected) as fault:
        if isinstance(fault, AlteredReceipt):
            raise
        raise AlteredReceipt(f"this is no receipt of forgetting: {fault}") from None
    if wire.to_dict(receipt) != body:
        # Anything in it that we do not know would pass for signed.
        raise AlteredReceipt("the receipt holds what this Kith does not write: it was altered, or a newer one made it")
    return SignedReceipt(receipt, key_id, value)


def save(signed: SignedReceipt, file: Path) -> None:
    """Write the receipt to `file`, whole and on the disk, or not at all: no other will be made. Raises OSError."""
    with whole_file(file) as opened:
        opened.write(to_text(signed).encode())


def _signed_bytes(body: dict[str, Any]) -> bytes:
    # Keys of one kind of letters and no fractions: here Python's sorted, compact form is that of RFC 8785.
    return _DOMAIN + json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found
