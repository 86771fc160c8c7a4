"""The signature of a delivery: HMAC-SHA256 (RFC 2104, FIPS 198-1) over `TIMESTAMP.BODY`.

    Kith-Timestamp: 1766740000
    Kith-Signature: v1=3f1c…          (hex; several, with commas, when a secret is changed)

The timestamp is that of the attempt, Unix seconds: a receiver that refuses old ones cannot be told an old delivery
again by who recorded it. docs/outward.md has the same in other languages.
"""

import hmac
import re
from hashlib import sha256

TIMESTAMP, SIGNATURE = "Kith-Timestamp", "Kith-Signature"

#: How far the clocks of both sides may be apart, and how long a delivery may be on its way.
TOLERANCE_S = 300


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The value of `Kith-Signature`. secret: as it was shown, the whole text."""
    return f"v1={hmac.new(secret.encode(), f'{timestamp}.'.encode() + body, sha256).hexdigest()}"


def verified(secret: str, timestamp: str, signature: str, body: bytes, now_s: float) -> bool:
    """Whether a delivery is ours and of now. Compared in constant time; no header makes it raise."""
    if not re.fullmatch("[0-9]{1,12}", timestamp) or abs(now_s - int(timestamp)) > TOLERANCE_S:
        return False
    expected = sign(secret, int(timestamp), body).encode()
    given = [each.strip().encode("utf-8", "replace") for each in signature.split(",")]
    return any(hmac.compare_digest(expected, each) for each in given)
