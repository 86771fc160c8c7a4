"""Which addresses are of the public network, so that nobody has this server knock at doors within its own (OWASP:
Server-Side Request Forgery Prevention)."""

import ipaddress
import socket
from collections.abc import Callable, Sequence

#: Prefixes by which IPv6 carries an IPv4 address to its network: NAT64 (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: What is routed in the public IPv6 network at all (RFC 4291).
_ROUTED = ipaddress.ip_network("2000::/3")

#: Host, port → numeric addresses.
Resolve = Callable[[str, int], Sequence[str]]
Permits = Callable[[str], bool]


def is_public(address: str) -> bool:
    """Whether a numeric address is one of the public network, also by what it carries within it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None or found not in _ROUTED:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def addresses_of(host: str, port: int) -> list[str]:
    """What the system's resolver says. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))
