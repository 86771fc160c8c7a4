"""What a receiver relies on: the signature, the address, and what is kept of both."""

import hashlib
from pathlib import Path

import pytest

from kith.backends.keys_directory import DirectoryKeys
from kith.errors import SealBroken, UnknownKey
from kith.outward.errors import DeliveryRefused, InvalidWebhook, ReceiverAway
from kith.outward.exchange import Answer
from kith.outward.knobs import Webhooks
from kith.outward.posting import Post, _judged, is_private_too, shown
from kith.outward.seals import Receiver, new_secret, opened, sealed
from kith.outward.signatures import TOLERANCE_S, sign, verified

SECRET, BODY, AT = "whsec_" + "s" * 43, b'{"type":"event.new"}', 1_700_000_000


def hmac_by_definition(key: bytes, message: bytes) -> str:
    """RFC 2104, written out: H(K ^ opad, H(K ^ ipad, text))."""
    block = key.ljust(64, b"\0") if len(key) <= 64 else hashlib.sha256(key).digest().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


@pytest.mark.parametrize("secret", [SECRET, "x" * 200, "short"])
def test_the_signature_is_an_hmac_over_the_timestamp_a_dot_and_the_body(secret: str) -> None:
    assert sign(secret, AT, BODY) == "v1=" + hmac_by_definition(secret.encode(), b"1700000000." + BODY)


def test_a_receiver_takes_what_is_ours_and_of_now() -> None:
    good = sign(SECRET, AT, BODY)

    assert verified(SECRET, str(AT), good, BODY, AT + TOLERANCE_S)
    assert verified(SECRET, str(AT), f"v1=00, {good}", BODY, AT)


@pytest.mark.parametrize(
    ("timestamp", "signature", "body", "now_s"),
    [
        (str(AT), sign(SECRET, AT, BODY), BODY + b" ", AT),
        (str(AT + 1), sign(SECRET, AT, BODY), BODY, AT),
        (str(AT), sign("another", AT, BODY), BODY, AT),
        (str(AT), sign(SECRET, AT, BODY), BODY, AT + TOLERANCE_S + 1),
        (str(AT), sign(SECRET, AT, BODY), BODY, AT - TOLERANCE_S - 1),
        (str(AT), "", BODY, AT),
        (str(AT), "v1=é, \ud800", BODY, AT),
        ("", sign(SECRET, AT, BODY), BODY, AT),
        ("٣", sign(SECRET, AT, BODY), BODY, AT),
        ("9" * 5000, sign(SECRET, AT, BODY), BODY, AT),
        ("-1700000000", sign(SECRET, AT, BODY), BODY, AT),
    ],
)
def test_and_nothing_else(timestamp: str, signature: str, body: bytes, now_s: float) -> None:
    assert not verified(SECRET, timestamp, signature, body, now_s)


def test_address_and_secret_are_sealed_for_their_webhook_alone(tmp_path: Path) -> None:
    keys, receiver = DirectoryKeys(tmp_path / "keys"), Receiver("https://desk/token-7", SECRET)
    text = sealed(receiver, "wh1", keys)

    assert opened(text, "wh1", keys) == receiver
    assert "token-7" not in text + repr(receiver)
    assert SECRET not in repr(receiver)
    with pytest.raises(SealBroken, match="wh2"):
        opened(text, "wh2", keys)
    with pytest.raises(SealBroken, match="wh1"):
        opened(text[:-4] + "AAA=", "wh1", keys)
    assert keys.galleries() == []


def test_who_has_other_keys_is_told_so(tmp_path: Path) -> None:
    text = sealed(Receiver("https://desk", SECRET), "wh1", DirectoryKeys(tmp_path / "one"))
    elsewhere = DirectoryKeys(tmp_path / "two")
    with pytest.raises(UnknownKey):
        opened(text, "wh1", elsewhere)
    sealed(Receiver("https://desk", SECRET), "wh2", elsewhere)
    with pytest.raises(UnknownKey, match="add it again"):
        opened(text, "wh1", elsewhere)


