"""The knobs of what is told to Prometheus (kith.settings); config/default.toml explains each."""

from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from kith.errors import Misconfigured
from kith.knobs import Section, Word


class Address(NamedTuple):
    """Where a process listens; port 0: any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """`HOST:PORT`, `[IPv6]:PORT`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or (":" in bare and bare == host) or not port.isascii() or not port.isdigit():
        raise ValueError("HOST:PORT, as 127.0.0.1:9464 or [::1]:9464, or nothing for off")
    if int(port) > 65_535:
        raise ValueError("a port is at most 65535")
    return Address(bare, int(port))


def _listening(text: str) -> str:
    return str(address_of(text)) if text else text


class Metrics(Section):
    listen: Annotated[str, AfterValidator(_listening)] = ""
    otlp: Word | None = None

    @property
    def address(self) -> Address | None:
        """Where to listen; None: nowhere."""
        return address_of(self.listen) if self.listen else None


def address_for(settings: Metrics, number: int) -> Address | None:
    """Where the process of this number listens, of several on one machine: on the ports from that of the setting on.

    Raises Misconfigured past the last port.
    """
    address = settings.address
    if address is None or address.port == 0:
        return address
    if address.port + number > 65_535:
        raise Misconfigured(f"metrics.listen is {address}, and not enough ports follow it; take a lower one")
    return Address(address.host, address.port + number)
