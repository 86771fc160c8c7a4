"""A receipt says what was erased, and nobody can make it say anything else."""

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from kith.errors import Misconfigured, Rejected
from kith.keys import Key
from kith.receipts import (
    AlteredReceipt,
    Erased,
    Kind,
    Receipt,
    ReplicaAt,
    SignedReceipt,
    from_text,
    key_id_of,
    public_pem,
    read_public_pem,
    save,
    sign,
    signing_key,
    to_text,
    verify,
)

OURS, THEIRS = signing_key(Key(bytes(32))), signing_key(Key(bytes(range(32))))

RECEIPT = Receipt(
    gallery="door",
    epoch="e1",
    sequence=42,
    at_ms=1_718_000_000_000,
    by="cli:ada@desk",
    erased=(
        Erased.of(Kind.VECTORS, ["t2", "t1", "t2"]),
        Erased.of(Kind.ENROLMENT_IMAGES, [f"ab/ab{'0' * 62}"]),
        Erased(Kind.CACHED_CROPS, 7),
        Erased(Kind.PROBE_IMAGES, 0),
    ),
    subject_id="a" * 16,
    replicas=(ReplicaAt("embed@host:1", 42), ReplicaAt("embed@host:2", 50)),
    silent=("embed@host:3",),
    audit="7:" + "0" * 64,
)
SIGNED = sign(RECEIPT, OURS)


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    plain = copy.deepcopy(json.loads(to_text(SIGNED)))
    change(plain)
    return json.dumps(plain)


