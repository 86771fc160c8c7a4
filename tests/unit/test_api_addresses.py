"""Which addresses this server fetches images from, and which never: no socket is opened here."""

import time
from collections.abc import Callable, Sequence

import pytest

from kith.public_network import is_public
from producers.api.fetching import Fetcher
from producers.api.problems import Problem


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::808:808"]
)
def test_addresses_of_the_public_network_are_taken(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
        ),
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1"),
        # IPv4 within IPv6: mapped, NAT64, 6to4, Teredo.
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "", "localhost", "127.1"),
    ],
)
def test_no_other_address_is(address: str) -> None:
    assert not is_public(address)


def refusal(url: str, resolve: Callable[[str, int], Sequence[str]]) -> Problem:
    with pytest.raises(Problem) as refused:
        Fetcher(1000, resolve).fetch(url, "images.0.url", time.monotonic() + 1)
    assert refused.value.code == "url_refused"
    assert refused.value.field == "images.0.url"
    return refused.value


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["93.184.216.34", "10.0.0.1"], []])
def test_a_name_that_means_a_private_address_as_well_is_refused(addresses: list[str]) -> None:
    problem = refusal("http://example.org/a.jpg", lambda *_: addresses)

    assert "public network" in problem.detail
    assert "10.0.0.1" not in problem.detail, "what is inside is nobody's business"


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "ftp://example.org/a",
            "http://",
            "http:///a",
            "gopher://x",
            "http://[::1",
            "http://a:0/",
        ),
        *("http://user:secret@example.org/", "http://example.org:99999/", "javascript:alert(1)"),
    ],
)
def test_what_is_no_plain_address_of_the_web_is_refused_before_it_is_resolved(url: str) -> None:
    def resolve(*_: object) -> list[str]:
        raise AssertionError("resolved")

    problem = refusal(url, resolve)
    assert "secret" not in problem.detail


def test_a_name_nobody_has_is_refused() -> None:
    def resolve(*_: object) -> list[str]:
        raise OSError

    assert "cannot be resolved" in refusal("http://nobody.invalid/", resolve).detail
