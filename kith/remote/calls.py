"""A request to an installation as a value: what is sent, how its answer is read, and whether it may be sent twice.

Both clients send the same ones; they differ in how they wait.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

T = TypeVar("T")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """path: below the installation's address, encoded. read: what the body of the answer says.

    again: sent twice it does what it does sent once, so it may be when nobody knows whether it arrived. wait_s: for so
    long the other side may take its time on purpose.
    """

    method: Method
    path: str
    read: Callable[[bytes], T]
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    again: bool = True
    wait_s: float = 0.0


def parameters(**given: Any) -> dict[str, str]:
    """Those that have a value, as text."""
    return {name: _text(value) for name, value in given.items() if value is not None}


def as_json(**given: Any) -> tuple[bytes, dict[str, str]]:
    """A body of those members that have a value, and its header."""
    known = {name: value for name, value in given.items() if value is not None}
    return json.dumps(known).encode(), {"content-type": "application/json"}


def path(*parts: str) -> str:
    """An address of these parts. Slashes in names are a part of them, and stay."""
    return "/" + "/".join(quote(part, safe="/") for part in parts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