class TestSigning:
    def test_what_was_signed_verifies_after_a_way_through_a_file(self, tmp_path: Path) -> None:
        save(SIGNED, tmp_path / "receipt.json")

        found = from_text((tmp_path / "receipt.json").read_bytes())

        assert verify(found, OURS.public_key()) == RECEIPT
        assert verify(found, THEIRS.public_key(), OURS.public_key()) == RECEIPT
        assert [file.name for file in tmp_path.iterdir()] == ["receipt.json"]

    def test_anybody_with_the_public_key_can_check_it_without_kith(self) -> None:
        plain = json.loads(to_text(SIGNED))
        canonical = json.dumps(plain["receipt"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        raw = OURS.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

        Ed25519PublicKey.from_public_bytes(raw).verify(
            base64.b64decode(plain["signature"]["value"]), b"kith receipt 1\0" + canonical.encode()
        )

    def test_layout_and_order_of_the_file_are_not_signed_its_content_is(self) -> None:
        plain = json.loads(to_text(SIGNED))
        turned = {"signature": plain["signature"], "receipt": dict(reversed(plain["receipt"].items()))}
        assert verify(from_text(json.dumps(turned | {"kith_receipt": 1})), OURS.public_key()) == RECEIPT

    def test_a_whole_gallery_can_be_what_was_forgotten(self) -> None:
        whole = replace(RECEIPT, subject_id=None, replicas=(), silent=())
        assert verify(from_text(to_text(sign(whole, OURS))), OURS.public_key()) == whole

    def test_names_in_any_script_are_signed_as_they_are(self) -> None:
        told = replace(RECEIPT, by="cli:Ада😀\u2028@desk")
        assert verify(from_text(to_text(sign(told, OURS))), OURS.public_key()) == told


class TestAlteration:
    @pytest.mark.parametrize(
        "change",
        [
            lambda plain: plain["receipt"].update(gallery="gate"),
            lambda plain: plain["receipt"].update(epoch="e2"),
            lambda plain: plain["receipt"].update(sequence=41),
            lambda plain: plain["receipt"].update(subject_id="b" * 16),
            lambda plain: plain["receipt"].pop("subject_id"),
            lambda plain: plain["receipt"].update(at_ms=0),
            lambda plain: plain["receipt"].update(by="cli:eve@desk"),
            lambda plain: plain["receipt"]["erased"].pop(),
            lambda plain: plain["receipt"]["erased"][2].update(count=8),
            lambda plain: plain["receipt"]["erased"][1].update(identifiers=["cd/cd"]),
            lambda plain: plain["receipt"]["erased"][0].update(kind="results"),
            lambda plain: plain["receipt"].update(silent=[]),
            lambda plain: plain["receipt"]["replicas"].pop(),
            lambda plain: plain["receipt"].update(audit="8:" + "0" * 64),
            lambda plain: plain["signature"].update(value=base64.b64encode(bytes(64)).decode()),
            lambda plain: plain["signature"].update(value=base64.b64encode(bytes(63)).decode()),
        ],
    )
    def test_a_receipt_that_says_anything_else_is_refused(self, change: Callable[[dict[str, Any]], object]) -> None:
        with pytest.raises(AlteredReceipt, match="was altered"):
            verify(from_text(changed(change)), OURS.public_key())

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            "null",
            "\xff",
            '{"kith_receipt": 1}',
            changed(lambda plain: plain.pop("signature")),
            changed(lambda plain: plain.update(kith_receipt=2)),
            changed(lambda plain: plain["receipt"].update(note="we also erased the rest")),
            changed(lambda plain: plain["receipt"]["erased"][0].update(count=1)),
            changed(lambda plain: plain["receipt"].update(sequence="42")),
            changed(lambda plain: plain["receipt"].update(sequence=42.0)),
            changed(lambda plain: plain["receipt"]["erased"][0].update(kind="thoughts")),
            changed(lambda plain: plain["signature"].update(algorithm="none")),
            changed(lambda plain: plain["signature"].update(value="*")),
            to_text(SIGNED).replace('"sequence": 42', '"sequence": 42, "sequence": 42', 1),
            "[" * 100_000,
        ],
    )
    def test_what_is_no_receipt_is_refused_in_one_line(self, text: str) -> None:
        with pytest.raises(AlteredReceipt) as refused:
            from_text(text)
        assert "\n" not in str(refused.value)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_no_single_character_of_the_file_can_be_changed_to_say_something_else(self, data: st.DataObject) -> None:
        text = to_text(SIGNED)
        at = data.draw(st.integers(0, len(text) - 1))
        other = text[:at] + data.draw(st.characters(codec="utf-8")) + text[at + 1 :]
        try:
            found = verify(from_text(other), OURS.public_key())
        except AlteredReceipt:
            return
        # White space between two parts, or the same character again.
        assert found == RECEIPT

    def test_another_key_under_the_same_id_does_not_help(self) -> None:
        forged = SignedReceipt(RECEIPT, key_id_of(OURS.public_key()), sign(RECEIPT, THEIRS).signature)
        with pytest.raises(AlteredReceipt, match="was altered"):
            verify(forged, OURS.public_key())

    def test_an_unknown_signer_is_named_and_never_taken_from_the_receipt(self) -> None:
        with pytest.raises(AlteredReceipt, match=rf"signed by key {SIGNED.key_id}; known here: {_id(THEIRS)}\. Get"):
            verify(SIGNED, THEIRS.public_key())
        with pytest.raises(AlteredReceipt, match="known here: none"):
            verify(SIGNED)


class TestContent:
    def test_it_counts_what_it_lists_each_once(self) -> None:
        assert Erased.of(Kind.RESULTS, ["2-0", "1-0", "2-0"]) == Erased(Kind.RESULTS, 2, ("1-0", "2-0"))

    @pytest.mark.parametrize(
        "parts",
        [
            {"erased": (Erased(Kind.RESULTS, 1), Erased(Kind.RESULTS, 2))},
            {"erased": (Erased(Kind.RESULTS, 3, ("1-0",)),)},
            {"erased": (Erased(Kind.RESULTS, -1),)},
            {"replicas": (ReplicaAt("w", 41),)},
        ],
    )
    def test_one_that_contradicts_itself_is_not_written(self, parts: dict[str, Any]) -> None:
        with pytest.raises(Rejected):
            replace(RECEIPT, **parts)


class TestPublicKeys:
    def test_they_travel_as_pem(self) -> None:
        pem = public_pem(OURS.public_key())
        assert pem.startswith("-----BEGIN PUBLIC KEY-----\n")
        assert verify(SIGNED, read_public_pem(pem.encode())) == RECEIPT

    def test_what_is_none_is_refused(self) -> None:
        other = X25519PrivateKey.generate().public_key()
        for text in (b"", b"-----BEGIN", other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)):
            with pytest.raises(Misconfigured, match="kith keys public"):
                read_public_pem(text)


def _id(key: Any) -> str:
    return key_id_of(key.public_key())
