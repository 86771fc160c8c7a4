"""A delivery on its way: to an address that was judged, signed, and what the answer means.

    2xx                            taken
    400, 405, 413, 414, 415, 422   refused: the same again would be refused again
    410                            refused, and nothing more is wanted
    all else, and no answer        to be tried again; `Retry-After` is heeded

A redirection is no answer: who is told is who was named. What a name means is asked for every delivery, each address it
has is judged, and the connection is made to one that was judged: who answers another address a moment later (DNS
rebinding) is not asked again.
"""

import ipaddress
import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from kith.outward.errors import DeliveryRefused, InvalidWebhook, ReceiverAway
from kith.outward.exchange import Answer, exchange, port_of
from kith.outward.knobs import Webhooks
from kith.outward.seals import Receiver
from kith.outward.signatures import SIGNATURE, TIMESTAMP, sign
from kith.public_network import Permits, Resolve, addresses_of, is_public

_TAKEN = range(200, 300)
_REFUSED = frozenset({400, 405, 413, 414, 415, 422})
GONE = 410

#: Longer than any address of a service is.
_MAX_URL = 2000


def is_private_too(address: str) -> bool:
    """Whether an address may be used where `webhooks.private` is on: any but those that reach no single host, and
    link-local ones, at which clouds keep the credentials of the machine."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    found = inner or found
    return not (found.is_link_local or found.is_multicast or found.is_unspecified)


@dataclass(frozen=True, slots=True)
class Post:
    """Sends deliveries. resolve: how names are resolved; only tests have another."""

    knobs: Webhooks
    resolve: Resolve = addresses_of

    def check(self, url: str) -> SplitResult:
        """The parts of a URL that may be a webhook's. Its name is not resolved. Raises InvalidWebhook, which repeats
        nothing of it."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidWebhook("the address of the webhook is no URL") from None
        if len(url) > _MAX_URL or re.search(r"[\x00-\x20\x7f]", url) or not url.isascii():
            raise InvalidWebhook(f"the address of the webhook is not up to {_MAX_URL} ASCII characters without spaces")
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise InvalidWebhook("the address of the webhook is not https:// with a host")
        if parts.username is not None or parts.password is not None:
            raise InvalidWebhook("the address of the webhook holds a user name or password, and those are not sent")
        if parts.fragment:
            raise InvalidWebhook("the address of the webhook has a part after #, which is never sent")
        if parts.scheme == "http" and not self.knobs.private:
            raise InvalidWebhook("the address of the webhook is plain http; take https, or set webhooks.private")
        try:
            literal = str(ipaddress.ip_address(parts.hostname))
        except ValueError:
            return parts
        if not self._permits(literal):
            raise InvalidWebhook("the address of the webhook is not of the public network; see webhooks.private")
        return parts

    def send(self, receiver: Receiver, headers: dict[str, str], body: bytes) -> int:
        """Deliver once; the status. Raises ReceiverAway to try again, DeliveryRefused not to."""
        parts = self.check(receiver.url)
        timestamp = int(time.time())
        answer = exchange(
            parts,
            "POST",
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            timeout_s=self.knobs.timeout_s,
            body=body,
            headers={
                **headers,
                "Content-Type": "application/json",
                TIMESTAMP: str(timestamp),
                SIGNATURE: sign(receiver.secret, timestamp, body),
            },
            connect=self._connect,
        )
        return _judged(answer)

    def _connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        try:
            found = self.resolve(host, port)
        except (OSError, UnicodeError):
            raise ReceiverAway("its name cannot be resolved") from None
        # All of them, not only the one we take: a name that means us as well as the world is a trick.
        if not found or not all(self._permits(each) for each in found):
            raise ReceiverAway("its address is not of the public network; see webhooks.private")
        return socket.create_connection((found[0], port), timeout_s)

    @property
    def _permits(self) -> Permits:
        return is_private_too if self.knobs.private else is_public


def shown(url: str) -> str:
    """An address for lists and logs: scheme, host, port and the first step of the path; many services put a token in
    the rest."""
    parts = urlsplit(url)
    steps = [step for step in parts.path.split("/") if step]
    default = (443 if parts.scheme == "https" else 80) == port_of(parts)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    where = f"{parts.scheme}://{host}{'' if default else f':{port_of(parts)}'}"
    first = f"/{steps[0]}" if len(steps) > 1 else ""
    return where + first + ("/…" if steps or parts.query else "")


def _judged(answer: Answer) -> int:
    if answer.status in _TAKEN:
        return answer.status
    if answer.status == GONE or answer.status in _REFUSED:
        raise DeliveryRefused(f"it answered {answer.status}", status=answer.status)
    after = {name.lower(): value for name, value in answer.headers.items()}.get("retry-after", "").strip()
    # The other form, a date, is as good as never used here; our own pause does then.
    after_s = float(after) if re.fullmatch("[0-9]{1,6}", after) else None
    raise ReceiverAway(f"it answered {answer.status}", status=answer.status, after_s=after_s)