def test_secrets_are_long_and_never_the_same() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert all(len(each) == 49 for each in made)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://desk.example.org/in", "plain http"),
        ("ftp://desk.example.org", "https://"),
        ("https://", "https://"),
        ("https://desk.example.org:0/", "https://"),
        ("https://desk.example.org:99999/", "no URL"),
        ("https://me:pass@desk.example.org/", "password"),
        ("https://desk.example.org/#part", "#"),
        ("https://desk.example.org/a b", "spaces"),
        ("https://desk.example.org/\r\nX: y", "spaces"),
        ("https://dësk.example.org/", "ASCII"),
        ("https://desk.example.org/" + "a" * 2000, "2000"),
        ("https://127.0.0.1/in", "public"),
        ("https://10.0.0.1/in", "public"),
        ("https://[::1]/in", "public"),
        ("https://[::ffff:192.168.0.1]/in", "public"),
        ("https://169.254.169.254/latest", "public"),
    ],
)
def test_an_address_that_no_webhook_may_have_is_refused_and_not_repeated(url: str, said: str) -> None:
    with pytest.raises(InvalidWebhook, match=said) as refused:
        Post(Webhooks()).check(url)
    assert "desk" not in str(refused.value)


def test_inner_addresses_may_be_allowed_but_never_those_of_the_cloud_s_metadata() -> None:
    inside = Post(Webhooks(private=True))
    for url in ("http://10.0.0.1:8080/in", "https://127.0.0.1/in", "http://[fd00::1]/in"):
        inside.check(url)
    for address in ("169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254", "nonsense"):
        assert not is_private_too(address)


def test_a_name_that_leads_inside_is_not_spoken_to_whatever_else_it_means() -> None:
    for addresses in (["10.0.0.1"], ["93.184.216.34", "127.0.0.1"], []):
        post = Post(Webhooks(), resolve=lambda _, __, found=addresses: found)
        with pytest.raises(ReceiverAway, match="public"):
            post.send(Receiver("https://desk.example.org/in", SECRET), {}, BODY)


def test_a_name_that_cannot_be_resolved_is_tried_again() -> None:
    def resolve(_: str, __: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(ReceiverAway, match="resolved"):
        Post(Webhooks(), resolve=resolve).send(Receiver("https://desk.example.org/in", SECRET), {}, BODY)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_success_is_taken(status: int) -> None:
    assert _judged(Answer(status, {}, b"", True)) == status


@pytest.mark.parametrize("status", [400, 405, 410, 413, 414, 415, 422])
def test_what_would_be_refused_again_is_refused_for_good(status: int) -> None:
    with pytest.raises(DeliveryRefused) as refused:
        _judged(Answer(status, {}, b"", True))
    assert refused.value.status == status


@pytest.mark.parametrize("status", [101, 301, 302, 307, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504])
def test_all_else_is_tried_again(status: int) -> None:
    with pytest.raises(ReceiverAway) as away:
        _judged(Answer(status, {"Retry-After": "17"}, b"", True))
    assert (away.value.status, away.value.after_s) == (status, 17.0)


@pytest.mark.parametrize("said", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e9", "", "99999999999"])
def test_a_wish_that_is_no_number_of_seconds_is_passed_over(said: str) -> None:
    with pytest.raises(ReceiverAway) as away:
        _judged(Answer(503, {"retry-after": said}, b"", True))
    assert away.value.after_s is None


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com/services/…"),
        ("https://desk.example.org", "https://desk.example.org"),
        ("https://desk.example.org/hunter2", "https://desk.example.org/…"),
        ("https://desk.example.org:8443/?token=hunter2", "https://desk.example.org:8443/…"),
        ("http://[fd00::1]:80/a/hunter2", "http://[fd00::1]/a/…"),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_token(url: str, seen: str) -> None:
    assert shown(url) == seen
